"""What steps cost: seconds in rounds, bytes at the peak, floating-point operations.

Seconds: in every round each way does one step, so that a slow moment hits all of them, and ratios are taken within a
round. On a GPU they are between two CUDA events, else on the wall clock. Bytes: on a GPU what PyTorch's allocator says;
on a CPU the largest sum of tensors that were allocated in the step and not yet freed, from PyTorch's profiler, which
sees every tensor and not the scratch space of libraries; both with what is held throughout. Operations: of convolutions
and matrix products, counted as they are called, in all backward passes too.

What must never happen: that one way's memory or warm-up counts for another. Networks are made anew for each number of
bytes, and the first steps, in which X-Gradient proves that the network is homogeneous, are left out.
"""

from __future__ import annotations

import gc
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from captum_xg.repro.cost.networks import Setting
from captum_xg.repro.cost.steps import EG_BATCH, EXPECTED, PLAIN, XG, XG_UNCHECKED, Step, Way, step_of

LEAST_ROUNDS = 3
OUT_OF_MEMORY = "out of memory"


def seconds(setting: Setting, ways: Sequence[Way], rounds: int, most_seconds: float) -> dict[str, list[float]]:
    """Return the seconds of a step in each round, by way; as many rounds as fit into the time, but at least 3."""
    steps = {way.key: step_of(way, setting)[0] for way in ways}
    for step in steps.values():
        for _ in range(2 if setting.device.type == "cuda" else 1):
            step()
    found: dict[str, list[float]] = {key: [] for key in steps}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and (time.perf_counter() - began) * (done + 1) / done > most_seconds:
            break
        for key, step in steps.items():
            found[key].append(_timed(step, setting.device))
    return found


def peak(setting: Setting, way: Way) -> dict[str, object]:
    """Return the bytes that a step needs at its peak, or that there are not enough."""
    try:
        step, held = step_of(way, setting)
        step()
        if setting.device.type == "cuda":
            return _peak_of_gpu(step, setting.device)
        return {"bytes": held + _peak_of_cpu(step)}
    except torch.cuda.OutOfMemoryError:
        return {"error": OUT_OF_MEMORY}
    finally:
        step = None  # type: ignore[assignment]  # before the cache is emptied
        if setting.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def operations(setting: Setting, way: Way) -> int:
    """Return the floating-point operations of a step."""
    # Without the proof, which is made once and is no part of a step.
    step, _ = step_of(XG_UNCHECKED if way is XG else way, setting)
    counter = _Counter()
    with counter:
        step()
    return counter.total


def differences(setting: Setting) -> dict[str, float]:
    """Return how far the gradients of ways to Expected Gradients are from those of one batch.

    Relative to the largest gradient of the prior alone; in double precision and with few references, as that they are
    the same does not depend on how many there are.
    """
    small = replace(setting, dtype=torch.float64, references=min(setting.references, 4), image_size=32)
    found: dict[str, torch.Tensor] = {}
    for way in (PLAIN, *EXPECTED):
        model = small.network(bias=way.bias)
        way.gradient(model, small, torch.Generator(small.device).manual_seed(2))()
        found[way.key] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    wanted = found[EG_BATCH.key]
    largest = (wanted - found.pop(PLAIN.key)).abs().max()  # of the prior, which the task's gradients could outshine
    return {key: float((each - wanted).abs().max() / largest) for key, each in found.items()}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch has no types here
    """Adds up the operations of what is called; PyTorch's own counter refuses gradients with respect to leaves."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += int(count(*args, **(kwargs or {}), out_val=found))
        return found


def _timed(step: Step, device: torch.device) -> float:
    if device.type != "cuda":
        began = time.perf_counter()
        step()
        return time.perf_counter() - began
    with torch.cuda.device(device):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        first.record()
        step()
        last.record()
        torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / 1000


def _peak_of_gpu(step: Step, device: torch.device) -> dict[str, object]:
    torch.cuda.synchronize(device)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return {
        "bytes": torch.cuda.max_memory_allocated(device),
        "reserved": torch.cuda.max_memory_reserved(device),
    }


def _peak_of_cpu(step: Step) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return peak_in(path.read_text(encoding="utf-8"))


def peak_in(trace: str) -> int:
    """Return the largest number of bytes that a profiler's trace says were allocated at a time."""
    # Not parsed as JSON: of a million lines these are a few, and no other event has such a field.
    return max((int(each) for each in re.findall(r'"Total Allocated": *(\d+)', trace)), default=0)
