"""What a forward pass may change besides its output: random numbers and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from captum_xg.homogeneity.modules import modules_of


@contextmanager
def nothing_left_behind(forward_func: Callable[..., Any], device: torch.device) -> Iterator[None]:
    """Put random number generators and the model's buffers back as they were, whatever the body does.

    The check runs the model at inputs that are scaled by large factors; observers, running maxima and counters must not
    keep what they saw of them.
    """
    cpu = torch.get_rng_state()
    accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    buffers = {id(b): b for module in modules_of(forward_func) for b in module.buffers() if not b.is_inference()}
    before = [(buffer, buffer._version, buffer.detach().clone()) for buffer in buffers.values()]
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if accelerator is not None:
            torch.cuda.set_rng_state(accelerator, device)
        with torch.no_grad():
            for buffer, version, value in before:
                # Batch norm in training mode writes its statistics without a new version.
                if buffer._version != version or buffer.shape != value.shape or not torch.equal(buffer, value):
                    buffer.resize_(value.shape).copy_(value)
