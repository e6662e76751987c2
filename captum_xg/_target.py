"""Which number of the output is explained: Captum's `target`, checked before it is used."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from captum_xg._captum import select_targets
from captum_xg._types import Target
from captum_xg.errors import ForwardOutputError, TargetError


def check_output(output: Any, n: int, where: str) -> Tensor:
    """Return the output if it is a real floating-point tensor with one row per example.

    Raises:
        ForwardOutputError: Otherwise.
    """
    if not isinstance(output, Tensor):
        raise ForwardOutputError(
            f"{where}: forward_func returns {type(output).__name__} and not a tensor. Choose the tensor to explain, "
            "for example with `lambda x: model(x)[0]` or `lambda x: model(x).logits`."
        )
    if not output.dtype.is_floating_point:
        raise ForwardOutputError(
            f"{where}: forward_func returns {output.dtype}, which has no real gradient. Return a real floating-point "
            "score, not a class index, a decision or a complex number."
        )
    if output.dim() == 0 or output.shape[0] != n:
        raise ForwardOutputError(
            f"{where}: forward_func returns shape {tuple(output.shape)} for {n} examples; dimension 0 must have one "
            "entry per example. Return one score per example and do not sum or average over the batch."
        )
    return output


def check_target(output: Tensor, target: Target, where: str, first: int = 0) -> None:
    """Check that the target picks exactly one number per example from an output of this shape.

    Raises:
        TargetError: If it is missing, of a kind that Captum does not take, out of range, or picks several numbers.
    """
    n, classes = output.shape[0], tuple(output.shape[1:])
    shape = f"forward_func returns shape {tuple(output.shape)}"
    if target is None:
        if output.numel() != n:
            raise TargetError(f"{where}: {shape}, several numbers per example, and no `target` says which to explain.")
    elif isinstance(target, Tensor):
        _check_tensor_target(target, n, classes, f"{where}: {shape}")
    elif isinstance(target, list):
        check_target_length(target, n, where)
        for i, entry in enumerate(target):
            name = f"target[{first + i}]"
            if type(entry) is not type(target[0]):
                raise TargetError(
                    f"{where}: `target` mixes {type(target[0]).__name__} and {type(entry).__name__} ({name})."
                )
            if isinstance(entry, int) and len(classes) != 1:
                raise TargetError(f"{where}: {shape}; a list of integers needs shape (N, C). Pass a list of tuples.")
            _check_index(entry, classes, name, f"{where}: {shape}", negative=not isinstance(entry, int))
            _require_one_number(entry, classes, name, f"{where}: {shape}")
    else:
        _check_index(target, classes, "target", f"{where}: {shape}", negative=True)
        _require_one_number(target, classes, "target", f"{where}: {shape}")


def check_target_length(target: Tensor | list[Any], n: int, where: str) -> None:
    """Check that a target per example has one entry for each of ``n`` examples.

    Raises:
        TargetError: If it has more or fewer.
    """
    if isinstance(target, list) and len(target) != n:
        raise TargetError(f"{where}: `target` lists {len(target)} entries for {n} examples; it needs one for each.")
    if isinstance(target, Tensor) and tuple(target.shape) != (n,):
        raise TargetError(
            f"{where}: `target` has shape {tuple(target.shape)} but must have one index per example, ({n},)."
        )


def select(output: Tensor, target: Target) -> Tensor:
    """Return the chosen number of each example, shape ``(N,)``, for a target that :func:`check_target` has passed."""
    if isinstance(target, Tensor):
        target = target.to(device=output.device, dtype=torch.int64)
    return cast(Tensor, select_targets(output, target)).reshape(output.shape[0])


def _check_tensor_target(target: Tensor, n: int, classes: tuple[int, ...], where: str) -> None:
    if target.dtype.is_floating_point or target.dtype.is_complex or target.dtype == torch.bool:
        raise TargetError(f"{where}; `target` has dtype {target.dtype} but must hold integer indices.")
    if target.numel() == 1:
        _check_index(int(target.item()), classes, "target", where, negative=True)
        _require_one_number(int(target.item()), classes, "target", where)
        return
    check_target_length(target, n, where)
    if len(classes) != 1:
        raise TargetError(
            f"{where}; a tensor of targets needs shape (N, C). Pass a list of {len(classes)}-tuples instead."
        )
    low, high = (int(bound) for bound in torch.aminmax(target))
    if low < 0 or high >= classes[0]:
        raise TargetError(f"{where}; `target` goes from {low} to {high} but must lie in [0, {classes[0]}).")


def _check_index(index: Any, classes: tuple[int, ...], name: str, where: str, *, negative: bool) -> None:
    entries = index if isinstance(index, tuple) else (index,)
    if len(entries) > len(classes):
        raise TargetError(
            f"{where}; `{name}` = {index!r} has {len(entries)} indices for {len(classes)} dimensions behind the "
            "examples." + ("" if classes else " There is one number per example already: leave `target` out.")
        )
    for entry, size in zip(entries, classes, strict=False):
        if isinstance(entry, slice) and entry.step != 0:
            continue
        if not isinstance(entry, int) or isinstance(entry, bool):
            raise TargetError(
                f"{where}; `{name}` must be an int, a tuple of ints, an integer tensor, or a list of ints or tuples, "
                f"but holds {type(entry).__name__}."
            )
        if not (-size if negative else 0) <= entry < size:
            raise TargetError(f"{where}; `{name}` = {index!r} is out of range: that dimension has {size} entries.")


def _require_one_number(index: Any, classes: tuple[int, ...], name: str, where: str) -> None:
    entries = index if isinstance(index, tuple) else (index,)
    sizes = [
        len(range(*entry.indices(size))) if isinstance(entry, slice) else 1
        for entry, size in zip(entries, classes, strict=False)
    ]
    count = 1
    for size in [*sizes, *classes[len(entries) :]]:
        count *= size
    if count != 1:
        raise TargetError(
            f"{where}; `{name}` = {index!r} picks {count} numbers per example, but exactly one is explained. Give "
            "an index for every dimension behind the examples."
        )
