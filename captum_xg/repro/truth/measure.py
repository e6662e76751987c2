"""Units of the experiment: one network of each seed, all methods, one list of scores per method and input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from captum_xg.repro.truth import images, networks, scores
from captum_xg.repro.truth.methods import METHODS, attributions
from captum_xg.repro.truth.networks import Problem


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        key: Its name in files.
        title: Its name in tables.
        homogeneous: Whether F(αx) = αF(x), so that X-Gradient applies.
        make: From a generator and a number of inputs to one of its kind.
        has_region: Whether some of its features matter and others do not.
    """

    key: str
    title: str
    homogeneous: bool
    make: Callable[[torch.Generator, int], Problem]
    has_region: bool = False


KINDS = (
    Kind("homogeneous sums", "Sums of functions of one feature, without biases", True, networks.homogeneous_sums),
    Kind("pairs", "Maxima and minima of pairs, without biases", True, networks.pairs),
    Kind("colours", "Images: red counts, green does not, without biases", True, images.colours, True),
    Kind("sums", "Sums of functions of one feature, with biases", False, networks.sums),
    Kind("saturated", "Sums of functions that saturate, with biases", False, networks.saturated_sums),
    Kind("gates", "Gates and features that cancel, with biases", False, networks.gates, True),
    Kind("templates", "Images: one pattern counts, others do not, with biases", False, images.templates, True),
)


def measured(kind: Kind, seed: int, count: int, device: torch.device) -> dict[str, Any]:
    """Return scores of all methods for one network: lists with one number per input; or why a method refuses."""
    # Weights and inputs depend on kind and seed alone.
    generator = torch.Generator().manual_seed(1000 * seed + [each.key for each in KINDS].index(kind.key))
    problem = kind.make(generator, count)
    there = replace(
        problem,
        model=problem.model.eval().to(device),
        inputs=problem.inputs.to(device),
        references=None if problem.references is None else problem.references.to(device),
    )
    return {method.key: _scores(method, there, seed) for method in METHODS}


def _scores(method: Any, problem: Problem, seed: int) -> Mapping[str, Any]:
    found = attributions(method, problem, seed)
    if found is None or isinstance(found, str):
        return {"refused": found or ""}
    truth = problem.expected if method.of_references else problem.truth
    assert truth is not None  # of references, where there are any
    sums = problem.sums(found)
    flat = found.detach().reshape(len(found), -1).cpu().double()
    return {
        "error": scores.relative_error(sums, truth).tolist() if method.has_unit else [],
        "pearson": scores.correlation(sums, truth).tolist(),
        "spearman": scores.rank_correlation(sums, truth).tolist(),
        "share": scores.share(flat, problem.region).tolist(),
    }
