"""What is asked of every figure, by where the renderer puts things; nothing here is from the package."""

from itertools import combinations

import numpy as np
from matplotlib.axis import Axis, Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def assert_readable(figure):
    """All text lies inside, titles apart; data axes say what x and y are; a colour bar says what its numbers are."""
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    figure.canvas.draw()
    assert_inside(figure)
    assert_titles_apart(figure)
    assert_labelled(figure)


def assert_inside(figure):
    renderer, width, height = figure.canvas.get_renderer(), *figure.bbox.size
    ticks = [tick for axis in figure.findobj(Axis) for tick in axis._update_ticks()]
    drawn = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}
    undrawn = {id(label) for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)} - drawn
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in undrawn:
            box = text.get_window_extent(renderer)
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside, f"{text.get_text()!r} at {box} leaves the figure of {width} × {height} pixels"


def assert_titles_apart(figure):
    renderer = figure.canvas.get_renderer()
    titles = [t for axes in figure.axes for t in (axes.title, axes._left_title) if t.get_text().strip()]
    titles += [t for t in _parts(figure) if t is not None and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in titles]
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} and {other!r} lie on each other"


def assert_labelled(figure):
    for axes in figure.axes:
        if colour_bar_of(axes):
            assert axes.get_xlabel().strip() or axes.get_ylabel().strip(), "a colour bar without a label"
        elif axes.get_images():
            assert axes.get_images()[0].norm.vmin is not None
        elif axes.has_data():
            assert axes.get_xlabel().strip(), f"{axes.get_title()!r}: no label of x"
            assert axes.get_ylabel().strip(), f"{axes.get_title()!r}: no label of y"


def assert_attributions_have_a_colour_bar(figure):
    drawn = [image for axes in figure.axes if not colour_bar_of(axes) for image in axes.get_images()]
    signed = [image for image in drawn if image.get_cmap().name == "RdBu_r"]
    assert signed
    bars = [axes._colorbar.mappable for axes in figure.axes if colour_bar_of(axes)]
    scales = {(bar.get_cmap().name, bar.norm.vmin, bar.norm.vmax) for bar in bars}
    for image in signed:
        assert image.norm.vmin == -image.norm.vmax, "0 is not the middle of the colours"
        assert (image.get_cmap().name, image.norm.vmin, image.norm.vmax) in scales


def grey_images(figure):
    """Return the arrays that are drawn in grey, which must be black at 0 and white at 1."""
    found = []
    for axes in figure.axes:
        for image in axes.get_images():
            if not colour_bar_of(axes) and image.get_cmap().name == "gray":
                assert (image.norm.vmin, image.norm.vmax) == (0, 1)
                found.append(np.asarray(image.get_array()))
    return found


def colour_bar_of(axes):
    return getattr(axes, "_colorbar", None)


def _parts(figure):
    yield figure._suptitle
    for part in figure.subfigs:
        yield from _parts(part)
