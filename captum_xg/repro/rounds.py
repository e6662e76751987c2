"""Ways to do something, timed in turn, so that a slow moment hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

Way = TypeVar("Way", bound=Hashable)


def seconds_in_turn(
    steps: Mapping[Way, Callable[[], object]],
    device: torch.device,
    *,
    warm_up: int,
    rounds: int,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[Way, list[float]]:
    """Return the seconds of each step in each round, of which the first ones do not count.

    Args:
        steps: What is timed.
        device: Where it runs; waited for before and after each step.
        warm_up: Rounds that do not count.
        rounds: Rounds that do.
        progress: Called with 1 after each round.
    """
    found: dict[Way, list[float]] = {way: [] for way in steps}
    for i in range(warm_up + rounds):
        for way, step in steps.items():
            _wait_for(device)
            start = time.perf_counter()
            step()
            _wait_for(device)
            if i >= warm_up:
                found[way].append(time.perf_counter() - start)
        progress(1)
    return found


def _wait_for(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
