"""Pictures of attributions: images, tokens of a text, features of a table, atoms of molecules.

Each function returns a figure of matplotlib, or HTML, and changes nothing global: no pyplot, no style.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.visualization.features import feature_bars
    from captum_xg.visualization.images import image_grid
    from captum_xg.visualization.molecules import molecule_svg
    from captum_xg.visualization.tokens import Html, token_figure, token_html
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "features": ("feature_bars",),
            "images": ("image_grid",),
            "molecules": ("molecule_svg",),
            "tokens": ("Html", "token_figure", "token_html"),
        },
    )

__all__ = ["Html", "feature_bars", "image_grid", "molecule_svg", "token_figure", "token_html"]
