"""certify: prove from one forward pass, op by op, that F(αx) = αᵏF(x), or name every op that breaks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules._functions import BackwardHookFunction
from torch.utils._pytree import tree_leaves

from captum_xg._core.autograd_graph import custom_functions
from captum_xg._core.digest import digest_of
from captum_xg._core.function import autograd_refusals_explained, checked_arguments
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import not_finite, require_usable_state, spoilt_state
from captum_xg._core.modules import named_modules_of
from captum_xg._core.options import forward_function
from captum_xg._core.provenance import short_path
from captum_xg._core.reflection import is_a, is_tensor
from captum_xg._core.state import nothing_left_behind
from captum_xg._core.token_ids import ids_refused
from captum_xg.errors import ForwardOutputError, OptionError
from captum_xg.homogeneity.certificate.advice import advised
from captum_xg.homogeneity.certificate.assumptions import Facts
from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.explanations import explain_composite
from captum_xg.homogeneity.certificate.leaks import Escapes
from captum_xg.homogeneity.certificate.tracer import Tracer
from captum_xg.homogeneity.certificate.unfollowed import unfollowed
from captum_xg.homogeneity.certificate.unscaled import arguments_watched, blamed_on_arguments
from captum_xg.homogeneity.certificate.untraceable import hooked_parts, untraceable_parts
from captum_xg.homogeneity.degree import Reason, Scaling, mismatch, sum_of
from captum_xg.homogeneity.rules.reasons import Located, custom_function, is_generated
from captum_xg.homogeneity.rules.registry import rule_vouches_for
from captum_xg.homogeneity.scaling.counterexample import find_counterexample

Output: TypeAlias = int | str | tuple[int | str, ...] | Callable[[Any], Any] | None


def certify(
    forward_func: Callable[..., Any],
    *example_inputs: Tensor | tuple[Tensor, ...],
    additional_forward_args: object = None,
    output: Output = None,
) -> Certificate:
    r"""Prove that F is positively homogeneous, F(αx) = αᵏF(x) for all x and all α > 0, or name what breaks it.

    One forward pass is followed operation by operation. For every tensor in it a rule says how it scales, so that the
    proof holds for every input of these shapes, not only for the example. What has no rule, and what cannot be seen
    (values that leave PyTorch, branches on values), makes the verdict unknown, never homogeneous. A path that depends
    on the input but is cut off from autograd is a violation even where the values scale: x·∇F is then wrong.

    The proof is of exact arithmetic. As a safeguard the example is also run at two other scales.

    Args:
        forward_func: A module or any callable.
        example_inputs: Tensors of shape ``(N, …)``, scaled jointly; only shapes, dtypes and devices matter for the
            proof.
        additional_forward_args: What follows the inputs in a call; it stays as it is.
        output: Which part of a tuple or dict that F returns is meant: a key, a path of keys, or a function of the
            output. By default every floating-point tensor in it, which must all have one degree.

    Returns:
        A :class:`~captum_xg.homogeneity.certificate.certificate.Certificate`; ``str()`` of it says what to do.

    Raises:
        InputError: Inputs that nothing can be attributed to, such as ids that an embedding looks up.
        OptionTypeError: If ``forward_func`` is no model or function, such as the class of one.
        ForwardOutputError: An output without a tensor in it.
        ModelStateError: Parameters, buffers or captured tensors on the meta device, uninitialised, NaN or infinite.
        GradientError: A forward function that autograd refuses, such as one with weights from inference mode.
        OptionError: If ``output`` is not in the output.

    Source: Hesse et al. 2021, Definition 3.3 and Section 3.2 (which layers are homogeneous; the calculus is our own).

    Example:
        >>> certificate = certify(torch.nn.Linear(3, 1, bias=False), torch.rand(1, 3))
        >>> certificate.homogeneous, certificate.degree
        (True, 1.0)
    """
    finite = require_usable_state(forward_func, "certify")
    proof = prove(forward_func, _flat(example_inputs), additional_forward_args, "certify", output=output, finite=finite)
    return replace(proof.certificate, digest=digest_of(forward_func))


@dataclass(frozen=True)
class Proof:
    """A certificate and what it rests on.

    Attributes:
        certificate: The verdict.
        facts: The questions about values of constants that the proof asked.
    """

    certificate: Certificate
    facts: Facts


def prove(
    forward_func: Callable[..., Any],
    inputs: tuple[Any, ...],
    additional_forward_args: object,
    where: str,
    *,
    output: Output = None,
    finite: Iterable[Tensor] = (),
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
    nothing = Certificate(False, None, [], [], 0, shapes, dtypes, name=name)
    if untraceable := untraceable_parts(forward_func, names):
        return Proof(replace(nothing, unsupported=untraceable), Facts())

    def run(xs: tuple[Tensor, ...]) -> list[Tensor]:
        return chosen_outputs(forward_func(*xs, *additional), output, where)

    tracer = Tracer(names, run.__code__, [leaf for leaf in tree_leaves(additional) if is_tensor(leaf)], finite)
    with (
        ids_refused(forward_func, inputs, additional_forward_args, where),
        autograd_refusals_explained(where),
        torch.inference_mode(False),
        torch.enable_grad(),
        nothing_left_behind(forward_func, formatted[0].device),
    ):
        handles = _handles(formatted)
        for handle in handles:
            tracer.add_input(handle)
        starts = [handle.grad_fn for handle in handles]  # the first layer may work in place and move the handles on
        try:
            with arguments_watched(names, tracer.shadows) as unscaled, Escapes(tracer), tracer:
                outputs = run(handles)
        except Exception as error:
            values = [y.detach() for y in run(_handles(formatted))]  # where F itself fails, that is to be seen
            counterexample = find_counterexample(run, formatted, values, None, proven=False)
            found = [unfollowed(error)]
            return Proof(replace(nothing, unsupported=found, counterexample=counterexample), tracer.facts)
        scaling = _together([tracer.scaling(y) for y in outputs], tracer)
        violations, unsupported = _by_module(advised({*scaling.reasons, *tracer.escapes}, outputs))
        modules = dict(names.values())
        violations = [_in_its_words(violation, modules.get(violation.module)) for violation in violations]
        violations = blamed_on_arguments(violations, unscaled)
        unsupported += hooked_parts(names) + [
            _custom(function)
            for function in custom_functions(outputs, starts)
            if not rule_vouches_for(function.__name__)
            and not any(_tells_of(v, function.__name__) for v in unsupported)
            and function is not BackwardHookFunction  # its modules are among those with hooks
            and not (unsupported and function.__module__.startswith("torch._higher_order_ops"))
        ]
        proven = not violations and not unsupported
        degree = scaling.degree if proven else None
        values = [y.detach() for y in outputs]
        del outputs
        counterexample = find_counterexample(run, formatted, values, degree, proven=proven)
    if proven and counterexample is not None:
        unsupported.append(_contradicted())
    if proven and any(not_finite(y)[0] for y in values) and (spoilt := spoilt_state(forward_func)):
        unsupported.append(_spoilt(spoilt))
    certificate = replace(
        nothing,
        homogeneous=not violations and not unsupported,
        degree=None if unsupported else degree,
        violations=violations,
        unsupported=unsupported,
        n_ops=tracer.n_ops,
        identically_zero=proven and scaling.zero,
        counterexample=counterexample,
    )
    return Proof(certificate, tracer.facts)


def _together(scalings: list[Scaling], tracer: Tracer) -> Scaling:
    """Return the scaling of the whole output."""
    terms = [scaling for scaling in scalings if not scaling.zero]
    clash = None
    if len({term.degree for term in terms if term.degree is not None}) > 1:
        clash = tracer.located(mismatch(*terms, verb="returns", preposition="and"))
    return sum_of(*scalings, reason=clash)


def _by_module(reasons: Iterable[Reason]) -> tuple[list[Violation], list[Violation]]:
    """Return violations and what is unknown, each module once in either list, in order of execution."""
    located = sorted((r for r in reasons if isinstance(r, Located)), key=lambda r: (r.order, r.what))
    lists: tuple[dict[str, Violation], dict[str, Violation]] = ({}, {})
    for reason in located:
        site, found = reason.site, lists[reason.kind == "unknown"]
        entry = (site.op, site.location, reason.what)
        if site.module not in found:
            found[site.module] = Violation(
                site.module, *entry, reason.remedy, type=site.type, gradient=reason.kind == "gradient"
            )
            continue
        before = found[site.module]
        if entry not in ((before.op, before.location, before.reason), *before.further):
            found[site.module] = replace(
                before,
                further=(*before.further, entry),
                remedy=before.remedy if reason.remedy in before.remedy else f"{before.remedy}. {reason.remedy}",
                gradient=before.gradient or reason.kind == "gradient",
            )
    return list(lists[0].values()), list(lists[1].values())


def _in_its_words(violation: Violation, module: nn.Module | None) -> Violation:
    """Return the violation in terms of the layer, if the layer's user never wrote the operations that it runs."""
    words = None if module is None or violation.gradient else explain_composite(module)
    if words is None or violation.type != type(module).__name__:
        return violation
    return replace(violation, reason=words[0], remedy=words[1], further=())


