"""What a training step with an attribution prior costs, as ratios to a plain step within one run.

    python tests/benchmarks/cost_of_priors.py [--repeats 9] [--threads 2] [--device cpu] [--cases vgg alexnet resnet50]

Small X-VGG on 32×32 (batch 64), X-AlexNet on 224×224 (batch 4) and, for Section B.3 of the paper, X-Fixup-ResNet-50 on
224×224 (batch 2); random weights, SGD. Steps run in turn, A B C A B C …, and each ratio is the median over the rounds
of time / time of the plain step in the same round. Arithmetic is counted operation by operation (torch's formulas:
products of convolutions and linear layers). Peak memory is what the allocator handed out at most in one step, beyond
what is there between the steps: on a GPU as torch.cuda tells it, on a CPU from the profiler's record of every
allocation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from captum_xg import XGradient, models
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, TotalVariation

CASES: dict[str, tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = {
    "vgg": ("small X-VGG, 64 × 3×32×32", lambda: models.xsmall_vgg(in_channels=3, dropout=0.0), (64, 3, 32, 32)),
    "alexnet": ("X-AlexNet, 4 × 3×224×224", models.xalexnet, (4, 3, 224, 224)),
    "resnet50": ("X-Fixup-ResNet-50, 2 × 3×224×224", models.xfixup_resnet50, (2, 3, 224, 224)),
}
PLAIN, XG, EG = "plain", "X-Gradient + TV", "EG(32) + TV"


def steps(
    model: nn.Module, shape: tuple[int, ...], device: str, validate: str = "certificate"
) -> dict[str, Callable[[], None]]:
    """Return training steps without arguments, by name; the data stay the same."""
    torch.manual_seed(1)
    x = torch.rand(shape, device=device)
    y = torch.randint(10, shape[:1], device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def step(loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()

        return run

    def prior(attribution: str, **options: object) -> Callable[[], torch.Tensor]:
        loss = AttributionPriorLoss(model, TotalVariation(), weight=1e-3, attribution=attribution, **options)
        return lambda: loss(x, y).total

    def separate() -> torch.Tensor:
        attributions = XGradient(model, validate="off").attribute(x, target=y, create_graph=True)
        return F.cross_entropy(model(x), y) + 1e-3 * TotalVariation()(attributions)

    return {
        PLAIN: step(lambda: F.cross_entropy(model(x), y)),
        XG: step(prior("xgradient")),
        "X-Gradient, own forward": step(separate),
        "EG(1) + TV": step(prior("expected_gradients", n_samples=1)),
        EG: step(prior("expected_gradients", n_samples=32)),
    }


def seconds(step: Callable[[], None], device: str) -> float:
    """Return the time of one step."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(step: Callable[[], None], device: str) -> float:
    """Return the megabytes that one step takes at most, beyond what is there before it."""
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    total = most = 0
    for _, change in changes:
        total += change
        most = max(most, total)
    return most / 2**20


class Counter(TorchDispatchMode):
    """Adds up the arithmetic of convolutions and matrix products, by torch's own formulas."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation and count it."""
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def flops(step: Callable[[], None]) -> int:
    """Return the multiplications and additions of convolutions and linear layers in one step."""
    with Counter() as counter:
        step()
    return counter.total


def report(case: str, repeats: int, device: str) -> None:
    """Print one case's table."""
    title, build, shape = CASES[case]
    torch.manual_seed(0)
    model = build().to(device).train()
    for module in model.modules():  # training takes the zero weights of Fixup away at once; all paths count
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not module.weight.any():
            nn.init.normal_(module.weight, std=1e-3)
    todo = steps(model, shape, device)
    for step in todo.values():
        step()
    measured: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(repeats):
        for name, step in todo.items():
            measured[name].append(seconds(step, device))
    ratios = {n: statistics.median(a / b for a, b in zip(t, measured[PLAIN], strict=True)) for n, t in measured.items()}
    counted = {name: flops(step) for name, step in todo.items()}
    print(f"\n{title}, {device}")
    print(f"{'step':26s}{'milliseconds':>14s}{'× plain':>9s}{'arithmetic':>12s}{'peak MB':>10s}")
    for name, step in todo.items():
        milliseconds = 1e3 * statistics.median(measured[name])
        share = counted[name] / counted[PLAIN]
        print(f"{name:26s}{milliseconds:14.2f}{ratios[name]:9.2f}{share:12.3f}{peak(step, device):10.0f}", flush=True)
    eg = statistics.median(a / b for a, b in zip(measured[EG], measured[XG], strict=True))
    print(f"EG(32) / X-Gradient: {eg:.1f}")


def gini(repeats: int) -> None:
    """Print the time of the sorted Gini prior, forward and backward."""
    torch.manual_seed(0)
    found = []
    for _ in range(repeats):
        attributions = torch.randn(1, 3, 224, 224, requires_grad=True)
        found.append(seconds(lambda a=attributions: GiniSparsity()(a).backward(), "cpu"))
    print(f"Gini of {3 * 224 * 224:,} attributions, forward and backward: {1e3 * statistics.median(found):.1f} ms")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["vgg", "alexnet"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for case in arguments.cases:
        report(case, arguments.repeats, arguments.device)
    torch.set_num_threads(1)
    gini(21)


if __name__ == "__main__":
    main()
