"""Activations: to a function that is linear on either side of zero, as only those scale.

The rule: what vanishes far to the left (GELU, SiLU, Hardswish, Mish, Softplus, ReLU6, clamping to [0, c]) becomes ReLU.
What passes negative values on (ELU, SELU, CELU, tanh, Hardtanh, Softsign) becomes LeakyReLU with slope ¼, the initial
value of PReLU: ReLU would drop every sign, and with the slope that these have at zero, 1, nothing but a linear map
would be left. The shrinkage functions become the identity, from which they differ by a constant for large inputs.

Source: He et al. 2015, *Delving Deep into Rectifiers*, Section 2.1, for the slope.
"""

from __future__ import annotations

import torch
from torch import nn

from captum_xg.xdnn.layers import Clamp, HomogeneousGLU, rectifier
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion

SLOPE = 0.25
_FAR = -1e4


@register_conversion(
    *(nn.ReLU6, nn.Hardtanh, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.Softplus, nn.Threshold, Clamp),
    *(nn.ELU, nn.CELU, nn.SELU, nn.Tanh, nn.Softsign),
    stage="activations",
)
def activation(module: nn.Module, context: ModuleContext) -> Conversion | NotConvertible:
    """A curved or saturating function becomes ReLU or LeakyReLU."""
    if isinstance(module, Clamp) and module.min is None:
        return NotConvertible("cuts off large values and lets negative ones pass", "Leave the upper bound out")
    with torch.no_grad():
        left = float(module(torch.tensor([_FAR], dtype=torch.float64)))
    inplace = bool(getattr(module, "inplace", False))
    if abs(left) < 1e-2:
        relu = rectifier(overwritten=context.overwritten, inplace=inplace)
        return Conversion(relu, "becomes max(x, 0), as it vanishes far to the left", after="ReLU")
    why = f"becomes x or x/4, whichever is larger, as it passes negative values on (down to {left:.3g})"
    return Conversion(nn.LeakyReLU(SLOPE, inplace), why, after=f"LeakyReLU({SLOPE})")


@register_conversion(nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, stage="activations")
def shrinkage(module: nn.Module, context: ModuleContext) -> Conversion:
    """What only small values notice is left out."""
    return Conversion(nn.Identity(), "becomes x, as it shrinks large values by a constant only")


@register_conversion(nn.GLU, stage="normalisation and gates")
def gated_linear_unit(module: nn.GLU, context: ModuleContext) -> Conversion:
    """The sigmoid is taken of values of a fixed size."""
    why = f"its gates see values scaled to root mean square {context.rms:.3g}, so that α does not move them"
    return Conversion(HomogeneousGLU(module.dim, context.rms), why)
