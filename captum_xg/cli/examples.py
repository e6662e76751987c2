"""Examples that a command explains: where they come from, and which outputs of the model are meant."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.cli.options import positive
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from captum_xg.cli.model_spec import Model

CHECK_DATA = "Does --data fit the model? For a folder of images give --size."


def add_data(parser: argparse.ArgumentParser, images: int) -> None:
    """Add the options that say which examples, at most ``images`` by default, and which output."""
    add = parser.add_argument
    add(
        "--data",
        default="demo",
        metavar="DATA",
        help="demo (Fashion-MNIST test images that come with the package), fashion-mnist:ROOT, FILE.npz with the "
        "arrays images (or inputs) and labels, inputs alone as FILE.npy or FILE.pt, or a folder with one folder of "
        "images for each class (default: %(default)s)",
    )
    add(
        "--images", type=positive, default=images, metavar="N", help="how many examples, at most (default: %(default)s)"
    )
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


def examples(options: argparse.Namespace, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
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


def chosen_outputs(
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


def _explained(text: str) -> int | str:
    if text in ("predicted", "label"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be predicted, label or the number of an output, not {text!r}")
    return int(text)
