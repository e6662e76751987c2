"""captum-xg explain: attributions of a few examples, as numbers and as a picture."""

from __future__ import annotations

import argparse
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg._core.files import make_folder, require_writable, whole_file, write_figure
from captum_xg.cli.options import add_target, add_weights, positive, running
from captum_xg.cli.parser import add_command
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from captum_xg.cli.model_spec import Model
    from captum_xg.cli.parser import Commands

NUMBERS, PICTURE = "attributions.npz", "attributions.png"
CHECK_DATA = "Does --data fit the model? For a folder of images give --size."


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
    add = parser.add_argument
    add(
        "--data",
        default="demo",
        metavar="DATA",
        help="demo (Fashion-MNIST test images that come with the package), fashion-mnist:ROOT, FILE.npz with the "
        "arrays images (or inputs) and labels, inputs alone as FILE.npy or FILE.pt, or a folder with one folder of "
        "images for each class (default: %(default)s)",
    )
    add("--images", type=positive, default=8, metavar="N", help="how many examples, at most (default: %(default)s)")
    add("--size", type=positive, metavar="PIXELS", help="of a folder's images: scaled and cropped to")
    add("--mean", type=float, nargs="+", metavar="X", help="subtracted from each channel")
    add("--std", type=float, nargs="+", metavar="X", help="what each channel is divided by then")
    add(
        "--target",
        dest="explained",
        type=_explained,
        default="predicted",
        metavar="CLASS",
        help="which output is explained: predicted, label, or the number of one (default: %(default)s)",
    )
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
    degree = "" if found["verdict"] != "homogeneous" else f" of degree {found['degree']:g}"
    print(f"{options.target} on {options.data}, {len(found['inputs'])} examples: {found['verdict']}{degree}")
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
    inputs, labels = _examples(options, dtype_of(model))
    if isinstance(model, torch.nn.Module):
        model = model.eval()
    with running(options.target, [inputs.shape], "examples", CHECK_DATA):
        predictions, target = _outputs(model, inputs, labels, options)
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


def _examples(options: argparse.Namespace, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return inputs, and their classes where the data have them."""
    import torch

    from captum_xg.datasets.arrays import read_examples
    from captum_xg.datasets.evaluation import labelled_examples

    if Path(options.data).suffix in (".npy", ".pt"):
        return read_examples(options.data, dtype)[: options.images], None
    data: Any = labelled_examples(
        options.data, options.images, size=options.size, mean=options.mean, std=options.std, dtype=dtype
    )
    inputs, labels = zip(*(data[i] for i in range(len(data))), strict=True)
    if any(x.shape != inputs[0].shape for x in inputs):
        raise OptionError("--data: the images differ in size; give --size.")
    return torch.stack(inputs), torch.tensor([int(label) for label in labels])


def _outputs(
    model: Model, inputs: Tensor, labels: Tensor | None, options: argparse.Namespace
) -> tuple[Tensor, Tensor | None]:
    """Return what the model predicts, and which outputs are explained; None where it gives one number each."""
    import torch

    with torch.no_grad():
        output = model(inputs.clone())
    if not isinstance(output, torch.Tensor) or output.dim() not in (1, 2) or len(output) != len(inputs):
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise OptionError(f"{options.target} returns {found}, and not (N, classes) or one number for each example.")
    if output.dim() == 1:
        return output, None
    predicted = output.argmax(1)
    if options.explained == "predicted":
        return predicted, predicted
    if options.explained == "label":
        if labels is None:
            raise OptionError("--target label: --data has no labels. Give --target predicted, or a number.")
        target = labels
    else:
        target = torch.full_like(predicted, options.explained)
    if int(target.max()) >= output.shape[1]:
        raise OptionError(f"--target: {options.target} has {output.shape[1]} outputs, and {int(target.max())} is none.")
    return predicted, target


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


def _explained(text: str) -> int | str:
    if text in ("predicted", "label"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be predicted, label or the number of an output, not {text!r}")
    return int(text)
