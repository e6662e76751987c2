"""The arguments of the layer methods: layers, inputs of any type, baselines at which the layers give zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_xg._core.function import ScalarFunction, has_rows, recordable
from captum_xg._core.inputs import paired_baselines, require_fitting_baseline
from captum_xg._core.options import switch
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Arguments, Target, Tensors
from captum_xg.attr.layers.behind import BehindLayer
from captum_xg.errors import BaselineError, InputError, OptionError, OptionTypeError


@dataclass(frozen=True)
class Front:
    """What the whole model is called with.

    Attributes:
        inputs: x.
        start: The baselines, of the shape of the inputs.
        additional: What follows them in a call.
    """

    inputs: Tensors
    start: Tensors
    additional: Arguments

    @property
    def n(self) -> int:
        """How many examples there are."""
        return len(self.inputs[0])

    @property
    def arguments(self) -> Arguments:
        """All arguments of the call at x."""
        return (*self.inputs, *self.additional)


def checked_layers(layer: object, where: str) -> tuple[nn.Module, ...]:
    """Return the layers: a module, or a list of several.

    Raises:
        OptionTypeError: If there is something else.
        OptionError: If there is none, or one twice.
    """
    layers = layer if isinstance(layer, list) else [layer]
    for part in layers:
        if not isinstance(part, nn.Module):
            hint = f" Pass model.get_submodule({part!r})." if isinstance(part, str) else ""
            kind = f"the class {part.__name__}" if isinstance(part, type) else type(part).__name__
            raise OptionTypeError(f"{where}: `layer` must be a module of the model, or a list, but is {kind}.{hint}")
    if not layers or len({id(part) for part in layers}) < len(layers):
        raise OptionError(f"{where}: `layer` must list at least one layer and none of them twice.")
    return tuple(layers)


def checked_grad_kwargs(grad_kwargs: object, where: str) -> tuple[bool, bool]:
    """Return whether to keep the graph, and whether what the score does not use has a gradient of zero.

    Raises:
        OptionTypeError: If they are no dict of switches.
        OptionError: If there are others than those of ``torch.autograd.grad`` that mean something here.
    """
    given = {} if grad_kwargs is None else grad_kwargs
    if not isinstance(given, dict):
        raise OptionTypeError(f"{where}: `grad_kwargs` must be a dict or None but is {type(given).__name__}.")
    known = ("create_graph", "retain_graph", "allow_unused", "materialize_grads")
    if other := [key for key in given if key not in known]:
        raise OptionError(f"{where}: `grad_kwargs` may have {', '.join(known)}, but has {other[0]!r}.")
    on = {key: value is not None and switch(value, f"grad_kwargs[{key!r}]", where) for key, value in given.items()}
    return on.get("create_graph", False), on.get("allow_unused", False) or on.get("materialize_grads", False)


def front_inputs(inputs: object, where: str) -> Tensors:
    """Return the inputs of the whole model: tensors of any type, token ids too, with one number of examples.

    Raises:
        InputError: If there are no tensors, or no examples, or they do not agree.
    """
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    if not tensors:
        raise InputError(f"{where}: `inputs` is an empty tuple. Pass what forward_func is called with.")
    for i, x in enumerate(tensors):
        name = f"inputs[{i}]" if isinstance(inputs, tuple) else "inputs"
        if not isinstance(x, Tensor):
            raise InputError(f"{where}: `{name}` must be a torch.Tensor but is {type(x).__name__}.")
        if x.is_meta or x.dim() == 0 or x.numel() == 0:
            found = "is on the meta device" if x.is_meta else f"has shape {tuple(x.shape)}"
            raise InputError(f"{where}: `{name}` {found}, so there is nothing to explain. Pass data of shape (N, …).")
        if x.shape[0] != tensors[0].shape[0]:
            raise InputError(
                f"{where}: `{name}` has {x.shape[0]} examples and inputs[0] has {tensors[0].shape[0]}. Dimension 0 of "
                "every input counts the examples; pass other tensors as `additional_forward_args`."
            )
    return tuple(map(recordable, tensors))


def front_baselines(baselines: object, inputs: Tensors, where: str) -> Tensors:
    """Return baselines for the inputs of the whole model, in any form that Captum takes, as tensors of their shapes.

    Raises:
        BaselineError: If one is no number or tensor, or does not fit.
    """
    found = []
    for name, baseline, x in paired_baselines(baselines, inputs, where):
        if baseline is None:
            found.append(torch.zeros_like(x[:1]).expand(x.shape))
        elif isinstance(baseline, (int, float)):
            found.append(torch.full_like(x[:1], baseline).expand(x.shape))
        elif not isinstance(baseline, Tensor):
            raise BaselineError(
                f"{where}: `{name}` must be a number or a tensor but is {type(baseline).__name__}. Pass None for zeros."
            )
        elif baseline.is_meta:
            raise BaselineError(f"{where}: `{name}` is on the meta device and holds no numbers. Pass None for zeros.")
        else:
            require_fitting_baseline(baseline, x, name, where)
            found.append(recordable(baseline).detach().expand(x.shape))
    return tuple(found)


def values_in_parts(behind: BehindLayer, arguments: Arguments, n: int, size: int, *, recorded: bool = False) -> Tensors:
    """Return what the layers give for n examples, of which at most ``size`` run at once."""
    parts = [
        behind.values_at(own, len(own[0]), recorded=recorded)  # type: ignore[arg-type]
        for own in _slices(arguments, n, size)
    ]
    return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))


def path_ends(behind: BehindLayer, front: Front, size: int, *, recorded: bool = False) -> tuple[Tensors, Tensors]:
    """Return what the layers give at the baselines, and at x; at most ``size`` examples run at once."""
    with preserve_state(behind.forward_func, front.inputs[0].device):
        # One row does where all are the same.
        alike = all(b.stride(0) == 0 for b in front.start) and not any(has_rows(a, front.n) for a in front.additional)
        n, start = (1, tuple(b[:1] for b in front.start)) if alike else (front.n, front.start)
        at_start = values_in_parts(behind, (*start, *front.additional), n, size)
        values = values_in_parts(behind, front.arguments, front.n, size, recorded=recorded)
    return tuple(value.expand(front.n, *value.shape[1:]) for value in at_start), values


def convergence_delta(
    attributions: Tensors, behind: BehindLayer, front: Front, target: Target, size: int, where: str
) -> Tensor:
    """Return Σ attributions − (F(x) − F(baseline)) for each example, F being the whole model."""
    function = ScalarFunction(behind.forward_func, front.additional, target, where)
    ends, starts = (
        torch.cat([own.values(tuple(part.clone() for part in parts)) for parts, own in function.parts(xs, size)])
        for xs in (front.inputs, front.start)
    )
    total: Tensor = sum(a.detach().reshape(len(a), -1).sum(1) for a in attributions)  # type: ignore[assignment]
    return total - (ends - starts)


def _slices(arguments: Arguments, n: int, size: int) -> Iterator[Arguments]:
    for start in range(0, n, size):
        yield tuple(a[start : start + size] if has_rows(a, n) else a for a in arguments)


def require_zero_start(behind: BehindLayer, values: Tensors, where: str) -> None:
    """Refuse baselines at which a layer does not give zero: the path at the layer is then no ray.

    Raises:
        BaselineError: Naming the layer, and what to do.
    """
    names = [i for i, form in enumerate(behind.forms) for _ in range(form.count)]
    for i, value in zip(names, values, strict=True):
        if not bool((value != 0).any()):
            continue
        gives = "gets" if behind.at_input else "gives"
        padding = (
            " For token ids: pass as baselines the id of padding, and see that its row is zero "
            "(nn.Embedding(…, padding_idx=id))."
            if isinstance(behind.layers[i], (nn.Embedding, nn.EmbeddingBag))
            else " Biases in front of the layer make it so; a layer nearer to the input may give zero."
        )
        raise BaselineError(
            f"{where}: at the baseline {behind.name_of(i)} {gives} values up to {float(value.abs().max()):.3g}, and "
            "not zero. x·∇F equals Integrated Gradients only along the ray from zero, here at the layer."
            f"{padding} Or on_violation='integrate' gives Integrated Gradients from this baseline, to 1 %."
        )
