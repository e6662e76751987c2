"""Findings from reasons against a proof: one for each module, in terms of the model's own source."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules._functions import BackwardHookFunction

from captum_xg._core.autograd_graph import custom_functions
from captum_xg._core.provenance import short_path
from captum_xg._core.recorder import Names
from captum_xg.homogeneity.certificate.advice import advised
from captum_xg.homogeneity.certificate.certificate import Violation
from captum_xg.homogeneity.certificate.explanations import explain_composite
from captum_xg.homogeneity.certificate.untraceable import hooked_parts
from captum_xg.homogeneity.degree import Reason
from captum_xg.homogeneity.rules.reasons import Located, custom_function, is_generated
from captum_xg.homogeneity.rules.registry import rule_vouches_for


def spoilt(names: Sequence[str]) -> Violation:
    """Return the finding that F gives NaN, from the names of tensors with NaN or infinity in them."""
    return Violation(
        "",
        "",
        "",
        f"gives NaN on the example, and there is NaN or infinity in {', '.join(names[:10])}",
        "Give the model finite numbers; or, if they belong there, another example that gives none",
    )


def violations_of(
    reasons: Iterable[Reason], outputs: Sequence[Tensor], starts: Collection[Node | None], names: Names
) -> tuple[list[Violation], list[Violation]]:
    """Return the modules that break homogeneity, and those of which something is unknown.

    Args:
        reasons: What speaks against a proof.
        outputs: F's output with its graph.
        starts: The nodes of the inputs.
        names: Module id → (path, module).
    """
    violations, unsupported = _by_module(advised(reasons, outputs))
    modules = dict(names.values())
    violations = [_in_terms_of_layer(violation, modules.get(violation.module)) for violation in violations]
    return violations, unsupported + hooked_parts(names) + [
        _of_custom(function)
        for function in custom_functions(outputs, starts)
        if not rule_vouches_for(function.__name__)
        and not any(_is_about(found, function.__name__) for found in unsupported)
        and function is not BackwardHookFunction  # its modules are among those with hooks
        and not (unsupported and function.__module__.startswith("torch._higher_order_ops"))
    ]


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


def _in_terms_of_layer(violation: Violation, module: nn.Module | None) -> Violation:
    """Return the violation in terms of the layer, if the layer's user never wrote the operations that it runs."""
    words = None if module is None or violation.gradient else explain_composite(module)
    if words is None or violation.type != type(module).__name__:
        return violation
    return replace(violation, reason=words[0], remedy=words[1], further=())


def _is_about(found: Violation, function: str) -> bool:
    """Return whether a finding is about a Python autograd function, or the operation that it is the gradient of."""
    reasons = (found.reason, *(reason for _, _, reason in found.further))
    operations = (found.op, *(op for op, _, _ in found.further))  # "namespace.name.overload"
    return custom_function(function).what in reasons or any(
        is_generated(function, "::".join(operation.split(".")[:2])) for operation in operations
    )


def _of_custom(function: type) -> Violation:
    reason = custom_function(function.__name__)
    try:
        location = f"{short_path(inspect.getfile(function))}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError):
        location = ""
    return Violation("", function.__name__, location, reason.what, reason.remedy)
