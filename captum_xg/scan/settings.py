"""What the numbers of a run depend on, and what is said where a folder has those of another one.

A folder belongs to one set of settings. What must never happen: shards of two models, two data sets or two methods
stand in one folder. So everything that can change a number is in here, as far as it can be described, and nothing that
cannot: neither the number of processes and workers, nor where the folder lies. What cannot be described is compared by
what it gives, in :mod:`captum_xg.scan.resuming`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from captum_xg._core.modules import modules_of, named_modules_of
from captum_xg._core.reflection import own_attributes
from captum_xg.attr.adaptive.adaptive_integrated_gradients import AdaptiveIntegratedGradients
from captum_xg.attr.adaptive.adaptive_layer_integrated_gradients import AdaptiveLayerIntegratedGradients
from captum_xg.attr.exact.exact_integrated_gradients import ExactIntegratedGradients
from captum_xg.attr.explainer import Explainer
from captum_xg.errors import FileError
from captum_xg.scan.model_code import code_of, digest_of_code

_WORDS = {
    "method": "the method",
    "options": "options of the method",
    "integrates": "whether what is refused is integrated",
    "layer": "the layer",
    "targets": "the targets",
    "model": "the weights or the settings of the model",
    "code": "the code of the model, or values that it refers to (or the version of Python)",
    "class": "the class of the model",
    "data": "the data",
    "dtype": "the dtype",
    "batch_size": "the batch size",
    "shard_size": "the shard size",
    "torch": "the version of PyTorch",
}


def method_settings(method: Any) -> dict[str, object]:
    """Return what the attributions of a method depend on besides the model: its class, its options and its layer."""
    found: dict[str, object] = {"method": type(method).__name__, "layer": layers_of(method)}
    if isinstance(method, Explainer):
        options: dict[str, object] = {name: getattr(method, name) for name in ("degree", "validate", "rtol")}
        options |= {"multiply_by_inputs": method.multiplies_by_inputs, "warns": method.on_violation == "warn"}
        if hasattr(method, "_functions"):
            options["constants"] = _described(method._functions._names)
    elif isinstance(method, (AdaptiveIntegratedGradients, AdaptiveLayerIntegratedGradients)):
        options = {name: getattr(method, name) for name in ("rtol", "max_evaluations")}
        options["multiply_by_inputs"] = method.multiplies_by_inputs
    elif isinstance(method, ExactIntegratedGradients):
        options = {"max_regions": method.max_regions, "multiply_by_inputs": method.multiplies_by_inputs}
    else:
        own = {name: value for name, value in own_attributes(method).items() if name not in ("forward_func", "layer")}
        options = {name: _described(value) for name, value in sorted(own.items())}
    return {**found, "options": options}


def given_settings(options: Mapping[str, object]) -> dict[str, object]:
    """Return what the attributions depend on of what ``attribute`` is called with."""
    return {name: _described(value) for name, value in sorted(options.items())}


def layers_of(method: Any) -> list[str] | None:
    """Return the paths of the layers that a method attributes to; None for one that attributes to inputs."""
    layer = getattr(method, "layer", None)
    if layer is None:
        return None
    named = named_modules_of(method.forward_func)
    layers = layer if isinstance(layer, (list, tuple)) else [layer]
    return [named[id(each)][0] if id(each) in named else type(each).__name__ for each in layers]


def model_settings(forward_func: Callable[..., object], before: Mapping[str, str]) -> dict[str, object]:
    """Return which model it is: the digests of its numbers and of its code, and its class.

    Args:
        forward_func: The model, called since.
        before: Its code before that, of :func:`~captum_xg.scan.model_code.code_of`.
    """
    roots = modules_of(forward_func)
    name = type(forward_func).__name__ if isinstance(forward_func, nn.Module) else "a function"
    if not isinstance(forward_func, nn.Module) and len(roots) == 1:
        name = f"a function around {type(roots[0]).__name__}"
    code = digest_of_code(before, code_of(forward_func))
    return {"model": numbers_of(forward_func), "code": code, "class": name}


def numbers_of(forward_func: Callable[..., object]) -> str:
    """Return the digest of a model's weights, buffers and settings."""
    from captum_xg.benchmark.settings import of_model  # as in _described

    return of_model(forward_func)


def complete_settings(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return settings as JSON has them, with the version of PyTorch, whose numbers these are."""
    found: dict[str, Any] = json.loads(json.dumps({**settings, "torch": str(torch.__version__)}))
    return found


def digest_of_settings(settings: Mapping[str, object]) -> str:
    """Return a SHA-256 of settings, the same on every machine."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def require_same(folder: object, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a folder that has the attributions of another run, and say in what it differs.

    Raises:
        FileError: If it does.
    """
    differing = [name for name in {**now, **there} if there.get(name) != now.get(name)]
    if not differing:
        return
    listed = "; ".join(_difference(name, there.get(name), now.get(name)) for name in differing)
    raise FileError(
        f"{folder} has attributions of another run. Different are: {listed}. Give another folder, or delete this one "
        "to begin anew."
    )


def _described(value: object) -> object:
    # Here, as it imports torchmetrics, which takes a second that those who only ask for a name should not wait.
    from captum_xg.benchmark.settings import described

    return described(value)


def _difference(name: str, there: object, now: object) -> str:
    words = _WORDS.get(name, name)
    if isinstance(there, dict) and isinstance(now, dict):
        parts = [key for key in {**now, **there} if there.get(key) != now.get(key)]
        shown = ", ".join(_shown(key, there.get(key), now.get(key)) for key in parts)
        return f"{words} ({shown})"
    return _shown(words, there, now)


def _shown(words: str, there: object, now: object) -> str:
    one, other = (json.dumps(value) for value in (there, now))
    if len(one) > 40 or len(other) > 40:  # digests and the like tell a reader nothing
        return words
    return f"{words}: {one} there, {other} now"
