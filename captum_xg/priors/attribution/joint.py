"""Joint attribution in training: what inputs and additive constants carry together, of models with biases.

It takes one more forward pass, in which each example has constants of its own, as a gradient by shared ones would be
that of the whole batch. The proof is of F in inputs and constants together, and confronted with Euler's identity at
every step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.options import one_of
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Arguments, Tensors
from captum_xg.errors import HomogeneityError, OptionError
from captum_xg.homogeneity.certificate.cache import CertificateCache
from captum_xg.homogeneity.joint.additive import constants_of
from captum_xg.homogeneity.joint.augmented import Augmented
from captum_xg.homogeneity.joint.constants import held_tensors, same_places
from captum_xg.priors.attribution.base import Attribution, Batch, register_attribution
from captum_xg.priors.euler import require_euler
from captum_xg.priors.forward import Forward
from captum_xg.priors.supported import WHERE, require_whole_parameters
from captum_xg.priors.target_selection import TargetSelector


@register_attribution("joint")
class JointOfPass(Attribution):
    r"""x ⊙ ∂F/∂x and c ⊙ ∂F/∂c, for F proven to be homogeneous in inputs and additive constants together.

    These are Integrated Gradients over both, from (0, 0); see :class:`~captum_xg.JointXGradient`. The model must be in
    evaluation mode, as far as dropout and batch norms go.

    Args:
        part: ``"inputs"``, ``"constants"`` or ``"both"``: what reaches the prior. Several tensors reach it as a tuple,
            constants in the order in which F adds them.
        constants: Their names; None for all that are found to be added.
        validate: ``"certificate"`` proves it at the first batch of each shape, as ``"xgradient"`` does; ``"off"``
            leaves that to you.

    Source: Hesse et al. 2021, Proposition 3.2, for F as a function of inputs and constants.
    """

    one_pass = False

    def __init__(
        self,
        *,
        part: Literal["inputs", "constants", "both"] = "inputs",
        constants: tuple[str, ...] | list[str] | None = None,
        validate: Literal["certificate", "off"] = "certificate",
    ) -> None:
        self._part = one_of(part, ("inputs", "constants", "both"), "part", WHERE)
        self._validate = one_of(validate, ("certificate", "off"), "validate", WHERE)
        self._chosen: object = True if constants is None else constants
        self._proofs = CertificateCache()
        self._kept: tuple[Augmented, tuple[object, ...]] | None = None

    @property
    def n_proofs(self) -> int:
        """How many proofs were made."""
        return self._proofs.n_proofs

    def prepare(
        self, forward: Forward, selector: TargetSelector, inputs: Tensors, additional: Arguments, target: object
    ) -> None:
        """Prove that F is homogeneous in inputs and constants, unless that stands already.

        Raises:
            HomogeneityError: If it is not, or not proven to be; it names the layers.
            OptionError: If there is a layer, or parameters are sharded, or no constant is added.
            TrainingModeError: If layers are in training mode that make F no fixed function of x.
        """
        if forward.layer is not None:
            raise OptionError(
                f"{WHERE}: attribution='joint' is of inputs and constants, and takes no `layer`. Leave one of them out."
            )
        require_whole_parameters(forward.model)
        function = self._augmented(forward, inputs, additional)
        if not function.constants and self._part == "constants":
            raise OptionError(f"{WHERE}: the model adds no constants that could be attributed to (part='constants').")
        if self._validate == "off":
            return
        points = (*inputs, *(value.detach() for value in function.values(len(inputs[0]))))
        certificate = self._proofs.certificate(function, tuple(p.detach() for p in points), additional, WHERE)
        if not certificate.homogeneous or certificate.degree not in (None, 1.0):
            raise HomogeneityError(
                "\n".join(
                    [
                        f"{WHERE}: F is not proven to be homogeneous of degree 1 in its inputs and its "
                        f"{len(function.constants)} additive constants together, so attribution='joint' is refused.",
                        *certificate.finding_lines(most=10),
                        "  What to do: fix what is named above; or choose attribution='integrated_gradients' or "
                        "'expected_gradients', which need no homogeneity, or 'input_x_gradient', which claims nothing.",
                    ]
                ),
                certificate=certificate,
            )

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return the products for each score."""
        assert self._kept is not None
        function, n = self._kept[0], len(batch.inputs[0])
        points = tuple(x if x.requires_grad else x.detach().requires_grad_() for x in batch.inputs)
        values = tuple(v if v.requires_grad else v.detach().requires_grad_() for v in function.values(n))
        together = (*points, *values)
        explained = batch.forward.widened(function(*map(Tensor.clone, points), *values, *batch.additional), points[0])
        # A constant of another output is in no graph, and has a gradient of zero.
        nothing = sum((value.flatten(1).sum(1) * 0 for value in together), torch.zeros((), dtype=explained.dtype))
        scores = [score + nothing for score in batch.selection.scores(explained)]
        found = []
        for score in scores:
            gradients = batch.gradients(score, together)
            found.append(tuple(t * g for t, g in zip(together, gradients, strict=True)))
        if self._validate != "off":
            require_euler(batch, scores, found, 1.0)
        k = len(points)
        parts = {"inputs": slice(None, k), "constants": slice(k, None), "both": slice(None)}[self._part]
        return [each[parts] for each in found]

    def _augmented(self, forward: Forward, inputs: Tensors, additional: Arguments) -> Augmented:
        held = held_tensors(forward)
        if self._kept is not None and same_places(self._kept[1], held.values()):  # type: ignore[arg-type]
            return self._kept[0]
        with preserve_state(forward.model, inputs[0].device):
            detached = tuple(x.detach() for x in inputs)
            function = Augmented(forward, len(inputs), constants_of(forward, detached, additional, self._chosen, WHERE))
            function.settle((*detached, *(v.detach() for v in function.values(len(inputs[0]))), *additional))
        self._kept = function, tuple(held.values())
        return function
