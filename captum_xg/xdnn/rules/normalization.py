"""Norms by statistics of the example: kept as they are at the typical size of their input, and extended along the ray.

x ↦ (m/r) · norm(r·x/m) with m the root mean square of x per example and r its typical value: of degree 1, the same as
the norm wherever m = r, with its weights, biases and eps. What the norm did to the sizes of positions, groups or
channels relative to each other it still does; only the size of the whole example now passes through.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from captum_xg.xdnn.extension import HomogeneousExtension
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion


@register_conversion(
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, _InstanceNorm),
    *(F.layer_norm, F.group_norm, F.instance_norm, F.rms_norm, F.local_response_norm),
    stage="normalisation and gates",
)
def norm(module: nn.Module, context: ModuleContext) -> Conversion | NotConvertible:
    """A norm, or a call of one in a forward, is extended from inputs of typical size."""
    why = f"works at root mean square {context.rms:.3g} per example, and its result scales with the example"
    return Conversion(HomogeneousExtension(module, degree=1, norm="rms", radius=context.rms), why)
