"""Norms with running statistics, computed so that autograd knows the gradient for the running mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class FixedNorms(TorchFunctionMode):
    """Lets ``batch_norm`` and ``instance_norm`` by running statistics be the affine maps that they are.

    PyTorch gives no gradient for running means, which count as data; as constants of the network they need one.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        if func is F.instance_norm:
            return _instance_norm(*args, **kwargs)
        return func(*args, **kwargs)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training or running_mean is None or running_var is None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return _affine(input, running_mean, running_var, weight, bias, eps)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if use_input_stats or running_mean is None or running_var is None:
        return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    return _affine(input, running_mean, running_var, weight, bias, eps)


def _affine(
    input: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Return (x − mean)·weight/√(variance + eps) + bias; the statistics may be wider than x, as in half precision."""
    shape = (-1, *(1,) * (input.dim() - 2))
    slope = torch.rsqrt(variance + eps)
    slope = slope if weight is None else slope * weight
    y = (input - mean.reshape(shape)) * slope.reshape(shape)
    return (y if bias is None else y + bias.reshape(shape)).to(input.dtype)
