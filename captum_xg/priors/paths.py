"""Paths of gradients: from the attributions to the parameters, and from the prior back to the attributions.

The invariant: no prior is trained with that would train nothing. A path must lead from Ω(A), and from every term of a
sum that it is, to attributions, and from these to a parameter. What counts is the graph and never the value of a
gradient, which may be zero on one batch for good reasons: ``x.abs().mean()`` at attributions that are all zero has a
path, ``(x > 0).float().mean()`` has none. Captum's attributions have none either: they differentiate without
``create_graph``, and a prior on them silently did nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.autograd.graph import Node

from captum_xg._core.autograd_graph import ancestors, gradient_ancestors, own_nodes, without_derivative
from captum_xg._core.losses import checked_number
from captum_xg._core.modules import modules_of
from captum_xg._core.options import single_number
from captum_xg._core.types import ForwardFunction, Tensors
from captum_xg.errors import DisconnectedAttributionError, PriorOutputError
from captum_xg.priors.supported import WHERE


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

    def __init__(self, model: ForwardFunction, points: Tensors, explained: Tensor, given: tuple[object, ...]) -> None:
        roots = modules_of(model)
        # By identity, never by name or value: two parameters may be equal, and tied ones are one.
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
            # A handle is a leaf, too, and lies where the input does: a path that ends at the inputs trains nothing.
            own = _place(leaf) not in self._points
            if own and (id(leaf) in self._parameters or isinstance(leaf, nn.Parameter)):
                return True
            met.append(id(leaf))
        # Only where no parameter was met are the leaves of the outputs looked for, which is a walk through their graph.
        if self._others is None:
            leaves = _leaves([self._explained])
            self._others = {id(leaf) for leaf in leaves if _place(leaf) not in self._given}
        return not self._others.isdisjoint(met)


def require_path_to_parameters(attributions: Tensors, trained: Trained, *, custom: bool) -> Tensors:
    """Return those of the attributions that parameters get a gradient from, of which there must be one.

    Raises:
        DisconnectedAttributionError: If a prior on them would train nothing.
    """
    # One input may be without a path, as where it enters linearly, as long as another one has one.
    connected = tuple(a for a in attributions if trained.reached_from(a))
    if connected:
        return connected
    if trained.frozen:
        why = "no parameter of the model requires a gradient. Call model.requires_grad_() on what is to be trained"
    elif custom:
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
    raise DisconnectedAttributionError(f"{WHERE}: no gradient of the attributions reaches a parameter: {why}.")


def checked_prior(value: object, what: str, where: str = WHERE) -> Tensor:
    """Return the value of a prior if it is one real number in a tensor.

    Raises:
        PriorOutputError: For numbers of Python and NumPy and for integers, from which no gradient leads anywhere.
        ForwardOutputError: For anything else.
    """
    if isinstance(value, Tensor):
        cut = value.dim() == 0 and not (value.dtype.is_floating_point or value.dtype.is_complex)
        found = f"a tensor of {value.dtype}"
    else:
        cut = isinstance(value, bool) or single_number(value) is not None
        found = f"a number of type {type(value).__name__}"
    if cut:
        raise PriorOutputError(
            f"{where}: {what} must return one floating-point number, a tensor of shape (), but returned {found}, from "
            f"which no gradient leads back to the attributions. {_NO_PATH}"
        )
    return checked_number(value, what, where)


def nodes_of(attributions: Tensors, connected: Tensors) -> tuple[frozenset[Node], ...]:
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
    # Not beyond the attributions: behind them lies the graph of the model, which every one of them has.
    met = list(gradient_ancestors([value], until=everything))
    if any(map(without_derivative, met)):
        raise DisconnectedAttributionError(
            f"{WHERE}: {what} uses an operation that PyTorch has no derivative of, such as heaviside or //, so that "
            "it cannot be trained with. Use a smooth function in its place."
        )
    if connected.isdisjoint(met):
        misses = "the attributions" if everything.isdisjoint(met) else "those attributions that depend on parameters"
        raise DisconnectedAttributionError(f"{WHERE}: no gradient leads from {what} back to {misses}. {_NO_PATH}")


_NO_PATH = (
    "It would train nothing. Comparisons, argmax, one_hot, rounding, sign, .item(), NumPy, detach and no_grad cut the "
    "path. Use a smooth function in their place, such as sigmoid((a - t) / s) for a > t; where there is nothing to "
    "penalise in a batch, return 0 * attributions.sum(); to measure without training call .eval() on the loss, or set "
    "weight=0."
)


def _place(tensor: Tensor) -> int:
    """Return where a tensor's numbers are, the same for a detached one, or what else tells it from others."""
    try:
        return tensor.data_ptr()  # handles and clones of views share it, which `is` would not see
    except RuntimeError:  # sparse
        return id(tensor)


def _leaves(tensors: Tensors | list[Tensor]) -> Iterator[Tensor]:
    yield from (node.variable for node in ancestors([t.grad_fn for t in tensors]) if hasattr(node, "variable"))
