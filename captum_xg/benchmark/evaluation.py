"""Evaluation of one batch: attributions of each method, with their cost, and the scores of each metric on them.

The invariant: a method gives a number for every metric, or a refusal and none. A refusal is a finding about the method
(an error in ``REFUSALS``, attributions that are not finite) and stands in the table; any other error is a mistake, and
ends the run. Example: X-Gradient on a network with biases raises ``HomogeneityError``, and its row says "refused".
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from captum_xg._core.seeding import seeded
from captum_xg.benchmark.cost import CostMeter
from captum_xg.benchmark.data import RUN, Batch
from captum_xg.benchmark.methods import Method
from captum_xg.benchmark.metrics import BenchmarkMetric
from captum_xg.benchmark.store import Part, Store
from captum_xg.errors import (
    CrossExampleError,
    DegreeError,
    GradientError,
    HomogeneityError,
    InputError,
    NondeterministicForwardError,
    OptionError,
)
from captum_xg.metrics.protocols import Attributions

REFUSALS = (HomogeneityError, DegreeError, GradientError, NondeterministicForwardError, CrossExampleError)

Parts = dict[tuple[int, str], Part]
"""(batch, method) → what that method gave on that batch."""


class BatchEvaluation:
    """Every method on one batch.

    Args:
        batch: The batch.
        methods: In the order of the table.
        metrics: What each method is judged by.
        reference: The method that comparing metrics compare with; it attributes when it is first asked for.
        meter: What counts the runs of the model.
        seed: Of the benchmark.
    """

    def __init__(
        self,
        batch: Batch,
        methods: Sequence[Method],
        metrics: Sequence[BenchmarkMetric],
        reference: Method,
        meter: CostMeter,
        seed: int,
    ) -> None:
        self._batch, self._methods, self._metrics, self._meter, self._seed = batch, methods, metrics, meter, seed
        self._reference = reference
        self._compared_with: Attributions | None = None

    def parts(self, store: Store | None) -> Iterator[tuple[str, Part]]:
        """Yield what each method gives, from the store where it is there."""
        wanted, batch = [metric.name for metric in self._metrics], self._batch
        for method in self._methods:
            part = None if store is None else store.part(batch.index, method.name, batch.digest, wanted)
            if part is None:
                part = self._part(method)
                if store is not None:
                    store.add(batch.index, method.name, part)
            yield method.name, part

    def _part(self, method: Method) -> Part:
        batch, device = self._batch, self._batch.tensors[0].device
        refusal, refused_in, scores = None, None, {}
        countable = method.countable and not (method.by_hooks and self._meter.blind)
        if method.once is not None:
            with contextlib.suppress(*REFUSALS), seeded(self._seed_for(method.name), device):
                method.once(batch)  # a refusal comes again
        with self._meter.measure(device, countable=countable) as usage:
            try:
                attributions = self._attributions(method)
            except REFUSALS as error:
                refusal = f"{type(error).__name__}: {error}"
        # Outside of the measurement: looking at the numbers waits for the accelerator, which is not the method's cost.
        refusal = refusal or _flaw(attributions, batch, method.name)
        if refusal is None:
            if method.name == self._reference.name:
                self._compared_with = attributions  # saves the reference a second run
            try:
                for metric in self._metrics:
                    # The same draws for every method, so that differences between methods are paired.
                    with seeded(self._seed_for("metric"), device):
                        scores[metric.name] = metric.scores(batch, attributions, method, self._reference_attributions)
            except REFUSALS as error:  # of a metric that attributes itself
                refusal, scores = f"in {metric.name}, {type(error).__name__}: {error}", {}
                refused_in = metric.name
        return Part(len(batch), batch.digest, scores, **vars(usage), refusal=refusal, refused_in=refused_in)

    def _attributions(self, method: Method) -> Attributions:
        with seeded(self._seed_for(method.name), self._batch.tensors[0].device):
            found = method.attribute(self._batch)
        return tuple(map(_detached, found)) if isinstance(found, tuple) else _detached(found)

    def _reference_attributions(self) -> Attributions:
        if self._compared_with is None:
            try:
                self._compared_with = self._attributions(self._reference)
            except REFUSALS as error:
                raise OptionError(
                    f"{RUN}: the reference method {self._reference.name!r} refuses, so nothing can be compared with "
                    f"it: {error}"
                ) from error
        return self._compared_with

    def _seed_for(self, purpose: str) -> int:
        text = f"{self._seed}|{self._batch.index}|{purpose}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def _flaw(attributions: object, batch: Batch, name: str) -> str | None:
    """Return what makes attributions useless for any metric; None if nothing.

    Raises:
        InputError: If they are not of the form of the inputs, which is a mistake in the call and no finding.
    """
    several = attributions if isinstance(attributions, tuple) else (attributions,)
    shapes = [tuple(a.shape) if isinstance(a, Tensor) else type(a).__name__ for a in several]
    if len(several) != len(batch.tensors) or any(
        shape != tuple(x.shape) for shape, x in zip(shapes, batch.tensors, strict=True)
    ):
        raise InputError(
            f"{RUN}: attributions must have the shapes of the inputs, {[tuple(x.shape) for x in batch.tensors]}, but "
            f"the method {name!r} returns {shapes}."
        )
    for a in several:
        bad = (~torch.isfinite(a)).reshape(len(a), -1).any(1)
        if bool(bad.any()):
            return f"it returns NaN or infinity, first in example {int(bad.nonzero()[0])} of batch {batch.index}"
    return None


def _detached(value: Tensor) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else value  # what else it may be, `_flaw` says
