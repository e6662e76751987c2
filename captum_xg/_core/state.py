"""The state that a forward pass may change, random numbers and buffers, kept as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from captum_xg._core.contents import parts_of, same
from captum_xg._core.modules import modules_of
from captum_xg._core.reflection import plainly, submodules, tensors_of


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
    keep what they saw of them.
    """
    with plainly():
        before = [
            (buffer, buffer._version, value)
            for buffer in _buffers_of(forward_func)
            if (value := _copied(buffer)) is not None
        ]
    try:
        with preserve_random_numbers(device):
            yield
    finally:
        with torch.no_grad(), plainly():
            for buffer, version, value in before:
                # Batch norm in training mode writes its statistics without a new version.
                if buffer._version != version or (parts_of(value) is not None and not same(buffer, value)):
                    _restore(buffer, value)


def _buffers_of(forward_func: Callable[..., Any]) -> list[Tensor]:
    """Return the buffers that can be written to, each once."""
    found: dict[int, Tensor] = {}
    for root in modules_of(forward_func):
        for _, module in submodules(root):
            for kind, _, tensor in tensors_of(module):
                if kind == "buffer" and isinstance(tensor, Tensor) and not is_lazy(tensor):
                    found[id(tensor)] = tensor
    return [tensor for tensor in found.values() if not tensor.is_inference() and not tensor.is_meta]


def _copied(buffer: Tensor) -> Tensor | None:
    try:
        return buffer.detach().clone()
    except (RuntimeError, NotImplementedError):  # some that are quantised by channel; observers never write to those
        return None


def _restore(buffer: Tensor, value: Tensor) -> None:
    if buffer.layout == torch.strided and not buffer.is_nested and buffer.shape != value.shape:
        buffer.resize_(value.shape)
    buffer.copy_(value)
