"""The common style of all figures: one look per method, images and attributions, legends, colour bars with a unit."""

from __future__ import annotations

import hashlib
import math
import textwrap
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike

    LineStyle = str | tuple[int, tuple[int, ...]]

RIGHT, WRONG = "#1a7a3a", "#b02020"
"""What a network gets right, and wrong."""
FRAME = "#e08a00"
"""Outlines on images and attributions: seen on black, on white, and on both ends of the colour scale."""
SPEAKS = "red speaks for the class, blue against it"

_CHARACTER = 0.55
"""The mean width of a character of the default font, in font sizes."""


@dataclass(frozen=True)
class MethodStyle:
    """How a method is drawn, in every figure and whatever else is in it.

    Attributes:
        colour: Of lines, markers and bars.
        line: The style of lines.
        width: Of lines, in points.
        marker: Of points.
        level: What is drawn later lies on top: the closed form on what it equals.
        first_marker: Which point of a curve carries the first marker, so that equal curves show more than one.
    """

    colour: str
    line: LineStyle = "-"
    width: float = 1.8
    marker: str = "o"
    level: float = 2.0
    first_marker: int = 0

    def of_line(self) -> dict[str, Any]:
        """Return the arguments of ``axes.plot``."""
        return {
            "color": self.colour,
            "linestyle": self.line,
            "linewidth": self.width,
            "marker": self.marker,
            "markersize": 5.5,
            "markevery": (self.first_marker, 4),
            "zorder": self.level,
        }


# Okabe and Ito's colours, told apart by colour-blind readers too. Integrated Gradients is wide, so that it shows beside
# what equals it, and through its gaps.
_KNOWN = {
    "integrated gradients": MethodStyle("#e69f00", width=4.4, marker="s"),
    "input x gradient": MethodStyle("#56b4e9", "-.", 2.6, "v", 2.2),
    "x gradient": MethodStyle("#0072b2", "--", 1.8, "o", 2.4),
    "expected gradients": MethodStyle("#cc79a7", marker="^"),
    "gradient": MethodStyle("#009e73", marker="D"),
    "right for the right reasons": MethodStyle("#5d3a9b", marker="P"),
    "no prior": MethodStyle("#333333", marker="X"),
    "random": MethodStyle("#a0a0a0", ":", 1.6, "x"),
    "blurred input": MethodStyle("#6f6f6f", (0, (1, 2)), 1.6, "+"),
}
_ALIASES = {
    "ig": "integratedgradients",
    "eg": "expectedgradients",
    "xg": "xgradient",
    "grad": "gradient",
    "ixg": "inputxgradient",
    "rrr": "rightfortherightreasons",
    "none": "noprior",
    "unregularised": "noprior",
}
_BY_PLAIN_NAME = {"".join(name.split()): style for name, style in _KNOWN.items()}

_OTHER_COLOURS = (
    *("#d55e00", "#7f3b08", "#b2182b", "#66a61e", "#e7298a", "#01665e"),
    *("#1b1b6e", "#b8860b", "#8c6bb1", "#4d4d00", "#fb8072", "#2b8cbe"),
)
_OTHER_LINES: tuple[LineStyle, ...] = ("-", (0, (6, 2)), (0, (4, 1, 1, 1)), (0, (4, 1, 1, 1, 1, 1)))
_OTHER_MARKERS = "<>*pHhd8"


def method_style(name: str) -> MethodStyle:
    """Return the style of a method, which depends on its name and on nothing else.

    Names that differ in case, blanks and punctuation only mean the same known method: ``xgradient`` and
    ``X-Gradient``, ``expected_gradients_8`` and ``Expected Gradients (8)``. A number makes a method darker the larger
    it is. All other names get colour, line and marker by a hash.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.replace("×", "x")).lower() if c.isalnum())
    family = plain.rstrip("0123456789")
    count = plain[len(family) :]
    known = _BY_PLAIN_NAME.get(_ALIASES.get(family, family))
    chosen = hashlib.sha256((plain if known else name.strip().casefold()).encode()).digest()
    if known is None:
        return MethodStyle(
            _OTHER_COLOURS[chosen[0] % len(_OTHER_COLOURS)],
            _OTHER_LINES[chosen[1] % len(_OTHER_LINES)],
            marker=_OTHER_MARKERS[chosen[2] % len(_OTHER_MARKERS)],
            first_marker=chosen[3] % 4,
        )
    style = replace(known, first_marker=chosen[3] % 4)
    if not count or not 0 < int(count) < 10**9:
        return style
    doublings = min(math.log2(int(count)), 10.0)
    # Curves of one family may be equal, too: the one on top is thinner.
    return replace(
        style,
        colour=_mixed(style.colour, 0.5 - 0.1 * doublings),
        width=max(1.4, style.width - 0.25 * doublings),
        level=style.level + 0.01 * doublings,
    )


def new_figure(width: float, height: float) -> Figure:
    """Return a white figure, in inches, that lays itself out; not through pyplot, whose state belongs to the caller."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from captum_xg._core.shown_figure import ShownFigure

    figure = ShownFigure(figsize=(width, height), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def show_image(axes: Axes, image: ArrayLike) -> AxesImage:
    """Draw a grey image ``(H, W)`` in [0, 1] as the network sees it: 0 is black, 1 is white."""
    _without_ticks(axes)
    return axes.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=1)


