"""Other people's code with X-Gradient in it: Captum itself, and packages that build on it, each of them optional."""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.integrations.swap import swapped_in
else:
    __getattr__, __dir__ = on_demand(__name__, {"swap": ("swapped_in",)})

__all__ = ["swapped_in"]
