"""certify: prove from one forward pass, op by op, that F(αx) = αᵏF(x), or name every op that breaks it.

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

from captum_xg._core.digest import digest_of
from captum_xg._core.function import autograd_refusals_explained, checked_arguments
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import not_finite, require_usable_state, spoilt_state
from captum_xg._core.modules import named_modules_of
from captum_xg._core.options import forward_function, one_of
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
from captum_xg.homogeneity.certificate.standing import Standing
from captum_xg.homogeneity.certificate.unscaled import UnscaledArguments
from captum_xg.homogeneity.certificate.untraceable import unfollowed, untraceable_parts
from captum_xg.homogeneity.certificate.violations import spoilt, violations_of
from captum_xg.homogeneity.degree import Scaling, sum_of
from captum_xg.homogeneity.scaling.confrontation import confront
from captum_xg.homogeneity.scaling.counterexample import find_counterexample
from captum_xg.homogeneity.scaling.footprints import Run
from captum_xg.homogeneity.scaling.passes import handles_of
from captum_xg.homogeneity.scaling.subject import Subject, gradient_of

__all__ = ["Output", "Proof", "certify", "chosen_outputs", "prove"]


def certify(
    forward_func: ForwardFunction,
    *example_inputs: Tensor | tuple[Tensor, ...],
    additional_forward_args: object = None,
    output: Output = None,
    detached: Detached = "violations",
) -> Certificate:
    r"""Prove that F is positively homogeneous, F(αx) = αᵏF(x) for all x and all α > 0, or name what breaks it.

    One forward pass is followed operation by operation. For every tensor in it a rule says how it scales, so that the
    proof holds for every input of these shapes, not only for the example. What has no rule, and what cannot be seen
    (values that leave PyTorch, branches on values), makes the verdict unknown, never homogeneous. A path that depends
    on the input but is cut off from autograd is a violation even where the values scale: x·∇F is then wrong.

    The proof is of exact arithmetic. Before it is handed out it is confronted with the example in numbers, which do not
    depend on what an observer sees: F at four scales on two rays, Euler's identity, and slopes along random directions.
    What contradicts it makes the verdict unknown.

    Args:
        forward_func: A module or any callable.
        example_inputs: Tensors of shape ``(N, …)``, scaled jointly; only shapes, dtypes and devices matter for the
            proof.
        additional_forward_args: What follows the inputs in a call; it stays as it is.
        output: Which part of a tuple or dict that F returns is meant: a key, a path of keys, or a function of the
            output. By default every floating-point tensor in it, which must all have one degree.
        detached: ``"violations"``, or ``"constants"``: what F detaches counts as a constant, as it does for autograd.
            Then Σ x·∂F = kF is proven, the conservation of gradient-based LRP and B-cos explanations, for an F that
            itself need not scale. Such a certificate says nothing of Integrated Gradients.

    Returns:
        A :class:`~captum_xg.homogeneity.certificate.certificate.Certificate`; ``str()`` of it says what to do.

    Raises:
        InputError: Inputs that nothing can be attributed to, such as ids that an embedding looks up.
        OptionTypeError: If ``forward_func`` is no model or function, such as the class of one.
        ForwardOutputError: An output without a tensor in it.
        ModelStateError: Parameters, buffers or captured tensors on the meta device, uninitialised, NaN or infinite.
        GradientError: A forward function that autograd refuses, such as one with weights from inference mode.
        OptionError: If ``output`` is not in the output, or ``detached`` is something else.

    Source: Hesse et al. 2021, Definition 3.3 and Section 3.2 (which layers are homogeneous; the calculus is our own).

    Example:
        >>> certificate = certify(torch.nn.Linear(3, 1, bias=False), torch.rand(1, 3))
        >>> certificate.homogeneous, certificate.degree
        (True, 1.0)
    """
    one_of(detached, ("violations", "constants"), "detached", "certify")
    # Before the proof: NaN in a weight spoils every value, and is better named than proven about.
    finite = require_usable_state(forward_func, "certify")
    proof = prove(
        forward_func,
        _flat(example_inputs),
        additional_forward_args,
        "certify",
        output=output,
        finite=finite,
        detached=detached,
    )
    standing = Standing(forward_func, proof.assumptions)
    return replace(proof.certificate, digest=digest_of(forward_func), standing=standing)


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
    """Return the verdict on F and what it rests on, without a digest; for arguments see :func:`certify`.

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


def _flat(example_inputs: tuple[object, ...]) -> tuple[object, ...]:
    """Return the inputs as one tuple, also if they were passed as one, as to ``attribute``."""
    if len(example_inputs) == 1 and isinstance(example_inputs[0], tuple):
        return example_inputs[0]
    return example_inputs
