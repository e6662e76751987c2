"""Units of Figure 3: of one image, how far IG(n) is from IG(300) and from the exact integral, by rule and n.

Numbers are mean absolute differences over the numbers of the image, as the figure has them; ``scale`` is the mean
absolute attribution of the reference itself, to make them relative. What Captum refuses, one step of a Riemann sum,
is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xg.repro.exact import exactly_integrated, in_float64
from captum_xg.repro.subjects import Subjects

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
REFERENCE_STEPS = 300
RULES = ("gausslegendre", "riemann_middle", "riemann_trapezoid", "riemann_left", "riemann_right")
AT_LEAST = {"gausslegendre": 1}
"""The smallest number of steps that Captum takes with a rule; 2 with the others."""
POINTS = {"small": 300, "paper": 32}
"""Points in one forward pass."""


def units(
    chosen: Subjects, networks: Mapping[str, nn.Module], exact: Mapping[str, int], images: int
) -> dict[str, Callable[[], Mapping[str, Any]]]:
    """Return a unit for each network and image.

    Args:
        chosen: Images, and where networks run.
        networks: By name.
        exact: Name of a network → of how many images the exact integral is taken.
        images: How many images.
    """
    return {
        # Whether the exact integral is part of it is part of its name: a later call may ask for more.
        unit_name(name, i, exact[name]): partial(_of_image, chosen, network, i, i < exact[name])
        for name, network in networks.items()
        for i in range(images)
    }


def unit_name(network: str, image: int, exact: int) -> str:
    """Return the name of a unit."""
    return f"{network} image {image}{' with exact' if image < exact else ''}"


def _of_image(chosen: Subjects, network: nn.Module, image: int, exact: bool) -> dict[str, Any]:
    x, label = chosen.batch(image, 1)
    points = POINTS[chosen.models]
    reference = _integrated(network, x, label, REFERENCE_STEPS, RULES[0], points)
    found = {
        rule: [_integrated(network, x, label, n, rule, points) if n >= AT_LEAST.get(rule, 2) else None for n in STEPS]
        for rule in RULES
    }
    value: dict[str, Any] = {"to_300": _distances(found, reference), "exact": None, "refusal": ""}
    if not exact:
        return value
    truth = exactly_integrated(in_float64(network), x, label)
    value["refusal"] = truth.refusal
    if truth.attributions is not None:
        value["exact"] = {
            **_distances(found, truth.attributions),
            "regions": truth.regions[0],
            "of_300": _mean(reference, truth.attributions),
        }
    return value


def _integrated(network: nn.Module, x: Tensor, label: Tensor, n: int, rule: str, points: int) -> Tensor:
    method = IntegratedGradients(network)
    found: Tensor = method.attribute(x, target=label, n_steps=n, method=rule, internal_batch_size=points)
    return found.detach().double()


def _distances(found: Mapping[str, list[Tensor | None]], reference: Tensor) -> dict[str, Any]:
    return {
        "scale": float(reference.abs().mean()),
        "rules": {
            rule: [None if each is None else _mean(each, reference) for each in by_steps]
            for rule, by_steps in found.items()
        },
    }


def _mean(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).abs().mean())
