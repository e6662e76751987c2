"""The attribution methods of ``captum-xg attribute``, by their names."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from typing import Any

import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerIntegratedGradients, Saliency
from torch import nn

from captum_xg.attr import (
    AdaptiveIntegratedGradients,
    AdaptiveLayerIntegratedGradients,
    ExactIntegratedGradients,
    ExpectedXGradient,
    JointXGradient,
    LayerXGradient,
    XGradient,
)
from captum_xg.cli.model_spec import Model
from captum_xg.errors import CaptumXGError, OptionError
from captum_xg.homogeneity.certificate.certify import certify
from captum_xg.scan.sources import readable

REFERENCES, STEPS = 16, 50


def method_named(
    options: argparse.Namespace, model: Model, data: Any, device: torch.device
) -> tuple[Any, dict[str, object]]:
    """Return the method of ``--method`` and ``--layer``, and what else its ``attribute`` is called with.

    Raises:
        OptionError: If there is no such layer, or the method does not attribute to layers.
    """
    name, _, number = options.method.rpartition("_") if options.method[-1].isdecimal() else (options.method, "", "")
    if options.layer is not None:
        return _at_layer(name, number, model, layer_named(options.layer, model, options.target))
    simple: dict[str, Callable[[Any], Any]] = {
        "adaptive": AdaptiveIntegratedGradients,
        "exact": ExactIntegratedGradients,
        "joint": JointXGradient,
        "input_x_gradient": InputXGradient,
    }
    if name in simple:
        return simple[name](model), {}
    if name == "gradient":
        return Saliency(model), {"abs": False}
    if name == "integrated_gradients":
        return IntegratedGradients(model), {"n_steps": int(number or STEPS), "internal_batch_size": options.batch_size}
    if name == "expected":
        return ExpectedXGradient(model), {"baselines": references(data, int(number or REFERENCES)).to(device)}
    return XGradient(model, degree=_degree(model, references(data)[:1].to(device))), {}


def references(data: Any, count: int = REFERENCES) -> torch.Tensor:
    """Return examples that are spread over data, of the shape that most of them have.

    Raises:
        FileError: If none of them can be read.
    """
    count = min(count, len(data))
    places = sorted({i * (len(data) - 1) // max(count - 1, 1) for i in range(count)})
    found = list(readable(data, places))
    shapes = [x.shape for x in found]
    common = max(shapes, key=shapes.count)
    return torch.stack([x for x in found if x.shape == common])


def layer_named(name: str, model: Model, target: str) -> nn.Module:
    """Return the layer of a model with a name.

    Raises:
        OptionError: If there is none.
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"--layer: {target} is a {type(model).__name__}, which has no layers.")
    named: dict[str, nn.Module] = dict(model.named_modules())
    if name in named and name:
        return named[name]
    close = difflib.get_close_matches(name, [path for path in named if path], n=5, cutoff=0.4)
    offered = close or [path for path in named if path][:10]
    raise OptionError(f"--layer {name}: {target} has no such layer. Did you mean {', '.join(offered)}?")


def _at_layer(name: str, number: str, model: Any, layer: nn.Module) -> tuple[Any, dict[str, object]]:
    if name == "xgradient":
        return LayerXGradient(model, layer), {}
    if name == "adaptive":
        return AdaptiveLayerIntegratedGradients(model, layer), {}
    if name == "integrated_gradients":
        return LayerIntegratedGradients(model, layer), {"n_steps": int(number or STEPS)}
    raise OptionError(f"--layer: {name} attributes to inputs alone. Give xgradient, adaptive or integrated_gradients.")


def _degree(model: Model, example: torch.Tensor) -> float:
    """Return the degree that is proven; 1 where none is, which is what is checked then."""
    try:
        certificate = certify(model, example)
    except CaptumXGError:  # of what an example has: it is said of the example
        return 1.0
    degree = certificate.degree
    return degree if certificate.homogeneous and degree is not None and degree >= 1 else 1.0
