"""The gradient by a first layer's input: computed while the loss is made, and not again for the parameters.

The final backward pass ends at the parameters, but autograd would also compute what it hands to the input of the first
layer, for nobody: 4 % of a step of AlexNet, 15 % of one of a small MLP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import grad

from captum_xg._core.modules import named_modules_of

# Older versions of PyTorch do not tell.
_saved_hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: "unknown")
_CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: grad.conv1d_input,
    nn.Conv2d: grad.conv2d_input,
    nn.Conv3d: grad.conv3d_input,
}


class FirstLayers:
    """Finds the convolutions and linear layers that the inputs go into, and takes over their gradient by the input.

    Every other use of an input is left to autograd, which adds up all contributions.

    Args:
        model: The model.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        self._model = model
        self._known: list[nn.Module] | None = None
        self.wanted = False
        """Whether a backward pass that runs now may be one by the inputs: the attribution's, or one of the model's."""

    @contextmanager
    def taken_over(self, inputs: tuple[Tensor, ...]) -> Iterator[None]:
        """Run the model in here, at these very tensors."""
        candidates = self._known
        if candidates is None:
            candidates = [
                m for _, m in named_modules_of(self._model).values() if type(m) in (*_CONVOLUTIONS, nn.Linear)
            ]
        met: list[nn.Module] = []
        pending: dict[nn.Module, Tensor] = {}

        def before(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
            if torch.compiler.is_compiling():  # what is compiled with this hook would be kept without it
                return None
            own = next((x for x in inputs if arguments and arguments[0] is x), None)
            if own is None or not _plain(module, own):
                return None
            met.append(module)
            pending[module] = own
            return (own.detach(), *arguments[1:])

        def after(module: nn.Module, arguments: Any, result: Tensor) -> Tensor | None:
            own = pending.pop(module, None)
            if own is None:
                return None
            linked: Tensor = _Link.apply(result, own, module.weight, module, self)
            return linked

        # Modules with hooks of their own, or parametrised ones, are left alone.
        free = [module for module in candidates if not (module._forward_hooks or module._forward_pre_hooks)]
        handles = [module.register_forward_pre_hook(before) for module in free]
        handles += [module.register_forward_hook(after) for module in free]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._known = list(dict.fromkeys(met)) if self._known is None else self._known

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Make the loss in here: inputs get gradients. The step's backward pass runs outside, and for parameters."""
        self.wanted = True
        try:
            yield
        finally:
            self.wanted = False


class _Link(torch.autograd.Function):
    """Passes a layer's result on and connects it with the layer's input."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, x: Tensor, weight: Tensor, module: nn.Module, owner: FirstLayers) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.module, ctx.owner = x.shape, module, owner
        # A new view could not be worked on in place by what follows. Where the result is a view already, as of a linear
        # layer with a bias for (N, T, F), autograd takes the first argument, and no other, for what was worked on.
        ctx.mark_dirty(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (weight,) = ctx.saved_tensors
        own = None
        if ctx.owner.wanted:
            module = ctx.module
            if isinstance(module, nn.Linear):
                own = gradient @ weight
            else:
                options = module.stride, module.padding, module.dilation, module.groups
                own = _CONVOLUTIONS[type(module)](ctx.shape, weight, gradient, *options)
        return gradient, own, None, None, None


def _plain(module: nn.Module, x: Tensor) -> bool:
    """Return whether the layer's gradient by its input is known to be the plain formula, in this very dtype."""
    return (
        type(module.weight) is nn.Parameter
        and module.weight.dtype == x.dtype
        and not torch.is_autocast_enabled(x.device.type)
        and _saved_hooks(False) is None  # activation checkpointing runs the layer again, later
        and (isinstance(module, nn.Linear) or (module.padding_mode == "zeros" and not isinstance(module.padding, str)))
        and x.dim() == (x.dim() if isinstance(module, nn.Linear) else module.weight.dim())
    )
