"""captum-xg distance: how far a model, as it is, is from one whose Integrated Gradients take one gradient."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.files import make_folder, require_writable, whole_file, write_figure
from captum_xg.cli.examples import CHECK_DATA, add_data, chosen_outputs, examples
from captum_xg.cli.options import add_target, add_weights, positive, running
from captum_xg.cli.parser import add_command

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands
    from captum_xg.xdnn.how_far import Distance

TEXT, PICTURE = "distance.txt", "distance.png"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "distance",
        run,
        help="how far a model is from an X-DNN: biases, x·∇F beside Integrated Gradients, steps that they take",
        description="Measure on some examples how far a model, as it is, is from one whose Integrated Gradients take "
        "one gradient: whether it is homogeneous, by itself and together with its constants; what these carry of the "
        "prediction; how far x·∂F/∂x is from Integrated Gradients, which are exact where the model is piecewise "
        "linear; how many steps Captum's method needs for 1 % and 5 %; and what to_xdnn would change. Prints a page, "
        f"and writes it with a picture ({TEXT}, {PICTURE}). Exit status: 0 done, 2 wrong arguments, 3 could not run.",
        epilog="example: captum-xg distance torchvision:resnet18 --data photographs/ --size 64 --images 2",
    )
    add_target(parser)
    add_weights(parser)
    add_data(parser, 4)
    parser.add_argument(
        "--max-regions",
        type=positive,
        default=5000,
        metavar="N",
        help="the most linear regions of one example for the exact integral; with more it is integrated to 0.1 %% "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--to", type=Path, default=Path("captum-xg-distance"), metavar="DIR", help="(default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the page, write it and the picture, say where, and return the exit status."""
    folder = make_folder(options.to)
    for name in (TEXT, PICTURE):
        require_writable(folder / name)
    # What the user's code prints is not what the command says.
    with redirect_stdout(sys.stderr):
        found = _found(options)
        figure = found.plot()
    print(found)
    with whole_file(folder / TEXT) as unfinished:
        unfinished.write_text(f"{found}\n", encoding="utf-8")
    write_figure(folder / PICTURE, figure, dpi=120)
    for name in (TEXT, PICTURE):
        print(f"Written: {(folder / name).resolve()}")
    return 0


def _found(options: argparse.Namespace) -> Distance:
    import torch

    from captum_xg.cli.loaded import loaded_model
    from captum_xg.cli.model_spec import dtype_of
    from captum_xg.xdnn.how_far import distance

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = loaded_model(options)
    inputs, labels = examples(options, dtype_of(model))
    if isinstance(model, torch.nn.Module):
        model = model.eval()
    with running(options.target, [inputs.shape], "examples", CHECK_DATA):
        _, target = chosen_outputs(model, inputs, labels, options)
        return distance(model, inputs, target, max_regions=options.max_regions, name=options.target)
