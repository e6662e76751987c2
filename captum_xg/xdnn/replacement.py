"""Replacement of a module inside a model."""

from __future__ import annotations

from torch import nn


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Put a module in the place of another wherever that stands, but inside of the new one, which may hold the old.

    Returns:
        The model, or the new module if the model itself was the old one.
    """
    inside = set(new.modules())
    for parent in set(model.modules()) - inside:
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)
    return new if model is old else model


def has_hooks(module: nn.Module) -> bool:
    """Return whether anything is hooked onto a module, which another one in its place would lose."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)
