"""captum-xg explain: attributions of a few examples, as numbers and as a picture."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg._core.files import make_folder, require_writable, whole_file, write_figure
from captum_xg.cli.examples import CHECK_DATA, add_data, chosen_outputs, examples
from captum_xg.cli.options import add_target, add_weights, running
from captum_xg.cli.parser import add_command

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands

NUMBERS, PICTURE = "attributions.npz", "attributions.png"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "explain",
        run,
        help="attributions of a few examples, as numbers and as a picture",
        description="Attribute what a model gives for some examples to their features by Integrated Gradients against "
        "zero: in closed form if the model is homogeneous, else integrated to a tolerance of 1 %. Writes "
        f"{NUMBERS} (inputs, attributions, targets, predictions, labels, verdict, degree, method) and {PICTURE}; files "
        "that are there are replaced. The model is put in evaluation mode. Exit status: 0 done, 2 wrong arguments, 3 "
        "could not run, which with --on-violation raise includes that the model is not homogeneous.",
        epilog="examples: captum-xg explain captum_xg.demo:demo_model --to explained;  "
        "captum-xg explain net.py:make --weights net.pt --data table.npz --target 1",
    )
    add_target(parser)
    add_weights(parser)
    add_data(parser, 8)
    add = parser.add_argument
    add(
        "--on-violation",
        choices=("integrate", "raise", "warn"),
        default="integrate",
        help="where the model is not homogeneous: integrate; refuse and name the layers; or warn and write x·∇F(x) all "
        "the same (default: %(default)s)",
    )
    add("--to", type=Path, default=Path("captum-xg-explain"), metavar="DIR", help="(default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Write numbers and picture, say where, and return the exit status."""
    folder = make_folder(options.to)
    for name in (NUMBERS, PICTURE):
        require_writable(folder / name)
    # What the user's code prints is not what the command says.
    with redirect_stdout(sys.stderr):
        found = _found(options)
    figure = _picture(found, options)
    _write(folder / NUMBERS, found)
    write_figure(folder / PICTURE, figure, dpi=120)
    proof = {"disproved": "not homogeneous", "unknown": "not known to be homogeneous"}.get(found["verdict"])
    degree = found["degree"]
    proof = proof or f"homogeneous of {'any degree' if math.isnan(degree) else f'degree {degree:g}'}"
    print(f"{options.target} on {options.data}, {len(found['inputs'])} examples: {proof}")
    print(f"Attributions: {found['method']}")
    for name in (NUMBERS, PICTURE):
        print(f"Written: {(folder / name).resolve()}")
    return 0


def _found(options: argparse.Namespace) -> dict[str, Any]:
    """Return all that is written, as arrays and texts by name."""
    import torch

    from captum_xg.attr import XGradient
    from captum_xg.attr.integrated import IntegrationNotice
    from captum_xg.cli.loaded import loaded_model
    from captum_xg.cli.model_spec import dtype_of
    from captum_xg.homogeneity.certificate.certify import certify

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = loaded_model(options)
    inputs, labels = examples(options, dtype_of(model))
    if isinstance(model, torch.nn.Module):
        model = model.eval()
    with running(options.target, [inputs.shape], "examples", CHECK_DATA):
        predictions, target = chosen_outputs(model, inputs, labels, options)
        certificate = certify(model, inputs)
        degree = certificate.degree if certificate.homogeneous and (certificate.degree or 0) >= 1 else None
        method = XGradient(model, degree=degree or 1, on_violation=options.on_violation)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            attributions = method.attribute(inputs, target=target)
    for warning in said:
        print(f"captum-xg explain: {warning.message}", file=sys.stderr)
    integrated = any(issubclass(warning.category, IntegrationNotice) for warning in said)
    return {
        "inputs": inputs.numpy(),
        "attributions": attributions.numpy(),
        "targets": torch.full((len(inputs),), -1).numpy() if target is None else target.numpy(),
        "predictions": predictions.numpy(),
        **({} if labels is None else {"labels": labels.numpy()}),
        "verdict": certificate.verdict,
        "degree": float("nan") if certificate.degree is None else certificate.degree,
        "method": "integrated numerically" if integrated else "x·∇F(x)/k, the closed form",
    }


def _picture(found: dict[str, Any], options: argparse.Namespace) -> Any:
    """Return images beside their attributions, or bars for features."""
    import torch

    from captum_xg.visualization import feature_bars, image_grid

    inputs, attributions = (torch.from_numpy(found[name]) for name in ("inputs", "attributions"))
    if inputs.dim() == 4 and inputs.shape[1] in (1, 3):
        labels = [f"output {target}" if target >= 0 else "" for target in found["targets"]]
        return image_grid(inputs, attributions, labels=labels, mean=options.mean, std=options.std)
    flat = attributions.reshape(len(attributions), -1)
    names = [f"feature {i}" for i in range(flat.shape[1])]
    return feature_bars(flat, names, title=f"{options.target}, {found['method']}")


def _write(path: Path, found: dict[str, Any]) -> None:
    import numpy as np

    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **found)
