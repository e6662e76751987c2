"""Models on the meta device or with lazy layers, noticed without a measurable cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_xg._core.modules import modules_of, require_usable_state, tensors_referred_to


def require_memory(forward_func: Callable[..., Any], where: str) -> None:
    """Refuse what :func:`require_usable_state` refuses without a look at the numbers, in a fraction of its time.

    Operations on tensors without memory need not fail: on a CPU they return what happens to lie there.

    Raises:
        ModelStateError: Naming parameters and buffers without memory.
    """
    if _lacks_memory(forward_func):
        require_usable_state(forward_func, where, finite=False)


def _lacks_memory(forward_func: Callable[..., Any]) -> bool:
    """Return whether a tensor that F refers to is without memory; True as well where that cannot be seen this way."""
    seen: set[int] = set()
    try:
        if isinstance(forward_func, nn.Module):
            stack: list[Any] = [forward_func]
        else:
            stack = list(modules_of(forward_func))
            if any(is_lazy(tensor) or tensor.is_meta for tensor in tensors_referred_to(forward_func)):
                return True
        while stack:
            module = stack.pop()
            if module is None or id(module) in seen:
                continue
            seen.add(id(module))
            for held in (module._parameters, module._buffers, module.__dict__):
                for value in held.values():
                    if isinstance(value, Tensor) and (is_lazy(value) or value.is_meta):
                        return True
            stack.extend(module._modules.values())
    except Exception:  # other people's modules may be anything
        return True
    return False
