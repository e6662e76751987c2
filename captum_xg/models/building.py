"""Common parts of the builders of networks: the checks of their arguments, and the step to the X-DNN."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from captum_xg._core.options import number_that, positive_integer

Model = TypeVar("Model", bound=nn.Module)


def without_biases(model: Model) -> Model:
    """Remove the bias of every convolution, transposed or not, and linear layer of ``model``, in place, and return it.

    A layer ``x ↦ Wx + b`` becomes ``x ↦ Wx``. With ReLU, dropout in evaluation mode, max and average pooling as the
    only other layers, what is left satisfies ``F(αx) = αF(x)`` for α ≥ 0. Twins built from the same random seed have
    the same weights, since the regular one is built first in both cases.

    Args:
        model: A network whose only constants are biases of ``nn.Conv2d``, ``nn.ConvTranspose2d``, ``nn.Linear``.

    Returns:
        ``model`` itself; its biases are gone from ``state_dict()`` and ``parameters()``.

    Source: Hesse et al. 2021, Corollary 3.10.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_parameter("bias", None)
    return model


def checked_sizes(num_classes: object, in_channels: object, where: str) -> tuple[int, int]:
    """Return the numbers of classes and of channels.

    Raises:
        OptionTypeError: If one is not an integer.
        OptionError: If one is not positive.
    """
    return positive_integer(num_classes, "num_classes", where), positive_integer(in_channels, "in_channels", where)


def checked_dropout(dropout: object, where: str) -> float:
    """Return a probability of dropout.

    Raises:
        OptionTypeError: If it is not a number.
        OptionError: If it is not in [0, 1].
    """
    return number_that(dropout, lambda p: 0 <= p <= 1, "a probability in [0, 1]", "dropout", where)
