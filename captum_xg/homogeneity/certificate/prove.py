"""The proof from one forward pass, op by op, that F(αx) = αᵏF(x), or the name of every op that breaks it.

The steps of a proof: refuse what cannot be followed; run F once on clones of the inputs while an
:class:`~captum_xg.homogeneity.certificate.interpretation.Interpretation` follows it; join how the outputs scale; turn
what speaks against them into one finding a module; and confront the verdict with the example at other scales.

What must never happen: something unknown is counted as homogeneous. The verdict is homogeneous only if both lists of
findings are empty, and what the interpretation could not see must show in one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from captum_xg._core.function import autograd_refusals_explained, checked_arguments
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import not_finite, spoilt_state
from captum_xg._core.modules import named_modules_of
from captum_xg._core.options import forward_function
from captum_xg._core.recorder import Names
from captum_xg._core.reflection import is_a, is_tensor
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import ForwardFunction
from captum_xg.homogeneity.certificate.assumptions import Assumptions
from captum_xg.homogeneity.certificate.certificate import Certificate, Detached
from captum_xg.homogeneity.certificate.confronted import confronted, in_float64, is_contradicted
from captum_xg.homogeneity.certificate.interpretation import Interpretation
from captum_xg.homogeneity.certificate.outputs import Output, chosen_outputs
from captum_xg.homogeneity.certificate.unscaled import UnscaledArguments
from captum_xg.homogeneity.certificate.untraceable import unfollowed, untraceable_parts
from captum_xg.homogeneity.certificate.violations import spoilt, violations_of
from captum_xg.homogeneity.degree import Scaling, sum_of
from captum_xg.homogeneity.scaling.confrontation import confront
from captum_xg.homogeneity.scaling.counterexample import find_counterexample
from captum_xg.homogeneity.scaling.footprints import Run
from captum_xg.homogeneity.scaling.passes import handles_of
from captum_xg.homogeneity.scaling.subject import Subject, gradient_of


@dataclass(frozen=True)
class Proof:
    """A certificate and what it rests on.

    Attributes:
        certificate: The verdict.
        assumptions: What it takes for granted about values of constants.
    """

    certificate: Certificate
    assumptions: Assumptions


def prove(
    forward_func: ForwardFunction,
    inputs: tuple[object, ...],
    additional_forward_args: object,
    where: str,
    *,
    output: Output = None,
    finite: Iterable[Tensor] = (),
    detached: Detached = "violations",
) -> Proof:
    """Return the verdict on F and what it rests on, without a digest; for arguments see :func:`captum_xg.certify`.

    Tensors that are known to be ``finite`` are not looked through again.
    """
    forward_function(forward_func, "forward_func", where)
    formatted = format_inputs(inputs, where)
    additional = checked_arguments(additional_forward_args, where)
    shapes = tuple(tuple(x.shape) for x in formatted)
    dtypes = tuple(str(x.dtype).removeprefix("torch.") for x in formatted)
    name = type(forward_func).__name__ if is_a(forward_func, nn.Module) else "F"
    names = named_modules_of(forward_func)
    unproven = Certificate(False, None, [], [], 0, shapes, dtypes, name=name, detached=detached)
    if untraceable := untraceable_parts(forward_func, names):
        return Proof(replace(unproven, unsupported=untraceable), Assumptions())

    def run(xs: tuple[Tensor, ...]) -> list[Tensor]:
        return chosen_outputs(forward_func(*xs, *additional), output, where)

    # By the type alone: a mock among the arguments says that it is a tensor.
    constants = [leaf for leaf in tree_leaves(additional) if is_tensor(leaf)]
    interpretation = Interpretation(names, run.__code__, constants, finite, frozen=detached == "constants")
    with (
        ids_refused(forward_func, inputs, additional_forward_args, where),
        autograd_refusals_explained(where),
        torch.inference_mode(False),
        torch.enable_grad(),
        preserve_state(forward_func, formatted[0].device),
    ):
        wider = partial(in_float64, forward_func, additional, output, where)
        certificate, values = _interpreted(run, formatted, interpretation, names, unproven, wider)
    # NaN scales as everything does, and differs from itself: that F gives it is the better explanation of both.
    proven = certificate.homogeneous or is_contradicted(certificate)
    if proven and any(not_finite(y)[0] for y in values) and (bad := spoilt_state(forward_func)):
        unsupported = [*certificate.unsupported, spoilt(bad)]
        certificate = replace(certificate, homogeneous=False, degree=None, unsupported=unsupported)
    return Proof(certificate, interpretation.trace.assumptions)


def _interpreted(
    run: Callable[[tuple[Tensor, ...]], list[Tensor]],
    inputs: tuple[Tensor, ...],
    interpretation: Interpretation,
    names: Names,
    unproven: Certificate,
    wider: Callable[[], Run | None],
) -> tuple[Certificate, list[Tensor]]:
    """Return the verdict, and the outputs on the example.

    Args:
        run: F, from inputs to the outputs that are meant.
        inputs: The example.
        interpretation: Follows F.
        names: Module id → (path, module).
        unproven: The certificate to fill in.
        wider: Returns F in float64, if it can be had.
    """
    trace = interpretation.trace
    leaves, handles = handles_of(inputs)
    for handle in handles:
        interpretation.add_input(handle)
    starts = [handle.grad_fn for handle in handles]  # the first layer may work in place and move the handles on
    unscaled = UnscaledArguments(names, trace.shadows)
    try:
        with interpretation.following(unscaled, followed=unscaled.watched):
            outputs = run(handles)
    except Exception as error:
        values = _without_following(run, inputs)
        counterexample = find_counterexample(run, inputs, values)
        return replace(unproven, unsupported=[unfollowed(error)], counterexample=counterexample), values
    scaling = _joined(outputs, interpretation)
    # What was not seen counts wherever it happened, as it may have reached the output in ways that were not seen.
    violations, unsupported = violations_of({*scaling.reasons, *trace.leaks}, outputs, starts, names)
    violations = unscaled.blamed(violations)
    proven = not violations and not unsupported
    degree = scaling.degree if proven else None
    values = [y.detach() for y in outputs]
    certificate = replace(unproven, violations=violations, unsupported=unsupported, n_ops=interpretation.n_ops)
    claim = replace(certificate, homogeneous=True, degree=degree, identically_zero=scaling.zero)
    conserved = unproven.detached == "constants"
    if not proven:
        del outputs
        return replace(
            certificate, counterexample=None if conserved else find_counterexample(run, inputs, values)
        ), values
    gradient = gradient_of(outputs, leaves)
    del outputs  # and the graph with them, before F runs again
    subject = Subject(run, inputs, values, degree, gradient, wider, frozenset(trace.dtypes), names, conserved)
    return confronted(claim, confront(subject)), values


def _without_following(run: Callable[[tuple[Tensor, ...]], list[Tensor]], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the outputs on the example; where F itself fails, that error is raised."""
    try:
        return [y.detach() for y in run(handles_of(inputs)[1])]
    except Exception as error:
        if "sparse" not in str(error).lower():
            raise
    with torch.no_grad():  # autograd does not take all that may be done to sparse tensors
        return [y.detach() for y in run(tuple(x.detach().clone() for x in inputs))]


def _joined(outputs: list[Tensor], interpretation: Interpretation) -> Scaling:
    """Return how all outputs scale, as one."""
    scalings = [interpretation.scaling(y) for y in outputs]
    return sum_of(*scalings, reason=interpretation.trace.mismatch(*scalings, verb="returns", preposition="and"))
