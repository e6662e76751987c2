"""The relation between a network and its X-DNN: the same layers without their biases."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def without_biases(model: Model) -> Model:
    """Remove the bias of every convolution and linear layer of ``model``, in place, and return it.

    A layer ``x ↦ Wx + b`` becomes ``x ↦ Wx``. With ReLU, dropout in evaluation mode, max and average pooling as the
    only other layers, what is left satisfies ``F(αx) = αF(x)`` for α ≥ 0. Twins built from the same random seed have
    the same weights, since the regular one is built first in both cases.

    Args:
        model: A network whose only constants are biases of ``nn.Conv2d`` and ``nn.Linear``.

    Returns:
        ``model`` itself; its biases are gone from ``state_dict()`` and ``parameters()``.

    Source: Hesse et al. 2021, Corollary 3.10.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_parameter("bias", None)
    return model
