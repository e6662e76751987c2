"""The demo: trained networks and real images that come with the package, and what X-Gradient does on them."""

from captum_xg.demo.assets import demo_images, demo_model

__all__ = ["demo_images", "demo_model"]
