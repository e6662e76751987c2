"""Pictures: ratios and net biases by noise, a restored photograph, and filters of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_xg._core.figures import method_style, new_figure, outline, show_attributions, show_image
from captum_xg._core.files import write_figure
from captum_xg.repro.restoration.filters import DRAWN, PLACES, unpacked
from captum_xg.repro.restoration.protocol import FAMILIES, MOST, SEEN, UNSEEN
from captum_xg.repro.restoration.results import Family, peak_of_noise
from captum_xg.repro.restoration.work import EXAMPLE_NOISE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES, EXAMPLES, FILTERS = "restoration.png", "restored.png", "filters.png"
_LEVELS = (*SEEN, *UNSEEN)
_LABELS = {"twins": "with biases", "xdnns": "without biases"}
_LINES = {"dncnn": "-", "unet": (0, (5, 2))}
_SHOWN = 21  # pixels of a filter each way: beyond there is little


def draw(found: Sequence[Family], folder: Path) -> None:
    """Write all pictures."""
    for name, figure in ((CURVES, _curves(found)), (EXAMPLES, _examples(found)), (FILTERS, _filters(found[-1]))):
        write_figure(folder / name, figure, dpi=100)


def _curves(found: Sequence[Family]) -> Figure:
    figure = new_figure(9, 3.9)
    left, right = figure.subplots(1, 2)
    colours = {"twins": method_style("gradient").colour, "xdnns": method_style("xgradient").colour}
    for family in found:
        for which, label in _LABELS.items():
            style: dict[str, Any] = {"color": colours[which], "linestyle": _LINES[family.key], "marker": "o", "ms": 4}
            name = f"{FAMILIES[family.key]} {label}"
            ratios = [family.ratio(which, [level]) for level in _LEVELS]
            errors = [getattr(each, "standard_error", 0.0) for each in ratios]
            left.errorbar(_LEVELS, [each.value for each in ratios], errors, capsize=3, label=name, **style)
            shares = [100 * family.net_bias(which, level).value for level in _LEVELS]
            right.plot(_LEVELS, shares, label=name, **style)
    left.plot(_LEVELS, [peak_of_noise(level) for level in _LEVELS], ":", color="0.5", label="noisy image")
    left.set(ylabel="peak signal-to-noise ratio, dB", xlabel="noise, σ in grey levels of 255")
    right.set(ylabel="net bias, % of σ", xlabel="noise, σ in grey levels of 255")
    for axes in (left, right):
        axes.axvspan(0, MOST, color="0.92", zorder=0)
        axes.set_xlim(0, UNSEEN[-1] + 3)
        axes.grid(axis="y", alpha=0.3)
        axes.text(MOST / 2, 0.98, "trained", transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=8)
    left.legend(frameon=False, fontsize=8)
    return figure


def _examples(found: Sequence[Family]) -> Figure:
    figure = new_figure(9, 2.6 * len(found))
    rows = figure.subplots(len(found), 4, squeeze=False)
    for axes, family in zip(rows, found, strict=True):
        own, twin = (each["example"] for each in family.filters)
        label = FAMILIES[family.key]
        _picture(axes[0], own["clean"], "photograph")
        _picture(axes[1], own["noisy"], f"noise σ = {EXAMPLE_NOISE}: {own['psnr_noisy']:.1f} dB")
        _picture(axes[2], twin["restored"], f"{label} with biases: {twin['psnr']:.1f} dB")
        _picture(axes[3], own["restored"], f"without biases: {own['psnr']:.1f} dB")
    return figure


def _picture(axes: Axes, packed: str, title: str) -> None:
    show_image(axes, unpacked(packed))
    axes.set_title(title, fontsize=9)


def _filters(family: Family) -> Figure:
    figure = new_figure(9, 3.6)
    rows = figure.subplots(len(DRAWN), 2 * len(PLACES))
    for axes, level in zip(rows, DRAWN, strict=True):
        for i, place in enumerate(PLACES):
            drawn = family.filters[0]["drawn"][str(level)][place]
            image, weights = (_middle(unpacked(drawn[key])) for key in ("noisy", "filter"))
            show_image(axes[2 * i], image)
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
