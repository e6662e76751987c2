"""Target selection: the scores that an attribution prior explains, one per example or one for each class.

A :class:`TargetSelector` is made once per loss from its options, its :class:`Selection` once per batch. This is
made at the outputs of the batch and applied at other inputs, too (points of a path), so that ``"predicted"`` means the
class predicted for the example itself at every point. Positions whose label is ignored have no score; a batch without
any label has scores, attributions and a prior of zero, and never NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from captum_xg._core.function import has_rows
from captum_xg._core.losses import IGNORED, one_number
from captum_xg._core.options import integer, one_of
from captum_xg.errors import ForwardOutputError, OptionError, TargetError
from captum_xg.priors.supported import WHERE

ScoreFunction: TypeAlias = Callable[[Tensor, Any], Tensor]
Chosen: TypeAlias = Literal["true", "predicted", "all"] | ScoreFunction


@dataclass(frozen=True)
class Selection:
    """What is explained of the outputs for one batch; ``scores`` applies it to outputs at other inputs, too.

    Attributes:
        selector: What it was made by.
        index: Class of each example (and position), ``(N, …)``; None for all classes, one logit, and functions.
        target: What the loss was called with; functions of outputs and target want it.
    """

    selector: TargetSelector
    index: Tensor | None
    target: object

    def repeated(self, n: int, k: int) -> Selection:
        """Return the choice for a batch of n examples in which each stands ``k`` times in a row."""
        return Selection(self.selector, repeated_rows(self.index, n, k), repeated_rows(self.target, n, k))

    def scores(self, outputs: Tensor) -> list[Tensor]:
        """Return one score per example, ``(N,)``, for each attribution that is wanted: one, or one for each class."""
        selector = self.selector
        if callable(selector.chosen):
            return [_checked_scores(selector.chosen(outputs, self.target), outputs)]
        if one_number(outputs):
            return [selector.reduced(outputs.reshape(len(outputs), -1))]
        if self.index is None:
            return [selector.reduced(outputs[:, c].reshape(len(outputs), -1)) for c in range(outputs.shape[1])]
        if selector.chosen == "predicted":  # no label, so none that is ignored
            return [selector.reduced(outputs.gather(1, self.index.unsqueeze(1)).reshape(len(outputs), -1))]
        counted = self.index != selector.ignore_index
        index = torch.where(counted, self.index, 0)  # any class will do where none counts; `gather` needs one
        picked = outputs.gather(1, index.unsqueeze(1)).squeeze(1)
        return [selector.reduced(picked.reshape(len(outputs), -1), counted.reshape(len(outputs), -1))]


@dataclass(frozen=True)
class TargetSelector:
    """How scores are chosen from outputs ``(N,)``, ``(N, C)`` or ``(N, C, positions…)``.

    Attributes:
        chosen: ``"true"``, ``"predicted"``, ``"all"``, or a function of outputs and target.
        reduction: ``"mean"`` or ``"sum"`` over positions.
        ignore_index: Label of positions that do not count.
    """

    chosen: Chosen = "true"
    reduction: Literal["mean", "sum"] = "mean"
    ignore_index: int = IGNORED

    def __post_init__(self) -> None:
        """Refuse options that do not exist.

        Raises:
            OptionError: If there is no such choice or reduction.
        """
        if isinstance(self.chosen, type) or not (callable(self.chosen) or self.chosen in ("true", "predicted", "all")):
            raise OptionError(
                f"{WHERE}: `target` must be 'true', 'predicted', 'all' or a function of outputs and target but is "
                f"{self.chosen!r}."
            )
        one_of(self.reduction, ("mean", "sum"), "reduction", WHERE)
        integer(self.ignore_index, "ignore_index", WHERE)

    def select(self, outputs: Tensor, target: object) -> Selection:
        """Return what is explained of these outputs.

        Raises:
            TargetError: If there is no true class: the target is no tensor of class indices that fits the outputs.
        """
        if callable(self.chosen) or self.chosen == "all" or one_number(outputs):
            return Selection(self, None, target)
        if self.chosen == "predicted":
            return Selection(self, outputs.detach().argmax(1), target)
        return Selection(self, self._true_classes(outputs, target), target)

    def reduced(self, values: Tensor, counted: Tensor | None = None) -> Tensor:
        """Return the mean or the sum over positions, ``(N, P)`` to ``(N,)``, of those that count."""
        values = values if counted is None else torch.where(counted, values, 0)
        if values.shape[1] == 1:
            return values.squeeze(1)
        if self.reduction == "sum":
            return values.sum(1)
        return values.mean(1) if counted is None else values.sum(1) / counted.sum(1).clamp(min=1)

    def _true_classes(self, outputs: Tensor, target: object) -> Tensor:
        shape = tuple(outputs.shape)
        expected = (shape[0], *shape[2:])
        hint = (
            "Pass class indices, or make the loss with target='predicted', 'all', or a function of outputs and target "
            "that returns one score per example."
        )
        if not isinstance(target, Tensor) or target.dtype.is_floating_point or target.dtype.is_complex:
            kind = f"has dtype {target.dtype}" if isinstance(target, Tensor) else f"is {type(target).__name__}"
            raise TargetError(
                f"{WHERE}: the attribution explains the true class, but `target` {kind} and not a tensor of class "
                f"indices, while the outputs have shape {shape}. {hint}"
            )
        if tuple(target.shape) != expected:
            raise TargetError(
                f"{WHERE}: `target` has shape {tuple(target.shape)}, but outputs of shape {shape} (N, C, positions …) "
                f"need class indices of shape {expected}. {hint}"
            )
        index = target.to(device=outputs.device, dtype=torch.int64)
        if index.device.type == "cpu":  # elsewhere looking would wait for the device, which complains itself
            wrong = ((index < 0) | (index >= shape[1])).logical_and_(index != self.ignore_index)
            if bool(wrong.any()):
                classes = index[index != self.ignore_index]
                raise TargetError(
                    f"{WHERE}: `target` goes from {int(classes.min())} to {int(classes.max())}, but the outputs have "
                    f"{shape[1]} classes, so it must lie in [0, {shape[1]}). If positions without a class have a label "
                    f"of their own, pass ignore_index=… (it is {self.ignore_index})."
                )
        return index


def repeated_rows(values: object, n: int, k: int) -> Any:
    """Return values, in containers too, for a batch in which each of n examples stands k times in a row."""

    def rows(value: object) -> object:
        return value.repeat_interleave(k, 0) if has_rows(value, n) else value

    return tree_map(rows, values)


def log_probability_scores(outputs: Tensor, selector: TargetSelector) -> Tensor:
    r"""Return the sum of the log-probabilities of all classes, ``(N,)``: Σ_c log softmax(z)_c.

    For one logit log σ(z) + log σ(−z) = 2 log σ(z) − z. Over positions it is reduced as the selector says.
    """
    wide = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    if one_number(outputs):
        logits = wide.reshape(len(outputs), -1)
        return selector.reduced(2 * torch.nn.functional.logsigmoid(logits) - logits)
    return selector.reduced(torch.log_softmax(wide, 1).sum(1).reshape(len(outputs), -1))


def _checked_scores(scores: object, outputs: Tensor) -> Tensor:
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (len(outputs),) or not scores.dtype.is_floating_point:
        found = f"shape {tuple(scores.shape)}, {scores.dtype}" if isinstance(scores, Tensor) else type(scores).__name__
        raise ForwardOutputError(
            f"{WHERE}: the function given as `target` must return one floating-point score per example, shape "
            f"({len(outputs)},), but returned {found}."
        )
    return scores