def show_attributions(axes: Axes, attributions: ArrayLike, scale: float) -> AxesImage:
    """Draw attributions ``(H, W)`` as shares of a scale: red is positive, blue negative, 0 white, ±1 the ends."""
    _without_ticks(axes)
    return axes.imshow(np.asarray(attributions) / scale, cmap="RdBu_r", vmin=-1, vmax=1)


def scale_of(attributions: ArrayLike) -> float:
    """Return the largest absolute value, which is what colours are relative to; 1 where all are 0."""
    return float(np.abs(np.asarray(attributions)).max(initial=0.0)) or 1.0


def colour_bar(figure: Figure | SubFigure, drawn: AxesImage, axes: Any, label: str) -> Colorbar:
    """Add a horizontal colour bar below these axes that says what its numbers are."""
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=45, pad=0.02)
    bar.set_label(label, fontsize=9.5)
    bar.ax.tick_params(labelsize=9)
    bar.ax.locator_params(nbins=4)  # more run into each other below a narrow figure
    return bar


def outline(axes: Axes, mask: ArrayLike) -> None:
    """Draw a frame around the true part of a mask ``(H, W)``, such as a patch that is as dark as what is around it."""
    from matplotlib.patches import Rectangle

    inside = np.asarray(mask)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if len(rows):
        corner = (float(columns[0]) - 0.5, float(rows[0]) - 0.5)
        width, height = float(np.ptp(columns)) + 1, float(np.ptp(rows)) + 1
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=FRAME, linewidth=1.6, clip_on=False))


def wrapped(text: str, inches: float, fontsize: float) -> str:
    """Return the text in lines that are no wider than that, words that are longer cut."""
    return "\n".join(
        part for line in text.splitlines() for part in textwrap.wrap(line, characters_in(inches, fontsize)) or [""]
    )


def characters_in(inches: float, fontsize: float) -> int:
    """Return how many characters of a size fit into a width, at least 8."""
    return max(8, int(inches * 72 / (_CHARACTER * fontsize)))


def inches_of(characters: int, fontsize: float) -> float:
    """Return the width of so many characters."""
    return characters * _CHARACTER * fontsize / 72


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Return names of at most so many characters, with ellipses; of more where different ones would become equal."""
    long = [name for name in names if len(name) > most]
    shared = next((i for i, column in enumerate(zip(*long, strict=False)) if len(set(column)) > 1), 0)
    common = long[0][:shared].rfind(".") + 1 if long else 0
    for length in range(max(most, 8), max(map(len, names), default=0) + 1, 4):
        for start in (0, common):
            for tail in (2 * length // 3, length // 2, length // 3):
                short = [_elided(name, start, tail, length) for name in names]
                if len(set(short)) == len(set(names)):
                    return short
    return list(names)


def _elided(name: str, start: int, tail: int, length: int) -> str:
    if len(name) <= length:
        return name
    rest = f"…{name[start:]}" if start else name
    return rest if len(rest) <= length else f"{rest[: length - tail - 1]}…{rest[-tail:]}"


def width_around(axes: Axes) -> float:
    """Return how wide a text centred on axes may be without leaving its figure, in inches."""
    box = axes.get_position()
    centre = (box.x0 + box.x1) / 2
    figure: Any = axes.get_figure()
    width = figure.bbox.width / figure.dpi
    others = [other.get_position() for other in figure.axes if other is not axes]
    beside = [o for o in others if o.y0 < box.y1 and box.y0 < o.y1]  # a title must not run into a neighbour's
    left = max([0.0, *((o.x1 + box.x0) / 2 for o in beside if o.x1 <= centre)])
    right = min([1.0, *((o.x0 + box.x1) / 2 for o in beside if o.x0 >= centre)])
    return float(2 * width * min(centre - left, right - centre))


def lay_out(axes: Axes) -> None:
    """Make room for the labels of axes in somebody else's figure, by its own layout engine if it has one."""
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    part: Any = axes.get_figure()
    figure = part.canvas.figure
    engine = figure.get_layout_engine()
    of_its_own = engine is not None and not isinstance(engine, PlaceHolderLayoutEngine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it does not fit: it is then as it was
        if of_its_own:
            engine.execute(figure)
        elif axes.get_subplotspec() is not None:
            figure.tight_layout()


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], title: str = "") -> None:
    """Put a legend under all axes, in as many columns as the figure is wide, and make the figure higher by its rows."""
    fontsize = 9.0
    width, height = map(float, figure.get_size_inches())
    lines = [wrapped(label, width - 1.0, fontsize) for label in labels]
    widest = max((len(part) for line in lines for part in line.split("\n")), default=1)
    columns = max(1, min(int(width / (inches_of(widest, fontsize) + 0.75)), 4, len(lines)))
    rows = -(-sum(line.count("\n") + 1 for line in lines) // columns) + (1.3 if title else 0.3)
    figure.set_size_inches(width, height + 0.2 * rows)
    figure.legend(
        handles,
        lines,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        title=wrapped(title, width - 0.4, fontsize + 1) or None,
        title_fontsize=fontsize + 1,
        fontsize=fontsize,
    )


def plain_log_ticks(axis: Any) -> None:
    """Write the numbers of a logarithmic axis as numbers, at 1, 2 and 5 times the powers of ten where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _without_ticks(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _mixed(colour: str, with_white: float) -> str:
    """Return a colour mixed with white by a share; with black if it is negative."""
    end, share = (255, with_white) if with_white > 0 else (0, -with_white)
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (end - part)):02x}" for part in parts)
