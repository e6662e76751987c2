"""captum-xg evaluate: attribution methods side by side on a model, with intervals, costs and controls.

The order is: what can be refused is refused first (device, folder, target, weights, one pass over the data), then comes
the work, which may take hours and goes on where it was interrupted, and what is written is written last and whole.

What must never happen: that numbers of two models, data sets or questions end up in one folder, or that results which
took hours are replaced by those of a smaller call. So every result carries what it is about, the digest of the model
among it, and a call that does not cover what is there is refused before and, as others may write meanwhile, after.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from captum_xg._core.text import in_one_line
from captum_xg.cli.options import add_target, add_weights, positive, running
from captum_xg.cli.parser import add_command
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.utils.data import DataLoader

    from captum_xg.cli.model_spec import Model
    from captum_xg.cli.parser import Commands

    Loader: TypeAlias = DataLoader[tuple[Tensor, ...]]

CHECK_DATA = "Does --data fit the model? For a folder of images give --size."
CHECK_MEMORY = "If memory ran out, give a smaller --batch-size."


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        help="compare attribution methods on a model: masking metrics with intervals, costs, controls",
        description="Evaluate attribution methods on a classifier by the metrics of the paper, with 95 % bootstrap "
        "intervals, gradient evaluations and seconds, and two controls that know nothing of the model. Prints the "
        "table and writes it with all numbers and figures. Interrupted and called again, it goes on where it was. "
        "Results in the folder are replaced only by a call that covers them. Exit status: 0 done, 2 wrong arguments, 3 "
        "could not run.",
        epilog="examples: captum-xg evaluate captum_xg.demo:demo_model;  "
        "captum-xg evaluate captum_xg.models:xsmall_vgg --weights shipped --methods xgradient integrated_gradients;  "
        "captum-xg evaluate torchvision:resnet18 --weights resnet18.pth --data photos --size 224 "
        "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225",
    )
    add_target(parser)
    add = parser.add_argument
    add_weights(parser)
    add(
        "--data",
        default="demo",
        metavar="DATA",
        help="demo (500 Fashion-MNIST test images that come with the package), fashion-mnist:ROOT, FILE.npz with the "
        "arrays images and labels, or a folder with one folder of images for each class (default: %(default)s)",
    )
    add("--images", type=positive, default=500, metavar="N", help="at most (default: %(default)s)")
    add("--size", type=positive, metavar="PIXELS", help="of a folder's images: scaled and cropped to")
    add("--mean", type=float, nargs="+", metavar="X", help="subtracted from each channel")
    add("--std", type=float, nargs="+", metavar="X", help="what each channel is divided by then")
    methods = (
        "gradient, input_x_gradient, integrated_gradients[_STEPS], expected_gradients[_REFERENCES], xgradient, "
        "random, blurred_input; the last two are always there (default: gradient expected_gradients_1 "
        "integrated_gradients xgradient)"
    )
    metrics = (
        "KPM, KNM, KAM, RAM, MARD, CompletenessGap, SensitivityN, Infidelity, MaxSensitivity (default: KPM KNM KAM RAM)"
    )
    add("--methods", nargs="+", metavar="NAME", help=methods)
    add("--metrics", nargs="+", metavar="NAME", help=metrics)
    classes = "which class is explained (default: %(default)s)"
    add("--target", dest="explained", choices=("label", "predicted"), default="label", help=classes)
    add("--batch-size", type=positive, default=50, metavar="N", help="(default: %(default)s)")
    add("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cuda if there is one)")
    output = "where table.md, table.tex, results.json and the figures go (default: %(default)s)"
    add("--output", type=Path, default=Path("captum-xg-evaluate"), metavar="DIR", help=output)
    add("--resume", type=Path, metavar="DIR", help="where partial results are kept (default: partial in --output)")
    add("--quiet", action="store_true", help="show no progress bar")


def run(options: argparse.Namespace) -> int:
    """Print the table, write everything and return the exit status."""
    import torch

    from captum_xg._core.options import usable_device
    from captum_xg.benchmark.settings import of_model
    from captum_xg.benchmark.store import SETTINGS
    from captum_xg.cli.evaluation_results import Results
    from captum_xg.cli.loaded import loaded_model
    from captum_xg.cli.model_spec import dtype_of
    from captum_xg.metrics import AttributionBenchmark

    best = "cuda" if torch.cuda.is_available() else "cpu"
    device = usable_device(best if options.device is None else options.device, "--device")
    results = Results(options.output)
    # Random weights are the same each time, so that an interrupted evaluation of them can go on.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = loaded_model(options)
    loader = _loader(options, dtype_of(model))
    digest = of_model(model)  # before it moves: the digest of a model is that of its numbers, on any device
    if isinstance(model, torch.nn.Module):
        model = model.eval().to(device)
    # A whole pass before the work: data that do not fit are found in seconds, and not in the last batch.
    accuracy, n, shape = _accuracy(model, loader, device, options.target)
    benchmark = AttributionBenchmark(model, options.methods, options.metrics, target=options.explained, device=device)
    about = {
        "target": options.target,
        "weights": options.weights,
        "model": digest,
        "data": options.data,
        "images": n,
        "explained": options.explained,
        "accuracy": accuracy,
    }
    names = {"methods": [each.name for each in benchmark.methods], "metrics": [each.name for each in benchmark.metrics]}
    kept = options.resume or results.folder / "partial"
    # Parts of another model are refused by themselves, with the reason in more detail.
    results.require_nothing_lost({**about, **names}, model=not os.path.exists(kept / SETTINGS))
    print(f"{options.target} on {options.data}, {n} examples, {device}: {accuracy:.1%} recognised")
    with running(options.target, [shape], "examples", CHECK_MEMORY):
        result = benchmark.run(loader, resume=kept, progress=not options.quiet)
    # Again, as another process may have written there in the meantime.
    results.require_nothing_lost({**about, **names})
    print(f"\n{result}\n")
    for path in results.write(result, about):
        print(f"Written: {path.resolve()}")
    return 0


def _loader(options: argparse.Namespace, dtype: torch.dtype) -> Loader:
    from torch.utils.data import DataLoader

    from captum_xg.datasets.evaluation import labelled_examples

    data = labelled_examples(
        options.data, options.images, size=options.size, mean=options.mean, std=options.std, dtype=dtype
    )
    return DataLoader(data, batch_size=options.batch_size)


def _accuracy(model: Model, loader: Loader, device: torch.device, target: str) -> tuple[float, int, tuple[int, ...]]:
    """Return the share of examples whose class has the largest output, their number, and the shape of a batch."""
    import torch

    hits, n = 0, 0
    shape: tuple[int, ...] = ()
    with torch.no_grad():
        for inputs, labels in _batches(loader):
            with running(target, [inputs.shape], "inputs", CHECK_DATA):
                output = model(inputs.to(device))
            hits += int((_checked(output, labels, target).argmax(1).cpu() == labels).sum())
            n, shape = n + len(labels), tuple(inputs.shape)
    return hits / n, n, shape


def _checked(output: object, labels: Tensor, target: str) -> Tensor:
    """Return what a model gave if it is logits that can be right or wrong about the labels."""
    import torch

    if not isinstance(output, torch.Tensor) or output.dim() != 2 or output.is_meta or output.is_complex():
        found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise OptionError(f"{target} returns {found} and not logits of shape (N, classes).")
    if len(output) != len(labels):
        raise OptionError(f"{target} returns {len(output)} rows of logits for {len(labels)} examples.")
    # argmax() of NaN is a class like any other, and would be explained.
    if bool(torch.isnan(output).any()):
        raise OptionError(f"{target} gives NaN on --data, so there is no class to explain. Look at its weights.")
    if int(labels.max()) >= output.shape[1]:
        raise OptionError(
            f"{target} has {output.shape[1]} classes, but a label is {int(labels.max())}. --data must be labelled by "
            "the numbers of the model's outputs."
        )
    return output


def _batches(loader: Loader) -> Iterator[tuple[Tensor, ...]]:
    # Around the loader alone: what the model raises in between goes to the caller, and not through here.
    try:
        yield from loader
    except RuntimeError as error:  # of torch.stack, which the images of a folder go through
        raise OptionError(
            f"--data: the examples cannot be put into batches ({in_one_line(error)}). Images of a folder that differ "
            "in size need --size."
        ) from error
