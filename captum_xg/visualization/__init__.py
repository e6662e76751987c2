"""Pictures of attributions: images, tokens of a text, features of a table.

Each function returns a figure of matplotlib, or HTML, and changes nothing global: no pyplot, no style.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.visualization.features import feature_bars
    from captum_xg.visualization.images import image_grid
    from captum_xg.visualization.tokens import Html, token_figure, token_html
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "features": ("feature_bars",),
            "images": ("image_grid",),
            "tokens": ("Html", "token_figure", "token_html"),
        },
    )

__all__ = ["Html", "feature_bars", "image_grid", "token_figure", "token_html"]
