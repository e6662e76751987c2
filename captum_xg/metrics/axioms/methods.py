"""An attribution method as axioms see it: A(F, x, x'), with its effort and its randomness in hand."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.attr import Attribution, GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_xg.attr.x_gradient import XGradient
from captum_xg.errors import CaptumXGError, OptionError
from captum_xg.metrics.axioms.cases import Query
from captum_xg.metrics.axioms.functions import Subject, network
from captum_xg.metrics.axioms.sources import Kind

MethodFactory = Callable[[nn.Module], Any]
"""From a model to a Captum method, or to what attributes: a callable from inputs (and baselines) to attributions."""

# The argument of `attribute` that says how much work an estimate is, and whether it is a random sample.
_EFFORTS = {"n_steps": False, "n_samples": True, "nt_samples": True}


class RefusalError(Exception):
    """A method does not give an attribution for a query."""


@dataclass(frozen=True)
class Method:
    """A method with what its signature and a first try say of it.

    Attributes:
        name: How the table calls it.
        factory: From a model to the method.
        kind: Whether it compares with zero only, with a baseline, or with a set of them.
        takes_baselines: Whether its attribute has an argument `baselines`.
        effort: The argument that says how many nodes or samples an estimate uses, None if that is fixed or none.
        sampled: Whether that effort counts random draws.
        repeatable: Whether two calls in a row, differently seeded, agreed.
    """

    name: str
    factory: MethodFactory
    kind: Kind
    takes_baselines: bool
    effort: str | None
    sampled: bool
    repeatable: bool = True

    def attribute(self, query: Query, effort: int | None, seed: int) -> Tensor:
        """Return A(F, x, x'), flat, of dtype float64.

        Raises:
            RefusalError: Where the method raises, or returns no numbers of the input's shape.
        """
        options: dict[str, Any] = {}
        if self.takes_baselines:
            options["baselines"] = query.references.clone()
        if self.effort is not None and effort is not None:
            options[self.effort] = effort
        x = query.x.unsqueeze(0).clone()
        try:
            _seed(seed)
            with warnings.catch_warnings():
                # Captum's remarks on inputs that do not require gradients are about the caller, and that is us.
                warnings.simplefilter("ignore")
                result = attribute_of(self.factory(query.subject.module))(x, **options)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            first = lines[0].rstrip(".") if len(lines[0]) <= 160 else f"{lines[0][:160]}…"
            raise RefusalError(f"{type(error).__name__}: {first}") from error
        if not isinstance(result, Tensor) or result.shape != x.shape:
            shape = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
            raise RefusalError(f"it returns {shape} for an input of shape {tuple(x.shape)}")
        return result.detach().flatten().double().cpu()


def paper_methods() -> dict[str, MethodFactory]:
    """Return the columns of Table 1, with Captum's classes; give X-Gradient the model class "xdnn".

    Expected Gradients is ``GradientShap`` without noise: once with as many samples as it takes, once with one.

    Source: Hesse et al. 2021, Table 1.
    """
    return {
        "IG": IntegratedGradients,
        "EG": lambda model: partial(GradientShap(model).attribute, stdevs=0.0),
        "EG(1)": lambda model: partial(GradientShap(model).attribute, stdevs=0.0, n_samples=1),
        "Gradient": lambda model: partial(Saliency(model).attribute, abs=False),
        "Input×Gradient": InputXGradient,
        "X-Gradient": lambda model: XGradient(model, validate="off"),
    }


def named_methods(method: Any, where: str) -> dict[str, MethodFactory]:
    """Return factories by name, for one factory or several.

    Raises:
        OptionError: For anything else, such as a method that is bound to a model already.
    """
    if not isinstance(method, Mapping):
        name = getattr(method, "__name__", "") or type(method).__name__
        method = {"method" if name == "<lambda>" else name: method}
    if not method:
        raise OptionError(f"{where}: `method` names no method. Pass a factory such as IntegratedGradients.")
    for name, factory in method.items():
        if isinstance(factory, Attribution):
            raise OptionError(
                f"{where}: {name} is bound to one model already, but axioms speak of many. Pass its class, or a "
                f"factory: lambda model: {type(factory).__name__}(model)."
            )
        if not callable(factory):
            raise OptionError(f"{where}: {name} must be a callable from a model to a method but is {factory!r}.")
    return {str(name): factory for name, factory in method.items()}


def attribute_of(made: Any) -> Callable[..., Any]:
    """Return what attributes: the ``attribute`` of a Captum method, or the callable itself."""
    made = getattr(made, "attribute", made)
    if not callable(made):
        raise TypeError(f"the factory returned {type(made).__name__}, which neither attributes nor can be called")
    return made  # type: ignore[no-any-return]


def inspected(
    name: str, factory: MethodFactory, where: str, seed: int, on: tuple[Subject, Tensor] | None = None
) -> Method:
    """Return the method with what it takes, found by its signature and by trying it.

    It is tried on 2·x0 − 3·x1, or on the given function and input.

    Raises:
        OptionError: If it attributes nothing at all there.
    """
    subject, x = on or (network(([[2, -3]], None)), torch.tensor([3.0, 2.0], dtype=torch.float64))
    try:
        attribute = attribute_of(factory(subject.module))
    except Exception as error:
        raise OptionError(f"{where}: {name} cannot be made for a model: {type(error).__name__}: {error}") from error
    parameters = _parameters(attribute)
    fixed = _fixed(attribute)
    takes_baselines = "baselines" in parameters and "baselines" not in fixed
    effort = next((e for e in _EFFORTS if e in parameters and e not in fixed), None)
    sampled = effort is not None and _EFFORTS[effort]
    waves = torch.arange(3 * x.numel()).cos().to(x).reshape(3, *x.shape)
    tries: dict[Kind, Tensor] = {"set": waves, "one": waves[:1], "zero": torch.zeros_like(waves[:1])}
    refusal, ours = "", False
    for kind, references in tries.items():
        if kind != "zero" and not takes_baselines:
            continue
        method = Method(name, factory, kind, takes_baselines, effort, sampled)
        query = Query(subject, x, references)
        try:
            first, second = (method.attribute(query, 8 if effort else None, seed + k) for k in range(2))
        except RefusalError as error:
            refusal, ours = str(error), isinstance(error.__cause__, CaptumXGError)
            continue
        if effort is not None and not _effort_matters(method, query, seed, bent=on is None):
            effort, sampled = None, False
        if kind == "set" and not _uses_all(method, query, seed):
            continue
        return Method(name, factory, kind, takes_baselines, effort, sampled, torch.equal(first, second))
    if ours and on is not None:  # such as a model outside of the method's class: every cell will say so
        return Method(name, factory, "zero", takes_baselines, None, False)
    raise OptionError(
        f"{where}: {name} attributes nothing on {subject.formula} at an input of shape {tuple(x.shape)}: "
        f"{refusal}. It is called as attribute(inputs of shape (1, …)[, baselines]); "
        "give other arguments with functools.partial in a factory."
    )


def _effort_matters(method: Method, query: Query, seed: int, *, bent: bool) -> bool:
    """Return whether an estimate with one node or sample more is another one, on a function with a kink."""
    if bent:
        query = Query(network(([[1, 1]], [-1]), ([[1]], None)), query.x, query.references)
    try:
        one, other = (method.attribute(query, effort, seed) for effort in (8, 9))
    except RefusalError:
        return False
    return not torch.equal(one, other)


def _uses_all(method: Method, query: Query, seed: int) -> bool:
    """Return whether references behind the first one matter, and not only the first."""
    others = query.references.clone()
    others[1:] += 100
    moved = Query(query.subject, query.x, others)
    effort = 64 if method.effort else None
    pairs = ((method.attribute(query, effort, seed + k), method.attribute(moved, effort, seed + k)) for k in range(8))
    return any(not torch.equal(one, other) for one, other in pairs)


def _parameters(attribute: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(attribute).parameters)
    except (TypeError, ValueError):
        return set()


def _fixed(attribute: Callable[..., Any]) -> set[str]:
    """Return the arguments that the user has given already."""
    return set(attribute.keywords) if isinstance(attribute, partial) else set()


def _seed(seed: int) -> None:
    """Seed every generator that Captum draws from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (GradientShap draws from it)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    else:  # the other devices' generators need not be told, which takes a millisecond
        torch.default_generator.manual_seed(seed)


@contextmanager
def generators_restored() -> Iterator[None]:
    """Leave the global random generators of Python, numpy and torch as they are found."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    on_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=None if on_cuda else []):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
