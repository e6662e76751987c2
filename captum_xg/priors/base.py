"""The base of all priors: a module from attributions to one number, which sums, scales and picks inputs."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast

import torch
from torch import Tensor, nn

from captum_xg._core.options import finite_number, integer, single_number
from captum_xg.errors import InputError, OptionError, OptionTypeError, PriorError
from captum_xg.priors.paths import checked_prior

Function: TypeAlias = Callable[..., Tensor]
"""From attributions, a tensor or a tuple of tensors, to one number."""


class AttributionPrior(nn.Module):
    """A number Ω(A) that is small for attributions as one wants them.

    Subclasses implement :meth:`penalty` for one tensor of attributions. ``0.5 * p + q`` and ``sum([p, q])`` are priors,
    where q may be a function from attributions to one number; ``p.of(1)`` looks at the second input alone. For several
    inputs Ω is the sum over them. Attributions of coarser dtypes than float32 are taken as float32, also under
    autocast.
    """

    # NumPy's numbers would multiply entry by entry.
    __array_ufunc__ = None

    def forward(self, attributions: Tensor | tuple[Tensor, ...], **arguments: Any) -> Tensor:
        """Return Ω(A), one number.

        Args:
            attributions: Floating-point, shape ``(N, …)``, or a tuple of such tensors, one for each input.
            arguments: What else the prior needs for this batch, by name, such as masks; for a tuple of attributions a
                tuple with one value for each, or one value for all.

        Raises:
            InputError: If the attributions are not a floating-point tensor ``(N, …)`` with N ≥ 1, or a tuple of such.
            PriorError: If they, or the arguments, do not fit the prior.
        """
        where = type(self).__name__
        if not isinstance(attributions, tuple):
            return self._for_one(attributions, arguments, where)
        if not attributions:
            raise InputError(f"{where}: `attributions` is an empty tuple. Pass one tensor for each input.")
        terms = [
            self._for_one(
                a, {k: _share(v, i, len(attributions), k, where) for k, v in arguments.items()}, f"{where}[{i}]"
            )
            for i, a in enumerate(attributions)
        ]
        return torch.stack(terms).sum()

    @abstractmethod
    def penalty(self, attributions: Tensor, *_: Any, **arguments: Any) -> Tensor:
        """Return Ω(A) for one tensor ``(N, …)`` of float32 or float64; PriorError for shapes it has no meaning for.

        Subclasses name the arguments they take, if any.
        """

    def argument_names(self) -> frozenset[str]:
        """Return the names of what :meth:`penalty` takes besides the attributions."""
        return _taken_by(type(self).penalty)

    def of(self, index: int) -> AttributionPrior:
        """Return this prior for the input with that index alone, where the model has several."""
        return _ForInput(self, index)

    if TYPE_CHECKING:  # nn.Module says Any

        def __call__(self, attributions: Tensor | tuple[Tensor, ...], **arguments: Any) -> Tensor:
            """Return Ω(A)."""

    def __add__(self, other: AttributionPrior | Function | float) -> AttributionPrior:
        if not isinstance(other, AttributionPrior) and not _is_function(other):
            return self if single_number(other) == 0 else NotImplemented  # with 0 the built-in `sum` begins
        return WeightedSum((1.0, self), (1.0, other))

    def __radd__(self, other: Function | float) -> AttributionPrior:
        if not _is_function(other):
            return self if single_number(other) == 0 else NotImplemented
        return WeightedSum((1.0, other), (1.0, self))

    def __sub__(self, other: AttributionPrior | Function) -> AttributionPrior:
        if not isinstance(other, AttributionPrior) and not _is_function(other):
            return NotImplemented
        return WeightedSum((1.0, self), (-1.0, other))

    def __neg__(self) -> AttributionPrior:
        return WeightedSum((-1.0, self))

    def __mul__(self, weight: float) -> AttributionPrior:
        return NotImplemented if single_number(weight) is None else WeightedSum((weight, self))

    __rmul__ = __mul__

    def __truediv__(self, number: float) -> AttributionPrior:
        found = single_number(number)
        return NotImplemented if found is None else WeightedSum((1 / found, self))

    def _for_one(self, attributions: Tensor, arguments: dict[str, object], where: str) -> Tensor:
        if unknown := set(arguments) - self.argument_names():
            known = ", ".join(sorted(self.argument_names())) or "none"
            raise PriorError(
                f"{where}: there is no argument {', '.join(map(repr, sorted(unknown)))}; it takes {known}."
            )
        if not isinstance(attributions, Tensor):
            raise InputError(f"{where}: `attributions` must be a torch.Tensor but is {type(attributions).__name__}.")
        if not attributions.dtype.is_floating_point or attributions.layout != torch.strided:
            raise InputError(
                f"{where}: `attributions` must be a dense floating-point tensor but is {attributions.dtype}, "
                f"{attributions.layout}."
            )
        if attributions.dim() == 0 or attributions.numel() == 0:
            raise InputError(
                f"{where}: `attributions` has shape {tuple(attributions.shape)}; it must be (N, …) with at least one "
                "example and one feature."
            )
        wide = attributions.to(torch.promote_types(attributions.dtype, torch.float32))
        # Under autocast matrix products and the like would be computed in 16 bits.
        with torch.autocast(wide.device.type, enabled=False):
            return self.penalty(wide, **arguments)


class _Combined(AttributionPrior):
    """A prior made of others, which gets all inputs at once: its Ω of one tensor is that of a single input."""

    def penalty(self, attributions: Tensor, **arguments: Any) -> Tensor:
        return self(attributions, **arguments)


class WeightedSum(_Combined):
    r"""A weighted sum of priors.

    .. math:: \Omega(A) = \sum_j w_j \Omega_j(A)

    ``0.5 * GiniSparsity() + TotalVariation()`` makes one. Each term takes the arguments it knows.

    Args:
        terms: Pairs of a finite weight and a prior, or a function from attributions to one number.

    Raises:
        OptionError: If there is no term, a weight is not finite, or something is no prior.
    """

    def __init__(self, *terms: tuple[float, AttributionPrior | Function]) -> None:
        super().__init__()
        flat = list(_flattened(terms))
        if not flat:
            raise OptionError("WeightedSum: there are no terms. Pass pairs (weight, prior).")
        self.weights = [float(weight) for weight, _ in flat]
        self.priors = nn.ModuleList([prior for _, prior in flat])

    def forward(self, attributions: Tensor | tuple[Tensor, ...], **arguments: Any) -> Tensor:
        """Return the weighted sum; each prior gets those of the arguments that it takes."""
        known = self.argument_names()
        if unknown := set(arguments) - known:
            raise PriorError(
                f"WeightedSum: none of {', '.join(type(p).__name__ for p in self.priors)} takes "
                f"{', '.join(map(repr, sorted(unknown)))}."
            )
        total: Tensor | None = None
        for weight, prior in self.terms():
            own = {name: value for name, value in arguments.items() if name in prior.argument_names()}
            term = weight * prior(attributions, **own)
            total = term if total is None else total + term
        assert total is not None
        return total

    def argument_names(self) -> frozenset[str]:
        """Return what any of the priors takes."""
        return frozenset[str]().union(*(prior.argument_names() for _, prior in self.terms()))

    def terms(self) -> Iterator[tuple[float, AttributionPrior]]:
        """Return the pairs of a weight and a prior."""
        return zip(self.weights, cast("Iterable[AttributionPrior]", self.priors), strict=True)

    def extra_repr(self) -> str:
        """Return the weights."""
        return f"weights={self.weights}"


class _ForInput(_Combined):
    """A prior of one of several inputs."""

    def __init__(self, prior: AttributionPrior, index: int) -> None:
        super().__init__()
        self.prior = prior
        self.index = integer(index, "index", f"{type(prior).__name__}.of", least=0)

    def forward(self, attributions: Tensor | tuple[Tensor, ...], **arguments: Any) -> Tensor:
        several = attributions if isinstance(attributions, tuple) else (attributions,)
        if self.index >= len(several):
            raise PriorError(
                f"{type(self.prior).__name__}.of({self.index}): there are attributions of {len(several)} input(s)."
            )
        where = f"{type(self.prior).__name__}.of({self.index})"
        own = {name: _share(value, self.index, len(several), name, where) for name, value in arguments.items()}
        return self.prior(several[self.index], **own)

    def argument_names(self) -> frozenset[str]:
        return self.prior.argument_names()


class _OfFunction(_Combined):
    """A function as a term of a sum. It is called with the attributions as they are, also with a tuple of them."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, attributions: Tensor | tuple[Tensor, ...], **arguments: Any) -> Tensor:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return checked_prior(self.function(attributions, **arguments), f"the function {name}", "WeightedSum")

    def argument_names(self) -> frozenset[str]:
        """Return the names of what the function takes besides the attributions."""
        return _named_behind_the_first(self.function)

    def _get_name(self) -> str:
        return "Function"

    def extra_repr(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


def _is_function(value: object) -> TypeGuard[Function]:
    return callable(value) and not isinstance(value, (type, nn.Module))


def _named_behind_the_first(function: Function) -> frozenset[str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())[1:]
    except ValueError:  # of C, without a signature
        return frozenset()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(parameter.name for parameter in parameters if parameter.kind in kinds)


@functools.lru_cache(maxsize=128)
def _taken_by(penalty: Callable[..., Tensor]) -> frozenset[str]:
    """Return the names of what it takes besides self and the attributions; a signature takes long to read."""
    return frozenset(list(inspect.signature(penalty).parameters)[2:])


def _flattened(terms: tuple[object, ...]) -> Iterator[tuple[float, AttributionPrior]]:
    for term in terms:
        weight, prior = term if isinstance(term, tuple) and len(term) == 2 else (None, None)
        if not (isinstance(prior, AttributionPrior) or _is_function(prior)):
            raise OptionError(f"WeightedSum: terms must be pairs (weight, prior), but one is {term!r}.")
        if isinstance(weight, Tensor) and weight.requires_grad:
            raise OptionTypeError(
                "WeightedSum: a weight is a tensor that requires a gradient, and would get none: it must be a number. "
                "Let a prior of your own, a subclass of AttributionPrior, multiply by what is to be learned."
            )
        number = finite_number(weight, "weight", "WeightedSum")
        # Flat, so that the terms of a sum of sums are looked at, and named, one by one.
        if isinstance(prior, WeightedSum):
            yield from ((number * inner, part) for inner, part in prior.terms())
        else:
            yield number, prior if isinstance(prior, AttributionPrior) else _OfFunction(prior)


def _share(value: object, index: int, n: int, name: str, where: str) -> Any:
    """Return what of an argument belongs to the input with that index."""
    if not isinstance(value, tuple):
        return value
    if len(value) != n:
        raise PriorError(
            f"{where}: `{name}` has {len(value)} entries for attributions of {n} inputs; pass one for each."
        )
    return value[index]
