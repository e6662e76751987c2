"""The model as an attribution prior sees it: one recorded forward pass, and others with a layer's value replaced.

The *points* are what attributions are given to: the inputs, or what a layer returns. The invariant: the points of a
pass are tensors of its graph, so that the step's own backward pass reaches the parameters through the attribution; and
nothing of the caller's is marked or written to, for the model gets clones of handles that are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from captum_xg._core.distributed import unwrapped
from captum_xg._core.target import check_output
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.errors import GradientError, OptionError, OptionTypeError
from captum_xg.homogeneity.certificate.outputs import Output, checked_output, one_output
from captum_xg.priors.supported import WHERE

Returned: TypeAlias = tuple[tuple[object, ...], bool]
"""What a layer returned, and whether that was one thing and no tuple."""


@dataclass(frozen=True)
class Pass:
    """One forward pass with its graph.

    Attributes:
        points: What attributions are given to: the inputs, or the outputs of the layer.
        single: Whether that is one tensor and no tuple.
        outputs: All that the model returned.
        explained: The tensor in it that is explained, float32 or wider.
    """

    points: Tensors
    single: bool
    outputs: object
    explained: Tensor


class Forward:
    """A model, the place in it that is attributed to, and the part of its output that is explained.

    Args:
        model: A module or any callable.
        layer: Name of a module in it, or the module; None for the inputs.
        output: Which part of a tuple or dict that the model returns is explained, as for :func:`captum_xg.certify`.

    Attributes:
        model: The model without DistributedDataParallel around it.
        wrapped: The model as it was given. Every forward pass through the wrapper counts as one that a backward pass
            of the step follows, and changes something in it; so only the pass that the task loss shares may use it.

    Raises:
        OptionError: If there is no such layer.
    """

    def __init__(self, model: ForwardFunction, layer: str | nn.Module | None, output: Output) -> None:
        self.wrapped = model
        self.model = unwrapped(model)
        self.output = checked_output(output, WHERE)
        self.layer = None if layer is None else _find(model, layer)

    def __call__(self, *arguments: object) -> Tensor:
        """Return the part of the output that is explained, as the model gives it."""
        # Named here, because the modules behind a callable are found by the attributes that its code mentions.
        return self._explained(self.model(*arguments), cast(Tensor, arguments[0]))

    def recorded(self, inputs: Tensors, additional: Arguments, *, at_points: bool, in_step: bool) -> Pass:
        """Run the model with a graph to the parameters and, if asked for, to the points that are attributed to.

        Args:
            inputs: The inputs.
            additional: What follows them in a call.
            at_points: Whether gradients by the points are wanted.
            in_step: Whether the backward pass of a training step follows.
        """
        model = self.wrapped if in_step else self.model
        if self.layer is not None:
            # Inputs need no handles: what is differentiated by is what the layer returns.
            with _captured(self.layer) as captured:
                outputs = model(*map(Tensor.clone, inputs), *additional)
            points, single = _layer_points(captured)
        else:
            # Handles of our own, as a caller's tensors are not to be marked; clones of them, as a first layer may work
            # in place. Whatever the inputs were computed from stays connected.
            points, single = tuple(map(_handle, inputs)) if at_points else inputs, len(inputs) == 1
            outputs = model(*map(Tensor.clone, points), *additional)
        return Pass(points, single, outputs, self.widened(outputs, inputs[0]))

    def points_of(self, inputs: Tensors, additional: Arguments) -> Tensors:
        """Return what would be attributed to at these inputs: themselves, or what the layer gives for them."""
        if self.layer is None:
            return inputs
        with _captured(self.layer) as captured:
            self.model(*map(Tensor.clone, inputs), *additional)
        return _layer_points(captured)[0]

    def at(self, points: Tensors, inputs: Tensors, additional: Arguments) -> Tensor:
        """Return the explained output where the inputs, or the layer's outputs, are replaced by the points."""
        if self.layer is None:
            return self.widened(self.model(*map(Tensor.clone, points), *additional), points[0])
        with _replaced(self.layer, points):
            outputs = self.model(*map(Tensor.clone, inputs), *additional)
        return self.widened(outputs, inputs[0])

    def with_points(self, points: Tensors, *arguments: object) -> Tensor:
        """Return the explained output, as the model gives it, with the layer's outputs replaced by the points."""
        assert self.layer is not None
        # The layer works on copies of its own inputs, which it may overwrite; its result is not used.
        copies = (a.clone() if isinstance(a, Tensor) else a for a in arguments)
        with _replaced(self.layer, points):
            return self(*copies)

    def _explained(self, outputs: object, first: Tensor) -> Tensor:
        return check_output(one_output(outputs, self.output, WHERE), first.shape[0], WHERE)

    def widened(self, outputs: object, first: Tensor) -> Tensor:
        """Return the explained part of what the model gave, in float32 at least."""
        explained = self._explained(outputs, first)
        # Softmax and sums over positions lose too much in 16 bits.
        return explained.to(torch.promote_types(explained.dtype, torch.float32))


