"""The certificate cache: proofs that are made once and kept while nothing they rest on changes.

A kept proof is used if the fingerprint is the same, every assumption about constants holds, and the additional
arguments that it has looked at are what they were. Only proofs are kept: what was refused is looked at again.

Example: training a network without biases takes one proof for each shape of input. If it has biases of zero, the proof
has asked about them, and the first step of an optimiser that moves them ends it.

What must never happen: a proof answers for a model that it was not made of. So what the fingerprint names by address is
kept alive, that nothing else may take the address, and a copy of the cache is empty.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg._core.contents import same
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.storage import shares_memory
from captum_xg._core.types import ForwardFunction
from captum_xg.homogeneity.certificate.assumptions import Assumptions
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.certify import Proof, prove
from captum_xg.homogeneity.certificate.fingerprint import fingerprint_of

_MOST = 16
"""How many proofs are kept: one for each shape of input in use."""


@dataclass(frozen=True)
class _Kept:
    """A proof that is kept.

    Attributes:
        proof: The certificate, and what it assumes about constants.
        arguments: Which tensors among the additional arguments it has looked at, and what they were.
        anchors: What its fingerprint names by address, kept alive so that nothing else can take that address.
    """

    proof: Proof
    arguments: list[tuple[int, Tensor]]
    anchors: list[object]

    def holds(self, additional: tuple[object, ...]) -> bool:
        """Return whether what the proof assumes is so, for these additional arguments."""
        # Additional arguments are new tensors in every call, so that assumptions, which know those of the first one,
        # cannot see that they have changed.
        leaves = tree_leaves(additional) if self.arguments else ()
        return self.proof.assumptions.hold() and all(same(leaves[i], value) for i, value in self.arguments)


class CertificateCache:
    """Remembers proofs for one forward function."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self.n_proofs = 0
        """How many proofs were made."""

    def __reduce__(self) -> tuple[type[CertificateCache], tuple[()]]:
        # A copy belongs to a copy of the model, at other addresses, and has everything still to prove.
        return type(self), ()

    def certificate(
        self, forward_func: ForwardFunction, inputs: tuple[Tensor, ...], additional: tuple[object, ...], where: str
    ) -> Certificate:
        """Return a certificate that holds now for these inputs' shapes, from memory if possible.

        Raises:
            TrainingModeError: If layers are in training mode. A proof that is remembered was made without any.
            ModelStateError: If parameters or buffers hold nothing to compute with.
        """
        fingerprint, anchors = fingerprint_of(forward_func, inputs, additional)
        known = self._kept.get(fingerprint)
        if known is not None and known.holds(additional):
            self._kept.move_to_end(fingerprint)
            return known.proof.certificate
        # Only now, as it looks through all numbers: a proof that stands has seen them finite.
        finite = require_usable_state(forward_func, where)
        self._require_modes(forward_func, where)
        self.n_proofs += 1
        proof = prove(forward_func, inputs, additional, where, finite=finite)
        if proof.certificate.homogeneous:
            self._kept[fingerprint] = _Kept(proof, _looked_at(proof.assumptions, additional), anchors)
            # The one that was used least recently goes: shapes that alternate must not push each other out.
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return proof.certificate

    def _require_modes(self, forward_func: ForwardFunction, where: str) -> None:
        """Refuse modes in which F is no fixed function of x."""
        require_evaluation_mode(forward_func, where)


def _looked_at(assumptions: Assumptions, additional: tuple[object, ...]) -> list[tuple[int, Tensor]]:
    asked = assumptions.tensors()
    return [
        (i, value.detach().clone())
        for i, value in enumerate(tree_leaves(additional))
        if isinstance(value, Tensor) and shares_memory(value, asked)
    ]
