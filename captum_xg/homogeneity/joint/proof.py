"""The proof that F is homogeneous in its inputs and its additive constants together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import Tensor

from captum_xg._core.function import checked_arguments
from captum_xg._core.inputs import format_inputs
from captum_xg._core.options import forward_function
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import ForwardFunction
from captum_xg.homogeneity.certificate.certificate import Detached
from captum_xg.homogeneity.certificate.outputs import Output
from captum_xg.homogeneity.certificate.prove import Proof, prove
from captum_xg.homogeneity.joint.augmented import ALONE
from captum_xg.homogeneity.joint.found import searched


def prove_jointly(
    forward_func: ForwardFunction,
    inputs: tuple[object, ...],
    additional_forward_args: object,
    where: str,
    jointly: bool | Sequence[str],
    *,
    output: Output,
    finite: Iterable[Tensor],
    detached: Detached,
) -> Proof:
    """Return the verdict on F as a function of inputs and constants; for arguments see :func:`captum_xg.certify`."""
    forward_function(forward_func, "forward_func", where)
    formatted = format_inputs(inputs, where)
    additional = checked_arguments(additional_forward_args, where)
    with ALONE, ids_refused(forward_func, inputs, additional_forward_args, where):
        function = searched(forward_func, formatted, additional, jointly, where)
        values = tuple(value.detach() for value in function.values(len(formatted[0])))
        proof = prove(
            function, (*formatted, *values), additional, where, output=output, finite=finite, detached=detached
        )
    n, certificate = len(formatted), proof.certificate
    return replace(
        proof,
        certificate=replace(
            certificate,
            shapes=certificate.shapes[:n],
            dtypes=certificate.dtypes[:n],
            jointly=tuple(constant.name for constant in function.constants),
            name=type(forward_func).__name__ if hasattr(forward_func, "parameters") else "F",
        ),
    )
