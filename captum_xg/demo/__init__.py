"""The demo: trained networks and real images that come with the package, and what X-Gradient does on them."""

from captum_xg.demo.assets import demo_images, demo_model
from captum_xg.demo.conventional import conventional_model
from captum_xg.demo.texts import demo_text_model

__all__ = ["conventional_model", "demo_images", "demo_model", "demo_text_model"]
