"""The axioms: a statement over functions, inputs and baselines, and a check of one case, each.

The invariant: an axiom is only ever tried on a case that fulfils its premise, so that a violation is the method's. Each
*proposes* a case in which the premise holds by construction (a feature is added that is not used, two features are set
equal), *admits* it if nothing numerical spoils that, names the attributions it asks for, and *compares* them. Linearity
of F = ``relu(x0)``, G = ``2·x0`` with a = 1, b = −3 asks for A(F − 3G), A(F) and A(G), and compares feature by feature.
What must never happen: that ``compare`` is more sensitive to an error in one attribution than the weight of its query
says; the search allows for the error of an estimate by that weight.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

import torch
from torch import Tensor

from captum_xg.metrics.axioms.cases import Case, Comparison, Query, difference, number, one_gap
from captum_xg.metrics.axioms.functions import affine
from captum_xg.metrics.axioms.sources import Source
from captum_xg.metrics.axioms.wrappers import equal_functions, exchanged, symmetrised, weighted, with_unused


class Axiom(ABC):
    """A statement about an attribution method A, true or false of each case.

    Throughout, F is differentiable at x and at almost all points between x' and x; x' is one baseline or, for methods
    that take several, a uniform distribution over a set of them, and F(x') then the mean over it.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    statement: ClassVar[str]
    on_a_model: ClassVar[str]
    """What is tried where the user brings one model."""

    def propose(self, source: Source, draw: Random) -> Case | None:
        """Return a case made of what the source gives, None where it gives nothing fitting."""
        subject, x, references = source.pick(draw)
        return Case((subject,), x, references)

    def queries(self, case: Case) -> tuple[Query, ...]:
        """Return the attributions that are compared."""
        return (Query(case.subjects[0], case.x, case.references),)

    def admits(self, case: Case, queries: tuple[Query, ...]) -> bool:
        """Return whether the axiom says anything of the case."""
        return True

    def differentiable(self, case: Case, queries: tuple[Query, ...]) -> bool:
        """Return whether F has derivatives wherever the axiom supposes them."""
        return all(query.differentiable for query in queries)

    @abstractmethod
    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        """Return how far the attributions (flat) are from what the axiom asks for."""


class _SensitivityA(Axiom):
    """What differs and matters is not given zero.

    Source: Sundararajan et al. 2017, Section 2.1.
    """

    key = "sensitivity_a"
    title = "Sensitivity (a)"
    statement = "For all F, x, x' that differ in one feature i only with F(x) ≠ F(x'): Aᵢ(F, x, x') ≠ 0."
    on_a_model = "the baseline with one feature of an input put in"

    def propose(self, source: Source, draw: Random) -> Case | None:
        subject, x, references = source.pick(draw)
        flat, others = x.flatten(), references.flatten(1)
        different = [i for i in range(len(flat)) if bool((flat[i] != others[:, i]).any())]
        if not different:
            return None
        i = draw.choice(different)
        # From the baseline and not from x, which differs from it in many features: only one may.
        start = others[0].clone()
        changed = start.clone()
        changed[i] = flat[i]
        moved = start.repeat(len(others), 1)
        moved[:, i] = others[:, i]
        return Case((subject,), changed.reshape(x.shape), moved.reshape(references.shape), (i,))

    def admits(self, case: Case, queries: tuple[Query, ...]) -> bool:
        # By more than rounding, for a change that is rounding may well be given zero.
        return abs(queries[0].change) > max(1e-6, 64 * torch.finfo(case.x.dtype).eps) * queries[0].level

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        i = case.features[0]
        value = float(attributions[0][i])
        zero = not abs(value) > 1e-12 * abs(queries[0].change)  # also true of NaN
        change = f"≠ 0, as F(x) − F(x') = {number(queries[0].change)}"
        return Comparison(one_gap(float("inf") if zero else 0.0), f"A{i}", change, number(value))


class _SensitivityB(Axiom):
    """What does not matter is given zero (Dummy).

    Source: Sundararajan et al. 2017, Section 3 (Dummy).
    """

    key = "sensitivity_b"
    title = "Sensitivity (b)"
    statement = "For all F that do not depend on feature i, and all x, x': Aᵢ(F, x, x') = 0."
    on_a_model = "the model with one more input, which it does not use or which cancels"

    def propose(self, source: Source, draw: Random) -> Case | None:
        subject, x, references = source.pick(draw)
        # A feature that is never read is one thing, one that is read and cancels another: gradients see the second.
        wide = with_unused(subject, cancels=draw.random() < 0.5)
        value, others = source.numbers(draw, len(references), like=x)
        flat = torch.cat((x.flatten(), value))
        moved = torch.cat((references.flatten(1), others.unsqueeze(1)), 1)
        return Case((wide,), flat, moved, (len(flat) - 1,))

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        i = case.features[0]
        value = float(attributions[0][i])
        return Comparison(one_gap(value), f"A{i}", "0", number(value))


class _ImplementationInvariance(Axiom):
    """Only the function counts, not the program.

    Source: Sundararajan et al. 2017, Section 2.2.
    """

    key = "implementation_invariance"
    title = "Implementation invariance"
    statement = "For all F, G with F(z) = G(z) for all z, and all x, x': A(F, x, x') = A(G, x, x')."
    on_a_model = "the model called again, and programs for the same function made by wrapping it"

    def propose(self, source: Source, draw: Random) -> Case | None:
        subject, x, references = source.pick(draw)
        programs = equal_functions(subject)
        # Programs made by hand differ more than wrappers do.
        by_hand = programs[1 : 1 + len(subject.twins)]
        return Case((subject, draw.choice(by_hand if by_hand and draw.random() < 0.5 else programs)), x, references)

    def queries(self, case: Case) -> tuple[Query, ...]:
        return tuple(Query(subject, case.x, case.references) for subject in case.subjects)

    def admits(self, case: Case, queries: tuple[Query, ...]) -> bool:
        # Twins are equal on paper; in float32 wrappers of the user's model may differ by more than rounding.
        first, second = (torch.cat((q.output(q.x.unsqueeze(0)), q.output(q.references))) for q in queries)
        return torch.allclose(first, second, rtol=1e-5 if first.dtype != torch.float64 else 1e-12, atol=1e-12)

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        return difference("A(G) = A(F)", attributions[0], attributions[1])


class _Completeness(Axiom):
    """Attributions add up to the change of the output.

    Source: Sundararajan et al. 2017, Proposition 1.
    """

    key = "completeness"
    title = "Completeness"
    statement = "For all F, x, x': Σᵢ Aᵢ(F, x, x') = F(x) − F(x')."
    on_a_model = "the inputs as they are"

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        total, change = float(attributions[0].sum()), queries[0].change
        return Comparison(one_gap(total - change), "Σ A", f"F(x) − F(x') = {number(change)}", number(total))


class _Linearity(Axiom):
    """Attributions of a weighted sum are the weighted sum of attributions.

    Source: Sundararajan et al. 2017, Section 3.
    """

    key = "linearity"
    title = "Linearity"
    statement = "For all F, G, x, x', a, b: A(aF + bG, x, x') = a·A(F, x, x') + b·A(G, x, x')."
    on_a_model = "a·F + b·G of the model F and G = F or a random linear G"

    def propose(self, source: Source, draw: Random) -> Case | None:
        subject, x, references = source.pick(draw)
        other = source.companion(subject, x, draw)
        return Case((subject, other), x, references, numbers=(draw.choice((1.0, 2.0, -1.0)), draw.choice((1.0, -3.0))))

    def queries(self, case: Case) -> tuple[Query, ...]:
        f, g = case.subjects
        a, b = case.numbers
        # By linearity errors in A(F) and A(G) count a and b times.
        weights = ((weighted(f, g, a, b), 1.0), (f, abs(a)), (g, abs(b)))
        return tuple(Query(subject, case.x, case.references, weight) for subject, weight in weights)

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        a, b = case.numbers
        expected = a * attributions[1] + b * attributions[2]
        return difference(
            f"A({affine((a, b), ('F', 'G'))}) = {affine((a, b), ('A(F)', 'A(G)'))}", expected, attributions[0]
        )


class _Symmetry(Axiom):
    """Features that may be exchanged, with equal values, get equal attributions.

    Source: Sundararajan et al. 2017, Section 4.1.
    """

    key = "symmetry"
    title = "Symmetry-preserving"
    statement = (
        "For all F symmetric in features i and j, all x with xᵢ = xⱼ, and x' with x'ᵢ = x'ⱼ (a set of x': unchanged by "
        "exchanging i and j): Aᵢ(F, x, x') = Aⱼ(F, x, x')."
    )
    on_a_model = "F(x) + F(x with two features exchanged), at inputs where the two are set equal"

    def propose(self, source: Source, draw: Random) -> Case | None:
        subject, x, references = source.pick(draw)
        if x.numel() < 2:
            return None
        i, j = pair = draw.choice(subject.symmetric) if subject.symmetric else tuple(draw.sample(range(x.numel()), 2))
        flat = x.flatten().clone()
        flat[j] = flat[i]
        # A set is made symmetric by adding its mirror image; a single baseline has to be symmetric itself.
        if len(references) > 1:
            references = torch.cat((references, exchanged(references, (i, j))))
        else:
            references = references.flatten(1).clone()
            references[:, j] = references[:, i]
        return Case((symmetrised(subject, (i, j)),), flat.reshape(x.shape), references.reshape(-1, *x.shape), pair)

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        i, j = case.features
        one, other = float(attributions[0][i]), float(attributions[0][j])
        return Comparison(one_gap(one - other), f"A{i} = A{j}", f"A{i} = {number(one)}", f"A{j} = {number(other)}")


class _NonnegativeHomogeneity(Axiom):
    """Attributions scale with the contrast.

    Source: Hesse et al. 2021, Definition 3.6.
    """

    key = "nonnegative_homogeneity"
    title = "Nonnegative homogeneity"
    statement = "For all F, x, x' and α ≥ 0: A(F, αx, αx') = α·A(F, x, x')."
    on_a_model = "the inputs and baselines, scaled"

    def propose(self, source: Source, draw: Random) -> Case | None:
        subject, x, references = source.pick(draw)
        return Case((subject,), x, references, numbers=(draw.choice((2.0, 2.0, 3.0, 0.5, 0.0)),))

    def queries(self, case: Case) -> tuple[Query, ...]:
        (alpha,) = case.numbers
        scaled = Query(case.subjects[0], alpha * case.x, alpha * case.references)
        return (Query(case.subjects[0], case.x, case.references, alpha), scaled)

    def differentiable(self, case: Case, queries: tuple[Query, ...]) -> bool:
        # At α = 0 nothing differs and no derivative is supposed: every X-DNN has a kink there.
        return super().differentiable(case, queries if case.numbers[0] > 0 else queries[:1])

    def compare(self, case: Case, queries: tuple[Query, ...], attributions: tuple[Tensor, ...]) -> Comparison:
        (alpha,) = case.numbers
        return difference(f"A({alpha:g}·x) = {alpha:g}·A(x)", alpha * attributions[0], attributions[1])


AXIOMS: tuple[Axiom, ...] = (
    _SensitivityA(),
    _SensitivityB(),
    _ImplementationInvariance(),
    _Completeness(),
    _Linearity(),
    _Symmetry(),
    _NonnegativeHomogeneity(),
)
