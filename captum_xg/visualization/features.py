"""Bars of the attributions to features with names, as tables have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.figures import inches_of, legend_below, method_style, new_figure, shortened
from captum_xg._core.options import positive_integer
from captum_xg.errors import InputError
from captum_xg.visualization.numbers import Attributions, array_of, by_name, checked_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CHARACTERS = 36


def feature_bars(
    attributions: Attributions, names: Iterable[str], *, values: Tensor | None = None, top: int = 20, title: str = ""
) -> Figure:
    r"""Draw a bar for each feature, the largest first.

    Of one example the bars are its attributions, to the right for those that speak for the output. Of several they
    are the mean absolute attribution :math:`\tfrac{1}{N} \sum_n |a_{n,i}|`, with a line of one standard error.

    Args:
        attributions: Shape ``(F,)``, ``(1, F)`` or ``(N, F)``; of several methods by name, which are drawn side by
            side in the order of the first one.
        names: Of the F features.
        values: The features of one example, shape ``(F,)`` or ``(1, F)``: they stand beside the names.
        top: The most features that are drawn; the rest is told as a number.
        title: Above the bars.

    Raises:
        InputError: If attributions are no finite numbers, or shapes do not fit.
        OptionError, OptionTypeError: For names or numbers that do not fit.

    Example:
        >>> figure = feature_bars(torch.tensor([0.5, -2.0]), ["age", "income"], values=torch.tensor([52.0, 1.5]))
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['income = 1.5', 'age = 52']
    """
    where = "feature_bars"
    rows = {name: np.atleast_2d(a) for name, a in by_name(attributions, where).items()}
    first = next(iter(rows.values()))
    if first.ndim != 2 or any(a.shape != first.shape for a in rows.values()):
        shapes = ", ".join(str(a.shape) for a in rows.values())
        raise InputError(
            f"{where}: `attributions` must have one shape (F,) or (N, F) for all methods, but has {shapes}. "
            "Sum over the other dimensions, such as time, or choose from them."
        )
    n, features = first.shape
    labels = checked_names(names, features, "names", "feature", where)
    if values is not None:
        labels = _with_values(labels, values, n, where)
    bars = {name: a[0] if n == 1 else np.abs(a).mean(0) for name, a in rows.items()}
    order = np.argsort(-np.abs(next(iter(bars.values()))), kind="stable")[: positive_integer(top, "top", where)]
    short = shortened([labels[i] for i in order], _MOST_CHARACTERS)
    figure = new_figure(4.2 + inches_of(max(map(len, short)), 9.5), 1.3 + 0.26 * len(order) * max(1, len(rows) ** 0.5))
    axes = figure.subplots()
    height = 0.8 / len(rows)
    for k, (name, sizes) in enumerate(bars.items()):
        places = np.arange(len(order)) + (k - (len(rows) - 1) / 2) * height
        spread = None if n == 1 else _standard_error(np.abs(rows[name]))[order]
        colour = method_style(name).colour if name else _signs(sizes[order], n)
        axes.barh(places, sizes[order], height, xerr=spread, color=colour, label=name, error_kw={"elinewidth": 1})
    axes.set_yticks(np.arange(len(order)), short, fontsize=9.5)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    kind = "attribution" if n == 1 else f"mean absolute attribution over {n} examples"
    more = f"\n({features - len(order)} features with smaller ones are not shown)" if features > len(order) else ""
    axes.set_xlabel(kind + more, fontsize=9.5)
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if len(rows) > 1:
        legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def _with_values(names: list[str], values: Tensor, n: int, where: str) -> list[str]:
    numbers = array_of(values, "values", where).reshape(-1)
    if n != 1 or len(numbers) != len(names):
        raise InputError(f"{where}: `values` must be the {len(names)} features of one example, whose bars are drawn.")
    return [f"{name} = {value:.4g}" for name, value in zip(names, numbers, strict=True)]


def _standard_error(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error of the mean over rows."""
    return np.asarray(sizes.std(0, ddof=1) / np.sqrt(len(sizes)))


def _signs(sizes: NDArray[np.float64], n: int) -> str | list[str]:
    if n > 1:
        return method_style("x gradient").colour
    return ["#b2182b" if size > 0 else "#2166ac" for size in sizes]  # the ends of the colour scale of images
