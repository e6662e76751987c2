"""What must not happen unseen: a prior that trains nothing, and one that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from captum_xg._core.autograd_graph import ancestors
from captum_xg._core.gradient_paths import gradient_ancestors, own_nodes, without_derivative
from captum_xg._core.inputs import first_not_finite
from captum_xg._core.losses import checked_number
from captum_xg._core.modules import modules_of
from captum_xg._core.options import single_number
from captum_xg.errors import DisconnectedAttributionError, NonFinitePriorError, PriorOutputError

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


class Trained:
    """What the model is trained by: the leaves in the graph of its outputs that a gradient is wanted of.

    Parameters are the model's, and whatever else the outputs are computed from that requires a gradient and was not
    given as an argument: with ``torch.func.functional_call`` they may be any tensors.

    Args:
        model: The model.
        points: What is attributed to.
        explained: The output.
        given: What the model was called with.
    """

    def __init__(
        self, model: Callable[..., Any], points: tuple[Tensor, ...], explained: Tensor, given: tuple[Any, ...]
    ) -> None:
        roots = modules_of(model)
        self.has_parameters = any(True for root in roots for _ in root.parameters())
        self._parameters = {id(p) for root in roots for p in root.parameters() if p.requires_grad}
        self._explained = explained
        self._points = set(map(_place, points))
        self._given = self._points | {_place(value) for value in given if isinstance(value, Tensor)}
        self._others: set[int] | None = None

    @property
    def frozen(self) -> bool:
        """Whether the model has parameters, none of which requires a gradient."""
        return self.has_parameters and not self._parameters

    def reached_from(self, attributions: Tensor) -> bool:
        """Return whether a gradient of the attributions comes to one of the parameters."""
        met = []
        for node in gradient_ancestors([attributions]):
            leaf = getattr(node, "variable", None)
            if leaf is None:
                continue
            own = _place(leaf) not in self._points
            if own and (id(leaf) in self._parameters or isinstance(leaf, nn.Parameter)):
                return True
            met.append(id(leaf))
        if self._others is None:
            leaves = _leaves([self._explained])
            self._others = {id(leaf) for leaf in leaves if _place(leaf) not in self._given}
        return not self._others.isdisjoint(met)


def require_path_to_parameters(
    attributions: tuple[Tensor, ...], trained: Trained, *, foreign: bool
) -> tuple[Tensor, ...]:
    """Return those of the attributions that parameters get a gradient from, of which there must be one.

    Raises:
        DisconnectedAttributionError: If a prior on them would train nothing.
    """
    connected = tuple(a for a in attributions if trained.reached_from(a))
    if connected:
        return connected
    if trained.frozen:
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


def checked_prior(value: Any, what: str, where: str = _WHERE) -> Tensor:
    """Return the value of a prior if it is one real number in a tensor.

    Raises:
        PriorOutputError: For numbers of Python and NumPy and for integers, from which no gradient leads anywhere.
        ForwardOutputError: For anything else.
    """
    is_tensor = isinstance(value, Tensor)
    if (is_tensor and value.dim() == 0 and not (value.dtype.is_floating_point or value.dtype.is_complex)) or (
        not is_tensor and (isinstance(value, bool) or single_number(value) is not None)
    ):
        found = f"a tensor of {value.dtype}" if is_tensor else f"a number of type {type(value).__name__}"
        raise PriorOutputError(
            f"{where}: {what} must return one floating-point number, a tensor of shape (), but returned {found}, from "
            f"which no gradient leads back to the attributions. {_NO_PATH}"
        )
    return checked_number(value, what, where)


def nodes_of(attributions: tuple[Tensor, ...], connected: tuple[Tensor, ...]) -> tuple[frozenset[Node], ...]:
    """Return the nodes of all attributions and of those with a path to the parameters, as they are before the prior."""
    return tuple(frozenset(node for a in each for node in own_nodes(a)) for each in (attributions, connected))


def require_path_to_attributions(value: Tensor, nodes: tuple[frozenset[Node], ...], what: str) -> None:
    """Refuse a prior, or a term of one, whose value no gradient leads back from to the attributions.

    What counts is the path and not the gradient, which may be zero on one batch, as where all attributions are.

    Args:
        value: Ω(A).
        nodes: Of the attributions, see :func:`nodes_of`.
        what: What has that value.

    Raises:
        DisconnectedAttributionError: If the prior would train nothing, or PyTorch has no derivative of it.
    """
    everything, connected = nodes
    met = list(gradient_ancestors([value], until=everything))
    if any(map(without_derivative, met)):
        raise DisconnectedAttributionError(
            f"{_WHERE}: {what} uses an operation that PyTorch has no derivative of, such as heaviside or //, so that "
            "it cannot be trained with. Use a smooth function in its place."
        )
    if connected.isdisjoint(met):
        misses = "the attributions" if everything.isdisjoint(met) else "those attributions that depend on parameters"
        raise DisconnectedAttributionError(f"{_WHERE}: no gradient leads from {what} back to {misses}. {_NO_PATH}")


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


_NO_PATH = (
    "It would train nothing. Comparisons, argmax, one_hot, rounding, sign, .item(), NumPy, detach and no_grad cut the "
    "path. Use a smooth function in their place, such as sigmoid((a - t) / s) for a > t; where there is nothing to "
    "penalise in a batch, return 0 * attributions.sum(); to measure without training call .eval() on the loss, or set "
    "weight=0."
)
_ADVICE = {
    "inputs": "Clean the data. Nothing was changed.",
    "model's outputs": "Training diverged earlier (try a lower learning rate, gradient clipping, or a smaller weight "
    "of the prior), or the model overflows in this dtype. Nothing was changed.",
    "attributions": "The outputs are finite, so their gradient is not: often the square root or norm of exactly zero. "
    "Nothing was changed.",
}


def _place(tensor: Tensor) -> int:
    """Return where a tensor's numbers are, the same for a detached one, or what else tells it from others."""
    try:
        return tensor.data_ptr()
    except RuntimeError:  # sparse
        return id(tensor)


def _leaves(tensors: tuple[Tensor, ...] | list[Tensor]) -> Iterator[Tensor]:
    yield from (node.variable for node in ancestors([t.grad_fn for t in tensors]) if hasattr(node, "variable"))
