"""Padding by a constant, which becomes zero."""

from __future__ import annotations

import torch.nn.functional as F
from torch.nn.modules.padding import _ConstantPadNd

from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.layers import WithoutArgument
from captum_xg.xdnn.registry import Conversion, ModuleContext, register_conversion


@register_conversion(_ConstantPadNd, F.pad, stage="constants")
def padding(module: _ConstantPadNd | FunctionCall, context: ModuleContext) -> Conversion:
    """Zero is padded in place of a constant."""
    if isinstance(module, FunctionCall):
        return Conversion(WithoutArgument(F.pad, 3, "value"), "pads with 0", after="pad with 0")
    value, module.value = module.value, 0.0
    return Conversion(module, f"pads with 0 instead of {value:g}")
