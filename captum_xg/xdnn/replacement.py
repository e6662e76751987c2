"""Taking a module out of a model and putting another in."""

from __future__ import annotations

from torch import nn


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another wherever that stands, but inside of the new one, which may hold the old."""
    inside = set(new.modules())
    for parent in list(model.modules()):
        if parent in inside:
            continue
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def has_hooks(module: nn.Module) -> bool:
    """Return whether anything is hooked onto a module, which another one in its place would lose."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)
