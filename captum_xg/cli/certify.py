"""captum-xg certify: is F(αx) = αᵏF(x) proven for this model? Its exit status answers for scripts."""

from __future__ import annotations

import argparse
import json
import math
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from captum_xg.cli.notes import untrained_norms
from captum_xg.cli.options import CHECK_INPUT, add_output_and_json, add_shapes, add_target, random_inputs, running
from captum_xg.cli.parser import COULD_NOT_RUN, add_command

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands
    from captum_xg.homogeneity.certificate.certificate import Certificate

HOMOGENEOUS, DISPROVED, UNKNOWN = 0, 1, 2
_STATUS = {"homogeneous": HOMOGENEOUS, "disproved": DISPROVED, "unknown": UNKNOWN}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "certify",
        run,
        help="prove F(αx) = αᵏF(x) for a model, or name the layers that break it",
        description="Follow one forward pass operation by operation, and prove that F(αx) = αᵏF(x) for all inputs of "
        "these shapes, or name what breaks it. The model is put in evaluation mode. Exit status: 0 proven (of degree "
        "K, if --degree K is given), 1 disproved, 2 unknown, 3 could not run.",
        epilog="examples: captum-xg certify torchvision:alexnet --input 1,3,224,224;  "
        "captum-xg certify net.py:make --input 1,16 --input 1,8 --degree 1",
    )
    parser.wrong_arguments = COULD_NOT_RUN  # as 2 means that the verdict is unknown
    add_target(parser)
    add_shapes(parser, "an input, examples first: 1,3,224,224", required=True)
    parser.add_argument(
        "--degree", type=_degree, metavar="K", help="demand this degree; another one counts as disproved"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of model and inputs (default: %(default)s)"
    )
    add_output_and_json(parser, "certificate")


def run(options: argparse.Namespace) -> int:
    """Print the certificate and return the exit status."""
    # What the user's code prints must not get into the JSON.
    with redirect_stdout(sys.stderr):
        certificate, notes = _certified(options)
    status = _STATUS[certificate.verdict]
    if status == HOMOGENEOUS and options.degree is not None and not certificate.identically_zero:
        found = certificate.degree
        if found is None or not math.isclose(found, options.degree, rel_tol=1e-9, abs_tol=1e-9):
            status = DISPROVED
            notes.append(f"Degree {options.degree:g} was asked for, but the degree is {found:g}.")
    if options.json:
        content = {"target": options.target, **certificate.to_dict()}
        content["notes"] = [*content["notes"], *notes]
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print(f"{options.target}\n{certificate}")
        for note in notes:
            print(f"  {note}")
    return status


def _certified(options: argparse.Namespace) -> tuple[Certificate, list[str]]:
    import torch

    from captum_xg.cli.model_spec import load_target
    from captum_xg.homogeneity.certificate.certify import certify

    dtype = {"float32": torch.float32, "float64": torch.float64}[options.dtype]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = load_target(options.target)
        inputs = random_inputs(options.shapes, dtype)
        with running(options.target, options.shapes, "random inputs", CHECK_INPUT):
            notes = untrained_norms(model, "certify")
            if isinstance(model, torch.nn.Module):
                model = model.eval().to(dtype)
            return certify(model, *inputs, output=options.output), notes


def _degree(text: str) -> float:
    try:
        degree = float(text)
    except ValueError:
        degree = math.nan
    if not math.isfinite(degree):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return degree
