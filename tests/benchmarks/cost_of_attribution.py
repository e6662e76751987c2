"""What an attribution costs, as ratios to Captum's InputXGradient within one run.

    python tests/benchmarks/cost_of_attribution.py [--repeats 9] [--threads 2] [--device cuda]

X-AlexNet (batch 16) and X-VGG11 (batch 4), 224×224, random weights without biases. The methods run in turn, A B C A B C
…, and each ratio is the median over the rounds of time / InputXGradient's time of the same round. Peak memory is
the largest sum of what PyTorch's allocator has handed out during one call, from the profiler's record of every
allocation, or from CUDA's own count there. What is done once per model state and shape is done before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile


def x_model(name: str) -> nn.Module:
    """Return torchvision's architecture without any bias, in evaluation mode."""
    import torchvision

    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.bias = None
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model.eval()


CASES = {"X-AlexNet, batch 16": ("alexnet", 16), "X-VGG11, batch 4": ("vgg11", 4)}
METHODS = (
    "InputXGradient",
    "forward, no gradient",
    "XGradient, validate='off'",
    "XGradient, default",
    "XGradient, validate='certificate'",
    "XGradient, validate='numeric'",
    "IntegratedGradients(50)",
)


def method(name: str, model: nn.Module, x: torch.Tensor, y: torch.Tensor):
    """Return a call without arguments that attributes once."""
    from captum.attr import InputXGradient, IntegratedGradients

    from captum_xg import XGradient

    if name == "InputXGradient":
        return lambda: InputXGradient(model).attribute(x, target=y)
    if name == "forward, no gradient":
        return torch.no_grad()(lambda: model(x))
    if name.startswith("XGradient"):
        method = XGradient(model, validate=name.split("'")[1]) if "'" in name else XGradient(model)
        return lambda: method.attribute(x, target=y)
    # In chunks of the batch itself: 50 times the batch at once would need tens of gigabytes.
    return lambda: IntegratedGradients(model).attribute(x, target=y, n_steps=50, internal_batch_size=len(x))


def batch(size: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and targets."""
    torch.manual_seed(1)
    return torch.rand(size, 3, 224, 224).to(device), torch.randint(1000, (size,)).to(device)


def seconds_of(call: Callable[[], object], device: str) -> float:
    """Return how long a call takes until the device has done it."""
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def times(model_name: str, size: int, repeats: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of each method in each round; Integrated Gradients runs in every third one."""
    model, (x, y) = x_model(model_name).to(device), batch(size, device)
    calls = {name: method(name, model, x, y) for name in METHODS}
    for name in METHODS[:-1]:
        calls[name]()
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for round_ in range(repeats):
        for name, call in calls.items():
            if name == METHODS[-1] and round_ % 3:
                seconds[name].append(float("nan"))
                continue
            seconds[name].append(seconds_of(call, device))
    return seconds


def peak_memory(call: Callable[[], object], device: str) -> float:
    """Return the most memory that is allocated at one time during the call, in MiB."""
    call()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profiler.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    allocations = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    now = highest = 0
    for event in allocations:
        now += event["args"]["Bytes"]
        highest = max(highest, now)
    return highest / 2**20


def main() -> None:
    """Print one table per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    device = options.device
    where = torch.cuda.get_device_name() if device == "cuda" else f"{options.threads} threads"
    print(f"torch {torch.__version__}, {where}, {options.repeats} rounds")
    for title, (model_name, size) in CASES.items():
        seconds = times(model_name, size, options.repeats, device)
        base = seconds[METHODS[0]]
        print(f"\n{title}\n  {'method':<34}{'median s':>10}{'ratio':>9}{'min':>8}{'max':>8}{'peak MiB':>11}")
        for name in METHODS:
            ratios = [t / b for t, b in zip(seconds[name], base, strict=True) if t == t]
            used = [t for t in seconds[name] if t == t]
            skipped = name == METHODS[-1]  # its peak depends on the chunk size alone
            call = method(name, x_model(model_name).to(device), *batch(size, device))
            memory = "" if skipped else f"{peak_memory(call, device):.1f}"
            print(
                f"  {name:<34}{statistics.median(used):>10.3f}{statistics.median(ratios):>9.2f}{min(ratios):>8.2f}"
                f"{max(ratios):>8.2f}{memory:>11}"
            )
        default = statistics.median(seconds[METHODS[3]])
        ig = statistics.median([t for t in seconds[METHODS[-1]] if t == t])
        print(f"  IntegratedGradients(50) / XGradient default = {ig / default:.1f}")


if __name__ == "__main__":
    main()
