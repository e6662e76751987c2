"""What the four masking metrics cost together, beside loops that run every mask, within one run.

    python tests/benchmarks/cost_of_masking.py [--repeats 3] [--threads 2] [--device cpu] [--cases vgg]
        [--batch 16]

All see the same model, images, X-Gradient attributions, fractions and blur:

* ours: an AttributionMetricCollection of the four metrics, one update;
* by batch: for each metric and fraction a mask for every image of the batch, then one forward pass of the batch. The
  blur is made once per batch, as a convolution, and each metric sorts once: what a careful loop would do;
* by image: the same, one image at a time.

They take turns, and each ratio is the median over the rounds of time / time of ours in the same round. Reported as
well: how many inputs the model was run on, and the largest difference between the areas.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg import XGradient, models
from captum_xg.demo.assets import demo_images
from captum_xg.metrics import (
    AttributionMetricCollection,
    KeepAbsoluteMask,
    KeepNegativeMask,
    KeepPositiveMask,
    RemoveAbsoluteMask,
)

FRACTIONS = [float(f) for f in np.geomspace(0.01, 1, 16)]
METRICS = (KeepPositiveMask, KeepNegativeMask, KeepAbsoluteMask, RemoveAbsoluteMask)
CASES: dict[str, tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = {
    "vgg": ("small X-VGG, Fashion-MNIST 1×28×28", lambda: models.xsmall_vgg(pretrained=True), (1, 28, 28)),
    "small_alexnet": (
        "small X-AlexNet, Fashion-MNIST 1×28×28",
        lambda: models.xsmall_alexnet(pretrained=True),
        (1, 28, 28),
    ),
    "alexnet": ("X-AlexNet, random weights, 3×224×224", lambda: models.xalexnet().eval(), (3, 224, 224)),
}


def blur(images: Tensor) -> Tensor:
    """Return the images under the 51×51 kernel."""
    d = torch.arange(-25.0, 26.0, device=images.device)
    row = torch.exp(-(d**2) / (2 * 41**2))
    kernel = row[:, None] * row[None, :]
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 51, 51)
    return F.conv2d(F.pad(images, (25, 25, 25, 25), mode="reflect"), kernel, groups=images.shape[1])


def loop(model: nn.Module, images: Tensor, attributions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the areas of the four metrics, mask by mask for the whole batch."""
    blurred = blur(images)
    one = attributions.mean(1).flatten(1)
    n = one.shape[1]
    areas = {}
    for metric in METRICS:
        if metric is KeepPositiveMask or metric is KeepNegativeMask:
            importance = (one if metric is KeepPositiveMask else -one).clamp_min(0)
        else:
            importance = one.abs()
        ranks = importance.argsort(dim=1, descending=True, stable=True).argsort(1)
        candidates = (importance > 0).sum(1, keepdim=True)
        curve = []
        for fraction in FRACTIONS:
            k = int(fraction * n)
            number = candidates.clamp_max(k)
            first = candidates - number if metric is RemoveAbsoluteMask else torch.zeros_like(number)
            kept = (ranks >= first) & (ranks < first + number)
            mask = kept.reshape(len(images), 1, *images.shape[2:])
            output = model(torch.where(mask, images, blurred))
            if metric in METRICS[:2]:
                curve.append(output.gather(1, targets[:, None]).mean().item())
            else:
                curve.append(100 * (output.argmax(1) == targets).float().mean().item())
        areas[metric.__name__] = float(np.trapezoid(curve, FRACTIONS))
    return areas


def by_image(model: nn.Module, images: Tensor, attributions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the same with one image at a time."""
    alone = [loop(model, *(t[i : i + 1] for t in (images, attributions, targets))) for i in range(len(images))]
    return {name: statistics.mean(areas[name] for areas in alone) for name in alone[0]}


def ours(model: nn.Module, images: Tensor, attributions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return the same by a collection of the four metrics."""
    collection = AttributionMetricCollection([metric(model) for metric in METRICS])
    collection.update(images, attributions, targets)
    return {name: float(value) for name, value in collection.compute().items()}


def images_of(shape: tuple[int, ...], n: int, device: str) -> Tensor:
    """Return images to be explained: of Fashion-MNIST, or smooth random ones."""
    if shape == (1, 28, 28):
        return demo_images(n)[0].to(device)
    torch.manual_seed(0)
    return F.interpolate(torch.randn(n, 3, 14, 14), size=shape[1:], mode="bilinear").to(device)


def measure(name: str, batch: int, repeats: int, device: str) -> dict[str, object]:
    """Return times, ratios and counts of one case."""
    title, make, shape = CASES[name]
    model = make().to(device)
    images = images_of(shape, batch, device)
    with torch.no_grad():
        targets = model(images).argmax(1)
    attributions = XGradient(model).attribute(images, target=targets)
    ways = {"ours": ours, "by batch": loop, "by image": by_image}
    counts, areas, times = dict.fromkeys(ways, 0), {}, {way: [] for way in ways}
    for way, run in ways.items():  # warms up, too
        hook = model.register_forward_pre_hook(
            lambda _, args, way=way: counts.update({way: counts[way] + len(args[0])})
        )
        with torch.no_grad():
            areas[way] = run(model, images, attributions, targets)
        hook.remove()
    for _ in range(repeats):
        for way, run in ways.items():
            if device != "cpu":
                torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.no_grad():
                run(model, images, attributions, targets)
            times[way].append(time.perf_counter() - start)
    return {
        "case": title,
        "batch": batch,
        "seconds, ours": round(min(times["ours"]), 3),
        **{
            f"{way} / ours": round(statistics.median(t / o for t, o in zip(times[way], times["ours"], strict=True)), 2)
            for way in ("by batch", "by image")
        },
        "inputs run": counts,
        "zero attributions": round(float((attributions.mean(1) == 0).double().mean()), 3),
        "largest difference of areas": max(abs(areas["ours"][m] - areas["by batch"][m]) for m in areas["ours"]),
    }


def main() -> None:
    """Measure and print one line of JSON per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["vgg", "small_alexnet", "alexnet"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.cases:
        result = measure(name, arguments.batch, arguments.repeats, arguments.device)
        print(json.dumps(result, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
