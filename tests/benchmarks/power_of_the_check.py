"""Which planted violations does a cheaper check miss? The measurement behind the default.

    python tests/benchmarks/power_of_the_check.py [--draws 300]

A check with one scale per example (2⁻¹⁶ and 2¹⁶ by turns along the batch) costs one forward pass, one with both scales
on every example two. Random bias-free ReLU networks (float32) get one violation each, of a kind that acts on a part of
the inputs; counted are the networks that a check lets pass although F(αx) ≠ αF(x) somewhere on the rays through the
batch (missed; the truth is taken from twelve other scales), and those among them where x·∇F of some passed example
differs from Integrated Gradients by more than 1e-2 of its largest attribution (wrong numbers returned).
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (12, 24, 16)


class Planted(nn.Module):
    """A bias-free ReLU network with one violation on the units of its middle layer."""

    def __init__(self, kind: str, level: float, generator: torch.Generator) -> None:
        super().__init__()
        self.kind, self.level = kind, level
        sizes = (WIDTHS[0], WIDTHS[1], WIDTHS[2], 1)
        self.weights = [torch.randn(o, i, generator=generator) * (2 / i) ** 0.5 for i, o in pairwise(sizes)]
        self.unit = int(torch.randint(WIDTHS[1], (1,), generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(x @ self.weights[0].T)
        unit = h[:, self.unit]
        if self.kind == "bias":
            unit = unit + self.level * 1e-3
        elif self.kind == "bias inside ReLU":
            unit = torch.relu(unit - self.level)
        elif self.kind == "threshold":
            unit = torch.where(unit > self.level, unit, torch.zeros_like(unit))
        elif self.kind == "dead zone then jump":
            unit = torch.where(unit > self.level, 2 * unit, unit)
        elif self.kind == "saturation":
            unit = unit.clamp(max=self.level)
        elif self.kind == "eps in a ratio":
            unit = unit * unit / (unit + 1e-6 * self.level)
        h = torch.cat([h[:, : self.unit], unit[:, None], h[:, self.unit + 1 :]], 1)
        return (torch.relu(h @ self.weights[1].T) @ self.weights[2].T)[:, 0]


KINDS = ("bias", "bias inside ReLU", "threshold", "dead zone then jump", "saturation", "eps in a ratio")


def passes(model: nn.Module, x: Tensor, values: Tensor, size: Tensor, scales: Tensor) -> Tensor:
    """Return which examples look homogeneous at their scale, with the tolerance of the package."""
    with torch.no_grad():
        observed = model(x * scales[:, None])
    return (observed - values * scales).abs() <= 8 * torch.finfo(x.dtype).eps * size * scales


def integrated_gradients(model: nn.Module, x: Tensor, n_steps: int = 1000) -> Tensor:
    """Return Integrated Gradients against zero by the midpoint rule, which kinks and jumps cannot mislead by much."""
    alphas = (torch.arange(n_steps) + 0.5) / n_steps
    points = (alphas[:, None, None] * x).flatten(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(model(points).sum(), points)
    return x * gradient.view(n_steps, *x.shape).mean(0)


def main() -> None:
    """Print one line per kind and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    draws = parser.parse_args().draws
    torch.set_num_threads(1)
    print(f"{draws} networks per line\n")
    header = f"{'violation':<22}{'batch':>6}{'violated':>10}   {'missed by one scale':>20}{'wrong':>7}"
    print(f"{header}   {'by both':>8}{'wrong':>7}")
    for kind in KINDS:
        for n in (2, 4, 16):
            violated = 0
            missed = {"one": 0, "both": 0}
            wrong = {"one": 0, "both": 0}
            for draw in range(draws):
                generator = torch.Generator().manual_seed(1000 * draw + n)
                # Levels around the larger activations, so that the violation acts on some examples only.
                model = Planted(kind, float(torch.rand(1, generator=generator) * 4 + 1), generator)
                x = torch.randn(n, WIDTHS[0], generator=generator)
                leaf = x.clone().requires_grad_()
                values = model(leaf)
                (gradient,) = torch.autograd.grad(values.sum(), leaf)
                values = values.detach()
                size = torch.maximum(values.abs(), (x * gradient).abs().sum(1))
                down, up = torch.full((n,), 2.0**-16), torch.full((n,), 2.0**16)
                odd = torch.arange(n) % 2 == 1
                first = passes(model, x, values, size, torch.where(odd, up, down))
                second = passes(model, x, values, size, torch.where(odd, down, up))
                ig = integrated_gradients(model, x)
                error = (x * gradient - ig).abs().amax(1) / ig.abs().amax(1).clamp_min(1e-12)
                truly = any(
                    not bool(passes(model, x, values, size, torch.full((n,), 2.0**m)).all())
                    for m in (-20, -12, -8, -4, -2, -1, 1, 2, 4, 8, 12, 20)
                )
                violated += truly
                for name, accepted in (("one", bool(first.all())), ("both", bool((first & second).all()))):
                    missed[name] += accepted and truly
                    wrong[name] += accepted and bool((error > 1e-2).any())
            print(
                f"{kind:<22}{n:>6}{violated:>10}   {missed['one']:>20}{wrong['one']:>7}"
                f"   {missed['both']:>8}{wrong['both']:>7}"
            )


if __name__ == "__main__":
    main()
