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
from captum_xg.metrics.axioms.sources import Kind, ModelSource, Source, ZooSource, model_references, model_subjects
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

    Which axioms, on what, and how estimates are judged: :class:`~captum_xg.metrics.AxiomReport`. Counterexamples are
    made small by `hypothesis <https://hypothesis.readthedocs.io>`_, which the extra ``captum-xg[axioms]`` brings.

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
        n_steps: The effort for methods that leave their ``n_steps`` open.
        n_samples: The effort for methods that leave their ``n_samples`` or ``nt_samples`` open.
        seed: What everything random derives from; the same seed gives the same report.

    Raises:
        OptionError: An option has no such value, or hypothesis is not installed.
        InputError: Inputs or baselines that do not fit.
        TargetError: A target that does not fit the output.
        TrainingModeError: A model with dropout, batch norm or the like in training mode.
    """
    _require_hypothesis()
    factories = named_methods(method, _WHERE)
    n_cases = None if n_cases is None else positive_integer(n_cases, "n_cases", _WHERE)
    seed = integer(seed, "seed", _WHERE)
    n_samples, n_steps = positive_integer(n_samples, "n_samples", _WHERE), positive_integer(n_steps, "n_steps", _WHERE)
    with seeded(seed, torch.device("cpu")):  # factories of models draw from the global generators, too
        own = _own_model(model, models, inputs, target, baselines, additional_forward_args)
        material = _Material(_classes(models, factories), n_cases, seed, own)
        methods = [inspected(name, each, _WHERE, seed, material.example) for name, each in factories.items()]
        results = [
            Search(each, axiom, n_samples if each.sampled else n_steps, seed).run(*material.of(each, axiom))
            for each in methods
            for axiom in AXIOMS
        ]
    tried = [f"{axiom.title} was tried on {axiom.on_a_model}." for axiom in AXIOMS if own is not None]
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


def _own_model(
    model: Callable[..., object] | None,
    models: object,
    inputs: object,
    target: Target,
    baselines: Tensor | float | None,
    additional_forward_args: object,
) -> _OwnModel | None:
    if model is None:
        if inputs is not None:
            raise OptionError(
                f"{_WHERE}: `inputs` need a `model` of your own, but there is none. Pass it, or leave both out."
            )
        return None
    forward_function(model, "model", _WHERE)
    if models != "any":
        raise OptionError(f"{_WHERE}: `models` and `model` exclude each other. Pass one of them.")
    if inputs is None:
        raise OptionError(f"{_WHERE}: `model` needs `inputs` to be tried on. Pass a batch, shape (N, …).")
    if not isinstance(inputs, Tensor):
        raise InputError(
            f"{_WHERE}: `inputs` must be one tensor of shape (N, …), but is {type(inputs).__name__}. Where a model "
            "takes several inputs, explain one at a time and pass the others as `additional_forward_args`."
        )
    (checked,) = format_inputs(inputs, _WHERE)
    require_evaluation_mode(model, _WHERE)
    subjects = model_subjects(model, checked, target, additional_forward_args, _WHERE)
    return _OwnModel(subjects, checked, model_references(baselines, checked, _WHERE))


class _Material:
    """What methods are tried on: methods that compare with the same are tried on the same cases, made once."""

    def __init__(self, classes: Mapping[str, Models], count: int | None, seed: int, own: _OwnModel | None) -> None:
        self._classes, self._seed, self._own = classes, seed, own
        self._count = count or (100 if own is None else len(own.inputs))
        self._sources: dict[tuple[Models, Kind], Source] = {}
        self._cases: dict[tuple[Models, Kind, Axiom], list[Prepared]] = {}

    @property
    def example(self) -> tuple[Subject, Tensor] | None:
        """What methods are inspected on, None for what they are inspected on by default."""
        return None if self._own is None else (self._own.subjects[0], self._own.inputs[0].detach())

    def of(self, method: Method, axiom: Axiom) -> tuple[list[Prepared], Source, str]:
        """Return cases, where they come from, and the name of that in tables."""
        models, kind, own = self._classes[method.name], method.kind, self._own
        if (models, kind) not in self._sources:
            self._sources[models, kind] = (
                ZooSource(zoo(models, self._seed), kind) if own is None else ModelSource(*own, kind)
            )
        source = self._sources[models, kind]
        if (models, kind, axiom) not in self._cases:
            # On one's own model kinks are not left out.
            self._cases[models, kind, axiom] = cases_of(axiom, source, self._count, self._seed, guarded=own is None)
        shown = {"any": "any", "xdnn": "X-DNNs"}[models] if isinstance(models, str) else "your models"
        return self._cases[models, kind, axiom], source, shown if own is None else "your model"


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
