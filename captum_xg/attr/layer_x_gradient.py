"""X-Gradient at a layer: Integrated Gradients of what a layer gives, from one gradient, in Captum's form."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captum_xg._core.captum_compat import (
    GradientAttribution,
    LayerAttribution,
    LayerIntegratedGradients,
    log_usage,
)
from captum_xg._core.function import ScalarFunction, checked_arguments
from captum_xg._core.many_targets import ManyTargets, Targets, checked_targets
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, switch
from captum_xg._core.types import Baselines, Target, Tensors
from captum_xg.attr.call_options import batch_size, require_options_of_integration, rows_at_once, said_further
from captum_xg.attr.explainer import Explainer, OnViolation, Validation
from captum_xg.attr.layers.arguments import (
    Front,
    checked_grad_kwargs,
    checked_layers,
    convergence_delta,
    front_baselines,
    front_inputs,
    path_ends,
    require_zero_start,
)
from captum_xg.attr.layers.behind import BehindLayer
from captum_xg.attr.task import Outcome, Task

LayerAttributions = Tensor | tuple[Tensor, ...] | list[Tensor | tuple[Tensor, ...]]
"""A tensor for a layer that gives one, a tuple where it gives several, a list for a list of layers."""


class LayerXGradient(Explainer, LayerIntegratedGradients):  # type: ignore[misc]  # Captum has no types
    r"""Integrated Gradients of what a layer gives, exactly, from one forward and one backward pass.

    Let F(x) = G(h(x)), where h is what the layer gives. If G(αh) = αᵏG(h) for all α > 0 and k ≥ 1, and h is zero at the
    baseline, then :class:`captum.attr.LayerIntegratedGradients` is

    .. math:: h_i \int_0^1 \frac{\partial G(\alpha h)}{\partial h_i}\, d\alpha
              = \frac{1}{k}\, h_i \frac{\partial G(h)}{\partial h_i}.

    It takes its place without another edit, also where code asks for an instance of Captum's class. Only the part from
    the layer to the score has to be homogeneous: both checks scale what the layer gives. The front may be anything, so
    inputs may be token ids; whether the layer is zero at the baseline is looked at on every call.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        layer: A module in it that runs once in a forward pass, or a list of such, none of which may only serve another;
            None where something else sets ``layer`` before it calls, as Captum's TCAV does.
        device_ids: For compatibility; a model in ``nn.DataParallel`` runs on its first device.
        multiply_by_inputs: Return h·∇G/k, else ∇G/k.
        degree, validate, on_violation, rtol: As of :class:`~captum_xg.XGradient`, for G.

    Raises:
        DegreeError, OptionTypeError, OptionError: If an option has no such value.

    Source: Hesse et al. 2021, Proposition 3.2, for the part of the network behind the layer.

    Example:
        >>> embedding, head = torch.nn.Embedding(9, 3, padding_idx=0), torch.nn.Linear(3, 2, bias=False)
        >>> model = torch.nn.Sequential(embedding, torch.nn.ReLU(), head)
        >>> ids = torch.tensor([[3, 7, 0]])
        >>> LayerXGradient(lambda ids: model(ids).sum(1), embedding).attribute(ids, target=1).shape
        torch.Size([1, 3, 3])
    """

    _name = "LayerXGradient"

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | list[nn.Module] | None,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        degree: float | Literal["auto"] = 1,
        validate: Validation = "auto",
        on_violation: OnViolation = "raise",
        rtol: float | None = None,
    ) -> None:
        forward_function(forward_func, "forward_func", self._name)
        later = layer is None  # TCAV sets it, to each of its layers in turn
        if not later:
            checked_layers(layer, self._name)
        LayerAttribution.__init__(self, forward_func, layer, device_ids)
        GradientAttribution.__init__(self, forward_func)
        self._take_options(multiply_by_inputs, degree, validate, on_violation, rtol)
        self._behind_of: tuple[object, ...] = ()
        if not later:
            self._behind_at(False)

    @typing.overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        *,
        return_convergence_delta: Literal[True],
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> tuple[Any, Tensor]: ...

    @typing.overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any: ...

    @log_usage()  # type: ignore[untyped-decorator]  # NoiseTunnel reads the __wrapped__ that it leaves
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Return h·∇G(h)/k for what the layer gives, in the order of arguments of Captum's layer method.

        Args:
            inputs: What the whole model is called with: tensor, or tuple of tensors, of shape ``(N, …)`` and any type.
            baselines: Inputs at which the layer gives zero, in any form that Captum takes; None for zeros. With
                ``on_violation="integrate"`` any inputs.
            target: Which output is explained, in the forms that Captum takes.
            additional_forward_args: What follows the inputs in a call.
            n_steps: A positive integer, for compatibility; there is nothing to approximate.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most examples in one forward pass. All at once if None.
            return_convergence_delta: Also return Σ attributions − (F(x) − F(baseline)), shape ``(N,)``.
            attribute_to_layer_input: Attribute to what the layer gets, and not to what it gives.
            grad_kwargs: ``{"create_graph": True}`` keeps the graph, so that a loss of the attributions has gradients
                for all parameters, those in front of the layer too. With ``materialize_grads`` or ``allow_unused`` what
                the score does not use has attributions of zero and is no error; ``retain_graph`` changes nothing.

        Returns:
            Attributions of the shape of what the layer gives: a tensor; a tuple where the layer gives several; a list
            of these for a list of layers. With ``return_convergence_delta`` a pair of them and the deltas.

        Raises:
            OptionError: If a layer does not run, runs several times, or gives something else than floating-point
                tensors; or another option is unsuitable.
            BaselineError: If the layer does not give zero at the baseline, or that does not fit the inputs.
            InputError, TargetError, ForwardOutputError, GradientError, ModelStateError, TrainingModeError,
                NondeterministicForwardError, CrossExampleError, DegreeError: As of :class:`~captum_xg.XGradient`.
            HomogeneityError: If G is not homogeneous of degree k. It carries the report and names the layers.
        """
        where = f"{self._name}.attribute"
        require_options_of_integration(n_steps, method, where)
        with_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        at_input = switch(attribute_to_layer_input, "attribute_to_layer_input", where)
        kept = checked_grad_kwargs(grad_kwargs, where)

        def ours() -> tuple[Any, Outcome]:
            options = (internal_batch_size, n_steps, with_delta, at_input, *kept)
            return self._attribute(inputs, baselines, target, additional_forward_args, *options)

        def captums() -> Any:
            captum = LayerIntegratedGradients(self.forward_func, self.layer, self.device_ids, self._multiply_by_inputs)
            rest = (n_steps, method, internal_batch_size, with_delta, at_input, grad_kwargs)
            return captum.attribute(inputs, baselines, target, additional_forward_args, *rest)

        result, outcome = self._or_as_captum(ours, captums, f"{n_steps} steps of {method}")
        self._warn(outcome, 3)  # past the logging decorator
        return result

    def _attribute(
        self,
        inputs: object,
        baselines: Baselines,
        target: Target,
        additional_forward_args: object,
        internal_batch_size: int | None,
        n_steps: int,
        with_delta: bool,
        at_input: bool,
        recorded: bool,
        unused_as_zero: bool,
    ) -> tuple[Any, Outcome]:
        where, behind = f"{self._name}.attribute", self._behind_at(at_input)
        with torch.inference_mode(False):
            front = self._front(inputs, baselines, additional_forward_args, where)
            size = batch_size(internal_batch_size, front.n, where)
            start, values = self._values(behind, front, size, recorded, where)
            function = ScalarFunction(behind, front.arguments, target, where, unused_as_zero=unused_as_zero)
            task = Task(function, values, size, recorded, start, internal_batch_size, n_steps=n_steps)
            with said_further(behind.described):
                outcome = self._explained(task)
            attributions = outcome.attributions
            delta = convergence_delta(attributions, behind, front, target, size, where) if with_delta else None
        entries = behind.packed(attributions)
        result = entries if isinstance(self.layer, list) else entries[0]
        return (result if delta is None else (result, delta)), outcome

    def attribute_all(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        targets: Targets = None,
        baselines: Baselines = None,
        additional_forward_args: object = None,
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return h·∇G(h)/k for many targets at once; see :meth:`captum_xg.XGradient.attribute_all`.

        Args:
            inputs: What the whole model is called with.
            targets: A sequence of targets, each meant for every example; None for all classes of an output ``(N, C)``.
            baselines: Inputs at which the layer gives zero.
            additional_forward_args: What follows the inputs in a call.
            internal_batch_size: The most pairs of an example and a target in one backward pass, 256 if None.
            attribute_to_layer_input: Attribute to what the layer gets, and not to what it gives.

        Returns:
            Attributions in the form of :meth:`attribute`, with a dimension for the K targets behind the first.
        """
        where = f"{self._name}.attribute_all"
        behind = self._behind_at(switch(attribute_to_layer_input, "attribute_to_layer_input", where))
        rows, many = rows_at_once(internal_batch_size, where), ManyTargets(checked_targets(targets, where), where)
        with torch.inference_mode(False):
            front = self._front(inputs, baselines, additional_forward_args, where)
            size = rows or front.n
            start, values = self._values(behind, front, size, False, where)
            function = ScalarFunction(behind, front.arguments, None, where)
            with said_further(behind.described):
                outcome = self._explained(Task(function, values, size, False, start, rows, many, rows))
        self._warn(outcome, 2)
        entries = behind.packed(outcome.attributions, many=True)
        return entries if isinstance(self.layer, list) else entries[0]

    def _front(self, inputs: object, baselines: object, additional_forward_args: object, where: str) -> Front:
        """Return what the whole model is called with, checked, before anything runs."""
        x = front_inputs(inputs, where)
        start = front_baselines(baselines, x, where)
        additional = checked_arguments(additional_forward_args, where)
        require_memory(self.forward_func, where)
        if self.validate != "off":
            require_evaluation_mode(self.forward_func, where)
        return Front(x, start, additional)

    def _behind_at(self, at_input: bool) -> BehindLayer:
        """Return the part behind the layer; another one where ``forward_func`` or ``layer`` was replaced."""
        layers = checked_layers(self.layer, self._name)
        if list(map(id, self._behind_of)) != list(map(id, (self.forward_func, *layers))):
            # One object for each for all calls, as proofs are kept of them; a new dictionary, as a copy of this object,
            # such as Captum's methods for language models make, shares the old one.
            self._behind = {i: BehindLayer(self.forward_func, layers, i) for i in (False, True)}
            self._behind_of = (self.forward_func, *layers)
        return self._behind[at_input]

    def _values(
        self, behind: BehindLayer, front: Front, size: int, recorded: bool, where: str
    ) -> tuple[Tensors, Tensors]:
        """Return what the layers give at the baseline and at x; refuse other than zero there, if it has to be."""
        behind.where = where
        start, values = path_ends(behind, front, size, recorded=recorded)
        if self.on_violation != "integrate":
            require_zero_start(behind, start, where)
        return start, values
