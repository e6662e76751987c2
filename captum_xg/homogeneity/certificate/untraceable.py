"""Forward functions whose operations do not pass by where they could be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from captum_xg._core.reflection import attribute, is_a, own_attributes, submodules
from captum_xg.homogeneity.certificate.certificate import Violation


def untraceable_parts(forward_func: Callable[..., Any], names: Mapping[int, tuple[str, nn.Module]]) -> list[Violation]:
    """Return what makes a forward function's operations invisible: compiled, scripted and replicated parts.

    Args:
        forward_func: F.
        names: Module id → (path, module), of the modules behind F.
    """
    found = []
    parts: list[tuple[str, Any]] = [("", forward_func), *names.values()]
    seen: set[int] = set()
    for path, part in parts:
        why = _why(part)
        if why is not None and id(part) not in seen:
            seen.update(id(inside) for _, inside in submodules(part))
            found.append(Violation(path, "", "", *why, type=type(part).__name__))
    return found


def hooked_parts(names: Mapping[int, tuple[str, nn.Module]]) -> list[Violation]:
    """Return the modules with backward hooks, which may replace the gradient by something else."""
    return [
        Violation(
            path,
            "",
            "",
            "has a backward hook, which may change the gradient",
            "Remove the hook",
            type=type(module).__name__,
        )
        for path, module in names.values()
        if attribute(module, "_backward_hooks") or attribute(module, "_backward_pre_hooks")
    ]


def _why(part: Any) -> tuple[str, str] | None:
    if is_a(part, (torch.jit.ScriptModule, torch.jit.ScriptFunction, torch._C.ScriptMethod)):
        return "is scripted or traced, so its operations are not seen one by one", "Certify the model before torch.jit"
    own = own_attributes(part)  # as some answer to every name
    if "_orig_mod" in own.get("_modules", ()) or "_torchdynamo_orig_callable" in own:
        return "is compiled, so its operations are not seen one by one", "Certify the model before torch.compile"
    if is_a(part, nn.DataParallel) and len(part.device_ids) > 1:
        return "runs in several threads, whose operations are not seen", "Certify the module inside: model.module"
    return None
