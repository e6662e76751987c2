"""The state that a forward pass may change, random numbers and buffers, kept as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_xg._core.contents import parts_of, same
from captum_xg._core.module_attributes import ModuleAttributes
from captum_xg._core.modules import modules_of
from captum_xg._core.reflection import attribute, plainly, submodules, tensors_of


@contextmanager
def preserve_random_numbers(device: torch.device) -> Iterator[None]:
    """Put random number generators back as they were, whatever the body does."""
    cpu = torch.get_rng_state()
    accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if accelerator is not None:
            torch.cuda.set_rng_state(accelerator, device)


@contextmanager
def preserve_state(forward_func: Callable[..., Any], device: torch.device) -> Iterator[None]:
    """Put random number generators and the model's buffers back as they were, whatever the body does.

    The check runs the model at inputs that are scaled by large factors; observers, running maxima and counters must not
    keep what they saw of them. Where a buffer was written to or replaced, modules get back what they hold in Python as
    well: a flag that says that they are initialised would be wrong. Parameters are not copied: a model that initialises
    them, and keeps that in mind in Python, is left as the body leaves it.
    """
    with plainly():
        modules = [module for root in modules_of(forward_func) for _, module in submodules(root)]
        # What a module measures on its first batch, whoever runs it, is its state from then on.
        held_back = [module for module in modules if not getattr(type(module), "measured_by_first_batch", False)]
        attributes, held = ModuleAttributes(held_back), _buffer_ids(held_back)
        tensors = {id(t): (kind, t) for m in modules for kind, _, t in tensors_of(m) if isinstance(t, Tensor)}
        lazy = [t for _, t in tensors.values() if is_lazy(t)]
        usable = [(kind, t) for kind, t in tensors.values() if not (is_lazy(t) or t.is_inference() or t.is_meta)]
        parameters = [(t, t._version) for kind, t in usable if kind == "parameter"]
        buffers = (t for kind, t in usable if kind == "buffer")
        before = [(b, b._version, value) for b in buffers if (value := _copied(b)) is not None]
    try:
        with preserve_random_numbers(device):
            yield
    finally:
        with torch.no_grad(), plainly():
            written = [(buffer, value) for buffer, version, value in before if _is_written(buffer, version, value)]
            if (written or held != _buffer_ids(held_back)) and attributes.differ():
                begun = attributes.tell_of_a_start() and any(p._version != version for p, version in parameters)
                if begun or not all(map(is_lazy, lazy)):
                    written = []
                else:
                    attributes.put_back()
            for buffer, value in written:
                _restore(buffer, value)


def _is_written(buffer: Tensor, version: int, value: Tensor) -> bool:
    # Batch norm in training mode writes its statistics without a new version.
    return buffer._version != version or (parts_of(value) is not None and not same(buffer, value))


def _buffer_ids(modules: Iterable[nn.Module]) -> list[int]:
    """Return which buffers modules hold, in their order: other ones if any was replaced."""
    return [id(buffer) for module in modules for buffer in (attribute(module, "_buffers") or {}).values()]


def _copied(buffer: Tensor) -> Tensor | None:
    try:
        return buffer.detach().clone()
    except (RuntimeError, NotImplementedError):  # some that are quantised by channel; observers never write to those
        return None


def _restore(buffer: Tensor, value: Tensor) -> None:
    if buffer.layout == torch.strided and not buffer.is_nested and buffer.shape != value.shape:
        buffer.resize_(value.shape)
    buffer.copy_(value)
