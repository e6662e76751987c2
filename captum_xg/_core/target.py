"""Captum's `target`: the number of each example's output that is explained, checked before it is used."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from captum_xg._core.captum_compat import select_targets
from captum_xg._core.types import Target
from captum_xg.errors import ForwardOutputError, TargetError

PARTS_ADVICE = (
    " Where dimension 0 of the inputs counts the parts of one example, such as the nodes of a graph, put one in front "
    "for the example: pass lambda x: model(x[0]) as forward_func and x.unsqueeze(0) as inputs."
)
"""Advice where dimension 0 does not count examples: its entries see each other, or have no row of output each."""


def check_output(output: object, n: int, where: str, *, several_rows: bool = False) -> Tensor:
    """Return the output if it is a real floating-point tensor with one row per example.

    Args:
        output: What the forward function returned.
        n: The number of examples.
        where: The public name that errors begin with.
        several_rows: Whether a single example may have several rows, as the nodes of a graph are.

    Raises:
        ForwardOutputError: Otherwise.
    """
    if not isinstance(output, Tensor):
        raise ForwardOutputError(
            f"{where}: forward_func returns {type(output).__name__} and not a tensor. Choose the tensor to explain, "
            "for example with `lambda x: model(x)[0]` or `lambda x: model(x).logits`."
        )
    if output.is_meta:
        raise ForwardOutputError(
            f"{where}: forward_func returns a tensor on the meta device, which holds no numbers. Give the tensors that "
            "it computes with memory and values."
        )
    if not output.dtype.is_floating_point:
        raise ForwardOutputError(
            f"{where}: forward_func returns {output.dtype}, which has no real gradient. Return a real floating-point "
            "score, not a class index, a decision or a complex number."
        )
    rows = output.shape[0] if output.dim() else 0
    if rows != n and not (several_rows and n == 1 and rows > 1):
        raise ForwardOutputError(
            f"{where}: forward_func returns shape {tuple(output.shape)} for {n} examples; dimension 0 must have one "
            "entry per example. Return one score per example and do not sum or average over the batch."
            f"{_advice_on_rows(rows, n) if several_rows else ''}"
        )
    return output


def _advice_on_rows(rows: int, n: int) -> str:
    if n == 1:
        return ""
    if rows < n:
        return PARTS_ADVICE
    return (
        " Where each example has several rows, as the nodes of a graph are, they are told apart only if it is alone, "
        "and then summed as in Integrated Gradients: explain one example at a time (XGradient: internal_batch_size=1)."
    )


def check_target(output: Tensor, target: Target, where: str, first: int = 0, unit: str = "example") -> None:
    """Check that the target picks exactly one number per example from an output of this shape.

    Args:
        output: The output.
        target: Captum's target.
        where: The public name that errors begin with.
        first: Index of the first example in the caller's batch, for messages.
        unit: What dimension 0 of the output counts.

    Raises:
        TargetError: If it is missing, of a kind that Captum does not take, out of range, or picks several numbers.
    """
    n, classes = output.shape[0], tuple(output.shape[1:])
    shape = f"forward_func returns shape {tuple(output.shape)}"
    if target is None:
        if output.numel() != n:
            raise TargetError(
                f"{where}: {shape}, several numbers per example, and no `target` says which to explain. "
                f"{_example_of_target(classes)}"
            )
    elif isinstance(target, Tensor):
        _check_tensor_target(target, n, classes, f"{where}: {shape}", unit)
    elif isinstance(target, list):
        check_target_length(target, n, where, unit)
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


def _example_of_target(classes: tuple[int, ...]) -> str:
    """Return what to pass for an output of shape ``(N, *classes)``."""
    if len(classes) == 1:
        last = classes[0] - 1
        return (
            f"Pass one of the {classes[0]} classes, such as target={min(3, last)} (from 0 to {last}), or one for each "
            "example, target=labels with an integer tensor of shape (N,)."
        )
    middle = tuple(size // 2 for size in classes)
    return (
        f"Pass a tuple of {len(classes)} indices, for sizes {classes}, such as target={middle}, or a list of such "
        "tuples, one for each example."
    )


def check_target_length(target: Tensor | list[object], n: int, where: str, unit: str = "example") -> None:
    """Check that a target per example (or other unit) has one entry for each of ``n``.

    Raises:
        TargetError: If it has more or fewer.
    """
    if isinstance(target, list) and len(target) != n:
        units = f"{n} examples" if unit == "example" else f"{n} {unit.replace('row', 'rows')}"
        raise TargetError(f"{where}: `target` lists {len(target)} entries for {units}; it needs one for each.")
    if isinstance(target, Tensor) and tuple(target.shape) != (n,):
        raise TargetError(
            f"{where}: `target` has shape {tuple(target.shape)} but must have one index per {unit}, ({n},)."
        )


def select(output: Tensor, target: Target) -> Tensor:
    """Return the chosen number of each example, shape ``(N,)``, for a target that :func:`check_target` has passed."""
    if isinstance(target, Tensor):
        # Captum gathers by it, and `gather` takes int64 alone.
        target = target.to(device=output.device, dtype=torch.int64)
    return cast(Tensor, select_targets(output, target)).reshape(output.shape[0])


def _check_tensor_target(target: Tensor, n: int, classes: tuple[int, ...], where: str, unit: str) -> None:
    if target.dtype.is_floating_point or target.dtype.is_complex or target.dtype == torch.bool:
        raise TargetError(f"{where}; `target` has dtype {target.dtype} but must hold integer indices.")
    if target.is_meta:
        raise TargetError(f"{where}; `target` is on the meta device and holds no numbers. Pass a tensor with data.")
    if target.numel() == 1:
        _check_index(int(target.item()), classes, "target", where, negative=True)
        _require_one_number(int(target.item()), classes, "target", where)
        return
    check_target_length(target, n, where, unit)
    if len(classes) != 1:
        raise TargetError(
            f"{where}; a tensor of targets needs shape (N, C). Pass a list of {len(classes)}-tuples instead."
        )
    low, high = (int(bound) for bound in torch.aminmax(target))
    if low < 0 or high >= classes[0]:
        raise TargetError(f"{where}; `target` goes from {low} to {high} but must lie in [0, {classes[0]}).")


def _check_index(index: object, classes: tuple[int, ...], name: str, where: str, *, negative: bool) -> None:
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


def _require_one_number(index: object, classes: tuple[int, ...], name: str, where: str) -> None:
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
    if isinstance(index, slice):
        raise TargetError(f"{where}; `{name}` = {index!r} is a slice by itself. Put it into a tuple, ({index!r},).")
