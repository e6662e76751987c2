"""captum-xg demo: X-Gradient against Integrated Gradients on real images, without any download."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg.cli.options import positive
from captum_xg.cli.parser import add_command

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands


def add_parser(commands: Commands) -> None:
    """Add the command."""
    add = add_command(
        commands,
        "demo",
        run,
        help="X-Gradient against Integrated Gradients on real images, with a picture; needs no download",
        description="Compare X-Gradient with Captum's Integrated Gradients on real images and two trained networks "
        "that come with the package, show what a refusal looks like, and write one picture.",
    ).add_argument
    picture = Path("captum-xg-demo.png")
    add("--output", type=Path, default=picture, metavar="PNG", help="the picture (default: %(default)s)")
    add("--images", type=positive, default=32, metavar="N", help="how many images to explain (default: %(default)s)")
    add(
        "--retrain",
        type=Path,
        metavar="DATA_ROOT",
        help="first train both networks again, on Fashion-MNIST under DATA_ROOT (downloaded there if it is missing); "
        "about 8 minutes on two cores",
    )
    add("--epochs", type=positive, default=8, metavar="N", help="for --retrain (default: %(default)s)")
    add(
        "--assets",
        type=Path,
        metavar="DIR",
        help="where the networks and images are read from, and written to by --retrain (default: those of the package; "
        "for --retrain captum-xg-demo-assets)",
    )


def run(options: argparse.Namespace) -> int:
    """Train if asked to, print the comparison, write the picture and return 0."""
    from captum_xg.assets import ASSETS
    from captum_xg.demo.run import require_picture, run_demo
    from captum_xg.demo.train import retrain

    require_picture(options.output)
    assets: Path = options.assets or ASSETS
    if options.retrain is not None:
        assets = options.assets or Path("captum-xg-demo-assets")
        for name, accuracy in retrain(options.retrain, assets, epochs=options.epochs).items():
            print(f"trained the network {name}: {accuracy:.2%} of the 10,000 test images recognised")
        print(f"Weights and images: {assets.resolve()}\n")
    run_demo(options.output, n_images=options.images, assets=assets)
    return 0
