"""Attribution methods as axioms see them: A(F, x, x'), with their effort and their randomness in hand.

The invariant: an attribution is a function of query, effort and seed alone. Every call makes the method for the query's
model, seeds all global generators and puts them back. What a method takes is found out by trying it once
(:func:`inspected`) and never guessed from its class: ``GradientShap`` takes a set of references and ``n_samples``,
``IntegratedGradients`` one baseline and ``n_steps``, ``InputXGradient`` neither; X-Gradient has an argument ``n_steps``
which changes nothing and so does not count as one. What must never happen: that an error of the method, which may be
right to refuse a model, ends the report or counts as a violation; it becomes a :class:`RefusalError`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from captum.attr import Attribution, GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_xg._core.seeding import seeded
from captum_xg.attr.x_gradient import XGradient
from captum_xg.errors import CaptumXGError, OptionError
from captum_xg.metrics.axioms.cases import Query
from captum_xg.metrics.axioms.functions import Subject, network
from captum_xg.metrics.axioms.sources import Kind

MethodFactory = Callable[[nn.Module], object]
"""From a model to a Captum method, or to what attributes: a callable from inputs (and baselines) to attributions."""

_SAMPLES = ("n_samples", "nt_samples")
_EFFORTS = ("n_steps", *_SAMPLES)
"""The arguments of `attribute` that say how much work an estimate is, nodes of a quadrature or random draws."""


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
        options: dict[str, object] = {}
        if self.takes_baselines:
            options["baselines"] = query.references.clone()  # copies, for a method may write into what it is given
        if self.effort is not None and effort is not None:
            options[self.effort] = effort
        x = query.x.unsqueeze(0).clone()
        try:
            with seeded(seed, x.device), warnings.catch_warnings():
                # Captum's remarks on inputs that do not require gradients are about the caller, and that is us.
                warnings.simplefilter("ignore")
                result = attribute_of(self.factory(query.subject.module))(x, **options)
        except Exception as error:
            # One line of it, for it goes into a table: a certificate of homogeneity has many.
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


def named_methods(method: object, where: str) -> dict[str, MethodFactory]:
    """Return factories by name, for one factory or several.

    Raises:
        OptionError: For anything else, such as a method that is bound to a model already.
    """
    own_name = getattr(method, "__name__", "") or type(method).__name__
    named = method if isinstance(method, Mapping) else {"method" if own_name == "<lambda>" else own_name: method}
    if not named:
        raise OptionError(f"{where}: `method` names no method. Pass a factory such as IntegratedGradients.")
    found: dict[str, MethodFactory] = {}
    for name, factory in named.items():
        if isinstance(factory, Attribution):
            raise OptionError(
                f"{where}: {name} is bound to one model already, but axioms speak of many. Pass its class, or a "
                f"factory: lambda model: {type(factory).__name__}(model)."
            )
        if not callable(factory):
            raise OptionError(f"{where}: {name} must be a callable from a model to a method but is {factory!r}.")
        found[str(name)] = factory
    return found


def attribute_of(made: object) -> Callable[..., object]:
    """Return what attributes: the ``attribute`` of a Captum method, or the callable itself."""
    made = getattr(made, "attribute", made)
    if not callable(made):
        raise TypeError(f"the factory returned {type(made).__name__}, which neither attributes nor can be called")
    return made


def inspected(
    name: str, factory: MethodFactory, where: str, seed: int, on: tuple[Subject, Tensor] | None = None
) -> Method:
    """Return the method with what it takes, found by its signature and by trying it.

    It is tried on 2·x0 − 3·x1, or on the given function and input: with a set of references, with one, with zero, and
    the first form that it takes is its own.

    Raises:
        OptionError: If it attributes nothing at all there.
    """
    subject, x = on or (network(([[2, -3]], None)), torch.tensor([3.0, 2.0], dtype=torch.float64))
    bent = subject if on else network(([[1, 1]], [-1]), ([[1]], None))
    try:
        attribute = attribute_of(factory(subject.module))
    except Exception as error:
        raise OptionError(f"{where}: {name} cannot be made for a model: {type(error).__name__}: {error}") from error
    try:
        open_arguments = set(inspect.signature(attribute).parameters)
    except (TypeError, ValueError):  # of C, without a signature
        open_arguments = set()
    if isinstance(attribute, partial):
        open_arguments -= set(attribute.keywords)  # what the user has given
    takes_baselines = "baselines" in open_arguments
    effort = next((e for e in _EFFORTS if e in open_arguments), None)
    # Three references that differ in every feature, none of them a multiple of another or of the input.
    waves = torch.arange(3 * x.numel()).cos().to(x).reshape(3, *x.shape)
    tries: dict[Kind, Tensor] = {"set": waves, "one": waves[:1], "zero": torch.zeros_like(waves[:1])}
    refusal, ours = "", False
    for kind, references in tries.items():
        if kind != "zero" and not takes_baselines:
            continue
        method = Method(name, factory, kind, takes_baselines, effort, effort in _SAMPLES)
        query = Query(subject, x, references)
        try:
            # Where F is linear a draw is as good as its reference, one of three: two draws may agree by chance.
            draws = [method.attribute(query, 8, seed + k) for k in range(8 if kind == "set" else 2)]
            if kind == "set":  # methods that look at the first reference only take one
                moved = Query(subject, x, torch.cat((references[:1], references[1:] + 100)))
                if all(torch.equal(draw, method.attribute(moved, 8, seed + k)) for k, draw in enumerate(draws)):
                    continue
        except RefusalError as error:
            refusal, ours = str(error), isinstance(error.__cause__, CaptumXGError)
            continue
        if effort is not None and not _effort_matters(method, replace(query, subject=bent), seed):
            method = replace(method, effort=None, sampled=False)
        return replace(method, repeatable=all(torch.equal(draw, draws[0]) for draw in draws))
    if ours and on is not None:  # such as a model outside of the method's class: every cell will say so
        return Method(name, factory, "zero", takes_baselines, None, sampled=False)
    raise OptionError(
        f"{where}: {name} attributes nothing on {subject.formula} at an input of shape {tuple(x.shape)}: "
        f"{refusal}. It is called as attribute(inputs of shape (1, …)[, baselines]); "
        "give other arguments with functools.partial in a factory."
    )


def _effort_matters(method: Method, query: Query, seed: int) -> bool:
    """Return whether an estimate with one node or sample more differs: X-Gradient's ``n_steps`` are no effort.

    On a function with a kink, where nodes elsewhere see something else.
    """
    try:
        return not torch.equal(method.attribute(query, 8, seed), method.attribute(query, 9, seed))
    except RefusalError:  # as X-Gradient does where it is not exact
        return False
