"""Checks of inputs and baselines that are made before the model runs: types, shapes, finite numbers, zero baselines."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from captum_xg.errors import BaselineError, InputError

_FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def format_inputs(inputs: object, where: str, *, finite: bool = True) -> tuple[Tensor, ...]:
    """Return the inputs as a tuple of finite floating-point tensors with one common, positive number of examples.

    Integers become the default floating dtype, as Integrated Gradients' interpolation makes them. ``finite=False``
    leaves out the look at the numbers, for which an accelerator would be waited for.

    Raises:
        InputError: For anything that has no gradient or no Integrated Gradients: not a tensor, no batch dimension, an
            empty batch, unequal batches, complex or boolean numbers, sparse or nested layout, NaN or infinity.
    """
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    if not tensors:
        raise InputError(f"{where}: `inputs` is an empty tuple, so there is nothing to attribute to. Pass a tensor.")
    names = [f"inputs[{i}]" if isinstance(inputs, tuple) else "inputs" for i in range(len(tensors))]
    formatted = tuple(_format_input(x, name, where, finite) for x, name in zip(tensors, names, strict=True))
    for x, name in zip(formatted, names, strict=True):
        if x.shape[0] != formatted[0].shape[0]:
            raise InputError(
                f"{where}: {name} has {x.shape[0]} examples and {names[0]} has {formatted[0].shape[0]}. Dimension 0 of "
                "every input counts the examples and must agree; pass other tensors as `additional_forward_args`."
            )
    return formatted


def _format_input(x: object, name: str, where: str, finite: bool) -> Tensor:
    if not isinstance(x, Tensor):
        raise InputError(
            f"{where}: `{name}` must be a torch.Tensor but is {type(x).__name__}. Convert it to a tensor, or pass "
            "several tensors as a tuple."
        )
    if x.layout != torch.strided or x.is_nested:
        raise InputError(f"{where}: `{name}` is sparse or nested ({x.layout}). Pass a dense tensor.")
    if x.is_meta:
        raise InputError(f"{where}: `{name}` is on the meta device and holds no numbers. Pass a tensor with data.")
    if x.dim() == 0:
        raise InputError(f"{where}: `{name}` has no dimension, so no examples. Add a batch dimension: x.unsqueeze(0).")
    if x.numel() == 0:
        raise InputError(f"{where}: `{name}` is empty (shape {tuple(x.shape)}), so there is nothing to explain.")
    if x.dtype in _FLOATING:
        if finite and not all_finite(x):
            raise InputError(
                f"{where}: `{name}` has NaN or infinity, first in example {first_not_finite(x)}; no attribution of it "
                "is meaningful. Clean the data, for example with torch.nan_to_num."
            )
        return x
    if x.dtype == torch.bool or x.dtype.is_complex or x.dtype.is_floating_point or x.is_quantized:
        raise InputError(
            f"{where}: `{name}` has dtype {x.dtype}, which Integrated Gradients is not defined for. "
            "Convert it to a floating-point dtype (complex numbers: to two real channels)."
        )
    return x.to(torch.get_default_dtype())  # as Integrated Gradients' interpolation makes of integers


def advice_on_ids(layer: str | None) -> str:
    """Return what to do where ids of tokens, categories or nodes are inputs.

    Args:
        layer: Path of the embedding; None where there is no such layer.
    """
    behind = "pass the part of the model behind the lookup as forward_func, and what was looked up as `inputs`."
    ways = ""
    if layer is not None:
        plain = all(part.isidentifier() for part in layer.split("."))
        module = f"model.{layer}" if plain else f"model.get_submodule({layer!r})"
        ways = f"LayerXGradient(model, {module}, on_violation='integrate') takes the ids, and attributes to that; or "
    return (
        "Ids cannot be attributed to: F is not defined between them and has no gradient by them. Explain what is "
        f"looked up: {ways}{behind}"
    )


def all_finite(x: Tensor) -> bool:
    """Return whether no entry is NaN or infinite, in one pass over x and without a mask of its size."""
    # A finite sum proves it. One that is not may also come from large entries adding up: hence the second look.
    x = x.detach()
    return bool(torch.isfinite(x.sum())) or bool(torch.isfinite(x).all())


def first_not_finite(x: Tensor) -> int:
    """Return the index of the first example with an entry that is NaN or infinite, of which there must be one."""
    return int((~torch.isfinite(x)).reshape(len(x), -1).any(1).nonzero()[0])


def require_zero_baselines(baselines: object, inputs: tuple[Tensor, ...], where: str) -> None:
    """Refuse every baseline but zero, in any form that Captum takes.

    Raises:
        BaselineError: If a baseline is not zero, not a number or tensor, or does not fit the inputs.
    """
    if baselines is None:
        return
    for name, baseline, x in paired_baselines(baselines, inputs, where):
        if not isinstance(baseline, (int, float, Tensor)):
            raise BaselineError(
                f"{where}: `{name}` must be a number or a tensor but is {type(baseline).__name__}. Pass None for zeros."
                f"{_target_in_its_place(baselines)}"
            )
        if isinstance(baseline, Tensor):
            require_fitting_baseline(baseline, x, name, where, _target_in_its_place(baselines))
        if isinstance(baseline, Tensor) and baseline.is_meta:
            raise BaselineError(f"{where}: `{name}` is on the meta device and holds no numbers. Pass None for zeros.")
        if bool((baseline != 0).any()) if isinstance(baseline, Tensor) else baseline != 0:
            by_zero = (
                ";\n    or ExpectedXGradient(forward_func) goes from it by way of zero: exact and complete, and "
                "something else than Integrated Gradients."
            )
            raise BaselineError(
                f"{where}: `{name}` is not zero. x·∇F equals Integrated Gradients only against the zero baseline, "
                "because the path from it to x is the ray along which F is homogeneous."
                f"{_target_in_its_place(baselines)}\n  What to do for another baseline:\n"
                "    on_violation='integrate' gives Integrated Gradients from it, to 1 %, detached;\n"
                "    or shift the data so that the reference lies at zero, and train without biases on that"
                f"{by_zero if where.startswith('XGradient.') else '.'}"
            )


def paired_baselines(baselines: object, inputs: tuple[Tensor, ...], where: str) -> list[tuple[str, object, Tensor]]:
    """Return for each input what its baseline is called, the baseline, and the input; None is one of each.

    Raises:
        BaselineError: If there are more or fewer baselines than inputs.
    """
    several = baselines if isinstance(baselines, tuple) else (baselines,) * (len(inputs) if baselines is None else 1)
    if len(several) != len(inputs):
        raise BaselineError(
            f"{where}: {len(several)} baselines for {len(inputs)} inputs. Pass one for each input, or None for zeros."
            f"{_target_in_its_place(baselines)}"
        )
    names = [f"baselines[{i}]" if isinstance(baselines, tuple) else "baselines" for i in range(len(several))]
    return list(zip(names, several, inputs, strict=True))


def require_fitting_baseline(baseline: Tensor, x: Tensor, name: str, where: str, hint: str = "") -> None:
    """Refuse a baseline that has neither its input's shape, nor 1 in place of N, nor is one number.

    Raises:
        BaselineError: If that is so; ``hint`` follows.
    """
    if baseline.dim() > 0 and baseline.shape not in (x.shape, (1, *x.shape[1:])):
        raise BaselineError(
            f"{where}: `{name}` has shape {tuple(baseline.shape)} but its input has {tuple(x.shape)}; it must have the "
            f"input's shape, or 1 in place of the number of examples. Pass None for zeros.{hint}"
        )


def _target_in_its_place(baselines: object) -> str:
    """Return what to say of a baseline that could be a target, which other methods take in the second place."""
    entries = baselines if isinstance(baselines, (tuple, list)) else (baselines,)
    indices = [
        not value.dtype.is_floating_point and value.dim() <= 1
        if isinstance(value, Tensor)
        else value.dtype.kind in "iu" and value.ndim <= 1
        if isinstance(value, np.ndarray)
        else isinstance(value, (Integral, tuple)) and not isinstance(value, bool)
        for value in entries
    ]
    if not entries or not all(indices):
        return ""
    shown = baselines if len(repr(baselines)) <= 20 and not isinstance(baselines, (Tensor, np.ndarray)) else "labels"
    return (
        " If the class to explain was meant: the second place is that of the baselines, as for IntegratedGradients "
        f"(for InputXGradient and Saliency it is that of the target). Pass target={shown}."
    )


def format_baselines(baselines: object, inputs: tuple[Tensor, ...], where: str) -> tuple[Tensor, ...]:
    """Return baselines in any form that Captum takes as one tensor for each input, of its shape, dtype and device.

    Raises:
        BaselineError: If a baseline is not a finite number or tensor, or does not fit its input.
    """
    if baselines is None:
        return tuple(map(torch.zeros_like, inputs))
    formatted = []
    for name, baseline, x in paired_baselines(baselines, inputs, where):
        if not isinstance(baseline, (int, float, Tensor)) or isinstance(baseline, bool):
            raise BaselineError(
                f"{where}: `{name}` must be a number or a tensor but is {type(baseline).__name__}."
                f"{_target_in_its_place(baselines)}"
            )
        b = baseline.detach() if isinstance(baseline, Tensor) else torch.tensor(baseline, dtype=torch.float64)
        if b.is_meta or b.layout != torch.strided or b.dtype == torch.bool or b.dtype.is_complex or b.is_quantized:
            raise BaselineError(
                f"{where}: `{name}` is a {b.dtype} tensor ({b.layout}, on {b.device}). Pass a dense tensor of real "
                "numbers with data."
            )
        require_fitting_baseline(b, x, name, where, _target_in_its_place(baselines))
        b = b.to(x.device, x.dtype)
        if not all_finite(b):
            raise BaselineError(f"{where}: `{name}` has NaN or infinity as {x.dtype}; no path leads there.")
        formatted.append(b.expand(x.shape))
    return tuple(formatted)
