"""Time of exact Integrated Gradients beside that of its gradients alone, and the error of Captum's rules against it.

    python tests/benchmarks/cost_of_exact.py [--images 1] [--parts 4] [--walks]

Networks of 4,704 and 9,408 ReLUs, and the demo's network with biases on images of Fashion-MNIST, in float64. By
processor time of one thread, which other work on the machine disturbs least:

* time by region, divided by that of one gradient in a batch (the best of batches of 16 to 256, in the same run);
* the same on parts of the path, whose numbers of regions differ: cost is linear in them if the ratio stays;
* with ``--walks``, a walk from one region to the next, one gradient after another, which finds the same regions;
* the error ‖IG(n) − IG‖₂/‖IG‖₂ of every rule that Captum has, by number of steps, and the steps for 1 % and 5 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("zoo", "oracles")]

from exact_lines import region_by_region  # noqa: E402
from piecewise_networks import initialised  # noqa: E402

from captum_xg import ExactIntegratedGradients  # noqa: E402
from captum_xg.attr.exact.steps import Rule  # noqa: E402
from captum_xg.demo import demo_images, demo_model  # noqa: E402

STEPS = (10, 20, 50, 100, 128, 200, 300)
METHODS = ("gausslegendre", "riemann_middle", "riemann_trapezoid", "riemann_left", "riemann_right")


def conv_net(layers: int) -> nn.Module:
    """Return a CNN with 4,704 ReLUs in each of some layers."""
    parts: list[nn.Module] = []
    for i in range(layers):
        parts += [nn.Conv2d(6 if i else 1, 6, 3, padding=1), nn.ReLU()]
    return initialised(nn.Sequential(*parts, nn.Flatten(), nn.Linear(6 * 28 * 28, 10)), layers)


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Return the processor time of a call, and what it returns."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def one_gradient(model: nn.Module, x: Tensor, target: int) -> float:
    """Return the time of one gradient in the batch that suits it best."""
    best = float("inf")
    for size in (16, 32, 64, 128, 256):
        for _ in range(3):
            at = (torch.linspace(0.01, 1, size).double().view(-1, 1, 1, 1) * x).requires_grad_()
            taken, _ = timed(lambda at=at: torch.autograd.grad(model(at)[:, target].sum(), at))
            best = min(best, taken / size)
    return best


def costs(name: str, model: nn.Module, x: Tensor, target: int, parts: int, *, walks: bool) -> None:
    """Print the time by region on parts of a path, and that of the slow walk."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    method = ExactIntegratedGradients(model)
    method.attribute(0.01 * x, None, target)  # imports
    for share in torch.linspace(0, 1, parts + 1)[1:].tolist():
        gradient = one_gradient(model, x, target)
        taken, result = timed(lambda share=share: method.attribute(share * x, None, target, return_report=True))
        _, report = result  # type: ignore[misc]
        regions, gap = int(report.regions), float(report.completeness_gap)
        print(
            f"{name:<14}{share:>5.0%}{regions:>8} regions{taken:>8.2f} s{1e3 * gradient:>8.3f} ms a gradient"
            f"{taken / regions / gradient:>7.2f} gradients a region, gap {gap:.0e}",
            flush=True,
        )
    if walks:
        slow, (_, pieces) = timed(lambda: region_by_region(model, x, torch.zeros_like(x), target))  # type: ignore[misc]
        print(
            f"{name:<14}region by region: {pieces} regions {slow:.2f} s, {slow / taken:.1f} times as long", flush=True
        )


def errors(name: str, model: nn.Module, x: Tensor, target: int) -> None:
    """Print the errors of Captum's rules."""
    method = ExactIntegratedGradients(model)
    call = method._call(x, None, target, None, None, "errors")
    found = method._errors_of_rules(call, [Rule(m, n) for m in METHODS for n in STEPS]).mean(0).view(len(METHODS), -1)
    print(f"\n{name}: error of Captum's rules\n{'':<20}" + "".join(f"{n:>9}" for n in STEPS))
    for rule, row in zip(METHODS, found.tolist(), strict=True):
        print(f"{rule:<20}" + "".join(f"{value:>9.1%}" for value in row), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--walks", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = demo_images(max(options.images, 1))
    x = images[:1].double()
    for layers in (1, 2):
        costs(f"{4704 * layers:,} ReLUs", conv_net(layers), x, 0, options.parts, walks=options.walks)
    for layers in (1, 2):
        errors(f"{4704 * layers:,} ReLUs", conv_net(layers), x, 0)
    twin = demo_model(bias=True).double()
    for image, label in zip(images[: options.images].double().split(1), labels.tolist(), strict=False):
        costs("demo's twin", twin, image, label, options.parts, walks=False)
        errors("demo's twin", twin, image, label)


if __name__ == "__main__":
    main()
