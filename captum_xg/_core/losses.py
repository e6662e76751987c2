"""The default task loss: cross entropy, or binary cross entropy for one logit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg.errors import ForwardOutputError, OptionError, TargetError

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""From outputs and target to one number."""

IGNORED = -100
"""PyTorch's label of positions, or examples, without a class."""


def default_loss(outputs: object, target: object, where: str, option: str, ignore_index: int = IGNORED) -> Tensor:
    r"""Return the mean loss of class indices, class probabilities, or 0/1 labels of one logit.

    ========================================  =====================================  ==================================
    outputs                                   target                                 loss
    ========================================  =====================================  ==================================
    ``(N, C)``, ``(N, C, positions…)``, C > 1 integers ``(N,)``, ``(N, positions…)`` cross entropy
    the same                                  floating-point, of the outputs' shape, cross entropy with probabilities
                                              ≥ 0, of sum 1 over the classes
    ``(N,)``, ``(N, 1)``, ``(N, 1, …)``       0 and 1 of any dtype, with or without  binary cross entropy with logits
                                              the dimension of size 1
    ========================================  =====================================  ==================================

    Everything else could be meant in several ways, regression above all, and is refused.

    Args:
        outputs: Logits.
        target: What they should be.
        where: What messages begin with.
        option: The name of the argument that another loss is passed as.
        ignore_index: Label that does not count.

    Raises:
        ForwardOutputError: If the outputs are not a floating-point tensor ``(N, …)``.
        OptionError: If the target does not tell which loss is meant.
        TargetError: If labels do not fit the outputs, or none of them counts.
    """
    if not isinstance(outputs, Tensor) or outputs.dim() == 0 or not outputs.dtype.is_floating_point:
        found = type(outputs).__name__
        if isinstance(outputs, Tensor):
            found = f"{outputs.dtype} of shape {tuple(outputs.shape)}"
        raise ForwardOutputError(
            f"{where}: the model returns {found}; without {option}=… it must return floating-point logits (N, …). Pass "
            f"output=… to choose a part of what it returns, or {option}, a function of outputs and target."
        )
    if not isinstance(target, Tensor) or target.dtype.is_complex:
        kind = f"a tensor of {target.dtype}" if isinstance(target, Tensor) else type(target).__name__
        listed = " If it holds class indices, make a tensor of it." if isinstance(target, (list, tuple)) else ""
        raise OptionError(
            f"{where}: `target` is {kind}, so that no loss is meant by itself.{listed} {_other_loss(option)}"
        )
    if target.numel() == 0:
        raise TargetError(
            f"{where}: `target` has shape {tuple(target.shape)} and so no labels. Leave such batches out."
        )
    target = target.to(outputs.device)
    if one_number(outputs):
        return _binary(outputs, target, where, option, ignore_index)
    if target.dtype.is_floating_point:
        return _of_probabilities(outputs, target, where, option)
    return _of_classes(outputs, target, where, option, ignore_index)


def require_a_loss_of_one_output(loss: Callable[..., object] | None, outputs: object, where: str, option: str) -> None:
    """Refuse cross entropy over a single class: it is 0 whatever the model says, and trains nothing.

    Raises:
        OptionError: If the loss is PyTorch's and the outputs have one number per example or position.
    """
    while isinstance(loss, functools.partial):  # with a label smoothing or weights, say
        loss = loss.func
    softmax = loss is F.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)
    if softmax and isinstance(outputs, Tensor) and outputs.dim() > 1 and one_number(outputs):
        raise OptionError(
            f"{where}: `{option}` is cross entropy, and the outputs of shape {tuple(outputs.shape)} have one class, "
            "whose probability is 1 whatever the model says: the loss is always 0 and trains nothing. For one logit "
            f"and labels 0 or 1 leave {option} out, or pass binary_cross_entropy_with_logits; for a regression pass "
            "mse_loss."
        )


def checked_number(value: object, what: str, where: str) -> Tensor:
    """Return a loss or prior if it is one real number.

    Raises:
        ForwardOutputError: Otherwise.
    """
    if isinstance(value, Tensor) and value.dim() == 0 and value.dtype.is_floating_point:
        return value
    found = f"shape {tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
    raise ForwardOutputError(
        f"{where}: {what} must return one floating-point number, a tensor of shape (), but returned {found}. Take the "
        "mean over the examples."
    )


