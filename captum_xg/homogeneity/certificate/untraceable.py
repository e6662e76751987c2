"""Parts of a model whose operations cannot be recorded, and forward functions that fail while they are."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_xg._core.provenance import is_torch, short_path
from captum_xg._core.recorder import Names
from captum_xg._core.reflection import attribute, is_a, own_attributes, submodules
from captum_xg._core.text import in_one_line
from captum_xg.homogeneity.certificate.certificate import Violation
from captum_xg.homogeneity.rules.reasons import not_followed

_OPERATORS = "_higher_order_ops"


def untraceable_parts(forward_func: Callable[..., object], names: Names) -> list[Violation]:
    """Return what makes a forward function's operations invisible: compiled, scripted and replicated parts.

    Args:
        forward_func: F.
        names: Module id → (path, module), of the modules behind F.
    """
    found = []
    parts: list[tuple[str, object]] = [("", forward_func), *names.values()]
    seen: set[int] = set()
    for path, part in parts:
        why = _why_invisible(part)
        if why is not None and id(part) not in seen:
            seen.update(id(inside) for _, inside in submodules(part))
            found.append(Violation(path, "", "", *why, type=type(part).__name__))
    return found


def _why_invisible(part: Any) -> tuple[str, str] | None:
    if is_a(part, (torch.jit.ScriptModule, torch.jit.ScriptFunction, torch._C.ScriptMethod)):
        return "is scripted or traced, so its operations are not seen one by one", "Certify the model before torch.jit"
    own = own_attributes(part)  # as some answer to every name
    if "_orig_mod" in own.get("_modules", ()) or "_torchdynamo_orig_callable" in own:
        return "is compiled, so its operations are not seen one by one", "Certify the model before torch.compile"
    if is_a(part, nn.DataParallel) and len(part.device_ids) > 1:
        return "runs in several threads, whose operations are not seen", "Certify the module inside: model.module"
    return None


def hooked_parts(names: Names) -> list[Violation]:
    """Return the modules with backward hooks, which may replace the gradient by something else."""
    what, remedy = "has a backward hook, which may change the gradient", "Remove the hook"
    return [
        Violation(path, "", "", what, remedy, type=type(module).__name__)
        for path, module in names.values()
        if attribute(module, "_backward_hooks") or attribute(module, "_backward_pre_hooks")
    ]


def unfollowed(error: Exception) -> Violation:
    """Return the finding that operations could not be followed, from what following them raised.

    PyTorch compiles the functions that torch.cond and the like are given, and its compiler may fail while recorded.
    """
    frames = traceback.extract_tb(error.__traceback__)
    operators = [Path(frame.filename) for frame in frames if Path(frame.filename).parent.name == _OPERATORS]
    own = [frame for frame in frames if not is_torch(frame.filename)]
    location = f"{short_path(own[-1].filename)}:{own[-1].lineno}" if own else ""
    if operators:
        reason = not_followed(operators[0].stem)
        return Violation("", f"torch.{operators[0].stem}", location, reason.what, reason.remedy)
    return Violation(
        "",
        "",
        location,
        f"runs by itself, but not while its operations are followed ({in_one_line(error)})",
        "Test it numerically instead: check_homogeneity(…), or validate='numeric'",
    )
