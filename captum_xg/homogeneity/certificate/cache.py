"""The certificate cache: proofs that are made once and kept while nothing they rest on changes.

A kept proof is used if the fingerprint is the same, every assumption about constants holds, and the additional
arguments that it has looked at are what they were. Only proofs are kept: what was refused is looked at again.

Example: training a network without biases takes one proof for each shape of input. If it has biases of zero, the proof
has asked about them, and the first step of an optimiser that moves them ends it.

What must never happen: a proof answers for a model that it was not made of. So what the fingerprint names by address is
kept alive, that nothing else may take the address, and a copy of the cache is empty.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg._core.contents import same
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import modules_of, modules_under, named_modules_of, require_evaluation_mode
from captum_xg._core.reflection import plainly, tensors_of
from captum_xg._core.storage import shares_memory
from captum_xg._core.types import ForwardFunction
from captum_xg.homogeneity.certificate.assumptions import Assumptions
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.fingerprint import fingerprint_of
from captum_xg.homogeneity.certificate.module_tree import ModuleTree
from captum_xg.homogeneity.certificate.prove import Proof, prove

_MOST = 16
"""How many model states and shapes are remembered: one proof for each shape of input in use."""


@dataclass
class Seen:
    """What numbers have shown of one model state and shape of inputs, proven or not.

    Attributes:
        versions: The tensors of the model when F was seen to treat examples separately; None if it was not.
        confirmed: Whether the numeric check has held.
        inner: Dtypes that casts inside of F hide, where they were looked for.
        in_batches: Whether F gives for one row alone what it does not give for it in its batch, or nothing.
        asked: Whether it was asked about a row at another scale.
        draws: Chooses the row and the scale.
        refused: The tensors of the model when numbers spoke against F, and what they said; None if they did not.
    """

    versions: Hashable = None
    confirmed: bool = False
    inner: tuple[torch.dtype, ...] = ()
    in_batches: bool = False
    asked: bool = False
    draws: random.Random = field(default_factory=lambda: random.Random(0))
    refused: tuple[Hashable, str] | None = None

    def separate(self, forward_func: ForwardFunction) -> bool:
        """Return whether F was seen to treat examples separately with the parameters and buffers it has now."""
        # A term that mixes examples may have had a factor of zero then.
        return self.versions is not None and self.versions == _marks(forward_func)

    def separates(self, forward_func: ForwardFunction) -> None:
        """Remember that F, as it is now, treats examples separately."""
        self.versions = _marks(forward_func)

    def refusal(self, forward_func: ForwardFunction) -> str | None:
        """Return what numbers said against F with the parameters and buffers it has now; None if nothing."""
        if self.refused is None or self.refused[0] != _marks(forward_func):
            return None
        return self.refused[1]

    def refuse(self, forward_func: ForwardFunction, said: str) -> None:
        """Remember what numbers said against F, as it is now."""
        self.refused = (_marks(forward_func), said)


@dataclass
class Known:
    """What is known of one model state and shape of inputs.

    Attributes:
        proof: The certificate, and what it assumes about constants; None if no proof was asked for.
        arguments: Which tensors among the additional arguments it has looked at, and what they were.
        anchors: What its fingerprint names by address, kept alive so that nothing else can take that address.
        versions: The tensors of the model as they were: name → (address, version).
        stands: Whether it was made at an earlier call.
        seen: What numbers have shown beside it.
    """

    proof: Proof | None
    anchors: list[object]
    arguments: list[tuple[int, Tensor]] = field(default_factory=list)
    versions: dict[str, tuple[int, int]] = field(default_factory=dict)
    stands: bool = False
    seen: Seen = field(default_factory=Seen)

    @property
    def certificate(self) -> Certificate:
        """The certificate, of what was asked to be proven."""
        assert self.proof is not None
        return self.proof.certificate

    def holds(self, additional: tuple[object, ...]) -> bool:
        """Return whether what is known is so, for these additional arguments."""
        if self.proof is None or not self.certificate.homogeneous:
            return True  # nothing is claimed
        # Additional arguments are new tensors in every call, so that assumptions, which know those of the first one,
        # cannot see that they have changed.
        leaves = tree_leaves(additional) if self.arguments else ()
        return self.proof.assumptions.hold() and all(same(leaves[i], value) for i, value in self.arguments)

    def written_to(self, forward_func: ForwardFunction) -> list[str]:
        """Return the names of parameters and buffers that were written to or replaced since."""
        return [name for name, now in versions_of(forward_func).items() if self.versions.get(name) != now]


class CertificateCache:
    """Remembers proofs for one forward function."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Known] = OrderedDict()
        self._modules: ModuleTree | None = None
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
        return self.proven(forward_func, inputs, additional, where).certificate

    def proven(
        self,
        forward_func: ForwardFunction,
        inputs: tuple[Tensor, ...],
        additional: tuple[object, ...],
        where: str,
        *,
        once: bool = False,
    ) -> Known:
        """Return what is known by a proof that holds now, from memory if possible; see :meth:`certificate`.

        Args:
            forward_func: F.
            inputs: Of the shape that is asked about.
            additional: Arguments that follow them.
            where: The public name that errors begin with.
            once: What was neither proven nor disproved is not tried again while the model shows no change; nor is what
                no proof can stand on, as it hides what it holds.
        """
        fingerprint, anchors = self._fingerprint(forward_func, inputs, additional)
        shapes = tuple(x.shape for x in inputs)
        known = self._standing(fingerprint, shapes, additional, once=once)
        if known is not None:
            return known
        # Only now, as it looks through all numbers: a proof that stands has seen them finite.
        finite = require_usable_state(forward_func, where)
        self.require_modes(forward_func, where)
        self.n_proofs += 1
        proof = prove(forward_func, inputs, additional, where, finite=finite)
        found = Known(proof, anchors, _looked_at(proof.assumptions, additional), versions_of(forward_func))
        if once and proof.certificate.verdict != "disproved":
            again, _ = self._fingerprint(forward_func, inputs, additional)
            self._keep_tried(fingerprint if fingerprint == again else None, shapes, found, additional)
        elif proof.certificate.homogeneous:
            self._keep(fingerprint, found)
        return found

    def standing(
        self, forward_func: ForwardFunction, inputs: tuple[Tensor, ...], additional: tuple[object, ...]
    ) -> Known | None:
        """Return the proof that holds now, or that there is none to be had; None if it has to be tried."""
        fingerprint, _ = self._fingerprint(forward_func, inputs, additional)
        return self._standing(fingerprint, tuple(x.shape for x in inputs), additional, once=True)

    def _fingerprint(
        self, forward_func: ForwardFunction, inputs: tuple[Tensor, ...], additional: tuple[object, ...]
    ) -> tuple[Hashable, list[object]]:
        fingerprint, anchors, self._modules = fingerprint_of(forward_func, inputs, additional, self._modules)
        return fingerprint, anchors

    def _standing(
        self, fingerprint: Hashable, shapes: Hashable, additional: tuple[object, ...], *, once: bool
    ) -> Known | None:
        key = shapes if once and fingerprint not in self._known else fingerprint
        known = self._known.get(key)
        if known is None or known.proof is None or not (known.certificate.homogeneous or once):
            return None
        if not known.holds(additional):
            return None
        known.stands = True
        self._known.move_to_end(key)
        return known

    def _keep_tried(
        self, fingerprint: Hashable | None, shapes: Hashable, found: Known, additional: tuple[object, ...]
    ) -> None:
        """Remember a proof if it can stand, and else that there is none, without the tensors it has looked at."""
        if found.certificate.homogeneous and fingerprint is not None and found.holds(additional):
            self._keep(fingerprint, found)
            return
        unknown = replace(found.certificate, homogeneous=False, identically_zero=False, degree=None)
        tried = Known(Proof(unknown, Assumptions()), found.anchors, seen=found.seen)
        self._keep(shapes if fingerprint is None else fingerprint, tried)

    def unproven(
        self, forward_func: ForwardFunction, inputs: tuple[Tensor, ...], additional: tuple[object, ...]
    ) -> Known:
        """Return what is known of this state and shape without a proof, which may be nothing yet."""
        fingerprint, anchors = self._fingerprint(forward_func, inputs, additional)
        if fingerprint not in self._known:
            self._keep(fingerprint, Known(None, anchors))
        return self._known[fingerprint]

    def earlier(self, inputs: tuple[Tensor, ...]) -> Known | None:
        """Return the last proof for inputs of the same shapes, which may not hold any more."""
        shapes = tuple(tuple(x.shape) for x in inputs)
        proofs = (known for known in reversed(self._known.values()) if known.proof is not None)
        return next((k for k in proofs if k.certificate.homogeneous and k.certificate.shapes == shapes), None)

    def drop(self, known: Known) -> None:
        """Forget what has turned out to be wrong."""
        for fingerprint in [f for f, kept in self._known.items() if kept is known]:
            del self._known[fingerprint]

    def _keep(self, fingerprint: Hashable, known: Known) -> None:
        self._known[fingerprint] = known
        # The one that was used least recently goes: shapes that alternate must not push each other out.
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def require_modes(self, forward_func: ForwardFunction, where: str) -> None:
        """Refuse modes in which F is no fixed function of x."""
        require_evaluation_mode(forward_func, where)


