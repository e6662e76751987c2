"""The report of which axioms an attribution method satisfies: Table 1 of the paper, computed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.inputs import format_inputs
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, integer, positive_integer
from captum_xg._core.seeding import seeded
from captum_xg._core.types import Target
from captum_xg.errors import InputError, OptionError
from captum_xg.metrics.axioms.functions import ModelFactory, Subject, zoo
from captum_xg.metrics.axioms.methods import Method, MethodFactory, inspected, named_methods
from captum_xg.metrics.axioms.results import AxiomReport
from captum_xg.metrics.axioms.search import Prepared, Search, cases_of
from captum_xg.metrics.axioms.sources import (
    Kind,
    ModelSource,
    Source,
    ZooSource,
    model_references,
    model_subjects,
)
from captum_xg.metrics.axioms.statements import AXIOMS, Axiom

Models: TypeAlias = "str | ModelFactory"
"""A class of functions: "any", "xdnn", or a factory of models."""

_WHERE = "axiom_report"


def axiom_report(
    method: MethodFactory | Mapping[str, MethodFactory],
    *,
    models: Models | Mapping[str, Models] = "any",
    model: Callable[..., object] | None = None,
    inputs: Tensor | None = None,
    target: Target = None,
    baselines: Tensor | float | None = None,
    additional_forward_args: object = None,
    n_cases: int | None = None,
    n_steps: int = 64,
    n_samples: int = 1024,
    seed: int = 0,
) -> AxiomReport:
    """Try attribution methods on the axioms, and return a table of what holds and the smallest counterexamples found.

    The axioms, for a method A, functions F and G, an input x and a baseline x'::

        Sensitivity (a)            x, x' differ in feature i only, F(x) ≠ F(x')   ⇒  Aᵢ(F, x, x') ≠ 0
        Sensitivity (b)            F does not depend on feature i                 ⇒  Aᵢ(F, x, x') = 0
        Implementation invariance  F = G as functions                             ⇒  A(F, x, x') = A(G, x, x')
        Completeness               Σᵢ Aᵢ(F, x, x') = F(x) − F(x')
        Linearity                  A(aF + bG, x, x') = a·A(F, x, x') + b·A(G, x, x')
        Symmetry-preserving        F symmetric in i, j; xᵢ = xⱼ; x'ᵢ = x'ⱼ        ⇒  Aᵢ(F, x, x') = Aⱼ(F, x, x')
        Nonnegative homogeneity    A(F, αx, αx') = α·A(F, x, x') for α ≥ 0

    each for all F of a class, x, x'. A report refutes by example; "holds" means that no counterexample was found in so
    many cases, which is evidence and no proof. Without ``model``, the cases are small functions in float64 at integer
    inputs, where F is differentiable at x and along the way from x'; counterexamples are made as small as possible by
    `hypothesis <https://hypothesis.readthedocs.io>`_, which the extra ``captum-xg[axioms]`` brings.

    What a method compares with is found by trying it: zero only (no ``baselines``, or others refused), a baseline, or a
    set of them as ``GradientShap`` takes, over which F(x') is then the mean. Estimates are judged by their limit: where
    ``attribute`` has ``n_steps`` or ``n_samples`` and the factory leaves it open, a gap counts only if it is larger
    than the error of a quadrature with n nodes, 4·V/n with V the variation of (x − x')·∂F along the path, or of a mean
    of n draws, 3·R/√n with R its range between x and x', and stays so with 8 times as many. Where a method is random
    and its number of samples is fixed (``functools.partial(…, n_samples=1)``), each call is judged as it is, with draws
    of its own.

    Args:
        method: A Captum class, any callable from a model to a Captum method or to its ``attribute``, or a mapping from
            names to these, for a table of several. :func:`paper_methods` are those of the paper's Table 1.
        models: The class of functions: "any", "xdnn" (nonnegatively homogeneous ones), or a callable from a seed to a
            module that maps float64 ``(N, D)`` to ``(N,)`` or ``(N, 1)``, and D. Or a mapping from method names to
            these; methods not in it get "any".
        model: A model of your own to try the axioms on instead, as far as one model allows; the notes say what each
            axiom was tried on. Then kinks are not left out.
        inputs: The examples for ``model``, shape ``(N, …)``.
        target: Which output of ``model`` is explained.
        baselines: Baselines for ``model``, a number or shape ``(K, …)``; zero if None. Methods that compare with one
            take the first, methods that compare with zero only take none.
        additional_forward_args: What follows the inputs in a call of ``model``; tensors with N rows go by example.
        n_cases: How many cases to try per axiom; by default 100, or as many as there are ``inputs`` with ``model``.
        n_steps: The effort for methods with an open ``n_steps``.
        n_samples: The effort for methods with an open ``n_samples`` or ``nt_samples``.
        seed: What everything random derives from; the same seed gives the same report.

    Raises:
        OptionError: A method that is none, ``models`` of an unknown kind, numbers that are not positive integers; or
            hypothesis is not installed.
        InputError: Inputs or baselines that do not fit.
        TargetError: A target that does not fit the output.
        TrainingModeError: A model with dropout, batch norm or the like in training mode.

    Source: Hesse et al. 2021, Section 2, Table 1, Definition 3.6 and Appendix A; Sundararajan et al. 2017.
    """
    _require_hypothesis()
    factories = named_methods(method, _WHERE)
    n_cases = None if n_cases is None else positive_integer(n_cases, "n_cases", _WHERE)
    seed = integer(seed, "seed", _WHERE)
    n_samples, n_steps = positive_integer(n_samples, "n_samples", _WHERE), positive_integer(n_steps, "n_steps", _WHERE)
    # Factories of models draw from the global generators, too.
    with seeded(seed, torch.device("cpu")):
        if model is None:
            if inputs is not None:
                raise OptionError(
                    f"{_WHERE}: expected a `model` of your own with `inputs`, got none. Pass it, or leave both out."
                )
            material = _Material(_classes(models, factories), n_cases or 100, seed)
        else:
            forward_function(model, "model", _WHERE)
            if models != "any":
                raise OptionError(f"{_WHERE}: `models` and `model` exclude each other. Pass one of them.")
            checked = _checked_inputs(inputs)
            require_evaluation_mode(model, _WHERE)
            subjects = model_subjects(model, checked, target, additional_forward_args, _WHERE)
            own = _OwnModel(subjects, checked, model_references(baselines, checked, _WHERE))
            material = _Material({}, n_cases or len(checked), seed, own)
        methods = [inspected(name, each, _WHERE, seed, material.example) for name, each in factories.items()]
        results = [
            Search(each, axiom, n_samples if each.sampled else n_steps, seed).run(
                material.cases(each, axiom), material.source(each), material.shown(each)
            )
            for each in methods
            for axiom in AXIOMS
        ]
    tried = [f"{axiom.title} was tried on {axiom.on_a_model}." for axiom in AXIOMS if model is not None]
    return AxiomReport(tuple(results), seed, (*tried, *_notes(methods)))


def _require_hypothesis() -> None:
    try:
        importlib.import_module("hypothesis")
    except ImportError as error:
        raise OptionError(
            f"{_WHERE} needs hypothesis, which makes counterexamples small and is not installed. Install it: "
            "pip install captum-xg[axioms]"
        ) from error


class _OwnModel(NamedTuple):
    """The user's model, example by example, with inputs and baselines."""

    subjects: tuple[Subject, ...]
    inputs: Tensor
    references: Tensor


class _Material:
    """What methods are tried on: methods that compare with the same are tried on the same cases, made once."""

    def __init__(self, classes: Mapping[str, Models], count: int, seed: int, own: _OwnModel | None = None) -> None:
        self._classes, self._count, self._seed, self._own = classes, count, seed, own
        self._sources: dict[tuple[Models | None, Kind], Source] = {}
        self._cases: dict[tuple[Models | None, Kind, str], list[Prepared]] = {}

    @property
    def example(self) -> tuple[Subject, Tensor] | None:
        """What methods are inspected on, None for what they are inspected on by default."""
        return None if self._own is None else (self._own.subjects[0], self._own.inputs[0].detach())

    def shown(self, method: Method) -> str:
        """Return the class of functions, as tables name it."""
        chosen = "" if self._own is not None else self._classes[method.name]
        names = {"any": "any", "xdnn": "X-DNNs", "": "your model"}
        return names[chosen] if isinstance(chosen, str) else "your models"

    def source(self, method: Method) -> Source:
        """Return where the cases of a method come from."""
        chosen = self._classes.get(method.name)
        if (key := (chosen, method.kind)) not in self._sources:
            self._sources[key] = (
                ModelSource(*self._own, method.kind)
                if self._own is not None
                else ZooSource(zoo(chosen or "any", self._seed), method.kind)
            )
        return self._sources[key]

    def cases(self, method: Method, axiom: Axiom) -> list[Prepared]:
        """Return the cases of a method and an axiom."""
        if (key := (self._classes.get(method.name), method.kind, axiom.key)) not in self._cases:
            guarded = self._own is None  # in one's own model kinks are not left out
            self._cases[key] = cases_of(axiom, self.source(method), self._count, self._seed, guarded=guarded)
        return self._cases[key]


def _checked_inputs(inputs: object) -> Tensor:
    if inputs is None:
        raise OptionError(f"{_WHERE}: `model` needs `inputs` to be tried on. Pass a batch, shape (N, …).")
    if not isinstance(inputs, Tensor):
        raise InputError(
            f"{_WHERE}: expected `inputs` to be one tensor of shape (N, …), got {type(inputs).__name__}. Where a model "
            "takes several inputs, explain one at a time and pass the others as `additional_forward_args`."
        )
    return format_inputs(inputs, _WHERE)[0]


def _classes(models: Models | Mapping[str, Models], factories: Mapping[str, MethodFactory]) -> dict[str, Models]:
    if not isinstance(models, Mapping):
        return dict.fromkeys(factories, models)
    if unknown := set(models) - set(factories):
        raise OptionError(f"{_WHERE}: `models` names {sorted(unknown)}, which `method` does not: {sorted(factories)}.")
    return {name: models.get(name, "any") for name in factories}


def _notes(methods: list[Method]) -> list[str]:
    shown = {"zero": "the zero baseline only", "one": "one baseline", "set": "a set of baselines"}
    notes = [f"Compared with: {'; '.join(f'{m.name}: {shown[m.kind]}' for m in methods)}."]
    if random := [m.name for m in methods if not m.repeatable and m.effort is None]:
        notes.append(
            f"{', '.join(random)}: random, with a fixed number of samples, so that each call is judged as it is and "
            "two calls for the same case differ. What holds in expectation only does not hold here."
        )
    return notes