def gradients(scores: Tensor, points: Tensors, *, create_graph: bool, scale: float = 1.0) -> Tensors:
    """Return ∂Σscores/∂points, one tensor per point, in float32 or wider.

    Args:
        scores: Shape ``(N,)``.
        points: Tensors in the graph of the scores.
        create_graph: Keep the graph of the gradients.
        scale: The backward pass is multiplied by it, and its result divided, against underflow in float16.

    Raises:
        GradientError: If the scores do not depend on a point through autograd.
    """
    if not scores.requires_grad:
        raise GradientError(_no_dependence("them"))
    # Under autocast a backward pass that is recorded would cast once more what the forward pass has cast already.
    with torch.autocast(scores.device.type, enabled=False):
        try:
            found = torch.autograd.grad(
                scores,
                points,
                torch.full_like(scores, scale),
                create_graph=create_graph,
                retain_graph=True,  # for the other scores, and for the step's own backward pass
                allow_unused=True,
            )
        except RuntimeError as error:
            if "use_reentrant" not in str(error):
                raise
            raise GradientError(
                f"{WHERE}: the model uses activation checkpointing with use_reentrant=True, which cannot be "
                "differentiated by its inputs inside the loss. Pass use_reentrant=False to torch.utils.checkpoint."
            ) from error
    for i, gradient in enumerate(found):
        if gradient is None:
            raise GradientError(_no_dependence(f"input {i}"))
    wide = (g.to(torch.promote_types(g.dtype, torch.float32)) for g in found)
    return tuple(g if scale == 1 else g / scale for g in wide)


def _no_dependence(what: str) -> str:
    return (
        f"{WHERE}: the scores do not depend on {what} through autograd, so there is no gradient. Look for no_grad, "
        "detach, .item(), numpy or integer casts in the model; pass what has no influence as additional_forward_args."
    )


def _handle(x: Tensor) -> Tensor:
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def _find(model: ForwardFunction, layer: str | nn.Module) -> nn.Module:
    modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    if not isinstance(layer, (str, nn.Module)):
        raise OptionTypeError(
            f"{WHERE}: `layer` must be the name of a module, or the module, but is "
            f"{'the class ' + layer.__name__ if isinstance(layer, type) else type(layer).__name__}."
        )
    if isinstance(layer, nn.Module):
        if modules and not any(layer is module for module in modules.values()):
            raise OptionError(f"{WHERE}: `layer` is a {type(layer).__name__} that is not part of the model.")
        return layer
    # DistributedDataParallel puts the model one level down; names are those of the model itself.
    found: nn.Module | None = modules.get(layer, modules.get(f"module.{layer}"))
    if not layer or found is None:
        names = [name for name in modules if name]
        listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        raise OptionError(f"{WHERE}: the model has no layer {layer!r}. It has: {listed or 'none'}.")
    return found


@contextmanager
def _captured(layer: nn.Module) -> Iterator[list[Returned]]:
    """Collect what a layer returns; what follows gets copies, as it may work in place."""
    captured: list[Returned] = []

    def keep(module: nn.Module, arguments: object, result: object) -> object:
        points = tuple(map(_point, result if isinstance(result, (tuple, list)) else (result,)))
        captured.append((points, not isinstance(result, (tuple, list))))
        return _like(result, tuple(p.clone() if isinstance(p, Tensor) else p for p in points))

    # A hook and no wrapper around the layer: the model stays the same object, and hooks of the user's run as ever.
    handle = layer.register_forward_hook(keep)
    try:
        yield captured
    finally:
        handle.remove()


@contextmanager
def _replaced(layer: nn.Module, points: Tensors) -> Iterator[None]:
    """Let a layer return the points."""

    def replace(module: nn.Module, arguments: object, result: object) -> object:
        return _like(result, tuple(x.clone() for x in points))

    handle = layer.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _layer_points(captured: list[Returned]) -> tuple[Tensors, bool]:
    if len(captured) != 1:
        raise OptionError(
            f"{WHERE}: the layer given as `layer` ran {len(captured)} times in one forward pass; attributions need "
            "one that runs exactly once."
        )
    points, single = captured[0]
    tensors = tuple(p for p in points if isinstance(p, Tensor) and p.dtype.is_floating_point)
    if not tensors or len(tensors) < len(points):
        raise OptionError(
            f"{WHERE}: the layer given as `layer` must return a floating-point tensor, or a tuple of such, but "
            f"returns {[str(p.dtype) if isinstance(p, Tensor) else type(p).__name__ for p in points]}."
        )
    return tensors, single


def _like(result: object, values: tuple[object, ...]) -> object:
    """Return values in the container that a layer returned, or the only one where it returned none."""
    if isinstance(result, (tuple, list)):
        make: Callable[..., object] = type(result)
        # Named tuples take their entries one by one; other subclasses may take anything.
        return make(*values) if hasattr(result, "_fields") else list(values) if isinstance(result, list) else values
    return values[0]


def _point(value: object) -> object:
    """Return what a layer gives as something to differentiate by, also where everything before it is frozen."""
    if isinstance(value, Tensor) and value.dtype.is_floating_point and torch.is_grad_enabled():
        return value if value.requires_grad else value.detach().requires_grad_()
    return value
