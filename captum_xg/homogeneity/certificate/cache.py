"""Proofs that are made once and kept while nothing they rest on changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg._core.contents import same
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.storage import shares_memory
from captum_xg.homogeneity.certificate.assumptions import Facts
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.certify import prove
from captum_xg.homogeneity.certificate.fingerprint import describe

_MOST = 16
"""How many proofs are kept: one for each shape of input in use."""


@dataclass(frozen=True)
class _Standing:
    """A proof that is kept.

    Attributes:
        certificate: What is proven.
        facts: What it asked about constants.
        arguments: Which tensors among the additional arguments it asked about, and what they were.
        anchors: What its key names by address.
    """

    certificate: Certificate
    facts: Facts
    arguments: list[tuple[int, Tensor]]
    anchors: list[Any]

    def fits(self, additional: tuple[Any, ...]) -> bool:
        """Return whether the additional arguments that the proof asked about have the same values."""
        leaves = tree_leaves(additional) if self.arguments else ()
        return all(same(leaves[i], value) for i, value in self.arguments)


class StandingProofs:
    """Remembers proofs for one forward function.

    A proof is used again if every module, parameter and buffer is the same object with the same memory, shape and
    dtype, every mode, hook and plain attribute is the same, and everything that the proof asked about constants (is
    this bias zero?) has the same answer. The numbers in weights are not part of it, so training does not end a proof.
    """

    def __init__(self) -> None:
        self._proofs: OrderedDict[Hashable, _Standing] = OrderedDict()
        self.n_proofs = 0
        """How many proofs were made."""

    def __reduce__(self) -> tuple[type[StandingProofs], tuple[()]]:
        # A copy belongs to a copy of the model, at other addresses, and has everything still to prove.
        return type(self), ()

    def certificate(
        self, forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], additional: tuple[Any, ...], where: str
    ) -> Certificate:
        """Return a certificate that holds now for these inputs' shapes, from memory if possible.

        Raises:
            TrainingModeError: If layers are in training mode. A proof that is remembered was made without any.
            ModelStateError: If parameters or buffers hold nothing to compute with.
        """
        key, anchors = describe(forward_func, inputs, additional)
        known = self._proofs.get(key)
        if known is not None and known.facts.hold() and known.fits(additional):
            self._proofs.move_to_end(key)
            return known.certificate
        finite = require_usable_state(forward_func, where)
        self._require_modes(forward_func, where)
        self.n_proofs += 1
        proof = prove(forward_func, inputs, additional, where, finite=finite)
        if proof.certificate.homogeneous:
            # The anchors keep alive what the key names by address, so that nothing else can take that address.
            self._proofs[key] = _Standing(
                proof.certificate, proof.facts, _asked_about(proof.facts, additional), anchors
            )
            while len(self._proofs) > _MOST:
                self._proofs.popitem(last=False)
        return proof.certificate

    def _require_modes(self, forward_func: Callable[..., Any], where: str) -> None:
        """Refuse modes in which F is no fixed function of x."""
        require_evaluation_mode(forward_func, where)


def _asked_about(facts: Facts, additional: tuple[Any, ...]) -> list[tuple[int, Tensor]]:
    asked = facts.tensors()
    return [
        (i, value.detach().clone())
        for i, value in enumerate(tree_leaves(additional))
        if isinstance(value, Tensor) and shares_memory(value, asked)
    ]
