"""Evaluations of a model on masked versions of one batch: each different version is run once.

The invariant: an outcome belongs to one example and one masked input. Masks come as ranges of ranks
(:class:`~captum_xg.metrics.masking.order.KeptRanges`); two of them are one where they keep the same features, or differ
only where the masker leaves the input as it is. Asked again, for other curves or other attributions of
the same batch, an object runs only what is new. Without a metric, from attributions ``a`` per feature::

    features = Features.of((x,), "auto", "example")
    evaluations = MaskedEvaluations(ScalarFunction(model, None, target, "example"), (x,), (Zero(),), features)
    kept = evaluations.outcomes(kept_ranges(a, fractions, "positive"), size=32)
    kept.targets  # the target's output for each example and fraction, of which KeepPositiveMask is the area

What must never happen: that outcomes outlive what they depend on. Nothing here looks at whether inputs, weights or
maskers have changed, so an object is for one batch and one state of the model, and is let go with them.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction, without_gradients
from captum_xg._core.inputs import all_finite
from captum_xg._core.target import check_output
from captum_xg.errors import InputError
from captum_xg.metrics.masking.features import Features
from captum_xg.metrics.masking.maskers.base import Masker
from captum_xg.metrics.masking.order import KeptRanges

Masking: TypeAlias = Callable[..., Tensor]
"""A masker: from inputs, and the mask where it ``needs_mask``, to the values that masked features take."""


class Outcomes(NamedTuple):
    """What the model makes of every example ``N`` under every mask ``P``.

    Attributes:
        targets: The output that the target chooses, ``(N, P)``; NaN where any output is.
        classes: The class of the largest output, ``(N, P)``; −1 where the output has no classes.
    """

    targets: Tensor
    classes: Tensor


class MaskedEvaluations:
    """The outputs for masked versions of one batch, remembered by what is masked.

    Only numbers per masked input and the values of masked features are kept. In images where convolutions dominate, a
    CPU is faster by a quarter or more if the model was brought to ``memory_format=torch.channels_last``.

    Args:
        function: The model with its arguments and target for the whole batch.
        inputs: Formatted inputs.
        maskers: One for each input.
        features: What is masked together.

    Raises:
        InputError: If a masker gives something else than finite numbers in the shape of its input.
    """

    def __init__(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], maskers: tuple[Masking, ...], features: Features
    ) -> None:
        self.function = function
        self.inputs = inputs
        self.features = features
        self._maskers = maskers
        # Values that do not depend on the mask are computed once. From copies, for a masker may write into its input;
        # any callable is one, so that what it needs is asked for and not assumed.
        self._values = tuple(
            None if getattr(masker, "needs_mask", False) else checked_values(masker(x.clone()), x, function.where)
            for masker, x in zip(maskers, inputs, strict=True)
        )
        # NaN differs from every number: where values depend on the mask, every feature may change.
        values = (torch.full_like(x, torch.nan) if v is None else v for x, v in zip(inputs, self._values, strict=True))
        self._changes = features.differ(inputs, tuple(values))
        self._places: list[dict[int, int]] = [{} for _ in inputs[0]]
        """For each example: key of a masked input → where its outcome is."""
        self._outcomes: list[Outcomes] = []
        self.n_run = 0
        """How many masked inputs the model was run on."""

    def outcomes(self, masks: KeptRanges, size: int) -> Outcomes:
        """Return the outcomes for these masks; what is not known yet is run.

        Args:
            masks: Of all examples of the batch.
            size: The most masked inputs in one forward pass.

        Raises:
            TargetError: If the target does not choose one number per example from the output.
            ForwardOutputError: If the output has no row for each example.
        """
        keys = masks.keys(self._changes).tolist()
        new: list[dict[int, int]] = [{} for _ in keys]
        todo: list[tuple[int, int]] = []
        for i, (row, known, coming) in enumerate(zip(keys, self._places, new, strict=True)):
            # Places count the outcomes in the order in which they are, or are about to be, run.
            for p, key in enumerate(row):
                if key not in known and key not in coming:
                    coming[key] = self.n_run + len(todo)
                    todo.append((i, p))
        if todo:
            self._outcomes += self._run(masks, torch.tensor(todo, device=masks.order.device), size)
            # Only now, for an error above must not leave places behind that hold nothing.
            self.n_run += len(todo)
            for known, coming in zip(self._places, new, strict=True):
                known.update(coming)
        # One tensor from here on, so that what is known already is looked up by one indexing.
        targets, classes = (torch.cat(parts) for parts in zip(*self._outcomes, strict=True))
        self._outcomes = [Outcomes(targets, classes)]
        places = [[known[key] for key in row] for row, known in zip(keys, self._places, strict=True)]
        index = torch.tensor(places, device=targets.device)
        return Outcomes(targets[index], classes[index])

    def _run(self, masks: KeptRanges, todo: Tensor, size: int) -> list[Outcomes]:
        """Return the outcomes for pairs (example, point), in their order."""
        ranks = masks.ranks()
        found = []
        # Chunks run across examples: many masks of one or few of many fill a forward pass alike.
        for examples, points in (chunk.unbind(1) for chunk in torch.split(todo, size)):
            own = ranks[examples]
            kept = (own >= masks.first[examples, points, None]) & (own < masks.last[examples, points, None])
            found.append(self._evaluated(self._masked(examples, kept), examples))
        return found

    def _evaluated(self, inputs: tuple[Tensor, ...], examples: Tensor) -> Outcomes:
        n = len(self.inputs[0])
        function = self.function.take(examples, n)
        # Nothing sums over the rows of one example here, as where the model is differentiated.
        output = without_gradients(lambda x: check_output(function.output(x), len(examples), function.where), inputs)
        self.function.require_target(output, n)
        # A NaN beside the target makes the comparison of classes void, and says that the model is not defined here.
        undefined = output.isnan().reshape(len(output), -1).any(1)
        targets = function.select(output, len(examples)).masked_fill(undefined, torch.nan)
        if output.dim() == 2 and output.shape[1] > 1:
            return Outcomes(targets, output.argmax(1))
        return Outcomes(targets, torch.full((len(targets),), -1, device=targets.device))

    def _masked(self, examples: Tensor, kept: Tensor) -> tuple[Tensor, ...]:
        """Return these examples with the features that are not kept masked."""
        of_features = self.features.spread(kept)
        broad = self.features.over_channels(of_features)
        result = []
        for x, masker, values, own, wide in zip(
            self.inputs, self._maskers, self._values, of_features, broad, strict=True
        ):
            shown = x[examples]
            if values is None:
                # Maskers are told of features, and values are put in for all of their channels.
                now = checked_values(masker(shown.clone(), ~own), shown, self.function.where)
            else:
                now = values[examples]
            result.append(torch.where(wide, shown, now))
        return tuple(result)


class SharedEvaluations:
    """Evaluations that several metrics have begun on the same batches, found by what they depend on."""

    def __init__(self) -> None:
        self._begun: list[tuple[tuple[object, ...], MaskedEvaluations]] = []

    def of(self, question: tuple[object, ...], begin: Callable[[], MaskedEvaluations]) -> MaskedEvaluations:
        """Return the evaluations of an equal question, else new ones.

        Args:
            question: The function, tensors, maskers, … as the caller has them: the same objects, or equal where
                equality compares settings (:class:`~captum_xg.metrics.maskers.Masker`, features, bound methods).
            begin: Makes new ones.
        """
        # Tensors and models by identity: to compare numbers would cost what is to be saved. As they are held here, no
        # other object can come to have the identity of one that is gone.
        for known, evaluations in self._begun:
            if len(known) == len(question) and all(map(_same, known, question)):
                return evaluations
        self._begun.append((question, begin()))
        return self._begun[-1][1]


def _same(a: object, b: object) -> bool:
    compared_by_settings = type(a) is type(b) and isinstance(a, (Masker, Features, types.MethodType))
    return a is b or (compared_by_settings and bool(a == b))


def checked_values(values: object, x: Tensor, where: str) -> Tensor:
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
    if not all_finite(fitting):
        raise InputError(f"{where}: the masker gives NaN or infinity, which no masked feature can take.")
    return fitting
