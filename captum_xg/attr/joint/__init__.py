"""Attribution to inputs and additive constants together."""

from captum_xg.attr.joint.attributions import JointAttributions
from captum_xg.attr.joint.joint_x_gradient import JointXGradient

__all__ = ["JointAttributions", "JointXGradient"]
