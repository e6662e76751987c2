"""Joint attribution in training: what inputs and additive constants carry together, of models with biases.

It takes one more forward pass, in which each example has constants of its own, as a gradient by shared ones would be
that of the whole batch. The proof is of F in inputs and constants together, and confronted with Euler's identity at
every step.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.options import one_of
from captum_xg._core.types import Arguments, Tensors
from captum_xg.errors import HomogeneityError, OptionError
from captum_xg.homogeneity.certificate.cache import CertificateCache
from captum_xg.homogeneity.joint.alone import require_same_alone
from captum_xg.homogeneity.joint.augmented import ALONE
from captum_xg.homogeneity.joint.found import AugmentedFunctions
from captum_xg.homogeneity.scaling.dtypes import inner_dtypes
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
        self._functions = AugmentedFunctions(True if constants is None else constants, WHERE)
        self._proofs = CertificateCache()

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
        with ALONE:
            function = self._functions.of(forward, inputs, additional)
            if not function.constants and self._part == "constants":
                raise OptionError(
                    f"{WHERE}: the model adds no constants that could be attributed to (part='constants')."
                )
            if self._validate == "off":
                return
            points = tuple(p.detach() for p in (*inputs, *function.values(len(inputs[0]))))
            certificate = self._proofs.certificate(function, points, additional, WHERE)
        if not certificate.homogeneous or certificate.degree not in (None, 1.0):
            raise HomogeneityError(
                "\n".join(
                    [
                        f"{WHERE}: F is not proven to be homogeneous of degree 1 in its inputs and its additive "
                        f"constants together ({len(function.constants)} were found), so attribution='joint' is "
                        "refused.",
                        *certificate.finding_lines(most=10),
                        "  What to do: fix what is named above; or choose attribution='integrated_gradients' or "
                        "'expected_gradients', which need no homogeneity, or 'input_x_gradient', which claims nothing.",
                    ]
                ),
                certificate=certificate,
            )

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return the products for each score."""
        points = tuple(x if x.requires_grad else x.detach().requires_grad_() for x in batch.inputs)
        with ALONE:
            function = self._functions.of(batch.forward, batch.inputs, batch.additional)
            values = function.values(len(points[0]))
            values = tuple(v if v.requires_grad else v.detach().requires_grad_() for v in values)
            outputs = function(*map(Tensor.clone, points), *values, *batch.additional)
        together = (*points, *values)
        explained = batch.forward.widened(outputs, points[0])
        # A constant of another output is in no graph, and has a gradient of zero.
        nothing = sum((t.reshape(len(t), -1).sum(1) * 0 for t in together), torch.zeros((), dtype=explained.dtype))
        scores = [score + nothing for score in batch.selection.scores(explained)]
        found = []
        for score in scores:
            gradients = batch.gradients(score, together)
            found.append(tuple(t * g for t, g in zip(together, gradients, strict=True)))
        if self._validate != "off":
            require_euler(batch, scores, found, 1.0)
            if len(points[0]) > 1:
                inner = partial(inner_dtypes, lambda xs: batch.forward(*xs, *batch.additional), batch.inputs)
                in_batch = batch.selection.scores(batch.passed.explained)
                for one, alone, products in zip(in_batch, scores, found, strict=True):
                    require_same_alone(one, alone, products, WHERE, inner)
        k = len(points)
        parts = {"inputs": slice(None, k), "constants": slice(k, None), "both": slice(None)}[self._part]
        return [each[parts] for each in found]
