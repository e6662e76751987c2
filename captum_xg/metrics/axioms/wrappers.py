"""New functions out of a given one, with the property that an axiom speaks of: unused, equal, composed, symmetric."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from captum_xg.metrics.axioms.functions import Formula, Subject, affine


def exchanged(x: Tensor, pair: tuple[int, int]) -> Tensor:
    """Return examples with two features exchanged."""
    order = list(range(x[0].numel()))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    return x.flatten(1)[:, order].reshape(x.shape)


def weighted(f: Subject, g: Subject, a: float, b: float) -> Subject:
    """Return a·F + b·G, with G a copy, as some methods do not take a layer that is used twice."""
    module = Formula(lambda x, first, second: a * first(x) + b * second(x), f.module, deepcopy(g.module))
    homogeneous = f.homogeneous and g.homogeneous
    return Subject(affine((a, b), ("F", "G")), module, f.shape, f.size + g.size + 1, homogeneous)


def with_unused(f: Subject, *, cancels: bool) -> Subject:
    """Return F with one more feature, the last one, that is left aside or goes in and comes out again."""
    count = prod(f.shape)

    def wide(x: Tensor, body: Formula) -> Tensor:
        output: Tensor = body(x[:, :-1].reshape(-1, *f.shape))
        return (output + x[:, -1]) - x[:, -1] if cancels else output

    formula = f"{f.formula} + x{count} − x{count}" if cancels else f"{f.formula} (x{count} unused)"
    module = Formula(wide, f.module)
    return replace(f, formula=formula, module=module, shape=(count + 1,), size=f.size + cancels, symmetric=(), twins=())


def equal_functions(f: Subject) -> list[Subject]:
    """Return other programs for F, the simplest (F itself, called again) first."""
    # Multiplying by powers of two is exact.
    scaled = Formula(lambda x, body: body(4 * (x / 4)), f.module)
    more = [
        f,
        *f.twins,
        replace(f, formula="F(4·(x/4))", module=scaled, size=f.size + 1),
        replace(weighted(f, f, 3, -2), formula="3·F(x) − 2·F(x)"),
    ]
    return [replace(other, twins=()) for other in more]


def symmetrised(f: Subject, pair: tuple[int, int]) -> Subject:
    """Return a function that is symmetric in two features: F itself if it is, or the sum over both orders."""
    if pair in f.symmetric:
        return f
    i, j = pair
    module = Formula(lambda x, one, other: one(x) + other(exchanged(x, pair)), f.module, deepcopy(f.module))
    formula = f"H(x) + H(x with x{i} and x{j} exchanged), H(x) = {f.formula}"
    return Subject(formula, module, f.shape, 2 * f.size + 1, f.homogeneous, (pair,))


def inner(f: Subject, like: Tensor, seed: int) -> Subject:
    """Return a random linear function of f's inputs, of dtype and device of ``like``."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(prod(f.shape), generator=generator, dtype=torch.float64).to(like)
    return Subject("⟨c, x⟩, c random", Formula(lambda x: x.flatten(1) @ weight), f.shape, 1, True)