def versions_of(forward_func: ForwardFunction) -> dict[str, tuple[int, int]]:
    """Return the address and the version of each parameter and buffer, by name."""
    with plainly():
        return {
            f"{path}.{name} ({kind})".lstrip("."): (id(tensor), tensor._version)
            for path, module in named_modules_of(forward_func).values()
            for kind, name, tensor in tensors_of(module)
            if isinstance(tensor, Tensor) and not tensor.is_inference()  # whose versions are not counted
        }


def _marks(forward_func: ForwardFunction) -> Hashable:
    """Return what :func:`versions_of` does, without names where modules are usual: it runs at every attribution."""
    marks: list[int] = []
    try:
        with plainly():
            for module in modules_under(modules_of(forward_func)):
                for held in (module._parameters, module._buffers):
                    for tensor in held.values():
                        if tensor is not None:
                            marks += id(tensor), -1 if tensor.is_inference() else tensor._version
    except Exception:  # other people's modules may be anything
        return tuple(versions_of(forward_func).items())
    return tuple(marks)


def _looked_at(assumptions: Assumptions, additional: tuple[object, ...]) -> list[tuple[int, Tensor]]:
    asked = assumptions.tensors()
    return [
        (i, value.detach().clone())
        for i, value in enumerate(tree_leaves(additional))
        if isinstance(value, Tensor) and shares_memory(value, asked)
    ]
