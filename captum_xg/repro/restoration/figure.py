"""Pictures: ratios and net biases by noise, a restored photograph, and filters of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_xg._core.figures import WRONG, method_style, new_figure, outline, show_attributions, show_image
from captum_xg._core.files import write_figure
from captum_xg.repro.restoration.filters import DRAWN, PLACES, unpacked
from captum_xg.repro.restoration.protocol import FAMILIES, MOST, SEEN, UNSEEN
from captum_xg.repro.restoration.results import Family, peak_of_noise
from captum_xg.repro.restoration.work import EXAMPLE_NOISE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES, EXAMPLES, FILTERS = "restoration.png", "restored.png", "filters.png"
_LEVELS = (*SEEN, *UNSEEN)
_LABELS = {"twins": "with biases", "xdnns": "without biases"}
_LINES = {"dncnn": "-", "unet": (0, (5, 2))}
_COLOURS = {"twins": method_style("gradient").colour, "xdnns": method_style("xgradient").colour}
_SHOWN = 21  # pixels of a filter each way: beyond there is little


def draw(found: Sequence[Family], folder: Path) -> None:
    """Write all pictures."""
    for name, figure in ((CURVES, _curves(found)), (EXAMPLES, _examples(found)), (FILTERS, _filters(found[-1]))):
        write_figure(folder / name, figure, dpi=100)


def _curves(found: Sequence[Family]) -> Figure:
    figure = new_figure(9, 4.4)
    left, right = figure.subplots(1, 2)
    for family in found:
        for which, label in _LABELS.items():
            name = f"{FAMILIES[family.key]} {label}"
            style: dict[str, Any] = {"color": _COLOURS[which], "linestyle": _LINES[family.key], "marker": "o", "ms": 4}
            ratios = [family.ratio(which, [level]) for level in _LEVELS]
            errors = [getattr(each, "standard_error", 0.0) for each in ratios]
            left.errorbar(_LEVELS, [each.value for each in ratios], errors, capsize=3, label=name, **style)
            right.plot(_LEVELS, [family.amount("removed", which, level) for level in _LEVELS], label=name, **style)
        net = [family.amount("net_bias", "twins", level) for level in _LEVELS]
        style = {"color": WRONG, "linestyle": _LINES[family.key], "marker": "x", "ms": 5}
        right.plot(_LEVELS, net, label=f"net bias of {FAMILIES[family.key]}", **style)
    left.plot(_LEVELS, [peak_of_noise(level) for level in _LEVELS], ":", color="0.5", label="noisy image")
    right.plot([0, UNSEEN[-1]], [0, UNSEEN[-1]], ":", color="0.5", label="the noise")
    left.set_ylabel("peak signal-to-noise ratio, dB")
    right.set_ylabel("taken away, in grey levels (root mean square)")
    for axes in (left, right):
        axes.set_xlabel("σ of the noise, in grey levels of 255")
        axes.axvspan(0, MOST, color="0.92", zorder=0)
        axes.set_xlim(0, UNSEEN[-1] + 3)
        axes.grid(axis="y", alpha=0.3)
        place = axes.get_xaxis_transform()
        axes.text(MOST / 2, 0.01, "trained on", transform=place, ha="center", va="bottom", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _examples(found: Sequence[Family]) -> Figure:
    """Draw the photograph above the same with noise, and beside them what networks make of it, in rows."""
    one = len(found) == 1
    figure = new_figure(8.8, 2.6) if one else new_figure(6.9, 4.9)
    axes = figure.subplots(1, 4) if one else figure.subplots(2, 3).flat
    own = found[0].filters[0]["example"]
    shown = [(own["clean"], "photograph"), (own["noisy"], f"noise σ = {EXAMPLE_NOISE}: {own['psnr_noisy']:.1f} dB")]
    for family in found:
        for each, label in zip(reversed(family.filters), _LABELS.values(), strict=True):
            example = each["example"]
            shown.append((example["restored"], f"{FAMILIES[family.key]} {label}: {example['psnr']:.1f} dB"))
    order = range(4) if one else (0, 2, 3, 1, 4, 5)
    for place, index in zip(axes, order, strict=True):
        packed, title = shown[index]
        # Whole pixels: smoothed noise is not the noise, and makes large files.
        show_image(place, unpacked(packed)).set_interpolation("nearest")
        place.set_title(title, fontsize=8)
    return figure


def _filters(family: Family) -> Figure:
    figure = new_figure(9, 3.6)
    rows = figure.subplots(len(DRAWN), 2 * len(PLACES))
    for axes, level in zip(rows, DRAWN, strict=True):
        for i, place in enumerate(PLACES):
            drawn = family.filters[0]["drawn"][str(level)][place]
            image, weights = (_middle(unpacked(drawn[key])) for key in ("noisy", "filter"))
            show_image(axes[2 * i], image).set_interpolation("nearest")
            mask = np.zeros(image.shape, bool)
            mask[len(image) // 2, len(image) // 2] = True
            outline(axes[2 * i], mask)
            axes[2 * i].set_title(f"{place}, σ = {level}", fontsize=9)
            show_attributions(axes[2 * i + 1], weights, float(np.abs(weights).max()))
            axes[2 * i + 1].set_title(f"largest {weights.max():.2f}", fontsize=9)
    figure.suptitle(f"{FAMILIES[family.key]} without biases: weights of the pixels around", fontsize=10)
    return figure


def _middle(square: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    centre, half = len(square) // 2, _SHOWN // 2
    return square[max(centre - half, 0) : centre + half + 1, max(centre - half, 0) : centre + half + 1]
