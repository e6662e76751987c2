"""Gradients that Integrated Gradients takes to a tolerance, beside the best fixed rule in hindsight, and its errors.

    python tests/benchmarks/cost_of_integration.py [--networks 8] [--first 0] [--rtol 1e-2] [--demo 4]
        [--midpoints 10000]

For each kind of network: the gradients of AdaptiveIntegratedGradients and of the cheapest of midpoints, trapezoids and
Gauss–Legendre, whose number is chosen for each example by trying all against the reference, their ratio, the true error
‖error‖₂/‖attributions‖₂, and true by estimated error. Beside these Gauss–Kronrod (7, 15) with bisection of the interval
with the largest error, and the errors of Captum's IntegratedGradients with 50, 128 and 300 steps. Everything is in
float64; the reference has 10,000 midpoints in α^¼, unless fewer are asked for: the demo's twin takes long. Last comes a
table of ratios, and of how well errors are known.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import nn

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("zoo", "oracles")]

from path_networks import KINDS, points  # noqa: E402
from references import path_integral  # noqa: E402

from captum_xg import AdaptiveIntegratedGradients  # noqa: E402

FIXED = [*range(1, 40), *(int(40 * 1.04**k) for k in range(82))]
"""Numbers of points that are tried in hindsight, up to 1,000."""
GK = np.array([0.991455371120813, 0.949107912342759, 0.864864423359769, 0.741531185599394, 0.586087235467691])
GK = np.concatenate([GK, [0.405845151377397, 0.207784955007898, 0.0]])
KRONROD = np.array([0.022935322010529, 0.063092092629979, 0.104790010322250, 0.140653259715525, 0.169004726639267])
KRONROD = np.concatenate([KRONROD, [0.190350578064785, 0.204432940075298, 0.209482141084728]])
GAUSS = np.array([0.0, 0.129484966168870, 0.0, 0.279705391489277, 0.0, 0.381830050505119, 0.0, 0.417959183673469])


class Line:
    """The integrand of one example, counting what is evaluated."""

    def __init__(self, model: nn.Module, x: torch.Tensor, b: torch.Tensor, target: int) -> None:
        self.model, self.x, self.b, self.target = model, x, b, target

    def rows(self, alphas: np.ndarray) -> np.ndarray:
        """Return (x − b)·∇F at some points."""
        parts = []
        for some in torch.from_numpy(np.asarray(alphas)).split(256):
            at = (self.b + some.view(-1, *[1] * (self.x.dim() - 1)) * (self.x - self.b)).requires_grad_()
            (gradient,) = torch.autograd.grad(self.model(at)[:, self.target].sum(), at)
            parts.append((gradient * (self.x - self.b)).flatten(1))
        return torch.cat(parts).numpy()


def error(found: np.ndarray, reference: np.ndarray) -> float:
    """Return the relative error in the Euclidean norm."""
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def rule(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of a fixed rule."""
    if name == "midpoint":
        return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)
    if name == "Gauss–Legendre":
        nodes, weights = np.polynomial.legendre.leggauss(n)
        return (nodes + 1) / 2, weights / 2
    weights = np.full(n, 1 / (n - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, n), weights


def best_fixed(line: Line, reference: np.ndarray, rtol: float) -> int | None:
    """Return the smallest number of points with which a fixed rule is within the tolerance; None above 1,000."""
    best: int | None = None
    for name in ("midpoint", "trapezoid", "Gauss–Legendre"):
        for n in FIXED:
            if (best is not None and n >= best) or (name == "trapezoid" and n < 2):
                continue
            nodes, weights = rule(name, n)
            if error(weights @ line.rows(nodes), reference) <= rtol:
                best = n
    return best


def gauss_kronrod(line: Line, rtol: float, most: int = 4000) -> tuple[np.ndarray, int]:
    """Return the integral by Gauss–Kronrod (7, 15) with bisection, and how many gradients it took."""
    nodes = np.concatenate([-GK, GK[-2::-1]])
    high, low = np.concatenate([KRONROD, KRONROD[-2::-1]]), np.concatenate([GAUSS, GAUSS[-2::-1]])

    def on(left: float, right: float) -> tuple[float, int, float, float, np.ndarray]:
        rows, half = line.rows((left + right) / 2 + (right - left) / 2 * nodes), (right - left) / 2
        return -float(np.linalg.norm(half * (high - low) @ rows)), len(heap), left, right, half * high @ rows

    heap: list[tuple[float, int, float, float, np.ndarray]] = []
    heap.append(on(0.0, 1.0))
    count = 15
    while True:
        total = sum(part[4] for part in heap)
        if -sum(part[0] for part in heap) <= rtol * np.linalg.norm(total) or count >= most:
            return total, count
        _, _, left, right, _ = heapq.heappop(heap)
        heapq.heappush(heap, on(left, (left + right) / 2))
        heapq.heappush(heap, on((left + right) / 2, right))
        count += 30


def cases(seeds: range, demo: int):
    """Yield kind, model, input, baseline and target."""
    for kind, make in KINDS.items():
        for seed in seeds:
            yield (kind, make(seed), *points(seed, 1, zero=seed % 2 == 0), 1)
    if demo:
        from captum_xg.demo import demo_images, demo_model

        model, (images, labels) = demo_model(bias=True).double(), demo_images(demo)
        for image, label in zip(images.double().split(1), labels.tolist(), strict=True):
            yield "demo's twin", model, image, torch.zeros_like(image), label


def measured(
    model: nn.Module, x: torch.Tensor, b: torch.Tensor, target: int, rtol: float, midpoints: int
) -> dict[str, float]:
    """Return what the table shows of one example."""
    line = Line(model, x, b, target)
    reference = path_integral(model, x, b, target, midpoints)[0].numpy().ravel()
    found, report = AdaptiveIntegratedGradients(model, rtol=rtol, max_evaluations=4000).attribute(
        x, b, target, return_report=True
    )
    n, true = int(report.evaluations), error(found.numpy().ravel(), reference)
    best = best_fixed(line, reference, rtol)
    integral, count = gauss_kronrod(line, rtol)
    row = {"n": n, "best": best or np.inf, "ratio": n / best if best else np.nan, "true": true}
    row |= {"by estimate": true / float(report.estimated_error), "GK n": count, "GK": error(integral, reference)}
    for steps in (50, 128, 300):
        captum = IntegratedGradients(model).attribute(x, b, target, n_steps=steps, internal_batch_size=256)
        row[f"IG({steps})"] = error(captum.numpy().ravel(), reference)
    return row


def main() -> None:
    """Print one line per kind of network, medians with 10 % and 90 % quantiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="the first seed of networks and points")
    parser.add_argument("--midpoints", type=int, default=10_000, help="of the reference")
    parser.add_argument("--demo", type=int, default=4)
    parser.add_argument("--rtol", type=float, default=1e-2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, list[dict[str, float]]] = {}
    print(f"rtol = {options.rtol:g}; median (10 % … 90 %); best: of fixed rules in hindsight, inf above 1,000")
    seeds = range(options.first, options.first + options.networks)
    for kind, examples in itertools.groupby(cases(seeds, options.demo), key=lambda case: case[0]):
        rows = found[kind] = [measured(*case, options.rtol, options.midpoints) for _, *case in examples]
        print(f"\n{kind}, {len(rows)} examples")
        for column in rows[0]:
            values = np.array([row[column] for row in rows])
            low, median, high = np.nanquantile(values, [0.1, 0.5, 0.9], method="nearest")
            print(f"  {column:<12}{median:>10.3g}  ({low:.3g} … {high:.3g})", flush=True)
    everything = [row for rows in found.values() for row in rows]
    heads = (("ratio", 8), ("90 %", 7), ("≤ 1.5", 7), ("true ≤ rtol", 13), ("true ≤ 3 est.", 15), ("est. ≤ 3 true", 15))
    print("\n" + " " * 20 + "".join(f"{head:>{width}}" for head, width in (*heads, ("*", 7))))
    for kind, rows in [*found.items(), ("all", everything)]:
        print(f"{kind:<20}{summary(rows, options.rtol)}")
    print("* or true ≤ rtol/5")


def summary(rows: list[dict[str, float]], rtol: float) -> str:
    """Return the line of one kind: its ratios to the best fixed rule, and how well errors are known."""
    costs = np.array([row["ratio"] for row in rows if row["ratio"] == row["ratio"]] or [np.nan])
    true, known = (np.array([row[column] for row in rows]) for column in ("true", "by estimate"))
    shares = (true <= rtol, known <= 3, known >= 1 / 3, (known >= 1 / 3) | (true <= rtol / 5))
    median, high = np.quantile(costs, [0.5, 0.9], method="nearest")
    text = f"{median:>8.2f}{high:>7.2f}{np.mean(costs <= 1.5):>7.0%}"
    return text + "".join(f"{share.mean():>{n}.0%}" for share, n in zip(shares, (13, 15, 15, 7), strict=True))


if __name__ == "__main__":
    main()
