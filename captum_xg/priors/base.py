"""The base of all priors: a module from attributions to one number, which sums, scales and picks inputs."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from captum_xg.errors import InputError, OptionError, PriorError


class AttributionPrior(nn.Module):
    """A number Ω(A) that is small for attributions as one wants them.

    Subclasses implement :meth:`penalty` for one tensor of attributions. ``0.5 * p + q`` is a prior, and ``p.of(1)``
    looks at the second input alone. For several inputs Ω is the sum over them. Attributions of coarser dtypes than
    float32 are taken as float32, also under autocast.
    """

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
            return self._of_one(attributions, arguments, where)
        if not attributions:
            raise InputError(f"{where}: `attributions` is an empty tuple. Pass one tensor for each input.")
        terms = [
            self._of_one(
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
        return _OfOne(self, index)

    def __add__(self, other: AttributionPrior) -> AttributionPrior:
        """Return the sum of two priors."""
        if not isinstance(other, AttributionPrior):
            return NotImplemented
        return WeightedSum((1.0, self), (1.0, other))

    def __mul__(self, weight: float) -> AttributionPrior:
        """Return this prior times a number."""
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            return NotImplemented
        return WeightedSum((weight, self))

    __rmul__ = __mul__

    def _of_one(self, attributions: Tensor, arguments: dict[str, Any], where: str) -> Tensor:
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
        with torch.autocast(wide.device.type, enabled=False):
            return self.penalty(wide, **arguments)


class WeightedSum(AttributionPrior):
    r"""A weighted sum of priors.

    .. math:: \Omega(A) = \sum_j w_j \Omega_j(A)

    ``0.5 * GiniSparsity() + TotalVariation()`` makes one. Each term takes the arguments it knows.

    Args:
        terms: Pairs of a finite weight and a prior.

    Raises:
        OptionError: If there is no term, a weight is not finite, or something is no prior.
    """

    def __init__(self, *terms: tuple[float, AttributionPrior]) -> None:
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

    def penalty(self, attributions: Tensor, **arguments: Any) -> Tensor:
        """Return the weighted sum for one tensor."""
        return self(attributions, **arguments)  # type: ignore[no-any-return]

    def argument_names(self) -> frozenset[str]:
        """Return what any of the priors takes."""
        return frozenset[str]().union(*(prior.argument_names() for _, prior in self.terms()))

    def terms(self) -> Iterator[tuple[float, AttributionPrior]]:
        """Return the pairs of a weight and a prior."""
        return zip(self.weights, cast("Iterable[AttributionPrior]", self.priors), strict=True)

    def extra_repr(self) -> str:
        """Return the weights."""
        return f"weights={self.weights}"


class _OfOne(AttributionPrior):
    """A prior of one of several inputs."""

    def __init__(self, prior: AttributionPrior, index: int) -> None:
        super().__init__()
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise OptionError(f"{type(prior).__name__}.of: `index` must be an integer ≥ 0 but is {index!r}.")
        self.prior = prior
        self.index = index

    def forward(self, attributions: Tensor | tuple[Tensor, ...], **arguments: Any) -> Tensor:
        """Return the prior of the attributions for that input."""
        several = attributions if isinstance(attributions, tuple) else (attributions,)
        if self.index >= len(several):
            raise PriorError(
                f"{type(self.prior).__name__}.of({self.index}): there are attributions of {len(several)} input(s)."
            )
        where = f"{type(self.prior).__name__}.of({self.index})"
        own = {name: _share(value, self.index, len(several), name, where) for name, value in arguments.items()}
        return self.prior(several[self.index], **own)  # type: ignore[no-any-return]

    def penalty(self, attributions: Tensor, **arguments: Any) -> Tensor:
        """Return the prior of the one tensor there is."""
        return self(attributions, **arguments)  # type: ignore[no-any-return]

    def argument_names(self) -> frozenset[str]:
        """Return what the prior takes."""
        return self.prior.argument_names()


@functools.lru_cache(maxsize=128)
def _taken_by(penalty: Callable[..., Tensor]) -> frozenset[str]:
    """Return the names of what it takes besides self and the attributions; a signature takes long to read."""
    return frozenset(list(inspect.signature(penalty).parameters)[2:])


def _flattened(terms: tuple[Any, ...]) -> Iterator[tuple[float, AttributionPrior]]:
    for term in terms:
        if not isinstance(term, tuple) or len(term) != 2 or not isinstance(term[1], AttributionPrior):
            raise OptionError(f"WeightedSum: terms must be pairs (weight, prior), but one is {term!r}.")
        weight, prior = term
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not abs(weight) < float("inf"):
            raise OptionError(f"WeightedSum: a weight must be a finite number but is {weight!r}.")
        if isinstance(prior, WeightedSum):
            yield from ((weight * inner, part) for inner, part in prior.terms())
        else:
            yield weight, prior


def _share(value: Any, index: int, n: int, name: str, where: str) -> Any:
    """Return what of an argument belongs to the input with that index."""
    if not isinstance(value, tuple):
        return value
    if len(value) != n:
        raise PriorError(
            f"{where}: `{name}` has {len(value)} entries for attributions of {n} inputs; pass one for each."
        )
    return value[index]
