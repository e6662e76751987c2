"""What the model says to masked inputs: each different one is run once, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from captum_xg._core.function import additional_arguments, recordable
from captum_xg._core.target import check_output, check_target, check_target_length, select
from captum_xg._core.types import Target
from captum_xg.errors import InputError, TargetError
from captum_xg.metrics.masking.features import Features
from captum_xg.metrics.masking.memory_layout import channels_last, gains_by_channels_last
from captum_xg.metrics.masking.order import KeptRanges

Masking = Callable[..., Tensor]


class MaskedOutcomes:
    """The outputs for masked versions of one batch, remembered by what is masked.

    Only numbers per masked input and the values of masked features are kept, not the inputs.

    Args:
        inputs: Formatted inputs.
        maskers: One for each input.
        features: What is masked together.
        where: The public name that errors begin with.
    """

    def __init__(
        self, inputs: tuple[Tensor, ...], maskers: tuple[Masking, ...], features: Features, where: str
    ) -> None:
        self.features = features
        self._maskers = maskers
        # Values that do not depend on the mask are computed once.
        self._values = tuple(
            None if getattr(masker, "needs_mask", False) else checked_values(masker(x.clone()), x, where)
            for masker, x in zip(maskers, inputs, strict=True)
        )
        self._known: list[dict[int, int]] = [{} for _ in inputs[0]]
        self._targets: list[Tensor] = []
        self._classes: list[Tensor] = []
        self.n_run = 0
        """How many masked inputs the model was run on."""

    def outcomes(
        self, call: ModelCall, inputs: tuple[Tensor, ...], attributions: Tensor, ranges: RangesOf, size: int
    ) -> tuple[Tensor, Tensor]:
        """Return the target's output and the predicted class for every example and mask, both ``(N, P)``.

        The predicted class is −1 where the output has no classes. The target's output is NaN where any output is.

        Args:
            call: The model with its arguments.
            inputs: The inputs that this object was made for.
            attributions: One per feature, ``(N, n)``.
            ranges: From attributions to masks.
            size: The most masked inputs in one forward pass.
        """
        places: list[list[int]] = []
        for start in range(0, len(attributions), size):
            places += self._examine(call, inputs, ranges(attributions[start : start + size]), start, size)
        targets = self._targets[0] if len(self._targets) == 1 else torch.cat(self._targets)
        classes = self._classes[0] if len(self._classes) == 1 else torch.cat(self._classes)
        self._targets, self._classes = [targets], [classes]
        index = torch.tensor(places, device=targets.device)
        return targets[index], classes[index]

    def _examine(
        self, call: ModelCall, inputs: tuple[Tensor, ...], masks: KeptRanges, start: int, size: int
    ) -> list[list[int]]:
        """Run what is not known yet of the examples from ``start`` on; return where the outcomes are kept."""
        n_examples = len(masks.order)
        part = tuple(x[start : start + n_examples] for x in inputs)
        keys = masks.keys(self._matters(part, start)).tolist()
        places: list[list[int]] = []
        todo: list[tuple[int, int]] = []
        for i, row in enumerate(keys):
            known = self._known[start + i]
            for p, key in enumerate(row):
                if key not in known:
                    known[key] = self.n_run + len(todo)
                    todo.append((i, p))
            places.append([known[key] for key in row])
        if todo:
            try:
                self._run(call, inputs, masks, start, torch.tensor(todo, device=masks.order.device), size)
            except BaseException:
                # What was promised above has not been run.
                for i in range(n_examples):
                    known = self._known[start + i]
                    for key in [key for key, place in known.items() if place >= self.n_run]:
                        del known[key]
                raise
        return places

    def _run(
        self, call: ModelCall, inputs: tuple[Tensor, ...], masks: KeptRanges, start: int, todo: Tensor, size: int
    ) -> None:
        ranks = masks.ranks()
        for rows, points in (chunk.unbind(1) for chunk in torch.split(todo, size)):
            own = ranks[rows]
            kept = (own >= masks.first[rows, points, None]) & (own < masks.last[rows, points, None])
            examples = rows + start
            target, predicted = call(self._masked(inputs, examples, kept, call.where), examples)
            self._targets.append(target)
            self._classes.append(predicted)
            self.n_run += len(rows)

    def _masked(self, inputs: tuple[Tensor, ...], examples: Tensor, kept: Tensor, where: str) -> tuple[Tensor, ...]:
        """Return the examples with the features that are not kept masked."""
        of_features = self.features.spread(kept)
        result = []
        for x, masker, values, own, broad in zip(
            inputs, self._maskers, self._values, of_features, self.features.over_channels(of_features), strict=True
        ):
            shown = x[examples]
            now = checked_values(masker(shown.clone(), ~own), shown, where) if values is None else values[examples]
            result.append(torch.where(broad, shown, now))
        return tuple(result)

    def _matters(self, inputs: tuple[Tensor, ...], start: int) -> Tensor:
        """Return which features change when they are masked; all, where that depends on the mask."""
        stop = start + len(inputs[0])
        values = tuple(torch.full_like(x, torch.nan) if v is None else v[start:stop] for x, v in self._pairs(inputs))
        return self.features.differ(inputs, values)

    def _pairs(self, inputs: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor | None]]:
        return list(zip(inputs, self._values, strict=True))


RangesOf = Callable[[Tensor], KeptRanges]


class ModelCall:
    """A forward function with its additional arguments and target, called for chosen examples of a batch.

    Args:
        forward_func: A module or any callable.
        additional_forward_args: What follows the inputs; tensors with one row per example go along with the examples.
        target: Captum's target.
        n: Number of examples in the batch.
        where: The public name that errors begin with.
    """

    def __init__(
        self, forward_func: Callable[..., Any], additional_forward_args: object, target: Target, n: int, where: str
    ) -> None:
        self.forward_func = forward_func
        self.additional = additional_arguments(additional_forward_args)
        self.target: Target = recordable(target)
        self.n = n
        self.where = where
        self._checked: torch.Size | None = None
        self._channels_last: bool | None = None
        self._per_example = isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)
        if self._per_example:
            check_target_length(cast("Tensor | list[Any]", target), n, where)
        if self._per_example and isinstance(target, Tensor) and bool((target < 0).any()):
            raise TargetError(f"{where}: `target` holds {int(target.min())}; targets per example must not be negative.")

    def __call__(self, inputs: tuple[Tensor, ...], examples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the target's output and the predicted class for inputs that belong to these examples."""
        if self._channels_last is None:
            few = tuple(x[:2] for x in inputs)
            self._channels_last = gains_by_channels_last(
                self.forward_func, lambda few: self._output(few, examples[:2]), few
            )
        output = self._output(tuple(map(channels_last, inputs)) if self._channels_last else inputs, examples)
        if output.shape[1:] != self._checked:
            check_target(output[:1].expand(self.n, *output.shape[1:]), self.target, self.where)
            self._checked = output.shape[1:]
        chosen = select(output, self._target_of(examples))
        chosen = chosen.masked_fill(output.isnan().flatten(1).any(1) if output.dim() > 1 else output.isnan(), torch.nan)
        if output.dim() == 2 and output.shape[1] > 1:
            return chosen, output.argmax(1)
        return chosen, torch.full((len(chosen),), -1, device=chosen.device)

    def _output(self, inputs: tuple[Tensor, ...], examples: Tensor) -> Tensor:
        args = tuple(self._of(value, examples) for value in self.additional)
        return check_output(self._forward(inputs, args), len(examples), self.where)

    def _forward(self, inputs: tuple[Tensor, ...], args: tuple[Any, ...]) -> Any:
        with torch.no_grad():
            try:
                return self.forward_func(*inputs, *args)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
        with torch.enable_grad():  # the forward function differentiates by its input itself
            output = self.forward_func(*(x.requires_grad_() for x in inputs), *args)
        return output.detach() if isinstance(output, Tensor) else output

    def _of(self, value: Any, examples: Tensor) -> Any:
        per_example = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == self.n
        return value[examples.to(value.device)] if per_example else value

    def _target_of(self, examples: Tensor) -> Target:
        if not self._per_example:
            return self.target
        if isinstance(self.target, Tensor):
            return self.target[examples.to(self.target.device)]
        target = cast("list[Any]", self.target)
        return [target[i] for i in examples.tolist()]


def checked_values(values: Any, x: Tensor, where: str) -> Tensor:
    """Return a masker's values if they are finite numbers in the shape of the inputs.

    Raises:
        InputError: Otherwise.
    """
    if not isinstance(values, Tensor) or values.shape != x.shape:
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise InputError(
            f"{where}: the masker gives {got} for inputs of shape {tuple(x.shape)}. It must return one value for every "
            "number of the inputs, a tensor of the same shape."
        )
    fitting: Tensor = values.detach().to(x)
    if not bool(torch.isfinite(fitting).all()):
        raise InputError(f"{where}: the masker gives NaN or infinity, which no masked feature can take.")
    return fitting