def _handles(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return clones of inputs, so that F may overwrite them and autograd has a node to find them by."""
    return tuple(x.detach().clone().requires_grad_().clone() for x in inputs)


def _tells_of(found: Violation, function: str) -> bool:
    """Return whether a finding is about a Python autograd function, or the operation that it is the gradient of."""
    reasons = (found.reason, *(reason for _, _, reason in found.further))
    operations = (reason.removeprefix("runs ").split(",")[0] for reason in reasons if reason.startswith("runs "))
    return any(function in reason for reason in reasons) or any(is_generated(function, name) for name in operations)


def _custom(function: type) -> Violation:
    reason = custom_function(function.__name__)
    try:
        location = f"{short_path(inspect.getfile(function))}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        location = ""
    return Violation("", function.__name__, location, reason.what, reason.remedy)


def _contradicted() -> Violation:
    return Violation(
        "",
        "",
        "",
        "scales at every operation that was seen, but F(αx) differs from it on the example: something was not seen",
        "Look for state that the forward pass keeps, other threads, or code outside of PyTorch",
    )


def _spoilt(names: list[str]) -> Violation:
    listed = ", ".join(names[:10])
    return Violation(
        "",
        "",
        "",
        f"gives NaN on the example, and there is NaN or infinity in {listed}",
        "Give the model finite numbers; or, if they belong there, another example that gives none",
    )


def chosen_outputs(result: Any, output: Output, where: str) -> list[Tensor]:
    """Return the tensors of F's output that are meant."""
    try:
        if callable(output):
            result = output(result)
        elif output is not None:
            for key in output if isinstance(output, tuple) else (output,):
                result = result[key] if not isinstance(key, str) or isinstance(result, dict) else getattr(result, key)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{where}: `output` = {output!r} is not in what the forward function returns: {error!r}."
        ) from None
    tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    floating = [y for y in tensors if y.dtype.is_floating_point or y.dtype.is_complex]
    if not tensors:
        raise ForwardOutputError(
            f"{where}: the forward function returns {type(result).__name__}, with no tensor in it to prove anything of."
        )
    if any(y.is_meta for y in tensors):
        raise ForwardOutputError(
            f"{where}: the forward function returns a tensor on the meta device, which holds no numbers."
        )
    return floating or tensors


def _flat(example_inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the inputs as one tuple, also if they were passed as one, as to ``attribute``."""
    if len(example_inputs) == 1 and isinstance(example_inputs[0], tuple):
        return example_inputs[0]
    return example_inputs
