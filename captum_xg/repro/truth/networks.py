r"""Hand-set networks whose true attribution is known, in double precision.

What is true, and why: F(x) = Σ_g f_g(x_g) with groups g of features that share nothing. A method that is linear in F,
gives nothing to features on which a function does not depend (Dummy), and adds up to F(x) − F(0) (Completeness) has to
give group g the sum f_g(x_g) − f_g(0): by linearity it is the sum of its attributions of each f_g, of which Dummy
leaves nothing outside of g, so Completeness fixes the sum inside. Groups of one feature have one true attribution;
within larger groups the axioms decide nothing, and only sums of groups are compared. The truth is computed from the
f_g, and not with the network. What must never happen: a truth that rests on one of the methods that are judged by it.

For example ``max(a, b)`` of a pair is relu(a − b) + relu(b) − relu(−b); the pair's true sum is ``max(a, b)``, whichever
of the two gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Layers = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Weights and biases of two hidden layers, and the weights behind them."""


@dataclass(frozen=True)
class Part:
    """One f_g.

    Attributes:
        layers: That compute it in the network.
        value: Its formula: from the features of the group, ``(N, m)``, to values ``(N,)``.
        relevant: Whether it depends on anything.
    """

    layers: Layers
    value: Callable[[Tensor], Tensor]
    relevant: bool = True


@dataclass(frozen=True)
class Problem:
    """A network, inputs, and the true attribution.

    Attributes:
        model: From inputs ``(N, …)`` to scores ``(N, …)``, of which the first is explained.
        inputs: What is explained.
        groups: Of each feature, its group; flat, in the order of the features.
        truth: The true sums of groups, ``(N, groups)``, against the zero baseline.
        region: Whether features matter at all, ``(N, features)``.
        references: For methods that average over references; None where the truth against them is not known.
        expected: The true sums of groups against the mean over the references.
    """

    model: nn.Module
    inputs: Tensor
    groups: Tensor
    truth: Tensor
    region: Tensor
    references: Tensor | None = None
    expected: Tensor | None = None

    def sums(self, attributions: Tensor) -> Tensor:
        """Return the sums of attributions over groups, ``(N, groups)``."""
        flat = attributions.detach().reshape(len(attributions), -1).cpu().double()
        return torch.zeros(len(flat), int(self.groups.max()) + 1, dtype=flat.dtype).index_add_(1, self.groups, flat)


def sums(generator: torch.Generator, count: int) -> Problem:
    """Return Σ f_i(x_i), each f_i a random network of one feature with biases."""
    parts = [_random_part(generator, biases=True) for _ in range(6)]
    return _problem(parts, 1, _normal(generator), count)


def homogeneous_sums(generator: torch.Generator, count: int) -> Problem:
    """Return Σ f_i(x_i), each f_i a random network of one feature without biases."""
    parts = [_random_part(generator, biases=False) for _ in range(6)]
    return _problem(parts, 1, _normal(generator), count)


def saturated_sums(generator: torch.Generator, count: int) -> Problem:
    """Return Σ c_i·min(x_i, 1) for x_i in [0, 3]: beyond 1 nothing changes any more."""
    parts = [_saturated(c) for c in _coefficients(generator, 6)]
    return _problem(parts, 1, _uniform(generator, 3.0), count)


def pairs(generator: torch.Generator, count: int) -> Problem:
    """Return Σ c_g·max(a, b) or c_g·min(a, b) over pairs of features, without biases."""
    parts = [_larger(c) if i % 2 else _smaller(c) for i, c in enumerate(_coefficients(generator, 4))]
    return _problem(parts, 2, _normal(generator), count)


def gates(generator: torch.Generator, count: int) -> Problem:
    """Return Σ c_g·relu(a + b − 1), zero unless both are large, and features that cancel in the second layer."""
    parts = [_gate(c) for c in _coefficients(generator, 3)]
    return _problem([*parts, _cancelling()], 2, _uniform(generator, 1.0), count)


