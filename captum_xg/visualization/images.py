"""Images beside their attributions, with one colour scale and its bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.figures import SPEAKS, colour_bar, new_figure, scale_of, show_attributions, show_image, wrapped
from captum_xg._core.options import finite_number, one_of
from captum_xg.errors import InputError, OptionError
from captum_xg.visualization.numbers import Attributions, array_of, by_name, checked_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["example", "all"]
_SIDE = 2.1
"""The side of a panel in inches."""


def image_grid(
    images: Tensor,
    attributions: Attributions,
    *,
    labels: Iterable[str] | None = None,
    scale: Scale = "example",
    percentile: float = 99.5,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Figure:
    r"""Draw each image beside what each method attributes to its pixels.

    Red speaks for the class and blue against it. Attributions are summed over channels, which keeps them complete. All
    methods of an example have one colour scale, so that equal colours are equal numbers; its unit stands below them.

    Args:
        images: Shape ``(N, C, H, W)`` with one or three channels, or ``(N, H, W)``. Numbers in [0, 1] are shown as they
            are; any others are stretched to it, image by image.
        attributions: Shape as ``images`` (or with one channel); of several methods by name.
        labels: What stands beside each image, such as its class.
        scale: ``"example"``: a colour scale for each row. ``"all"``: one for all rows, which compares examples.
        percentile: The ends of the scale are this percentile of the absolute values; what is larger has their colour.
            A single pixel would else make all others white.
        mean: Of each channel, if the images were normalised by it: that is undone.
        std: The same for the standard deviation.

    Raises:
        InputError: If images and attributions are no finite numbers, or their shapes do not fit.
        OptionError, OptionTypeError: For an unsuitable option.

    Example:
        >>> x = torch.rand(2, 3, 8, 8)
        >>> figure = image_grid(x, {"random": torch.randn(2, 3, 8, 8)}, labels=["cat", "dog"])
        >>> len(figure.axes)  # two images, two maps, a bar
        5
    """
    where = "image_grid"
    shown = _images(array_of(images, "images", where), mean, std, where)
    maps = {name: _pixels(a, shown, name, where) for name, a in by_name(attributions, where).items()}
    one_of(scale, get_args(Scale), "scale", where)
    share = _checked_percentile(percentile, where)
    texts = [""] * len(shown) if labels is None else checked_names(labels, len(shown), "labels", "image", where)
    together = np.stack(list(maps.values()), 1)
    ends = [_end(row, share) for row in together] if scale == "example" else [_end(together, share)] * len(shown)
    figure = new_figure(_SIDE * (len(maps) + 1) + 0.4, (_SIDE + 0.25) * len(shown) + 0.9)
    grid = figure.subplots(len(shown), len(maps) + 1, squeeze=False)
    for row, image, panels, text, end in zip(grid, shown, together, texts, ends, strict=True):
        _show(row[0], image)
        row[0].set_ylabel(wrapped(text, _SIDE, 10), fontsize=10)
        for axes, panel in zip(row[1:], panels, strict=True):
            drawn = show_attributions(axes, panel, end)
        if scale == "example":
            row[-1].set_xlabel(f"1 = {end:.2g}", fontsize=9)
    for axes, name in zip(grid[0, 1:], maps, strict=True):
        axes.set_title(wrapped(name or "attribution", _SIDE, 10), fontsize=10)
    unit = "as a share of the number below each row" if scale == "example" else f"1 = {ends[0]:.2g}"
    width = _SIDE * (len(maps) + 1)
    colour_bar(figure, drawn, list(grid.flat), wrapped(f"attribution, {unit} ({SPEAKS})", width, 9.5))
    return figure


def _checked_percentile(percentile: object, where: str) -> float:
    share = finite_number(percentile, "percentile", where)
    if not 50 <= share <= 100:
        raise OptionError(f"{where}: `percentile` must be between 50 and 100, but is {share:g}.")
    return share


def _end(values: NDArray[np.float64], percentile: float) -> float:
    # Where most pixels have none, the percentile may be zero, and the largest is meant.
    return float(np.percentile(np.abs(values), percentile)) or scale_of(values)


def _images(
    images: NDArray[np.float64], mean: Sequence[float] | None, std: Sequence[float] | None, where: str
) -> NDArray[np.float64]:
    """Return images of shape ``(N, C, H, W)`` in [0, 1]."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"{where}: `images` must have shape (N, C, H, W) with 1 or 3 channels, or (N, H, W), but has "
            f"{tuple(images.shape)}. Choose the channels to show."
        )
    if (mean is None) != (std is None):
        raise OptionError(f"{where}: `mean` and `std` undo one normalisation; pass both or none.")
    if mean is not None and std is not None:
        each = [np.asarray(numbers, dtype=float).reshape(-1, 1, 1) for numbers in (mean, std)]
        if any(len(numbers) not in (1, images.shape[1]) for numbers in each):
            raise OptionError(f"{where}: `mean` and `std` must have one number per channel, of {images.shape[1]}.")
        # What rounding left outside of [0, 1] is no reason to stretch.
        images = images * each[1] + each[0]
        images = np.where((images > -1e-3) & (images < 1 + 1e-3), images.clip(0, 1), images)
    low, high = (pick(images, axis=(1, 2, 3), keepdims=True) for pick in (np.min, np.max))
    stretched = (images - low) / np.where(high > low, high - low, 1)
    return np.where((low >= 0) & (high <= 1), images, stretched)


def _pixels(
    attributions: NDArray[np.float64], images: NDArray[np.float64], name: str, where: str
) -> NDArray[np.float64]:
    """Return the sum over channels, shape ``(N, H, W)``."""
    n, channels, *size = images.shape
    maps = attributions[:, None] if attributions.ndim == 3 else attributions
    if maps.ndim != 4 or maps.shape[0] != n or list(maps.shape[2:]) != size or maps.shape[1] not in (1, channels):
        entry = f"attributions[{name!r}]" if name else "attributions"
        raise InputError(
            f"{where}: `{entry}` must have the shape of `images`, {tuple(images.shape)}, or one channel, but has "
            f"{tuple(attributions.shape)}."
        )
    return np.asarray(maps.sum(1))


def _show(axes: Axes, image: NDArray[np.float64]) -> None:
    show_image(axes, image[0] if len(image) == 1 else image.transpose(1, 2, 0))
