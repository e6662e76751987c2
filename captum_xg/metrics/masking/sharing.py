"""Lets metrics that look at the same batch, one after the other, share what the model said to it."""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from captum_xg._core.function import additional_arguments
from captum_xg._core.types import Target
from captum_xg.homogeneity.certificate.fingerprint import fingerprint_of
from captum_xg.metrics.maskers import Masker
from captum_xg.metrics.masking.evaluations import MaskedOutcomes, Masking
from captum_xg.metrics.masking.features import Features

_SAMPLE = 65_536
"""How many numbers of a weight are compared besides its version."""

_GOLDEN = (5**0.5 - 1) / 2
"""Its multiples have fractional parts that are all different."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)

_recent = threading.local()


def shared_outcomes(
    forward_func: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    given: tuple[Tensor, ...],
    attributions: Sequence[Tensor],
    target: Target,
    additional_forward_args: object,
    maskers: tuple[Masking, ...],
    features: Features,
    asker: Hashable,
    where: str,
) -> MaskedOutcomes:
    """Return the outcomes of the metric that was asked last, if they are of the same question, else empty ones.

    The question is the same if the function, the tensors (the objects, unchanged since), the target, the maskers and
    the features are, if weights, buffers, modes, hooks and settings of the model are as they were, and if the same
    metric has not asked with the same attributions before: then it asks again because something else is new. Only the
    last batch is kept, as numbers per masked input, the values of masked features and a copy of inputs and target, and
    no longer than the inputs exist.

    Args:
        forward_func: The model.
        inputs: Formatted inputs.
        given: The inputs as the caller has them.
        attributions: As the caller has them.
        target: As the caller has it.
        additional_forward_args: What follows the inputs.
        maskers: One for each input.
        features: What is masked together.
        asker: What tells metrics apart.
        where: The public name that errors begin with.
    """
    question = _Question.of(forward_func, given, target, additional_forward_args, maskers, features)
    last = getattr(_recent, "answered", None)
    if question is not None and last is not None and last.fits(question) and last.is_new(asker, attributions):
        return cast(MaskedOutcomes, last.outcomes)
    _recent.answered = None  # frees the values of the batch before
    outcomes = MaskedOutcomes(inputs, maskers, features, where)
    if question is not None:
        answered = _Answered(question, outcomes)
        answered.is_new(asker, attributions)
        _recent.answered = answered
        _forget_with(given, answered)
    return outcomes


def settle(
    outcomes: MaskedOutcomes, forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], maskers: tuple[Masking, ...]
) -> None:
    """Take what the run itself changed, such as a model's count of its calls, for no change of the model."""
    last = getattr(_recent, "answered", None)
    if last is not None and last.outcomes is outcomes:
        last.question.settings = _settings_of(forward_func, maskers, inputs)


def forget() -> None:
    """Forget the outcomes of the last batch."""
    _recent.answered = None


class _Question:
    """What outcomes depend on, held so that none of it is kept alive but the maskers."""

    def __init__(
        self, referred: list[Any], plain: Hashable, state: Hashable, settings: Hashable, maskers: tuple[Masking, ...]
    ) -> None:
        self.referred = referred
        self.plain = plain
        self.state = state
        self.settings = settings
        self.maskers = maskers

    @classmethod
    def of(
        cls,
        forward_func: Callable[..., Any],
        inputs: tuple[Tensor, ...],
        target: Target,
        additional_forward_args: object,
        maskers: tuple[Masking, ...],
        features: Features,
    ) -> _Question | None:
        """Return the question, or None if it cannot be told whether another is the same."""
        objects: list[Any] = [*inputs, forward_func]
        plain: list[Any] = []
        try:
            for value in (target, *additional_arguments(additional_forward_args)):
                if isinstance(value, Tensor):
                    objects.append(value)
                plain.append("tensor" if isinstance(value, Tensor) else _frozen(value))
            tensors = [value for value in objects if isinstance(value, Tensor)]
            referred = [_reference(value) for value in objects]
            plain += [value._version for value in tensors]  # inference tensors have none
            plain.append(features)
            state = (_state_of(forward_func, inputs), *(_state_of_masker(m, inputs) for m in maskers))
            settings = _settings_of(forward_func, maskers, inputs)
            hash(tuple(plain))
        except (TypeError, RuntimeError):
            return None
        return cls(referred, tuple(plain), state, settings, maskers)

    def tensors(self) -> list[Tensor]:
        """Return inputs, target and additional arguments, as far as they are tensors."""
        return [value for value in (r() for r in self.referred) if isinstance(value, Tensor)]

    def same_as(self, other: _Question) -> bool:
        mine, theirs = ([r() for r in q.referred] for q in (self, other))
        return (
            len(mine) == len(theirs)
            and all(a is not None and _same(a, b) for a, b in zip(mine, theirs, strict=True))
            and self.plain == other.plain
            and self.state == other.state
            and self.settings == other.settings
            and len(self.maskers) == len(other.maskers)
            and all(_same_masker(a, b) for a, b in zip(self.maskers, other.maskers, strict=True))
        )