def _problem(parts: Sequence[Part], size: int, draw: Callable[[int], Tensor], count: int) -> Problem:
    """Return the network of parts that have ``size`` features each."""
    n = len(parts) * size

    def values(x: Tensor) -> Tensor:
        of_zero = torch.zeros(1, size, dtype=x.dtype)
        columns = x.reshape(len(x), len(parts), size).unbind(1)
        return torch.stack([p.value(c) - p.value(of_zero) for p, c in zip(parts, columns, strict=True)], 1)

    drawn = draw(16 * count * n).reshape(-1, n)
    # An input of which nothing is true but zeros has no relative error.
    inputs = drawn[values(drawn).abs().sum(1) > 0.1][:count]
    references = draw(16 * n).reshape(-1, n)
    truth = values(inputs)
    relevant = torch.tensor([p.relevant for p in parts]).repeat_interleave(size)
    groups = torch.arange(len(parts)).repeat_interleave(size)
    region = relevant.expand(len(inputs), -1)
    return Problem(_network(parts), inputs, groups, truth, region, references, truth - values(references).mean(0))


def _network(parts: Sequence[Part]) -> nn.Module:
    """Return the parts side by side in one network, with zeros between them."""
    first, bias, second, own, last = zip(*(p.layers for p in parts), strict=True)
    weights = [torch.block_diag(*each) for each in (first, second)]  # type: ignore[no-untyped-call]
    return nn.Sequential(
        _linear(weights[0], torch.cat(bias)),
        nn.ReLU(),
        _linear(weights[1], torch.cat(own)),
        nn.ReLU(),
        _linear(torch.cat(last)[None], torch.zeros(1, dtype=torch.float64)),
    )


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    # Biases that are all zero are none: the network is then homogeneous, and can be seen to be.
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bool(bias.any()), dtype=torch.float64)
    layer.weight = nn.Parameter(weight)
    if bool(bias.any()):
        layer.bias = nn.Parameter(bias)
    return layer


def _random_part(generator: torch.Generator, *, biases: bool) -> Part:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    first, bias, second, own, last = normal(4, 1), biases * normal(4), normal(4, 4) / 2, biases * normal(4), normal(4)

    def value(x: Tensor) -> Tensor:
        found = []
        for t in x[:, 0].tolist():  # one number after the other, and no layers
            hidden = [max(0.0, w * t + b) for w, b in zip(first[:, 0].tolist(), bias.tolist(), strict=True)]
            rows = zip(second.tolist(), own.tolist(), strict=True)
            next_ = [max(0.0, sum(w * h for w, h in zip(row, hidden, strict=True)) + b) for row, b in rows]
            found.append(sum(w * h for w, h in zip(last.tolist(), next_, strict=True)))
        return torch.tensor(found, dtype=torch.float64)

    return Part((first, bias, second, own, last), value)


def _saturated(c: float) -> Part:
    return Part(_passed_on([[1], [1]], [0, -1], [c, -c]), lambda x: c * x[:, 0].clamp(0, 1))


def _larger(c: float) -> Part:
    layers = _passed_on([[1, -1], [0, 1], [0, -1]], [0, 0, 0], [c, c, -c])
    return Part(layers, lambda x: c * torch.maximum(x[:, 0], x[:, 1]))


def _smaller(c: float) -> Part:
    layers = _passed_on([[-1, 1], [0, 1], [0, -1]], [0, 0, 0], [-c, c, -c])
    return Part(layers, lambda x: c * torch.minimum(x[:, 0], x[:, 1]))


def _gate(c: float) -> Part:
    return Part(_passed_on([[1, 1]], [-1], [c]), lambda x: c * (x[:, 0] + x[:, 1] - 1).clamp(min=0))


def _cancelling() -> Part:
    first, bias, _, own, _ = _passed_on([[1, 2], [1, 2]], [0.5, 0.5], [1, 1])
    second = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    return Part((first, bias, second, own, torch.ones(2, dtype=torch.float64)), lambda x: 0 * x[:, 0], relevant=False)


def _passed_on(weights: Sequence[Sequence[float]], biases: Sequence[float], last: Sequence[float]) -> Layers:
    """Return layers of which the second hands on what the first gives, as that is not negative."""
    first, bias, behind = (torch.tensor(each, dtype=torch.float64) for each in (weights, biases, last))
    return first, bias, torch.eye(len(bias), dtype=torch.float64), torch.zeros_like(bias), behind


def _coefficients(generator: torch.Generator, n: int) -> list[float]:
    drawn = torch.rand(n, generator=generator, dtype=torch.float64) + 0.5
    signs = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    return [float(each) for each in drawn * signs]


def _normal(generator: torch.Generator) -> Callable[[int], Tensor]:
    return lambda n: torch.randn(n, generator=generator, dtype=torch.float64)


def _uniform(generator: torch.Generator, most: float) -> Callable[[int], Tensor]:
    return lambda n: most * torch.rand(n, generator=generator, dtype=torch.float64)
