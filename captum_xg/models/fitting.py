"""Fit of a state dict to a model: all refusals, found before the first value is written.

Names are compared without the parts that DataParallel and torch.compile put in, wherever they stand::

    file  module.features.0.weight     model  features.0.weight  →  the same
    file  features.0.bias              model  (X-DNN) no such    →  refused, or dropped with strict=False

A refusal lists every problem at once, by the model's own names, and never leaves a model half loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_xg._core.text import first_ten
from captum_xg.errors import CheckpointError

WRAPPERS = {"module", "_orig_mod"}
"""Parts of names that DataParallel and torch.compile insert."""

_TWIN = (
    "All unexpected names are biases or scales: this looks like the checkpoint of the regular twin with biases. Take "
    "the X-DNN's own checkpoint, or build the regular twin; with strict=False the biases are dropped."
)
_X_DNN = (
    "All missing names are biases or scales: this looks like the checkpoint of the X-DNN without biases. Build the "
    "X-DNN for it, or take the regular network's own checkpoint."
)
_OTHER = (
    "It looks like another architecture, or another number of classes or channels: build the model that it was saved "
    "from."
)


class Fit(NamedTuple):
    """The part of a state dict that fits a model, under the model's own names, and the names on one side only."""

    tensors: Mapping[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def fit(model: nn.Module, state_dict: Mapping[str, Tensor], *, strict: bool, source: str) -> Fit:
    """Return which tensors of ``state_dict`` go where in ``model``, which is not changed.

    Raises:
        CheckpointError: If shapes differ, if names differ and ``strict``, if none is the same, if tensors of the file
            have no values or such that the model's dtype cannot hold, or if the model has no room for values yet.
    """
    kind = type(model).__name__
    own = _without_wrappers({name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)})
    given = _without_wrappers(state_dict)
    lazy, meta = (_named(test, own.values()) for test in (is_lazy, lambda t: t.is_meta))
    # Before names are compared: the shapes of these say nothing, so that a comparison would blame the file.
    if lazy:
        raise _refusal(f"{lazy} of the {kind} have no shape yet (lazy modules). Call the model on an example first.")
    if meta:
        advice = 'Call model.to_empty(device="cpu") first.'
        raise _refusal(f"{meta} of the {kind} are on the meta device and cannot take values. {advice}")
    wrong = [
        f"{own[key][0]}: {_kind(tensor)} in the file, {_kind(own[key][1])} in the model"
        for key, (_, tensor) in given.items()
        if key in own and _kind(tensor) != _kind(own[key][1])
    ]
    missing = {name: tensor for key, (name, tensor) in own.items() if key not in given}
    unexpected = {name: tensor for key, (name, tensor) in given.items() if key not in own}
    # No common name at all is refused with strict=False, too: nothing would be loaded, and nothing would say so.
    if wrong or len(missing) == len(own) or (strict and (missing or unexpected)):
        lines = [f"{source} does not fit this {kind}, which is unchanged.", *_listed("wrong shape or kind", wrong)]
        for where, tensors in (("missing in the file", missing), ("unexpected in the file", unexpected)):
            lines += _listed(where, [f"{name} {_kind(tensor)}" for name, tensor in tensors.items()])
        constant = [not wrong and all(map(_is_constant, names)) for names in (missing, unexpected)]
        advice = _TWIN if constant[1] and not missing else _X_DNN if constant[0] and not unexpected else _OTHER
        raise _refusal("\n".join([*lines, advice]))
    common = [(own[key], tensor) for key, (_, tensor) in given.items() if key in own]
    if empty := _named(lambda t: t.is_meta, ((name, tensor) for (name, _), tensor in common)):
        raise _refusal(
            f"{source} has no values for {empty}: they were on the meta device when they were saved. The model is "
            "unchanged. Save it with its values."
        )
    # A copy into half precision makes infinities of large numbers without an error.
    beyond = [f"{name} ({ours.dtype})" for (name, ours), tensor in common if _overflows(tensor, ours.dtype)]
    if beyond:
        raise _refusal(
            f"{source} has finite values beyond the range of the model's dtype in {', '.join(first_ten(beyond))}. The "
            "model is unchanged. Call model.float() or model.double() first."
        )
    return Fit({name: tensor for (name, _), tensor in common}, tuple(missing), tuple(unexpected))


def not_finite(tensor: Tensor) -> bool:
    """Whether a tensor of floating-point or complex numbers holds NaN or infinity."""
    if tensor.layout != torch.strided or not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    wide = tensor.detach() if tensor.is_complex() else tensor.detach().double()  # which float8 has no test for
    return not bool(torch.isfinite(wide).all())


def _overflows(tensor: Tensor, dtype: torch.dtype) -> bool:
    if tensor.dtype == dtype or not (tensor.is_floating_point() and dtype.is_floating_point):
        return False
    # What is infinite in the file stays infinite, and is reported after loading; only finite numbers are lost here.
    largest = tensor.detach().double().abs()
    return bool((largest.isfinite() & (largest > torch.finfo(dtype).max)).any())


def _without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """Return name without wrappers → (name, tensor); the names as they are if two would become one."""
    short = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in tensors}
    if len(short) < len(tensors):
        short = {name: name for name in tensors}
    return {key: (name, tensors[name]) for key, name in short.items()}


def _kind(tensor: Tensor) -> str:
    """Return what must be the same on both sides; precisions of floating-point numbers may differ."""
    if tensor.is_nested:  # which has no shape to ask for
        return "a nested tensor"
    shape = "×".join(map(str, tensor.shape)) or "a number"
    usual = tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_quantized
    return shape if usual else f"{shape} ({tensor.dtype}, {tensor.layout})"


def _named(test: Callable[[Tensor], bool], tensors: Iterable[tuple[str, Tensor]]) -> str:
    return ", ".join(first_ten([name for name, tensor in tensors if test(tensor)]))


def _listed(title: str, items: list[str]) -> list[str]:
    return [f"  {title} ({len(items)}):", *(f"    {item}" for item in first_ten(items))] if items else []


def _is_constant(name: str) -> bool:
    last = name.rsplit(".", maxsplit=1)[-1]
    return last.startswith("bias") or last == "scale"


def _refusal(message: str) -> CheckpointError:
    return CheckpointError(f"load_checkpoint: {message}")