def one_number(outputs: Tensor) -> bool:
    """Return whether outputs have one number per example or position: a binary logit or a regression."""
    return outputs.dim() == 1 or outputs.shape[1] == 1


def _binary(outputs: Tensor, target: Tensor, where: str, option: str, ignore_index: int) -> Tensor:
    if len(target.shape) == 0 or len(target) != len(outputs) or _without_ones(target) != _without_ones(outputs):
        raise TargetError(
            f"{where}: `target` has shape {tuple(target.shape)} and the outputs have {tuple(outputs.shape)}; one "
            f"logit per example needs one label each.{_single(target)}"
        )
    counted = (target if target.dtype.is_floating_point else target.to(torch.int64)) != ignore_index
    _require_any(counted, where, ignore_index)
    labels = target[counted]
    if not bool(((labels == 0) | (labels == 1)).all()):
        if target.dtype.is_floating_point:
            raise OptionError(
                f"{where}: `target` is a tensor of {target.dtype} with other values than 0 and 1, which does not tell "
                f"a regression from probabilities. {_other_loss(option)}"
            )
        raise TargetError(
            f"{where}: the outputs have one logit, so labels must be 0 or 1, but go from {int(labels.min())} to "
            f"{int(labels.max())}. Pass {option} if this is not a binary classification."
        )
    if bool(counted.all()):
        return F.binary_cross_entropy_with_logits(outputs, target.reshape(outputs.shape).to(outputs.dtype))
    return F.binary_cross_entropy_with_logits(outputs[counted.reshape(outputs.shape)], labels.to(outputs.dtype))


def _of_probabilities(outputs: Tensor, target: Tensor, where: str, option: str) -> Tensor:
    # Sums of 16-bit probabilities are off by more.
    tolerance = 1e-3 if torch.finfo(target.dtype).eps < 1e-4 else 2e-2
    if target.shape != outputs.shape or not bool(
        ((target >= 0).all() & ((target.sum(1) - 1).abs() <= tolerance).all()).item()
    ):
        indices = " If it holds class indices, make them integers: target.long()." if target.dim() == 1 else ""
        raise OptionError(
            f"{where}: `target` is a tensor of {target.dtype} of shape {tuple(target.shape)} for outputs of shape "
            f"{tuple(outputs.shape)}, and not probabilities of sum 1 over the classes, which does not tell a "
            f"regression from several labels per example.{indices} {_other_loss(option)}"
        )
    return F.cross_entropy(outputs, target.to(outputs.dtype))


def _of_classes(outputs: Tensor, target: Tensor, where: str, option: str, ignore_index: int) -> Tensor:
    expected = (outputs.shape[0], *outputs.shape[2:])
    if tuple(target.shape) != expected:
        hint = _single(target)
        if tuple(target.shape) == (expected[0], 1, *expected[1:]):
            hint = " Remove its dimension of size 1: target.squeeze(1)."
        elif target.shape == outputs.shape:
            hint = f" For several labels per example {_other_loss(option)[0].lower()}{_other_loss(option)[1:]}"
        raise TargetError(
            f"{where}: `target` has shape {tuple(target.shape)}, but outputs of shape {tuple(outputs.shape)} (N, C, "
            f"positions …) need class indices of shape {expected}.{hint}"
        )
    index = target.to(torch.int64)
    counted = index != ignore_index
    _require_any(counted, where, ignore_index)
    classes = index[counted]
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= outputs.shape[1]:
        raise TargetError(
            f"{where}: `target` goes from {low} to {high}, but the outputs have {outputs.shape[1]} classes, so it must "
            f"lie in [0, {outputs.shape[1]}). Labels of positions without a class are {ignore_index}."
        )
    return F.cross_entropy(outputs, index, ignore_index=ignore_index)


def _require_any(counted: Tensor, where: str, ignore_index: int) -> None:
    if not bool(counted.any()):
        raise TargetError(
            f"{where}: every label in `target` is {ignore_index}, which does not count, so the mean loss is that of "
            "nothing. Leave such batches out."
        )


def _single(target: Tensor) -> str:
    return " Is this a single example? Give batches, as a DataLoader does." if target.dim() == 0 else ""


def _without_ones(x: Tensor) -> list[int]:
    return [size for size in x.shape[1:] if size != 1]


def _other_loss(option: str) -> str:
    return (
        f"Pass {option}, a function of outputs and target, for example torch.nn.functional.mse_loss for a regression "
        "or torch.nn.functional.binary_cross_entropy_with_logits."
    )
