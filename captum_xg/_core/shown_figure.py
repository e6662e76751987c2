"""A figure that shows itself where it is the last line of a notebook's cell.

IPython draws matplotlib's figures only after pyplot has made one. These are made without it, and would stay the text
``<Figure size 640x480 with 1 Axes>``.
"""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure of matplotlib in every other respect."""

    def _repr_png_(self) -> bytes:
        """Return the picture, which IPython asks for by this name unless pyplot has told it how to draw figures."""
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()
