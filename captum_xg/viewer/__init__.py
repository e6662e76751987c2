"""A page to look at attributions of a data set: opened from disk, without a server."""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.viewer.page import Page, write_page
else:
    __getattr__, __dir__ = on_demand(__name__, {"page": ("Page", "write_page")})

__all__ = ["Page", "write_page"]
