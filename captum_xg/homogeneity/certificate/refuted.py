"""Reasons of rules that the value graph refutes: what one operation cannot know, where its arguments came from.

Example: ``eigh`` reads one triangle of a matrix, and its gradient is right only if the other one fits. Of ``x @ x.T``
the value graph says that it does.

What must never happen: a reason is withdrawn that holds for some other input.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from captum_xg._core.recorder import OpEvent
from captum_xg.homogeneity.certificate.value_facts import symmetric
from captum_xg.homogeneity.certificate.value_graph import Reading
from captum_xg.homogeneity.degree import CONSTANT, Reason, Scaling
from captum_xg.homogeneity.rules.linalg import ONE_TRIANGLE
from captum_xg.homogeneity.rules.pooling import COINCIDE
from captum_xg.homogeneity.rules.random import CHANCE
from captum_xg.homogeneity.rules.schema import RANDOM

_OF_SYMMETRIC = {"aten::_linalg_eigh": "A", "aten::linalg_cholesky_ex": "self", "aten::cholesky": "self"}
_UNPOOLING = ("aten::max_unpool2d", "aten::max_unpool3d")


class Refuted:
    """Withdraws reasons of rules, for one forward pass."""

    def __init__(self) -> None:
        self._seeded: list[torch.Generator] = []

    def corrected(
        self, event: OpEvent, results: list[Scaling], readings: Mapping[int, Reading | None]
    ) -> list[Scaling]:
        """Return how results scale, the first of which may have a reason against it that does not hold here."""
        name = event.name
        if name in _OF_SYMMETRIC and symmetric(readings[id(event.arguments[_OF_SYMMETRIC[name]])]):
            return [_without(results[0], ONE_TRIANGLE), *results[1:]]
        if name in _UNPOOLING and _apart(readings[id(event.arguments["indices"])]):
            return [_without(results[0], COINCIDE), *results[1:]]
        generator = event.arguments.get("generator")
        if isinstance(generator, torch.Generator) and self._is_seeded(generator):
            return [
                CONSTANT if (cleared := _without(result, RANDOM)) == _without(CHANCE, RANDOM) else cleared
                for result in results
            ]
        return results

    def seeded(self, event: OpEvent) -> bool:
        """Return whether an operation draws from a generator that is known to have been seeded in this pass."""
        return any(event.arguments.get("generator") is generator for generator in self._seeded)

    def _is_seeded(self, generator: torch.Generator) -> bool:
        """Return whether a generator was seeded after its last draw of another pass, and so gives the same numbers.

        One that was seeded before the first pass and never again looks like that in this pass, and in no later one:
        that F gives other numbers when it runs again shows it.
        """
        if not any(generator is other for other in self._seeded):
            fresh = torch.Generator(device=generator.device)
            fresh.manual_seed(generator.initial_seed())
            if not torch.equal(fresh.get_state(), generator.get_state()):
                return False
            self._seeded.append(generator)
        return True


def _without(scaling: Scaling, refuted: Reason) -> Scaling:
    kept = frozenset(reason for reason in scaling.reasons if reason.what != refuted.what)
    return Scaling(
        scaling.degree, scaling.constant, scaling.zero, scaling.stepwise, scaling.signed, kept, scaling.guessed
    )


def _apart(indices: Reading | None) -> bool:
    """Return whether indices are those of a pooling whose windows have no place in common."""
    if indices is None or indices.layout.offset != 0 or not indices.node.operation.endswith("_with_indices:1"):
        return False
    given = indices.node.arguments
    window, stride, dilation = (given[name] for name in ("kernel_size", "stride", "dilation"))
    assert isinstance(window, list)
    assert isinstance(stride, list)
    assert isinstance(dilation, list)
    stride = stride or window
    wide = all(step >= size for step, size in zip(stride, window * (len(stride) // len(window)), strict=True))
    return wide and all(d == 1 for d in dilation)
