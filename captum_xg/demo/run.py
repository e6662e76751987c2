"""Program of the demo: verdicts, numbers, a refusal, a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from captum_xg._core.files import figure_format, make_folder, require_writable
from captum_xg._core.text import Table
from captum_xg.assets import ASSETS
from captum_xg.attr.x_gradient import XGradient
from captum_xg.demo.assets import LICENCE_FILE, demo_images, demo_model, training_record
from captum_xg.demo.comparison import Comparison, compare
from captum_xg.demo.figure import draw
from captum_xg.demo.train import accuracy
from captum_xg.errors import HomogeneityError
from captum_xg.homogeneity.check.numeric import check_homogeneity

N_STEPS = 128
"""As in the paper's comparison (Hesse et al. 2021, appendix B.2)."""


def run_demo(output: str | Path, *, n_images: int = 32, assets: str | Path = ASSETS) -> None:
    """Print how X-Gradient compares with Integrated Gradients on real images, and write one picture.

    Args:
        output: The PNG file to write.
        n_images: How many of the shipped images to explain.
        assets: Where the weights and images lie.

    Raises:
        FileError: If the picture cannot be written; found out before anything is computed.
    """
    output = Path(output)
    require_picture(output)
    all_images, all_labels = demo_images(folder=assets)
    images, labels = demo_images(n_images, folder=assets)
    xdnn, twin = demo_model(folder=assets), demo_model(bias=True, folder=assets)

    print(f"Fashion-MNIST, {len(all_images)} real test images, {torch.get_num_threads()} threads on the CPU.")
    recorded = training_record(assets)["test_accuracy"]
    for name, model in (("without biases", xdnn), ("with biases", twin)):
        shipped = accuracy(model, all_images, all_labels)
        print(
            f"  network {name:<15} {shipped:6.1%} of them recognised "
            f"({recorded[name]:.1%} of all 10,000 test images after training)"
        )

    _heading("1. Is F(αx) = αF(x)?  The numeric check on the explained images")
    for name, model in (("without biases", xdnn), ("with biases", twin)):
        report = check_homogeneity(model, images, labels, degree=1)
        print(f"network {name}: {replace(report, culprits=())}\n")  # the culprits follow in part 3

    _heading(f"2. X-Gradient against Captum's Integrated Gradients on {len(images)} images")
    good = compare(xdnn, images, labels, n_steps=N_STEPS, validated=True, title="without biases")
    bad = compare(twin, images, labels, n_steps=N_STEPS, validated=False, title="with biases")
    print("network without biases (X-Gradient as it comes: checked)")
    print(_table(good))
    print("\nnetwork with biases (validate='off', so that there is a number at all)")
    print(_table(bad))
    print(
        f"\nWithout biases the two agree to rounding. With biases they differ by up to "
        f"{float(bad.differences.max()):.0%} of the largest attribution\n(median image: "
        f"{float(bad.differences.median()):.0%}), and the sum of input × gradient misses F(x) − F(0) by up to "
        f"{bad.x_gradient.completeness_error:.0%}."
    )

    _heading("3. What XGradient says to the network with biases")
    try:
        XGradient(twin).attribute(images, target=labels)
    except HomogeneityError as error:
        print(f"HomogeneityError: {error}")

    draw(output, images, labels, good, bad)
    print(f"\nPicture: {output.resolve()}")
    print(f"Images: Fashion-MNIST, © 2017 Zalando SE, MIT licence, {ASSETS / LICENCE_FILE}")


def require_picture(path: Path) -> None:
    """Find out whether a picture can be written, and make its folder.

    Raises:
        FileError: If not.
    """
    figure_format(path)
    make_folder(path.parent)
    require_writable(path)


def _heading(text: str) -> None:
    print(f"\n{text}\n{'─' * len(text)}")


def _table(comparison: Comparison) -> str:
    rows = [("", "gradient evaluations", "completeness error", "seconds")]
    for method in (comparison.integrated_gradients, comparison.x_gradient):
        error, seconds = f"{method.completeness_error:.1e}", f"{method.seconds:.3f}"
        rows.append((method.name, str(method.gradient_evaluations), error, seconds))
    return (
        f"{Table(rows, left=0, indent=2)}\n"
        f"  largest relative difference between the two: {float(comparison.differences.max()):.1e}\n"
        f"  Integrated Gradients takes {comparison.speed_ratio:.0f} × the time of X-Gradient"
    )
