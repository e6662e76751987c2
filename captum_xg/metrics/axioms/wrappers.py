"""New functions out of a given one, with the property that an axiom speaks of: unused, equal, composed, symmetric."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from captum_xg.metrics.axioms.functions import Subject, affine


class Weighted(nn.Module):
    """a·F + b·G, with G a copy, as some methods do not take a layer that is used twice."""

    def __init__(self, first: nn.Module, second: nn.Module, a: float, b: float) -> None:
        super().__init__()
        self.first, self.second, self.a, self.b = first, deepcopy(second), a, b

    def forward(self, x: Tensor) -> Tensor:
        """Return a·F(x) + b·G(x), shape ``(N,)``."""
        first: Tensor = self.first(x)
        second: Tensor = self.second(x)
        return self.a * first + self.b * second


class WithUnused(nn.Module):
    """F of all features but the last, which is left aside or goes in and comes out again."""

    def __init__(self, body: nn.Module, shape: tuple[int, ...], cancels: bool) -> None:
        super().__init__()
        self.body, self.shape, self.cancels = body, shape, cancels

    def forward(self, x: Tensor) -> Tensor:
        """Return F of the features in front, shape ``(N,)``."""
        output: Tensor = self.body(x[:, :-1].reshape(-1, *self.shape))
        return (output + x[:, -1]) - x[:, -1] if self.cancels else output


class OfScaled(nn.Module):
    """F(4·(x/4)): another program for F, exact in binary floating point."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return F(x), shape ``(N,)``."""
        output: Tensor = self.body(4 * (x / 4))
        return output


class Symmetrised(nn.Module):
    """F(x) + F(x with two features exchanged)."""

    def __init__(self, body: nn.Module, pair: tuple[int, int]) -> None:
        super().__init__()
        self.body, self.other, self.pair = body, deepcopy(body), pair

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, shape ``(N,)``."""
        output: Tensor = self.body(x) + self.other(exchanged(x, self.pair))
        return output


class Inner(nn.Module):
    """⟨c, x⟩."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner product, shape ``(N,)``."""
        return x.flatten(1) @ self.get_buffer("weight")


def exchanged(x: Tensor, pair: tuple[int, int]) -> Tensor:
    """Return examples with two features exchanged."""
    order = list(range(x[0].numel()))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    return x.flatten(1)[:, order].reshape(x.shape)


def weighted(f: Subject, g: Subject, a: float, b: float) -> Subject:
    """Return a·F + b·G."""
    formula = affine((a, b), ("F", "G"))
    homogeneous = f.homogeneous and g.homogeneous
    return Subject(formula, Weighted(f.module, g.module, a, b).eval(), f.shape, f.size + g.size + 1, homogeneous)


def with_unused(f: Subject, *, cancels: bool) -> Subject:
    """Return F with one more feature, the last one, that it does not depend on."""
    count = prod(f.shape)
    formula = f"{f.formula} + x{count} − x{count}" if cancels else f"{f.formula} (x{count} unused)"
    module = WithUnused(f.module, f.shape, cancels).eval()
    return replace(f, formula=formula, module=module, shape=(count + 1,), size=f.size + cancels, symmetric=(), twins=())


def equal_functions(f: Subject) -> list[Subject]:
    """Return other programs for F, the simplest (F itself, called again) first."""
    more = [
        f,
        *f.twins,
        replace(f, formula="F(4·(x/4))", module=OfScaled(f.module).eval(), size=f.size + 1),
        replace(weighted(f, f, 3, -2), formula="3·F(x) − 2·F(x)"),
    ]
    return [replace(other, twins=()) for other in more]


def symmetrised(f: Subject, pair: tuple[int, int]) -> Subject:
    """Return a function that is symmetric in two features: F itself if it is, or the sum over both orders."""
    if pair in f.symmetric:
        return f
    i, j = pair
    return Subject(
        f"H(x) + H(x with x{i} and x{j} exchanged), H(x) = {f.formula}",
        Symmetrised(f.module, pair).eval(),
        f.shape,
        2 * f.size + 1,
        f.homogeneous,
        (pair,),
    )


def inner(f: Subject, like: Tensor, seed: int) -> Subject:
    """Return a random linear function of f's inputs, of dtype and device of ``like``."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(prod(f.shape), generator=generator, dtype=torch.float64).to(like)
    return Subject("⟨c, x⟩, c random", Inner(weight).eval(), f.shape, 1, True)
