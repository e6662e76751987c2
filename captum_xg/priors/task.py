"""The task loss that is meant where none is given, and the check of one that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_xg.errors import ForwardOutputError, OptionError, TargetError
from captum_xg.priors.scores import one_number

TaskLoss: TypeAlias = Callable[[Any, Any], Tensor]

_WHERE = "AttributionPriorLoss"


def default_task_loss(outputs: Tensor, target: Any, ignore_index: int) -> Tensor:
    """Return the mean cross entropy for class indices, with logits; for one logit the binary one.

    Raises:
        OptionError: If the target does not tell which loss is meant.
        TargetError: If labels do not fit the outputs.
    """
    if not isinstance(target, Tensor) or target.dtype.is_floating_point or target.dtype.is_complex:
        kind = f"a tensor of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        raise OptionError(
            f"{_WHERE}: `target` is {kind}, which does not tell a regression from probabilities. Pass task_loss, a "
            "function of outputs and target, for example torch.nn.functional.mse_loss or "
            "torch.nn.functional.binary_cross_entropy_with_logits."
        )
    if not one_number(outputs):
        return F.cross_entropy(outputs, target, ignore_index=ignore_index)
    if target.numel() != outputs.numel():
        raise TargetError(
            f"{_WHERE}: `target` has shape {tuple(target.shape)} and the outputs have {tuple(outputs.shape)}; one "
            "logit per example needs one label each."
        )
    if not bool(((target == 0) | (target == 1)).all()):
        raise TargetError(
            f"{_WHERE}: the outputs have one logit, so labels must be 0 or 1, but go from {int(target.min())} to "
            f"{int(target.max())}. Pass task_loss if this is no binary classification."
        )
    return F.binary_cross_entropy_with_logits(outputs, target.reshape(outputs.shape).to(outputs.dtype))


def checked_number(value: Any, what: str) -> Tensor:
    """Return a loss or prior if it is one real number.

    Raises:
        ForwardOutputError: Otherwise.
    """
    if isinstance(value, Tensor) and value.dim() == 0 and value.dtype.is_floating_point:
        return value
    found = f"shape {tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
    raise ForwardOutputError(
        f"{_WHERE}: {what} must return one floating-point number, a tensor of shape (), but returned {found}. Take the "
        "mean over the examples."
    )


def weighted_sum(task: Tensor, prior: Tensor, weight: float) -> Tensor:
    """Return task + weight · prior, in the wider of their dtypes."""
    return task if weight == 0 else task + weight * prior.to(torch.promote_types(task.dtype, prior.dtype))
