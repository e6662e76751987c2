"""Rows of pictures as in the paper's Figures 2 and 4: an image at two contrasts, and attributions by both networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_xg._core.figures import show_attributions, show_image
from captum_xg.datasets.fashion_mnist import CLASSES
from captum_xg.repro.figure2.maps import MAPS, SHOWN, decoded_image, decoded_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("image", "X-AlexNet:\nX-Gradient", "X-AlexNet:\nIG", "AlexNet:\nI × G", "AlexNet:\nIG")


@dataclass(frozen=True)
class Example:
    """One image.

    Attributes:
        title: What is explained.
        xdnn: What :func:`~captum_xg.repro.figure2.maps.maps_of` gave for the X-DNN.
        regular: The same for the network with biases.
    """

    title: str
    xdnn: dict[str, Any]
    regular: dict[str, Any]


def class_name(label: int, n_classes: int) -> str:
    """Return what a class is called, as far as it is known."""
    return CLASSES[label] if n_classes == len(CLASSES) else f"class {label}"


def draw_example(rows: Sequence[Sequence[Axes]], example: Example, *, headed: bool) -> Any:
    """Draw an image and its maps into two rows of five axes; return one of the maps, for a colour bar."""
    drawn: Any = None
    for axes, alpha in zip(rows, SHOWN, strict=True):
        image = decoded_image(example.xdnn["images"][str(alpha)])
        show_image(axes[0], image)
        axes[0].set_ylabel(f"{example.title}\nα = {alpha:g}" if alpha == SHOWN[0] else f"α = {alpha:g}", fontsize=9)
        cells = [(found, name) for found in (example.xdnn, example.regular) for name in MAPS]
        for each, (found, name) in zip(axes[1:], cells, strict=True):
            drawn = show_attributions(each, np.asarray(decoded_map(found["maps"][name][str(alpha)])), 1.0)
    if headed:
        for each, title in zip(rows[0], COLUMNS, strict=True):
            each.set_title(title, fontsize=9)
    return drawn
