"""Degree rules compared with values and gradients of their operations: what is claimed, and what contradicts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeGuard

import torch
from torch import Tensor

from captum_xg.homogeneity.certificate.interpretation import Interpretation
from captum_xg.homogeneity.degree import Scaling
from captum_xg.homogeneity.rules.reasons import Located
from captum_xg.homogeneity.rules.registry import find_rule
from captum_xg.testing.observation import (
    SCALES,
    Function,
    Observation,
    degree_seen,
    largest,
    misfit,
    observe,
    output_tensors,
    same,
    slope_misfit,
)


@dataclass(frozen=True)
class Comparison:
    """What is claimed about one tensor of the output, and what its values say.

    Attributes:
        chosen: The arguments that were scaled together; all others stayed as they were.
        output: Number of the tensor among those that the function returns.
        claim: The scaling that the rules infer.
        wrong: How the claim is contradicted, ``""`` if it is not.
        degree: The k for which F(αx) = αᵏF(x) was seen to hold; None if none does, or if F is zero all over.
        silent: F is zero or not finite wherever it was looked, or could not be computed, so that values say nothing.
        slope_wrong: Values scale, but autograd's gradient is not theirs.
        escapes: What else makes a verdict unknown.
    """

    chosen: tuple[int, ...]
    output: int
    claim: Scaling
    wrong: str = ""
    degree: float | None = None
    silent: bool = False
    slope_wrong: bool = False
    escapes: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether a certificate would be issued."""
        return self.claim.proven and not self.escapes

    @property
    def missed(self) -> bool:
        """Whether it scales, as far as seen, but no certificate would be issued."""
        return self.degree is not None and not self.slope_wrong and not self.proven

    @property
    def obstacles(self) -> str:
        """What speaks against a certificate, in words."""
        return "; ".join(sorted({*(reason.what for reason in self.claim.reasons), *self.escapes}))


def assert_degree_rule_sound(
    function: Function,
    *inputs: object,
    scales: Sequence[float] | None = None,
    n_draws: int = 5,
    complete: bool = False,
    seed: int = 0,
) -> None:
    """Assert that the degree rules of the operations in a function claim nothing that its values contradict.

    Every non-empty set of the floating-point inputs is taken as the input that α multiplies, the others as constants.
    For each, the degree that the rules infer is compared with F(αx) in float64, for inputs of both signs. Where a
    degree is claimed, autograd's gradient must agree with finite differences and with Euler's identity Σ x·∂F = kF.

    Args:
        function: Calls the operation; it must accept float64. It returns a tensor, or tensors in a list, tuple or dict.
        inputs: Example arguments. Those that are not floating-point tensors stay as they are.
        scales: Values of α, positive; by default from 1e-3 to 1e3.
        n_draws: On how many inputs of the same shapes, the given ones among them.
        complete: Also fail if a set of inputs for which F scales, as far as seen, is not certified.
        seed: Of the inputs that are drawn.

    Raises:
        AssertionError: If a claim is contradicted, or an operation has no rule; if ``complete``, also if a claim is
            missing.
        ValueError: If no input is a floating-point tensor with elements, or a scale is not positive.

    Example:
        >>> import torch
        >>> assert_degree_rule_sound(torch.mul, torch.randn(3), torch.randn(3), complete=True)
    """
    where = "assert_degree_rule_sound"
    scales = SCALES if scales is None else tuple(scales)
    if not scales or not all(0 < scale < math.inf and scale != 1 for scale in scales):
        raise ValueError(f"{where}: `scales` must be positive, finite and not 1 but are {scales}.")
    exact = [_exact(value) for value in inputs]
    eligible = [i for i, value in enumerate(exact) if scalable(value)]
    if not eligible:
        raise ValueError(f"{where}: no input is a floating-point tensor with elements. Pass one to be scaled.")
    for size in range(1, len(eligible) + 1):
        for chosen in combinations(eligible, size):
            for comparison in examine(function, exact, chosen, scales=scales, n_draws=n_draws, seed=seed):
                if message := _complaint(comparison, complete):
                    raise AssertionError(f"{where}: {message}")


