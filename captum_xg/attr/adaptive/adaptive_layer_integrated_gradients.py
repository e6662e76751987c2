"""Integrated Gradients of what a layer gives, to a tolerance: the method with Captum's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from captum_xg._core.captum_compat import (
    GradientAttribution,
    LayerAttribution,
    LayerIntegratedGradients,
    log_usage,
)
from captum_xg._core.function import ScalarFunction, checked_arguments
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, switch
from captum_xg._core.types import Baselines, Inputs, Target
from captum_xg.attr.adaptive.adaptive_integrated_gradients import (
    MOST_EVALUATIONS,
    AdaptiveIntegratedGradients,
    checked_budget,
    checked_tolerance,
    points_at_once,
)
from captum_xg.attr.adaptive.report import IntegrationWarning
from captum_xg.attr.call_options import batch_size, require_options_of_integration, said_further, with_further
from captum_xg.attr.layers.arguments import (
    Front,
    checked_grad_kwargs,
    checked_layers,
    convergence_delta,
    front_baselines,
    front_inputs,
    path_ends,
)
from captum_xg.attr.layers.behind import BehindLayer
from captum_xg.errors import OptionError


class AdaptiveLayerIntegratedGradients(LayerIntegratedGradients):  # type: ignore[misc]  # Captum has no types
    r"""Integrated Gradients of what a layer gives, to a tolerance, for any model and any baseline.

    Let F(x) = G(h(x)), where h is what the layer gives. Along the straight path from h(b) to h(x),

    .. math:: (h_i(x) - h_i(b)) \int_0^1 \frac{\partial G(h(b) + \alpha (h(x) - h(b)))}{\partial h_i}\, d\alpha

    is integrated as by :class:`~captum_xg.AdaptiveIntegratedGradients`, until 1.5 times the estimated error is within
    the tolerance. Inputs may be token ids, as they are seen by the layers in front alone. What reaches the score past
    the layer stays as it is at x.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        layer: A module in it that runs once in a forward pass, or a list of such: the tolerance is then for all
            attributions together.
        device_ids: For compatibility; a model in ``nn.DataParallel`` runs on its first device.
        multiply_by_inputs: Return (h(x) − h(b))·mean gradient, else the mean gradient.
        rtol, max_evaluations: As of :class:`~captum_xg.AdaptiveIntegratedGradients`.

    Raises:
        OptionTypeError, OptionError: If an option has no such value.

    Source: Sundararajan et al. 2017, Eq. 1 (Integrated Gradients), for the part of the network behind the layer.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> embedding, head = torch.nn.Embedding(9, 3), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2))
        >>> model = torch.nn.Sequential(embedding, torch.nn.GELU(), head)
        >>> ids, padding = torch.tensor([[3, 7, 2]]), torch.zeros(1, 3, dtype=torch.long)
        >>> AdaptiveLayerIntegratedGradients(model, embedding).attribute(ids, padding, target=1).shape
        torch.Size([1, 3, 3])
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | list[nn.Module] | None,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        rtol: float = 1e-2,
        max_evaluations: int = MOST_EVALUATIONS,
    ) -> None:
        where = "AdaptiveLayerIntegratedGradients"
        forward_function(forward_func, "forward_func", where)
        if layer is not None:  # TCAV sets it, to each of its layers in turn
            checked_layers(layer, where)
        LayerAttribution.__init__(self, forward_func, layer, device_ids)
        GradientAttribution.__init__(self, forward_func)
        self._multiply_by_inputs = switch(multiply_by_inputs, "multiply_by_inputs", where)
        self.rtol = checked_tolerance(rtol, where)
        self.max_evaluations = checked_budget(max_evaluations, where)

    @log_usage()  # type: ignore[untyped-decorator]  # NoiseTunnel reads the __wrapped__ that it leaves
    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
        *,
        return_report: bool = False,
    ) -> Any:
        """Return Integrated Gradients of what the layer gives, in the order of arguments of Captum's layer method.

        Args:
            inputs: What the whole model is called with: tensor, or tuple of tensors, of shape ``(N, …)`` and any type.
            baselines: Inputs at whose values of the layer the path begins, in any form that Captum takes; None for
                zeros.
            target: Which output is explained, in the forms that Captum takes.
            additional_forward_args: What follows the inputs in a call.
            n_steps: A positive integer, for compatibility; the tolerance decides.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most points on paths, of all examples together, in one forward pass, and the most
                examples that are worked on at a time. If None, 64 points, or as many as there are examples.
            return_convergence_delta: Also return Σ attributions − (F(x) − F(baseline)), shape ``(N,)``. Paths past the
                layer belong to it.
            attribute_to_layer_input: Attribute to what the layer gets, and not to what it gives.
            grad_kwargs: With ``materialize_grads`` or ``allow_unused`` what the score does not use has attributions of
                zero and is no error; ``create_graph`` must not be on.
            return_report: Also return an :class:`~captum_xg.IntegrationReport`, last.

        Returns:
            Attributions of the shape of what the layer gives: a tensor; a tuple where the layer gives several; a list
            of these for a list of layers. With ``return_convergence_delta`` or ``return_report`` a tuple that begins
            with them.

        Raises:
            OptionError: If a layer does not run, runs several times, or gives something else than floating-point
                tensors; or another option is unsuitable.
            InputError, BaselineError, TargetError, ForwardOutputError, GradientError, ModelStateError,
            TrainingModeError, NondeterministicForwardError, CrossExampleError: As of
                :meth:`captum_xg.AdaptiveIntegratedGradients.attribute`.
        """
        where = "AdaptiveLayerIntegratedGradients.attribute"
        require_options_of_integration(n_steps, method, where)
        with_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        at_input = switch(attribute_to_layer_input, "attribute_to_layer_input", where)
        with_report = switch(return_report, "return_report", where)
        recorded, unused_as_zero = checked_grad_kwargs(grad_kwargs, where)
        if recorded:
            raise OptionError(
                f"{where}: `grad_kwargs` has create_graph, but where the points of an integration to a tolerance lie "
                "is not differentiable. captum_xg.LayerXGradient keeps the graph, where the model is homogeneous."
            )
        with torch.inference_mode(False):
            x = front_inputs(inputs, where)
            front = Front(x, front_baselines(baselines, x, where), checked_arguments(additional_forward_args, where))
            require_memory(self.forward_func, where)
            require_evaluation_mode(self.forward_func, where)
            size = batch_size(internal_batch_size, points_at_once(front.n), where)
            behind = BehindLayer(self.forward_func, checked_layers(self.layer, where), at_input)
            behind.where = where
            start, values = path_ends(behind, front, size)
            function = ScalarFunction(behind, front.arguments, target, where, unused_as_zero=unused_as_zero)
            integration = AdaptiveIntegratedGradients(
                behind, self._multiply_by_inputs, rtol=self.rtol, max_evaluations=self.max_evaluations
            )
            with said_further(behind.described):
                attributions, _, report = integration._attributed(function, values, start, size)
            delta = convergence_delta(attributions, behind, front, target, size, where) if with_delta else None
        message = report.warning(where, self.max_evaluations)
        if message is not None:
            warnings.warn(message, IntegrationWarning, stacklevel=3)  # past the logging decorator: the line that called
        entries = behind.packed(attributions)
        result = entries if isinstance(self.layer, list) else entries[0]
        return with_further(result, delta, report if with_report else None)

    def has_convergence_delta(self) -> bool:
        """Return True: where no path leads past the layer the attributions are complete up to the tolerance."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the attributions are (h(x) − h(b))·mean gradient (else the mean gradient)."""
        return self._multiply_by_inputs
