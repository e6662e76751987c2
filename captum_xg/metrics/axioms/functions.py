"""A zoo of small functions, written out as formulas, half of them X-DNNs: what axioms are tried on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from captum_xg.errors import ForwardOutputError, OptionError

ModelFactory = Callable[[int], tuple[nn.Module, int]]
"""From a seed to a module that maps float64 ``(N, D)`` to ``(N,)`` or ``(N, 1)``, and D."""


@dataclass(frozen=True)
class Subject:
    """A function F with one number per example, and how it is shown.

    Attributes:
        formula: F(x), readable.
        module: What computes it, from ``(N, *shape)`` to ``(N,)``.
        shape: Shape of one example.
        size: How complicated it is; counterexamples with small numbers are preferred.
        homogeneous: Whether F(αx) = αF(x) for α ≥ 0: an X-DNN.
        symmetric: Pairs of features that may be exchanged without a change of F.
        twins: Other implementations of the same function.
    """

    formula: str
    module: nn.Module
    shape: tuple[int, ...]
    size: int
    homogeneous: bool = False
    symmetric: tuple[tuple[int, int], ...] = ()
    twins: tuple[Subject, ...] = ()


class Formula(nn.Module):
    """A function of x and of the modules in it, which are children, so that methods with hooks find their layers.

    The function may close over numbers but not over modules: a copy of it would run those of the original.
    """

    def __init__(self, function: Callable[..., Tensor], *bodies: nn.Module) -> None:
        super().__init__()
        self.function, self.bodies = function, nn.ModuleList(bodies)
        self.training = self.bodies.training = False  # and not `eval()`: a body may be the user's, whose mode stays

    def forward(self, x: Tensor) -> Tensor:
        """Return F(x), shape ``(N,)``."""
        return self.function(x, *self.bodies)


def _one_number(x: Tensor, body: nn.Module) -> Tensor:
    """Return the output of a model as shape ``(N,)``."""
    output = body(x)
    if not isinstance(output, Tensor) or output.numel() != x.shape[0]:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ForwardOutputError(
            f"axiom_report: a model must return one number per example, shape (N,) or (N, 1), but returns {shape} for "
            f"{x.shape[0]} example(s). Choose one output in the model."
        )
    return output.reshape(x.shape[0])


def _max_pooling(x: Tensor, pool: nn.Module) -> Tensor:
    """Return max(x0, x1) + …, as max pooling over neighbours computes it."""
    pooled: Tensor = pool(x.unsqueeze(1))
    return pooled.flatten(1).sum(1)


Layer = tuple[Sequence[Sequence[float]], Sequence[float] | None]


def network(*layers: Layer, symmetric: tuple[tuple[int, int], ...] = (), twins: tuple[Subject, ...] = ()) -> Subject:
    """Return a ReLU network with these weights and biases, with its formula."""
    modules: list[nn.Module] = []
    features = len(layers[0][0][0])
    terms = [f"x{i}" for i in range(features)]
    size = 0
    for number, (weight, bias) in enumerate(layers):
        if number:
            modules.append(nn.ReLU())
            terms = [f"relu({term})" for term in terms]
        linear = nn.Linear(len(weight[0]), len(weight), bias=bias is not None, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weight, dtype=torch.float64))
            if bias is not None:
                linear.bias.copy_(torch.tensor(bias, dtype=torch.float64))
        modules.append(linear)
        terms = [affine(row, terms, 0.0 if bias is None else bias[i]) for i, row in enumerate(weight)]
        size += sum(w != 0 for row in weight for w in row) + sum(b != 0 for b in bias or ())
    module = Formula(_one_number, nn.Sequential(*modules).eval())
    homogeneous = all(bias is None for _, bias in layers)
    return Subject(terms[0], module, (features,), size, homogeneous, symmetric, twins)


def affine(weights: Sequence[float], terms: Sequence[str], bias: float = 0.0) -> str:
    """Return Σ weight·term + bias as a formula, with the first positive summand in front."""
    parts = [(w, term) for w, term in zip(weights, terms, strict=True) if w != 0]
    if bias != 0:
        parts.append((bias, ""))
    first = next((i for i, (w, _) in enumerate(parts) if w > 0), 0)
    parts.insert(0, parts.pop(first)) if parts else None
    shown = ""
    for i, (w, term) in enumerate(parts):
        size = f"{abs(w):g}" if not term else term if abs(w) == 1 else f"{abs(w):g}·{_grouped(term)}"
        shown += (f" {'−' if w < 0 else '+'} " if i else "−" if w < 0 else "") + (_grouped(size) if i else size)
    return shown or "0"


def _grouped(term: str) -> str:
    depth = 0
    for i, letter in enumerate(term):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and letter in "+−" and (i == 0 or term[i - 1] == " "):
            return f"[{term}]"
    return term


def expression(
    formula: str,
    features: int,
    size: int,
    function: Callable[[Tensor], Tensor],
    *,
    homogeneous: bool = False,
    symmetric: tuple[tuple[int, int], ...] = (),
    twins: tuple[Subject, ...] = (),
) -> Subject:
    """Return a function given as an expression in x."""
    return Subject(formula, Formula(function), (features,), size, homogeneous, symmetric, twins)


def x_dnns() -> list[Subject]:
    """Return hand-made nonnegatively homogeneous functions."""
    pair = ((0, 1),)
    pooling = Formula(_max_pooling, nn.MaxPool1d(2))
    maximum = expression("max(x0, x1)", 2, 2, lambda x: x.amax(1), homogeneous=True, symmetric=pair)
    by_relu = network(([[1, -1], [0, 1], [0, -1]], None), ([[1, 1, -1]], None))
    absolute = network(([[1], [-1]], None), ([[1, 1]], None))
    return [
        network(([[2]], None)),
        network(([[1]], None), ([[1]], None)),
        expression("|x0|", 1, 2, lambda x: x[:, 0].abs(), homogeneous=True, twins=(absolute,)),
        network(([[1, 1]], None), symmetric=pair),
        network(
            ([[1, -2]], None), twins=(network(([[1, 0], [-1, 0], [0, 1], [0, -1]], None), ([[1, -1, -2, 2]], None)),)
        ),
        network(([[1, 1]], None), ([[1]], None), symmetric=pair),
        network(([[1, -1]], None), ([[1]], None), twins=(expression("max(x0 − x1, 0)", 2, 3, _positive_part),)),
        Subject("max(x0, x1) (max pooling)", pooling, (2,), 3, True, pair, (maximum, by_relu)),
        expression("min(x0, x1)", 2, 3, lambda x: x.amin(1), homogeneous=True, symmetric=pair),
        network(([[1, 0, 1], [0, 1, -1]], None), ([[1, -1], [1, 2]], None), ([[2, 1]], None)),
        expression("max(x0, x1) + min(x1, x2)", 3, 5, _max_and_min, homogeneous=True),
        Subject("max(x0, x1) + max(x2, x3) (max pooling)", pooling, (4,), 6, True, (*pair, (2, 3))),
        expression(
            "√(x0² + x1²)", 2, 4, lambda x: torch.linalg.vector_norm(x, dim=1), homogeneous=True, symmetric=pair
        ),
    ]


def other_functions() -> list[Subject]:
    """Return hand-made functions that are not homogeneous of degree 1."""
    pair = ((0, 1),)
    # Fig. 7 of Sundararajan et al. 2017 (equal functions that DeepLIFT and LRP tell apart).
    inner = network(([[1, 0], [0, 1]], None), ([[1, -1]], [-1]), ([[1]], None))
    outer = network(([[1, 0], [0, 1]], [-1, 0]), ([[1, -1]], None), ([[1]], None), twins=(inner,))
    saturating = network(
        ([[-1]], [1]), ([[-1]], [1]), twins=(expression("min(x0, 1)", 1, 3, lambda x: x[:, 0].clamp(max=1)),)
    )
    return [
        network(([[1]], [1])),
        saturating,
        expression("x0²", 1, 2, lambda x: x[:, 0] ** 2),
        network(([[1]], [-1]), ([[1]], None)),
        expression("x0·x1", 2, 2, lambda x: x[:, 0] * x[:, 1], symmetric=pair, twins=(_product_of_squares(),)),
        network(([[1, 1]], [-1]), ([[1]], [1]), symmetric=pair),
        network(([[-1, -1]], [1]), ([[-1]], [1]), symmetric=pair),
        outer,
        expression("tanh(x0 − x1)", 2, 4, lambda x: (x[:, 0] - x[:, 1]).tanh()),
        network(([[1, 1, 1]], [-1.5]), ([[2]], [0.5]), symmetric=(*pair, (1, 2))),
        expression("max(x0, x1, 1)", 2, 4, lambda x: x.amax(1).clamp(min=1), symmetric=pair),
    ]


def random_networks(seed: int, count: int, *, biases: bool) -> list[Subject]:
    """Return random ReLU networks with weights in −2 … 2 and, if asked for, half-integer biases."""
    draw = random.Random(f"networks {seed} {biases}")
    found = []
    for number in range(count):
        features = 2 + number % 2
        widths = (features, 3, 1) if number % 3 else (features, 2, 2, 1)
        layers: list[Layer] = []
        for before, after in pairwise(widths):
            weight = [[float(draw.choice((-2, -1, 1, 2))) for _ in range(before)] for _ in range(after)]
            # At half integers, integer inputs rarely meet a kink.
            layers.append((weight, [draw.randint(-2, 1) + 0.5 for _ in range(after)] if biases else None))
        found.append(network(*layers))
    return found


def zoo(models: str | ModelFactory, seed: int) -> list[Subject]:
    """Return the functions that a report tries, small ones first.

    Raises:
        OptionError: If ``models`` is neither "any", "xdnn" nor a callable from a seed to a module and its features.
    """
    if models == "xdnn":
        found = x_dnns() + random_networks(seed, 6, biases=False)
    elif models == "any":
        found = other_functions() + x_dnns() + random_networks(seed, 6, biases=True)
    elif callable(models):
        found = [_made(models, seed + k) for k in range(12)]
    else:
        raise OptionError(
            f"axiom_report: expected `models` to be 'any', 'xdnn' or a callable from a seed to (module, number of "
            f"features), got {models!r}."
        )
    return sorted(found, key=lambda subject: subject.size)


def _made(factory: ModelFactory, seed: int) -> Subject:
    made = factory(seed)
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module) and isinstance(made[1], int)):
        raise OptionError(
            "axiom_report: the callable `models` must return (module, number of features), but returns "
            f"{type(made).__name__}. Return for example (nn.Sequential(nn.Linear(3, 1)), 3)."
        )
    module, features = made
    if features < 1:
        raise OptionError(f"axiom_report: the callable `models` must name at least one feature, but names {features}.")
    size = sum(parameter.numel() for parameter in module.parameters()) + features
    formula = f"models(seed={seed}): {' '.join(repr(module).split())}"
    return Subject(formula, Formula(_one_number, module.double().eval()), (features,), size)


def _positive_part(x: Tensor) -> Tensor:
    return (x[:, 0] - x[:, 1]).clamp(min=0)


def _max_and_min(x: Tensor) -> Tensor:
    return x[:, :2].amax(1) + x[:, 1:].amin(1)


def _product_of_squares() -> Subject:
    return expression("¼(x0 + x1)² − ¼(x0 − x1)²", 2, 4, lambda x: (x.sum(1) ** 2 - (x[:, 0] - x[:, 1]) ** 2) / 4)
