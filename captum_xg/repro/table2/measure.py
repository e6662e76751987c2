"""Units of Table 2: accuracy, distances to IG(128), their cause on X-DNNs, and exact integrals of regular networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from captum.attr import InputXGradient, IntegratedGradients
from torch import Tensor, nn

from captum_xg import XGradient
from captum_xg.repro.exact import exactly_integrated, in_float64
from captum_xg.repro.subjects import Pair, Subjects
from captum_xg.repro.table2.distances import compared, relative

STEPS = 128
FEW_STEPS = 16
"""With so few an error of quadrature is larger."""
TOP = (1, 5)
PREDICTED = {"small": 500, "paper": 200}
"""Images of one unit of accuracies, and below of distances."""
EXPLAINED = 4
_POINTS = {"small": 256, "paper": 16}
_BATCH = 50
Units = dict[str, Callable[[], Mapping[str, Any]]]


def accuracy_units(chosen: Subjects, name: str, network: nn.Module) -> Units:
    """Return units that say of each image whether a network puts its class first, and among the first five."""
    return {
        f"accuracy {name} {start}-{stop}": partial(_predicted, chosen, network, start, stop)
        for start, stop in ranges(len(chosen.labels), PREDICTED[chosen.models])
    }


def distance_units(chosen: Subjects, pair: Pair, images: int) -> Units:
    """Return units that compare Input×Gradient of the network, and X-Gradient of its X-DNN, with IG(128)."""
    return {
        f"distance {name} {start}-{stop}": partial(_compared, chosen, network, network is pair.xdnn, start, stop)
        for name, network in pair.both.items()
        for start, stop in ranges(images, EXPLAINED)
    }


def precision_units(chosen: Subjects, pair: Pair, images: int) -> Units:
    """Return units that compare X-Gradient and IG(128) of the X-DNN with its exact integral, in both precisions."""
    return {
        f"precision x{pair.name} {start}-{stop}": partial(_in_both_precisions, chosen, pair.xdnn, start, stop)
        for start, stop in ranges(images, EXPLAINED)
    }


def exact_units(chosen: Subjects, pair: Pair, images: int) -> Units:
    """Return units that compare Input×Gradient and IG(128) of the network with biases with its exact integral."""
    return {f"exact {pair.name} {i}": partial(_exact, chosen, pair.regular, i) for i in range(images)}


def ranges(n: int, size: int) -> list[tuple[int, int]]:
    """Return the parts of ``range(n)`` of a size, the last one shorter."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _images(chosen: Subjects, start: int, stop: int) -> tuple[Tensor, Tensor]:
    parts = [chosen.batch(i, 1) for i in range(start, stop)]
    return torch.cat([image for image, _ in parts]), torch.cat([label for _, label in parts])


@torch.no_grad()
def _predicted(chosen: Subjects, network: nn.Module, start: int, stop: int) -> dict[str, Any]:
    found: dict[str, list[int]] = {f"top{k}": [] for k in TOP}
    for first, last in ranges(stop - start, _BATCH):
        images, labels = _images(chosen, start + first, start + last)
        ranked = network(images).topk(max(TOP), dim=1).indices == labels[:, None]
        for k in TOP:
            found[f"top{k}"] += ranked[:, :k].any(1).int().tolist()
    return found


def _compared(chosen: Subjects, network: nn.Module, homogeneous: bool, start: int, stop: int) -> dict[str, Any]:
    images, labels = _images(chosen, start, stop)
    reference = integrated(network, images, labels, _POINTS[chosen.models])
    return compared(_single_gradient(network, homogeneous, images, labels), reference)


def _in_both_precisions(chosen: Subjects, xdnn: nn.Module, start: int, stop: int) -> dict[str, Any]:
    images, labels = _images(chosen, start, stop)
    wide = in_float64(xdnn)
    truth = exactly_integrated(wide, images, labels)
    value: dict[str, Any] = {"refusal": truth.refusal}
    for precision, network, x in (("float32", xdnn, images), ("float64", wide, images.double())):
        points = _POINTS[chosen.models]
        ig, few = (integrated(network, x, labels, points, steps=n) for n in (STEPS, FEW_STEPS))
        xg = _single_gradient(network, True, x, labels)
        value[precision] = {"xg to ig": relative(xg, ig), "xg to few": relative(xg, few)}
        if truth.attributions is not None:
            value[precision] |= {
                "xg to exact": relative(xg, truth.attributions),
                "ig to exact": relative(ig, truth.attributions),
            }
    return value


def _exact(chosen: Subjects, network: nn.Module, image: int) -> dict[str, Any]:
    images, labels = _images(chosen, image, image + 1)
    truth = exactly_integrated(in_float64(network), images, labels)
    if truth.attributions is None:
        return {"refusal": truth.refusal}
    ig = integrated(network, images, labels, _POINTS[chosen.models])
    single = _single_gradient(network, False, images, labels)
    references = {"ixg to exact": (single, truth.attributions), "ixg to ig": (single, ig)}
    distances = {name: compared(*pair) for name, pair in references.items()}
    of_ig = compared(ig, truth.attributions)
    return {"refusal": "", "regions": truth.regions[0], **distances, "ig to exact": of_ig}


def integrated(network: nn.Module, images: Tensor, labels: Tensor, points: int, steps: int = STEPS) -> Tensor:
    """Return Integrated Gradients as the paper has them: Captum's, 128 steps of Gauss-Legendre, zero baseline."""
    method = IntegratedGradients(network)
    found: Tensor = method.attribute(
        images, target=labels, n_steps=steps, method="gausslegendre", internal_batch_size=max(points, len(images))
    )
    return found.detach()


def _single_gradient(network: nn.Module, homogeneous: bool, images: Tensor, labels: Tensor) -> Tensor:
    if homogeneous:
        return XGradient(network).attribute(images, target=labels)
    inputs = images.clone().requires_grad_()  # so that Captum has no reason to warn
    found: Tensor = InputXGradient(network).attribute(inputs, target=labels)
    return found.detach()
