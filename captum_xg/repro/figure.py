"""Looks that the figures of all experiments share: a method's name in full, its marker, points with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from captum_xg._core.figures import method_style
from captum_xg.repro.experiment import Method

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ATTRIBUTIONS = {
    "": "no prior",
    "none": "no prior",
    "gradient": "gradient",
    "rrr": "Right for the Right Reasons (RRR)",
    "expected_gradients": "Expected Gradients",
    "input_x_gradient": "input × gradient",
    "xgradient": "X-Gradient",
}


class MarkerStyle(TypedDict):
    """Arguments of matplotlib's ``plot``."""

    color: str
    marker: str
    markerfacecolor: str


def spelled_out(method: Method) -> str:
    """Return what a method is, without abbreviations that a reader has not met."""
    n = method.n_references
    references = f", {n}\N{NO-BREAK SPACE}reference{'s' * (n != 1)}" if n else ""
    return f"{_ATTRIBUTIONS[method.attribution]}{references}{without_biases(method)}"


def without_biases(method: Method) -> str:
    """Return the part of a method's name that says that its network has no biases."""
    return "" if method.bias else ", without biases (X-DNN)"


def marker_of(method: Method) -> MarkerStyle:
    """Return colour and marker of a method, as in all figures; the marker is hollow without biases."""
    style = method_style(method.attribution + (str(method.n_references) if method.n_references else "") or "no prior")
    return {"color": style.colour, "marker": style.marker, "markerfacecolor": style.colour if method.bias else "white"}


def legend_under(axes: Axes, **options: float) -> None:
    """Put the legend below the axes, where it covers nothing."""
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), **options)