class _Answered:
    def __init__(self, question: _Question, outcomes: MaskedOutcomes) -> None:
        self.outcomes = outcomes
        self.question = question
        # Writes through `.data` or NumPy leave a tensor's version as it is.
        self._numbers = [t.detach().clone() for t in question.tensors()]
        self._asked: list[tuple[Hashable, list[weakref.ref[Tensor]]]] = []

    def fits(self, question: _Question) -> bool:
        if not self.question.same_as(question):
            return False
        return all(map(_equal, self._numbers, question.tensors()))

    def is_new(self, asker: Hashable, attributions: Sequence[Tensor]) -> bool:
        """Record who asks with which attributions; return whether it is for the first time."""
        for known, references in self._asked:
            if known == asker and any(r() is a for r, a in zip(references, attributions, strict=False)):
                return False
        self._asked.append((asker, [weakref.ref(a) for a in attributions]))
        return True


def _forget_with(inputs: tuple[Tensor, ...], answered: _Answered) -> None:
    """Let the outcomes go when an input does."""
    recent = weakref.ref(answered)

    def drop(slot: threading.local, answered: weakref.ref[_Answered]) -> None:
        if getattr(slot, "answered", None) is answered():
            slot.answered = None

    for x in inputs:
        weakref.finalize(x, drop, _recent, recent).atexit = False


def _state_of(forward_func: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Hashable:
    """Return what is known of the weights, buffers and modes that a call can reach."""
    _, reached = fingerprint_of(forward_func, inputs, ())
    tensors = [t for t in reached if isinstance(t, Tensor) and t.layout == torch.strided and not t.is_meta]
    versions = tuple((id(t), t.data_ptr(), t._version) for t in tensors)
    # Writes through `.data` leave the version as it is.
    device = inputs[0].device
    sums = [_weighted_sum(t).to(device) for t in tensors]
    numbers = tuple(torch.stack(sums).tolist()) if sums else ()
    modes = tuple((id(m), m.training) for m in reached if isinstance(m, nn.Module))
    return versions, numbers, modes


def _settings_of(
    forward_func: Callable[..., Any], maskers: tuple[Masking, ...], inputs: tuple[Tensor, ...]
) -> Hashable:
    """Return what is known of attributes, hooks and closures, as a number that keeps none of them alive."""
    functions = [forward_func, *(m for m in maskers if not _compared_by_settings(m))]
    return hash(tuple(fingerprint_of(function, inputs, ())[0] for function in functions))


def _compared_by_settings(masker: Masking) -> bool:
    return isinstance(masker, Masker) and type(masker).__eq__ is not object.__eq__


def _state_of_masker(masker: Masking, inputs: tuple[Tensor, ...]) -> Hashable:
    """Return what is known of a masker's numbers; nothing else where equality compares its settings."""
    if _compared_by_settings(masker):
        held = [t for t in vars(masker).values() if isinstance(t, Tensor)]
        return tuple((t._version, float(_weighted_sum(t))) for t in held)
    return _state_of(masker, inputs)


def _weighted_sum(t: Tensor) -> Tensor:
    """Return a number that changes with the numbers of a tensor (a sample of a large one), their signs and places."""
    flat = t.detach().reshape(-1)[:: max(1, t.numel() // _SAMPLE)]
    flat = torch.view_as_real(flat.resolve_conj()).flatten() if flat.is_complex() else flat
    weights = torch.arange(1, len(flat) + 1, device=flat.device, dtype=torch.float64).mul_(_GOLDEN).frac_()
    return torch.dot(flat.double(), weights)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)


def _reference(value: Any) -> Callable[[], Any]:
    return weakref.WeakMethod(value) if isinstance(value, types.MethodType) else weakref.ref(value)


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, types.MethodType) and isinstance(b, types.MethodType) and a == b)


def _same_masker(a: Masking, b: Masking) -> bool:
    return a is b or (isinstance(a, Masker) and isinstance(b, Masker) and a == b)


def _frozen(value: Any) -> Hashable:
    """Return plain values as they are, lists as tuples.

    Raises:
        TypeError: For anything else, which may change and be the same object.
    """
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if not isinstance(value, _PLAIN):
        raise TypeError(type(value).__name__)
    return cast(Hashable, value)
