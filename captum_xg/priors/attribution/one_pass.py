"""Attributions from one gradient of the forward pass that the task loss uses, too.

The invariant: x·∇F/k is called X-Gradient, and so Integrated Gradients, only where F is proven to be homogeneous of
degree k at these weights, modes and shapes. The proof is made before the task's forward pass, so that nothing is spent
on a model that is refused; at a layer the points of that pass are looked at once more.
"""

from __future__ import annotations

from math import inf
from typing import Literal

from captum_xg._core.options import one_of, single_number
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Arguments, Tensors
from captum_xg.errors import DegreeError, HomogeneityError
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.priors.attribution.base import Attribution, Batch, register_attribution
from captum_xg.priors.euler import require_euler
from captum_xg.priors.forward import Forward
from captum_xg.priors.proof import CertifiedFunction, TrainingProofs
from captum_xg.priors.separate import is_asked_at, require_separate_examples
from captum_xg.priors.supported import WHERE, require_whole_parameters
from captum_xg.priors.target_selection import TargetSelector, log_probability_scores


@register_attribution("gradient")
class Gradient(Attribution):
    r"""The gradient of the score, ∂F/∂x."""

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return ∂F/∂x for each score."""
        points = batch.passed.points
        return [batch.gradients(scores, points) for scores in batch.selection.scores(batch.passed.explained)]


@register_attribution("rrr")
class LogProbabilityGradient(Attribution):
    r"""The gradient of the summed log-probabilities, ∂/∂x Σ_c log p_c, as in Right for the Right Reasons.

    For one logit z it is ∂/∂x (2 log σ(z) − z).

    Source: Ross et al. 2017, Right for the Right Reasons, Eq. 1.
    """

    explains = False

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return the gradient."""
        scores = log_probability_scores(batch.passed.explained, batch.selector)
        return [batch.gradients(scores, batch.passed.points)]


@register_attribution("input_x_gradient")
class InputXGradient(Attribution):
    r"""Input × gradient, x ⊙ ∂F/∂x, of any model; Integrated Gradients only if the model is homogeneous."""

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return x ⊙ ∂F/∂x for each score."""
        points = batch.passed.points
        found = (batch.gradients(scores, points) for scores in batch.selection.scores(batch.passed.explained))
        return [tuple(x * g for x, g in zip(points, each, strict=True)) for each in found]


@register_attribution("xgradient")
class XGradientOfPass(InputXGradient):
    r"""X-Gradient, x ⊙ ∂F/∂x / k for F proven to be homogeneous of degree k: Integrated Gradients against zero.

    Args:
        validate: ``"certificate"`` proves F(αx) = αᵏF(x) op by op at the first batch of each shape, and again only once
            the model has changed in a way that the proof rests on, which the values of weights are not; every step
            confronts it with Euler's identity, Σ x·∂F = kF. Steps 1, 16, 32, 64 and so on also see that
            the examples of a batch do not mix. ``"off"`` leaves all that to you.
        degree: k for ``validate="off"``; the proven one otherwise.

    Source: Hesse et al. 2021, Proposition 3.2 and Eq. 4.
    """

    def __init__(self, *, validate: Literal["certificate", "off"] = "certificate", degree: float | None = None) -> None:
        self._validate = one_of(validate, ("certificate", "off"), "validate", WHERE)
        number = None if degree is None else single_number(degree)
        if degree is not None and (number is None or not 1 <= number < inf):
            raise DegreeError(f"{WHERE}: `degree` must be a number ≥ 1 but is {degree!r}.")
        self._degree = number
        self._proven = number or 1.0
        self._proofs = TrainingProofs()
        self._certified: CertifiedFunction | None = None
        self._steps = 0

    @property
    def n_proofs(self) -> int:
        """How many proofs were made."""
        return self._proofs.n_proofs

    def prepare(
        self, forward: Forward, selector: TargetSelector, inputs: Tensors, additional: Arguments, target: object
    ) -> None:
        """Prove that F is homogeneous, unless that stands already.

        Raises:
            HomogeneityError: If it is not, or not proven to be; it names the layers.
            DegreeError: If the degree is below 1, or not the one that was given.
            TrainingModeError: If layers are in training mode that make F no fixed function of x.
            OptionError: If parameters are sharded, so that nothing can be proven.
        """
        if self._validate == "off":
            return
        if self._certified is None:  # made once: proofs are remembered for this very object
            require_whole_parameters(forward.model)
            self._certified = CertifiedFunction(forward, selector)
        if forward.layer is None:
            self._prove(self._certified, inputs, additional, target)
        elif not self.n_proofs:
            # From then on the forward pass of the step shows what the layer returns.
            with preserve_state(forward.model, inputs[0].device):
                points = tuple(p.detach() for p in forward.points_of(inputs, additional))
            self._prove(self._certified, points, (*inputs, *additional), target)

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return x ⊙ ∂F/∂x / k for each score."""
        if self._certified is not None and batch.forward.layer is not None:
            points = tuple(p.detach() for p in batch.passed.points)
            self._prove(self._certified, points, (*batch.inputs, *batch.additional), batch.selection.target)
        found = super().__call__(batch)
        if self._certified is not None:
            require_euler(batch, batch.selection.scores(batch.passed.explained), found, self._proven)
            self._steps += 1
            if is_asked_at(self._steps):
                require_separate_examples(batch)
        # ∫₀¹ ∂F(αx)/∂x dα = ∂F(x)/∂x · ∫₀¹ αᵏ⁻¹ dα, which is 1/k of the gradient at x.
        return found if self._proven == 1 else [tuple(a / self._proven for a in each) for each in found]

    def _prove(self, function: CertifiedFunction, points: Tensors, additional: Arguments, target: object) -> None:
        function.n_points = 0 if function.forward.layer is None else len(points)
        if function.score is not None:
            additional = (*additional, target)
        self._proven = self._admitted(self._proofs.certificate(function, points, additional), function.forward)

    def _admitted(self, certificate: Certificate, forward: Forward) -> float:
        if not certificate.homogeneous:
            raise HomogeneityError(_refusal(certificate, forward), certificate=certificate)
        # A degree that was given must be the proven one: the quotient by another would be no Integrated Gradients.
        degree = self._degree or certificate.degree or 1.0  # any degree fits a function that is zero
        if not certificate.covers(degree):
            raise DegreeError(
                f"{WHERE}: F is proven to be homogeneous of degree {certificate.degree:g}, "
                + (f"not {degree:g}; leave `degree` out." if self._degree else "but X-Gradient needs a degree ≥ 1.")
            )
        return degree


def _refusal(certificate: Certificate, forward: Forward) -> str:
    of_what = "F" if forward.layer is None else "F as a function of what the layer returns"
    found = "is not homogeneous" if certificate.verdict == "disproved" else "could not be proven to be homogeneous"
    return "\n".join(
        [
            f"{WHERE}: {of_what} {found} (F(αx) = αᵏF(x)), so x·∇F(x) is not Integrated Gradients and "
            "attribution='xgradient' is refused.",
            *certificate.finding_lines(most=10),
            "  What to do: fix what is named above, for example by to_xdnn(model); or choose "
            "attribution='integrated_gradients' or 'expected_gradients', which need no homogeneity, or "
            "'input_x_gradient', which is what it says and nothing more.",
        ]
    )
