"""captum-xg convert: an X-DNN from an ordinary model, with a report. Its exit status answers for scripts."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.files import require_writable, write_tensors
from captum_xg.cli.notes import untrained_norms
from captum_xg.cli.options import CHECK_INPUT, add_output_and_json, add_shapes, add_target, random_inputs, running
from captum_xg.cli.parser import add_command
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands
    from captum_xg.xdnn.report import ConversionReport

CONVERTED, NOT_CONVERTED = 0, 1  # and 3 could not run: see captum_xg.cli.parser
CHECK_EXAMPLES = "Check --examples: there is one file for each argument of the model, examples first."


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "convert",
        run,
        help="convert a model to an X-DNN, F(αx) = αF(x), and report what that changed",
        description="Convert a model to an X-DNN: fold batch norms, replace activations, norms and gates, drop biases; "
        "print every change, what it cost on the examples and what is proven of the result; write its weights. The "
        "model is put in evaluation mode. Exit status: 0 converted and proven, 1 could not be converted (nothing is "
        "written), 2 wrong arguments, 3 could not run.",
        epilog="examples: captum-xg convert torchvision:resnet18 --input 4,3,224,224;  "
        "captum-xg convert net.py:make --weights net.pt --examples images.npy --to xnet.pt",
    )
    add_target(parser)
    add_shapes(parser, "an input of random numbers, examples first: 4,3,224,224", required=False)
    parser.add_argument(
        "--examples",
        action="append",
        type=Path,
        metavar="FILE",
        help="real inputs instead of random ones: a .npy file, or a tensor in a .pt file, floating-point, of shape "
        "(N, …), brought to the dtype of the model. Once for each input. Typical sizes and the agreement before and "
        "after are measured on them",
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="load these weights into the model first (a state dict or a checkpoint)"
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("xdnn.pt"),
        metavar="PT",
        help="where the state dict of the result goes; a file that is there is replaced (default: %(default)s)",
    )
    add_output_and_json(parser, "report")


def run(options: argparse.Namespace) -> int:
    """Print the report, write the state dict and return the exit status."""
    if bool(options.shapes) == bool(options.examples):
        options.parser.error("give either --input (random numbers) or --examples (real ones)")
    # What the user's code prints must not get into the JSON.
    with redirect_stdout(sys.stderr):
        report = _converted(options)
    print(report.to_json() if options.json else f"{options.target}\n{report}")
    if not report.homogeneous:
        print(
            "captum-xg convert: nothing was written. In Python, HomogeneousExtension(model, radius=typical norm of the "
            "inputs) makes any architecture homogeneous.",
            file=sys.stderr,
        )
        return NOT_CONVERTED
    if not options.json:
        print(
            f"State dict: {options.to.resolve()}\n"
            "  To load it: xdnn, _ = to_xdnn(model, *inputs); xdnn.load_state_dict(torch.load(PATH, weights_only=True))"
        )
    return CONVERTED


def _converted(options: argparse.Namespace) -> ConversionReport:
    import torch

    from captum_xg.cli.model_spec import dtype_of, load_target
    from captum_xg.datasets.arrays import read_examples
    from captum_xg.models import load_checkpoint
    from captum_xg.xdnn import to_xdnn

    require_writable(options.to)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = load_target(options.target)
        if not isinstance(model, torch.nn.Module):
            raise OptionError(f"{options.target} is a {type(model).__name__}, not a torch.nn.Module.")
        if options.weights is not None:
            load_checkpoint(model, options.weights)
        dtype = dtype_of(model)
        inputs = (
            random_inputs(options.shapes, dtype)
            if options.shapes
            else tuple(read_examples(path, dtype) for path in options.examples)
        )
        what, advice = ("random inputs", CHECK_INPUT) if options.shapes else ("the examples,", CHECK_EXAMPLES)
        with running(options.target, [x.shape for x in inputs], what, advice):
            xdnn, report = to_xdnn(model.eval(), *inputs, output=options.output, strict=False)
    if report.homogeneous:
        write_tensors(options.to, xdnn.state_dict())
    return replace(report, notes=(*report.notes, *untrained_norms(model, "convert")))
