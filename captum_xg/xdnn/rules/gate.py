"""Sigmoids, softmaxes and what is built on them: gates of degree 0, so that what they multiply keeps its degree."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torchvision.ops import SqueezeExcitation

from captum_xg.xdnn.extension import HomogeneousExtension
from captum_xg.xdnn.layers import HardGate, HomogeneousGate, rectifier
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion


@register_conversion(SqueezeExcitation, stage="normalisation and gates")
def squeeze_and_excitation(module: SqueezeExcitation, context: ModuleContext) -> Conversion:
    """The gates see the channels' means scaled to their typical size; their weights and biases stay."""
    radius = context.inner_rms.get("fc1", 1.0)
    names = ("fc1", "activation", "fc2", "scale_activation")
    why = f"its gates see the channels' means scaled to root mean square {radius:.3g}, so that α does not move them"
    parts = OrderedDict((name, getattr(module, name)) for name in names)
    return Conversion(HomogeneousGate(module.avgpool, parts, radius), why)


@register_conversion(nn.Sigmoid, nn.Hardsigmoid, HardGate, stage="normalisation and gates")
def gate(module: nn.Module, context: ModuleContext) -> Conversion | NotConvertible:
    """A gate sees values scaled to their typical size; a sigmoid that is an activation becomes ReLU."""
    if context.multiplies and 1 in context.dims:
        return NotConvertible(
            "is a gate of one number per example, which has no size apart from itself",
            "Use a gate of several numbers, or HomogeneousExtension(model)",
        )
    if context.multiplies:
        why = f"sees values scaled to root mean square {context.rms:.3g}, so that α does not move the gates"
        return Conversion(HomogeneousExtension(module, degree=0, norm="rms", radius=context.rms), why)
    if context.returned:
        return NotConvertible("turns the output into probabilities", "Leave it out and explain the logit before it")
    relu = rectifier(overwritten=context.overwritten)
    return Conversion(relu, "becomes max(x, 0), as it vanishes far to the left", after="ReLU")


@register_conversion(nn.Softmax, nn.Softmax2d, stage="normalisation and gates")
def softmax(module: nn.Module, context: ModuleContext) -> Conversion | NotConvertible:
    """Weights that sum to 1 see values scaled to their typical size, unless they are those of attention."""
    if context.takes_product:
        return NotConvertible(
            "takes a softmax over products of its input, as attention does, which is sharper for larger α",
            "Use HomogeneousExtension(model), or another architecture",
        )
    if context.multiplies and 1 not in context.dims:
        why = f"sees values scaled to root mean square {context.rms:.3g}, so that α does not make it sharper"
        return Conversion(HomogeneousExtension(module, degree=0, norm="rms", radius=context.rms), why)
    if context.returned:
        return NotConvertible("turns the output into probabilities", "Leave it out and explain the logits before it")
    return NotConvertible(
        "normalises exponentials (softmax), which are sharper for larger α, and does more than to weigh values",
        "Use HomogeneousExtension(model)",
    )
