"""The methods that are judged: from a network and inputs to attributions of the first score, against zero."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from captum.attr import DeepLift, FeatureAblation, GradientShap, IntegratedGradients, Saliency
from torch import Tensor

from captum_xg._core.seeding import seeded
from captum_xg.attr import AdaptiveIntegratedGradients, ExactIntegratedGradients, JointXGradient, XGradient
from captum_xg.errors import HomogeneityError
from captum_xg.repro.truth.networks import Problem


@dataclass(frozen=True)
class Method:
    """An attribution method.

    Attributes:
        key: Its name in files.
        label: Its name in tables.
        attribute: From a problem and a seed to attributions; None where it does not apply.
        has_unit: Whether it is in units of F, so that differences from the truth mean something.
        of_references: Whether its truth is that against the references.
    """

    key: str
    label: str
    attribute: Callable[[Problem, int], Tensor | None]
    has_unit: bool = True
    of_references: bool = False


def _gradient(problem: Problem, _: int) -> Tensor:
    found: Tensor = Saliency(problem.model).attribute(problem.inputs, target=0, abs=False)
    return found


def _expected(problem: Problem, seed: int, *, references: Tensor | None, draws: int) -> Tensor | None:
    if references is None:
        return None
    with seeded(seed, problem.inputs.device):
        found: Tensor = GradientShap(problem.model).attribute(
            problem.inputs, baselines=references, n_samples=draws, target=0
        )
    return found


def _from_zero(draws: int) -> Callable[[Problem, int], Tensor | None]:
    return lambda problem, seed: _expected(problem, seed, references=torch.zeros_like(problem.inputs[:1]), draws=draws)


def _from_references(draws: int) -> Callable[[Problem, int], Tensor | None]:
    return lambda problem, seed: _expected(problem, seed, references=problem.references, draws=draws)


def _random(problem: Problem, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(problem.inputs.shape, generator=generator, dtype=torch.float64)
    return drawn.to(problem.inputs.device)


def _occlusion(problem: Problem, _: int) -> Tensor:
    found: Tensor = FeatureAblation(problem.model).attribute(problem.inputs, target=0, perturbations_per_eval=32)
    return found


def _deep_lift(problem: Problem, _: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the hooks that it sets
        found: Tensor = DeepLift(problem.model).attribute(problem.inputs, target=0)
    return found


def _joint(problem: Problem, _: int) -> Tensor:
    found = JointXGradient(problem.model).attribute(problem.inputs, target=0).inputs
    assert isinstance(found, Tensor)
    return found


XG = Method("XG", "X-Gradient", lambda p, _: XGradient(p.model).attribute(p.inputs, target=0))
INPUT_X_GRADIENT = Method("IxG", "input × gradient", lambda p, s: p.inputs * _gradient(p, s))
JOINT = Method("joint", "JointXGradient, part of the inputs", _joint)
EXACT = Method("exact", "exact IG", lambda p, _: ExactIntegratedGradients(p.model).attribute(p.inputs, target=0))
ADAPTIVE = Method(
    "adaptive", "adaptive IG", lambda p, _: AdaptiveIntegratedGradients(p.model).attribute(p.inputs, target=0)
)
IG = Method("IG", "IG(128)", lambda p, _: IntegratedGradients(p.model).attribute(p.inputs, target=0, n_steps=128))
EG1 = Method("EG1", "EG(1) from zero", _from_zero(1))
EG32 = Method("EG32", "EG(32) from zero", _from_zero(32))
EG32_DATA = Method("EG32 data", "EG(32) from references", _from_references(32), of_references=True)
DEEP_LIFT = Method("DeepLift", "DeepLift", _deep_lift)
OCCLUSION = Method("occlusion", "occlusion", _occlusion)
GRADIENT = Method("gradient", "gradient", _gradient, has_unit=False)
RANDOM = Method("random", "random", _random, has_unit=False)
METHODS = (
    *(XG, EXACT, IG, ADAPTIVE, EG32, EG1, EG32_DATA),
    *(DEEP_LIFT, OCCLUSION, INPUT_X_GRADIENT, JOINT, GRADIENT, RANDOM),
)


def attributions(method: Method, problem: Problem, seed: int) -> Tensor | str | None:
    """Return attributions, None where the method does not apply, or why it refuses."""
    try:
        return method.attribute(problem, seed)
    except HomogeneityError as error:
        return str(error).partition("\n")[0]
