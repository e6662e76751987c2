"""X-Gradient of a neuron: Integrated Gradients of what a layer gives, by the inputs, from one gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from captum_xg._core.captum_compat import (
    GradientAttribution,
    NeuronAttribution,
    NeuronIntegratedGradients,
    log_usage,
)
from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, switch
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Baselines, Inputs, Target, Tensors
from captum_xg.attr.call_options import batch_size, require_options_of_integration, said_further
from captum_xg.attr.explainer import Explainer, OnViolation, Validation
from captum_xg.attr.layers.arguments import checked_layers
from captum_xg.attr.layers.neurons import Neurons, Selector, checked_selector
from captum_xg.attr.task import Outcome, Task
from captum_xg.errors import OptionTypeError


class NeuronXGradient(Explainer, NeuronAttribution, GradientAttribution):  # type: ignore[misc]  # Captum has no types
    r"""Integrated Gradients of a neuron against the zero baseline, exactly, from one forward and one backward pass.

    It is :class:`~captum_xg.XGradient` of the function from the inputs to what a layer gives, or gets, of which a
    selector picks one number for each example. So the part from the inputs to the layer has to be homogeneous; what
    follows the layer may be anything. It takes the place of :class:`captum.attr.NeuronIntegratedGradients`.

    Args:
        forward_func: A module or any callable.
        layer: A module in it that runs once in a forward pass.
        device_ids: For compatibility; a model in ``nn.DataParallel`` runs on its first device.
        multiply_by_inputs: Return x·∇f/k, else ∇f/k, for the neuron f.
        degree, validate, on_violation, rtol: As of :class:`~captum_xg.XGradient`, for f.

    Raises:
        DegreeError, OptionTypeError, OptionError: If an option has no such value.

    Source: Hesse et al. 2021, Proposition 3.2, for the part of the network up to the layer.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> NeuronXGradient(model, model[1]).attribute(torch.rand(5, 3), neuron_selector=2).shape
        torch.Size([5, 3])
    """

    _name = "NeuronXGradient"

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        degree: float | Literal["auto"] = 1,
        validate: Validation = "auto",
        on_violation: OnViolation = "raise",
        rtol: float | None = None,
    ) -> None:
        forward_function(forward_func, "forward_func", self._name)
        if isinstance(layer, list):
            raise OptionTypeError(f"{self._name}: `layer` must be one module but is a list; make one object for each.")
        checked_layers(layer, self._name)
        NeuronAttribution.__init__(self, forward_func, layer, device_ids)
        GradientAttribution.__init__(self, forward_func)
        self._take_options(multiply_by_inputs, degree, validate, on_violation, rtol)
        # One object for each for all calls, as proofs are kept of them.
        self._neurons_of: tuple[object, object] = (None, None)
        self._neurons_at(False)

    @log_usage()  # type: ignore[untyped-decorator]  # NoiseTunnel reads the __wrapped__ that it leaves
    def attribute(
        self,
        inputs: Inputs,
        neuron_selector: Selector,
        baselines: Baselines = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Inputs:
        """Return x·∇f(x)/k for every input, in the order of arguments of Captum's neuron method.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
            neuron_selector: The neuron f: an integer for a layer that gives ``(N, C)``; a tuple of integers, one for
                each dimension behind the examples, in which slices mean the sum of a range; or a function of what the
                layer gives (a tuple where it gives several tensors) that returns one number for each example, or one
                for all of them.
            baselines: None, 0, or zeros in any form that Captum takes; with ``on_violation="integrate"`` any that
                Captum takes.
            additional_forward_args: What follows the inputs in a call; not attributed to.
            n_steps: A positive integer, for compatibility; there is nothing to approximate.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most examples in one forward pass. All at once if None.
            attribute_to_neuron_input: Select from what the layer gets, and not from what it gives.

        Returns:
            Attributions in the form and shape of ``inputs``.

        Raises:
            OptionError: If the layer does not run exactly once, or an option is unsuitable.
            TargetError: If the selector does not pick one neuron of what the layer gives.
            HomogeneityError: If the neuron is not homogeneous of degree k; and all others of
                :meth:`captum_xg.XGradient.attribute`.
        """
        where = f"{self._name}.attribute"
        require_options_of_integration(n_steps, method, where)
        selector = checked_selector(neuron_selector, where)
        at_input = switch(attribute_to_neuron_input, "attribute_to_neuron_input", where)

        def ours() -> tuple[Any, Outcome]:
            limits = (internal_batch_size, n_steps)
            return self._attribute(inputs, selector, baselines, additional_forward_args, *limits, at_input)

        def captums() -> Any:
            captum = NeuronIntegratedGradients(self.forward_func, self.layer, self.device_ids, self._multiply_by_inputs)
            rest = (n_steps, method, internal_batch_size, at_input)
            return captum.attribute(inputs, neuron_selector, baselines, additional_forward_args, *rest)

        result, outcome = self._or_as_captum(ours, captums, f"{n_steps} steps of {method}")
        self._warn(outcome, 3)  # past the logging decorator
        return result  # type: ignore[no-any-return]

    def _attribute(
        self,
        inputs: Any,
        selector: Selector,
        baselines: Baselines,
        additional_forward_args: object,
        internal_batch_size: int | None,
        n_steps: int,
        at_input: bool,
    ) -> tuple[Any, Outcome]:
        where = f"{self._name}.attribute"
        formatted = format_inputs(inputs, where)
        start = self._start(baselines, formatted, where)
        size = batch_size(internal_batch_size, len(formatted[0]), where)
        require_memory(self.forward_func, where)
        neurons = self._neurons_at(at_input)
        with torch.inference_mode(False), ids_refused(self.forward_func, inputs, additional_forward_args, where):
            function = ScalarFunction(neurons, additional_forward_args, None, where)
            task = Task(function, formatted, size, False, start, internal_batch_size, n_steps=n_steps)
            outcome = self._of_neuron(neurons, selector, task)
        found = outcome.attributions
        return (found if isinstance(inputs, tuple) else found[0]), outcome

    def _neurons_at(self, at_input: bool) -> Neurons:
        """Return the function from the inputs to the layer, which may have been replaced, as ``forward_func`` may."""
        if self._neurons_of[0] is not self.forward_func or self._neurons_of[1] is not self.layer:
            where = f"{self._name}.attribute"
            # A new dictionary, as a copy of this object shares the old one.
            self._neurons = {i: Neurons(self.forward_func, self.layer, i, where) for i in (False, True)}
            self._neurons_of = (self.forward_func, self.layer)
        return self._neurons[at_input]

    def _of_neuron(self, neurons: Neurons, selector: Selector, all_neurons: Task) -> Outcome:
        """Return the attributions of what the selector picks, for a task that is about all that the layer gives."""
        where, x, additional = f"{self._name}.attribute", all_neurons.inputs, all_neurons.function.additional
        neurons.summed = neurons.select = None
        neurons.whole_batch = 0
        target: Target = None
        if callable(selector):
            neurons.select = selector
            neurons.whole_batch = self._is_of_all(neurons, x, additional)
        elif isinstance(selector, tuple) and any(isinstance(part, slice) for part in selector):
            neurons.summed = selector
        else:
            # As a target, so that one proof serves all neurons.
            target = selector
        task = replace(all_neurons, function=ScalarFunction(neurons, additional, target, where))
        if neurons.whole_batch:
            start = task.start if task.start is None else tuple(part.unsqueeze(0) for part in task.start)
            # Several points would be several batches, which the model does not take at once.
            task = replace(task, inputs=tuple(part.unsqueeze(0) for part in x), start=start, size=1, at_once=1)
        picks = "`neuron_selector`" if target is None else "`target`, here `neuron_selector`,"
        with said_further(lambda: f"F is the neuron that {picks} picks of {neurons.described()}."):
            outcome = self._explained(task)
        if neurons.whole_batch:
            outcome.attributions = tuple(a.squeeze(0) for a in outcome.attributions)
        return outcome

    def _is_of_all(self, neurons: Neurons, x: Tensors, additional: tuple[object, ...]) -> int:
        """Return the number of inputs if the selector gives one number for all of several examples, else 0."""
        if self.validate != "off":
            require_evaluation_mode(self.forward_func, f"{self._name}.attribute")
        if len(x[0]) == 1:
            return 0
        with torch.no_grad(), preserve_state(self.forward_func, x[0].device):
            selected = neurons(*(part.detach().clone() for part in x), *additional)
        return len(x) if selected.numel() == 1 else 0
