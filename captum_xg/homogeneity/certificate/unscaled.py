"""Modules that bring inputs to one size themselves: what breaks homogeneity in them comes with other arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from captum_xg.homogeneity.certificate.certificate import Violation
from captum_xg.homogeneity.certificate.shadow_memory import Shadows

EXPLAIN = "explain_unscaled"
"""The method of such a module that returns which arguments it does not scale, as (reason, remedy)."""


@contextmanager
def arguments_watched(names: Mapping[int, tuple[str, nn.Module]], shadows: Shadows) -> Iterator[dict[str, nn.Module]]:
    """Yield the modules, by path, that are handed something that depends on the input and that they do not scale.

    Args:
        names: Module id → (path, module).
        shadows: Knows what depends on the input.
    """
    found: dict[str, nn.Module] = {}

    def watch(path: str) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], None]:
        def look(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            leaves = tree_leaves((arguments[module.n_inputs :], options))
            with torch._C.DisableTorchFunction():  # asking is no part of the forward pass
                tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
                if any(shadows.palette.together(shadows.read(tensor)).depends_on_input for tensor in tensors):
                    found[path] = module

        return look

    handles = [
        module.register_forward_pre_hook(watch(path), with_kwargs=True)
        for path, module in names.values()
        if hasattr(type(module), EXPLAIN)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def blamed_on_arguments(violations: Iterable[Violation], found: Mapping[str, nn.Module]) -> list[Violation]:
    """Return the violations, those inside of such a module as one that says which argument brings them in."""
    result: dict[str, Violation] = {}
    for violation in violations:
        inside = [path for path in found if not path or f"{violation.module}.".startswith(f"{path}.")]
        if violation.gradient or not inside:
            result[f"{violation.module} itself"] = violation
            continue
        path = min(inside, key=len)
        reason, remedy = getattr(found[path], EXPLAIN)()
        result.setdefault(
            path, Violation(path, violation.op, violation.location, reason, remedy, type=type(found[path]).__name__)
        )
    return list(result.values())
