"""What must not happen unseen: a prior that trains nothing, and one that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._inputs import first_not_finite
from captum_xg.errors import DisconnectedAttributionError, NonFinitePriorError
from captum_xg.homogeneity.autograd_graph import ancestors
from captum_xg.homogeneity.modules import modules_of

_WHERE = "AttributionPriorLoss"
_ONCE_DIFFERENTIABLE = {
    "ScaledDotProduct": (
        "attention by a fused kernel",
        "with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):",
    ),
    "CudnnRnn": ("recurrent layers by cuDNN", "with torch.backends.cudnn.flags(enabled=False):"),
}
"""By what the names of their nodes begin with: kernels of PyTorch whose backward pass has no derivative."""


def require_gradient_mode() -> None:
    """Refuse to make a loss to train with where nothing is recorded.

    Raises:
        DisconnectedAttributionError: Under no_grad or inference_mode.
    """
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        mode = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise DisconnectedAttributionError(
            f"{_WHERE}: called under torch.{mode}, where no gradient reaches the parameters, so the prior would train "
            "nothing. Call it with gradients enabled; or, to evaluate, call .eval() on the loss first: then it returns "
            "detached values in any mode."
        )


def require_twice_differentiable(model: Callable[..., Any], scores: Tensor) -> None:
    """Refuse compiled models whose backward pass cannot be differentiated, before it runs.

    Raises:
        DisconnectedAttributionError: If a compiled function lies between the scores and the inputs.
    """
    compiled = hasattr(model, "_torchdynamo_orig_callable") or any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for root in modules_of(model)
        for module in root.modules()
    )
    if compiled and any("CompiledFunction" in node.name() for node in ancestors([scores.grad_fn])):
        raise DisconnectedAttributionError(
            f"{_WHERE}: the model is compiled (torch.compile), and a compiled backward pass cannot be differentiated "
            "again, which a prior on attributions needs. Pass the model as it was before torch.compile (for a module "
            "that torch.compile returned: model._orig_mod; it shares all parameters)."
        )


def require_no_fused_kernels(scores: Tensor) -> None:
    """Refuse layers that PyTorch computes by kernels whose backward pass cannot be differentiated.

    Raises:
        DisconnectedAttributionError: If one lies behind the scores; it says how to have them computed otherwise.
    """
    for node in ancestors([scores.grad_fn]):
        for name, (what, remedy) in _ONCE_DIFFERENTIABLE.items():
            if node.name().startswith(name):
                raise DisconnectedAttributionError(
                    f"{_WHERE}: the model computes {what} ({node.name()}), whose backward pass PyTorch cannot "
                    f"differentiate again, which a prior on attributions needs. Make the loss under `{remedy}`."
                )


def require_path_to_parameters(
    attributions: tuple[Tensor, ...],
    model: Callable[..., Any],
    points: tuple[Tensor, ...],
    *,
    explained: Tensor,
    given: tuple[Any, ...],
    foreign: bool,
) -> None:
    """Refuse attributions that no parameter gets a gradient from.

    Parameters are the model's, and whatever else the outputs are computed from that requires a gradient and was not
    given as an argument: with ``torch.func.functional_call`` they may be any tensors.

    Raises:
        DisconnectedAttributionError: If a prior on them would train nothing.
    """
    trained = {id(p) for root in modules_of(model) for p in root.parameters() if p.requires_grad}
    own = {p.data_ptr() for p in points}
    for node in ancestors([a.grad_fn for a in attributions]):
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf.data_ptr() not in own and (id(leaf) in trained or isinstance(leaf, nn.Parameter)):
            return
    reached = {id(leaf) for leaf in _leaves(attributions)}
    own |= {value.data_ptr() for value in given if isinstance(value, Tensor)}
    if any(id(leaf) in reached and leaf.data_ptr() not in own for leaf in _leaves([explained])):
        return
    if not trained and any(True for root in modules_of(model) for _ in root.parameters()):
        why = "no parameter of the model requires a gradient. Call model.requires_grad_() on what is to be trained"
    elif foreign:
        why = (
            "the function given as `attribution` returns tensors without a path to the parameters. Most of "
            "Captum's methods are such (they differentiate without create_graph; some of those for layers take "
            "grad_kwargs={'create_graph': True}), so that a prior on them silently does nothing. Use "
            "attribution='xgradient', 'input_x_gradient', 'gradient', 'expected_gradients' or "
            "'integrated_gradients'; or differentiate with create_graph=True in your function, which "
            "XGradient(…).attribute takes"
        )
    else:
        why = (
            "they do not depend on the parameters, as gradients of an output that is linear in them and in the input "
            "alone may; or the model detaches on the way (detach, .data, no_grad)"
        )
    raise DisconnectedAttributionError(f"{_WHERE}: no gradient of the attributions reaches a parameter: {why}.")


def raise_not_finite(
    step: int,
    prior: Tensor,
    attributions: tuple[Tensor, ...],
    outputs: Tensor,
    inputs: tuple[Tensor, ...],
) -> None:
    """Say at which step, and where first, something was not finite.

    Raises:
        NonFinitePriorError: Always.
    """
    where = f"{_WHERE}: the prior is {prior.item()} at step {step}: "
    for what, tensors in (("inputs", inputs), ("model's outputs", (outputs,)), ("attributions", attributions)):
        for x in tensors:
            if x.dtype.is_floating_point and not bool(torch.isfinite(x).all()):
                bad = first_not_finite(x.detach())
                raise NonFinitePriorError(
                    f"{where}the {what} have NaN or infinity, first in example {bad}. {_ADVICE[what]}"
                )
    largest = max(float(a.detach().abs().max()) for a in attributions)
    raise NonFinitePriorError(
        f"{where}inputs, outputs and attributions are finite (largest attribution {largest:.3g}), so the prior itself "
        "divides by zero or overflows on them. Nothing was changed."
    )


_ADVICE = {
    "inputs": "Clean the data. Nothing was changed.",
    "model's outputs": "Training diverged earlier (try a lower learning rate, gradient clipping, or a smaller weight "
    "of the prior), or the model overflows in this dtype. Nothing was changed.",
    "attributions": "The outputs are finite, so their gradient is not: often the square root or norm of exactly zero. "
    "Nothing was changed.",
}


def _leaves(tensors: tuple[Tensor, ...] | list[Tensor]) -> Iterator[Tensor]:
    yield from (node.variable for node in ancestors([t.grad_fn for t in tensors]) if hasattr(node, "variable"))