def _complaint(comparison: Comparison, complete: bool) -> str:
    names = " and ".join(f"inputs[{i}]" for i in comparison.chosen)
    place = f"with {names} scaled, output {comparison.output}"
    if comparison.wrong:
        return (
            f"{place}: the rules claim {comparison.claim}, but {comparison.wrong}. "
            "Fix the rule of the operation; where an option makes it doubtful, return the scaling with a Reason."
        )
    for reason in comparison.claim.reasons:
        name = "::".join(reason.site.op.split(".")[:2]) if isinstance(reason, Located) else ""
        if name.count("::") == 1 and find_rule(name) is None:
            return (
                f"{place}: {name} has no rule, so nothing can be claimed. "
                f"Write one with @captum_xg.homogeneity.degree_rule({name!r}), and import it before."
            )
    if complete and comparison.missed:
        return (
            f"{place}: F scales with degree {comparison.degree:g} as far as seen, but is not certified, because it "
            f"{comparison.obstacles}. Let the rule say so, or leave `complete` out if it only seems so on these inputs."
        )
    return ""


def scalable(value: object) -> TypeGuard[Tensor]:
    """Return whether a value is a dense tensor of real or complex numbers with elements."""
    return (
        isinstance(value, Tensor)
        and (value.dtype.is_floating_point or value.dtype.is_complex)
        and value.layout == torch.strided
        and not value.is_nested
        and value.numel() > 0
    )


def examine(
    function: Function,
    inputs: Sequence[object],
    chosen: tuple[int, ...],
    *,
    scales: Sequence[float] = SCALES,
    n_draws: int = 5,
    seed: int = 0,
) -> list[Comparison]:
    """Return for each tensor of the output what the rules claim if α multiplies the chosen inputs, and what values say.

    The inputs are in float64 or complex128; ``n_draws`` counts the given ones.
    """
    claims, escapes = claims_of(function, inputs, chosen)
    outputs = observe(function, inputs, chosen, scales=scales, n_draws=n_draws, seed=seed)
    comparisons = []
    for i, claim in enumerate(claims):
        seen = outputs[i] if i < len(outputs) else []
        degree = degree_seen(seen, scales)
        comparisons.append(
            Comparison(
                chosen,
                i,
                claim,
                wrong=_contradiction(claim, seen, scales) if claim.proven and not escapes else "",
                degree=degree,
                silent=not any(observation.telling for observation in seen),
                slope_wrong=degree is not None and bool(slope_misfit(seen, degree)),
                escapes=escapes,
            )
        )
    return comparisons


def claims_of(
    function: Function, inputs: Sequence[Any], chosen: tuple[int, ...]
) -> tuple[list[Scaling], tuple[str, ...]]:
    """Return how each tensor of the output scales according to the rules, and what else makes a verdict unknown."""

    def run(values: Sequence[object]) -> list[Tensor]:
        return output_tensors(function, values)

    interpretation = Interpretation({}, run.__code__)
    with torch.enable_grad():
        values = [value.detach().clone() if isinstance(value, Tensor) else value for value in inputs]
        for i in chosen:
            values[i] = values[i].requires_grad_().clone()
            interpretation.add_input(values[i])
        with interpretation.following():
            outputs = run(values)
        claims = [interpretation.scaling(y) for y in outputs]
    return claims, tuple(reason.what for reason in interpretation.trace.leaks)


def _contradiction(claim: Scaling, seen: Sequence[Observation], scales: Sequence[float]) -> str:
    degree = claim.degree or 0.0
    for observation in seen:
        y = observation.values
        if claim.zero and largest(y) > 0:
            return f"F(x) is up to {largest(y):.2g}"
        if claim.constant and not same(y, seen[0].values):
            return "F(x) differs between two inputs"
        if found := misfit(observation, scales, degree):
            return found
        if claim.stepwise and observation.generic and observation.slope is not None and observation.slope.expected:
            return "F changes with every small change of x, not in steps"
    return slope_misfit(seen, degree)


def _exact(value: object) -> object:
    if not isinstance(value, Tensor) or not (value.dtype.is_floating_point or value.dtype.is_complex):
        return value
    return value.detach().to(torch.complex128 if value.dtype.is_complex else torch.float64)
