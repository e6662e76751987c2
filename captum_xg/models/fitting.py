"""Whether a state dict fits a model, and what to say where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_xg._core.text import first_ten
from captum_xg.errors import CheckpointError

WRAPPERS = {"module", "_orig_mod"}
"""Parts of names that DataParallel and torch.compile insert."""


@dataclass(frozen=True)
class Fit:
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
    state = model.state_dict()
    own = _without_wrappers({name: value for name, value in state.items() if isinstance(value, Tensor)})
    given = _without_wrappers(state_dict)
    _require_room(model, dict(own.values()))
    wrong = [
        f"{own[key][0]}: {_kind(tensor)} in the file, {_kind(own[key][1])} in the model"
        for key, (_, tensor) in given.items()
        if key in own and _kind(tensor) != _kind(own[key][1])
    ]
    missing = {name: tensor for key, (name, tensor) in own.items() if key not in given}
    unexpected = {name: tensor for key, (name, tensor) in given.items() if key not in own}
    nothing_fits = len(missing) == len(own)
    if wrong or nothing_fits or (strict and (missing or unexpected)):
        lines = [f"load_checkpoint: {source} does not fit this {type(model).__name__}, which is unchanged."]
        lines += _list("wrong shape or kind", wrong)
        lines += _list("missing in the file", [f"{name} {_kind(tensor)}" for name, tensor in missing.items()])
        lines += _list("unexpected in the file", [f"{name} {_kind(tensor)}" for name, tensor in unexpected.items()])
        raise CheckpointError("\n".join([*lines, _advice(wrong, missing, unexpected)]))
    tensors = {own[key][0]: tensor for key, (_, tensor) in given.items() if key in own}
    _require_values(tensors, dict(own.values()), source)
    return Fit(tensors, tuple(missing), tuple(unexpected))


def _require_room(model: nn.Module, own: Mapping[str, Tensor]) -> None:
    """Raise if parameters or buffers of a model cannot take values."""
    lazy = [name for name, tensor in own.items() if is_lazy(tensor)]
    if lazy:
        raise CheckpointError(
            f"load_checkpoint: {', '.join(first_ten(lazy))} of the {type(model).__name__} have no shape yet (lazy "
            "modules). Call the model on an example first."
        )
    meta = [name for name, tensor in own.items() if tensor.is_meta]
    if meta:
        raise CheckpointError(
            f"load_checkpoint: {', '.join(first_ten(meta))} of the {type(model).__name__} are on the meta device and "
            'cannot take values. Call model.to_empty(device="cpu") first.'
        )


def _require_values(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str) -> None:
    """Raise if tensors of a file have no values, or such as would be lost in the dtypes of a model."""
    empty = [name for name, tensor in tensors.items() if tensor.is_meta]
    if empty:
        raise CheckpointError(
            f"load_checkpoint: {source} has no values for {', '.join(first_ten(empty))}: they were on the meta device "
            "when they were saved. The model is unchanged. Save it with its values."
        )
    beyond = [f"{name} ({own[name].dtype})" for name, tensor in tensors.items() if _overflows(tensor, own[name].dtype)]
    if beyond:
        raise CheckpointError(
            f"load_checkpoint: {source} has finite values beyond the range of the model's dtype in "
            f"{', '.join(first_ten(beyond))}. The model is unchanged. Call model.float() or model.double() first."
        )


def not_finite(tensor: Tensor) -> bool:
    """Whether a tensor of floating-point or complex numbers holds NaN or infinity."""
    if tensor.layout != torch.strided or not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    wide = tensor.detach() if tensor.is_complex() else tensor.detach().double()  # which float8 has no test for
    return not bool(torch.isfinite(wide).all())


def _overflows(tensor: Tensor, dtype: torch.dtype) -> bool:
    if tensor.dtype == dtype or not (tensor.is_floating_point() and dtype.is_floating_point) or not tensor.numel():
        return False
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


def _list(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    return [f"  {title} ({len(items)}):", *(f"    {item}" for item in first_ten(items))]


def _advice(wrong: list[str], missing: Iterable[str], unexpected: Iterable[str]) -> str:
    missing, unexpected = list(missing), list(unexpected)
    if not wrong and not missing and all(map(_is_constant, unexpected)):
        return (
            "All unexpected names are biases or scales: this looks like the checkpoint of the regular twin with biases."
            " Take the X-DNN's own checkpoint, or build the regular twin; with strict=False the biases are dropped."
        )
    if not wrong and not unexpected and all(map(_is_constant, missing)):
        return (
            "All missing names are biases or scales: this looks like the checkpoint of the X-DNN without biases. Build "
            "the X-DNN for it, or take the regular network's own checkpoint."
        )
    return (
        "It looks like another architecture, or another number of classes or channels: build the model that it was "
        "saved from."
    )


def _is_constant(name: str) -> bool:
    last = name.rsplit(".", maxsplit=1)[-1]
    return last.startswith("bias") or last == "scale"
