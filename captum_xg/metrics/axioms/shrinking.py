"""Smaller cases next to a given one, for counterexamples that can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg.metrics.axioms.cases import Case

_SMALLER: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.zeros_like,
    lambda v: v - v.sign(),
    torch.abs,
    lambda v: v.clamp(-1, 1),
)


def smaller_cases(case: Case) -> list[Case]:
    """Return the cases one move away that are smaller, smallest first."""
    found = [*_numbers(case), *_fewer_references(case), *_coefficients(case)]
    return sorted((c for c in found if c.weight < case.weight), key=lambda c: c.weight)


def _numbers(case: Case) -> Iterator[Case]:
    """Change one feature, or the pair that the axiom speaks of, in x, in the references, or in both."""
    flat, references = case.x.flatten(), case.references.flatten(1)
    if len(references) == 1:
        yield _changed(case, references[0], flat.unsqueeze(0))
    groups = [[i] for i in range(len(flat))] + ([list(case.features)] if len(case.features) == 2 else [])
    for columns in groups:
        for move in _SMALLER:
            x, others = flat.clone(), references.clone()
            x[columns] = move(x[columns])
            others[:, columns] = move(others[:, columns])
            yield _changed(case, x, references)
            yield _changed(case, flat, others)
            yield _changed(case, x, others)
        for k in range(len(references)):
            others = references.clone()
            others[k, columns] = 0
            yield _changed(case, flat, others)


def _fewer_references(case: Case) -> Iterator[Case]:
    """Leave out one reference, or two, which may have to go together."""
    flat, references = case.x.flatten(), case.references.flatten(1)
    for k in range(len(references)):
        for m in range(k + 1):
            kept = [i for i in range(len(references)) if i not in (k, m)]
            if kept:
                yield _changed(case, flat, references[kept])


def _coefficients(case: Case) -> Iterator[Case]:
    if len(case.numbers) == 2:
        for pair in ((1.0, 1.0), (2.0, 1.0), (1.0, -1.0), (-1.0, 1.0)):
            yield replace(case, numbers=pair)
    elif case.numbers:
        yield replace(case, numbers=(2.0,))


def _changed(case: Case, x: Tensor, references: Tensor) -> Case:
    shape = case.x.shape
    return replace(case, x=x.reshape(shape), references=references.reshape(-1, *shape))
