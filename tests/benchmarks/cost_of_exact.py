"""Time of exact Integrated Gradients beside that of its gradients alone, and the error of Captum's rules against it.

    python tests/benchmarks/cost_of_exact.py [--images 1] [--parts 1] [--share 1] [--walks]

Networks of 4,704 and 9,408 ReLUs, and the demo's network with biases on images of Fashion-MNIST, in float64 against
zero. For each it prints, by processor time of one thread, which other work on the machine disturbs least:

* regions, seconds, the completeness gap, and the time by region divided by that of one gradient in a batch, which is
  the mean of batches before and after, of the size among 16, 32 and 64 that suits the network best;
* the same on parts of the path from its end at zero, with ``--parts``: cost is linear in regions if the ratio stays;
* with ``--walks``, a walk from one region to the next, one gradient after another, which finds the same regions;
* the error ‖IG(n) − IG‖₂/‖IG‖₂ of every rule that Captum has, by number of steps n, and the steps for 5 % and 1 %.

``--share`` shortens the path of the demo's network to a part at the side of the image.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("zoo", "oracles")]

from exact_lines import region_by_region  # noqa: E402
from piecewise_networks import initialised  # noqa: E402

from captum_xg import ExactIntegratedGradients  # noqa: E402
from captum_xg._core.function import ScalarFunction  # noqa: E402
from captum_xg.attr.exact.paths import checked, prepared  # noqa: E402
from captum_xg.attr.exact.steps import errors_of_rules, first_within, numbers_of_steps, rule_of  # noqa: E402
from captum_xg.demo import demo_images, demo_model  # noqa: E402

SHOWN = (10, 20, 50, 100, 128, 200, 300)
METHODS = ("gausslegendre", "riemann_middle", "riemann_trapezoid", "riemann_left", "riemann_right")
T = TypeVar("T")


def conv_net(layers: int) -> nn.Module:
    """Return a CNN with 4,704 ReLUs in each of some layers."""
    parts: list[nn.Module] = []
    for i in range(layers):
        parts += [nn.Conv2d(6 if i else 1, 6, 3, padding=1), nn.ReLU()]
    return initialised(nn.Sequential(*parts, nn.Flatten(), nn.Linear(6 * 28 * 28, 10)), layers)


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Return the processor time of a call, and what it returns."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def one_gradient(model: nn.Module, x: Tensor, target: int) -> float:
    """Return the mean time of one gradient in a batch of the size that suits it best."""

    def price(size: int) -> float:
        at = (torch.linspace(0.01, 1, size).double().view(-1, 1, 1, 1) * x).requires_grad_()
        calls = 256 // size
        taken, _ = timed(lambda: [torch.autograd.grad(model(at)[:, target].sum(), at) for _ in range(calls)])
        return taken / calls / size

    return min(price(size) for size in (16, 32, 64))


def costs(name: str, model: nn.Module, x: Tensor, b: Tensor, target: int, parts: int, *, walks: bool) -> None:
    """Print the time by region on parts of a path, and that of the slow walk."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    method = ExactIntegratedGradients(model)
    method.attribute(0.01 * x, None, target)  # imports
    before, taken = one_gradient(model, x, target), 0.0
    for share in torch.linspace(0, 1, parts + 1)[1:].tolist():
        end = b + share * (x - b)
        taken, (_, report) = timed(lambda end=end: method.attribute(end, b, target, return_report=True))  # type: ignore[misc]
        after = one_gradient(model, x, target)
        gradient, before = (before + after) / 2, after
        regions, gap = int(report.regions), float(report.completeness_gap)
        print(
            f"{name:<14}{share:>5.0%}{regions:>8} regions{taken:>8.2f} s{1e3 * gradient:>8.3f} ms a gradient"
            f"{taken / regions / gradient:>7.2f} gradients a region, completeness gap {gap:.0e}",
            flush=True,
        )
    if walks:
        slow, (_, pieces) = timed(lambda: region_by_region(model, x, b, target))
        print(
            f"{name:<14}region by region: {pieces} regions {slow:.2f} s, {slow / taken:.1f} times as long", flush=True
        )


def errors(name: str, model: nn.Module, x: Tensor, b: Tensor, target: int) -> None:
    """Print the errors of Captum's rules."""
    tried = numbers_of_steps(1000)
    with prepared(checked(ScalarFunction(model, None, target, "errors"), x, b, None)) as paths:
        found = errors_of_rules(paths, [rule_of(m, n) for m in METHODS for n in tried], 10**6)
    found = found.view(len(METHODS), len(tried))
    steps = [first_within(rtol, tried, found) for rtol in (0.05, 0.01)]
    print(f"\n{name}: error of Captum's rules by steps, and the steps for 5 % and 1 %")
    print(f"{'':<20}" + "".join(f"{n:>8}" for n in SHOWN) + f"{'5 %':>8}{'1 %':>8}")
    for i, rule in enumerate(METHODS):
        shown = "".join(f"{float(found[i, tried.index(n)]):>8.1%}" for n in SHOWN)
        print(f"{rule:<20}{shown}" + "".join(f"{float(s[i]):>8.0f}" for s in steps), flush=True)
    print(flush=True)


def main() -> None:
    """Print costs and errors, network by network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--walks", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = demo_images(max(options.images, 1))
    images = images.double()
    for layers in (1, 2):
        x, model, name = images[:1], conv_net(layers), f"{4704 * layers:,} ReLUs"
        costs(name, model, x, torch.zeros_like(x), 0, options.parts, walks=options.walks)
        errors(name, model, x, torch.zeros_like(x), 0)
    twin = demo_model(bias=True).double()
    for x, label in zip(images[: options.images].split(1), labels.tolist(), strict=False):
        b = (1 - options.share) * x
        costs("demo's twin", twin, x, b, label, options.parts, walks=False)
        errors("demo's twin", twin, x, b, label)


if __name__ == "__main__":
    main()
