"""X-Gradient: Integrated Gradients against zero from one forward and one backward pass, in Captum's form."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xg._core.captum_compat import GradientAttribution, IntegratedGradients, log_usage
from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_inputs
from captum_xg._core.many_targets import ManyTargets, Targets, checked_targets
from captum_xg._core.model_state import require_memory
from captum_xg._core.options import forward_function, switch
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Baselines, Inputs, Target, Tensors
from captum_xg.attr.call_options import batch_size, require_options_of_integration, rows_at_once
from captum_xg.attr.explainer import Explainer, OnViolation, Validation
from captum_xg.attr.task import Outcome, Task
from captum_xg.errors import OptionError


class XGradient(Explainer, GradientAttribution):  # type: ignore[misc]  # Captum has no type information
    r"""Integrated Gradients against the zero baseline, exactly, from one forward and one backward pass.

    If F(αx) = αᵏF(x) for all α > 0 and k ≥ 1, then ∇F(αx) = αᵏ⁻¹∇F(x), the path integral is a power of α, and

    .. math:: \mathrm{IG}_i(x) = x_i \int_0^1 \frac{\partial F(\alpha x)}{\partial x_i}\, d\alpha
              = \frac{1}{k}\, x_i \frac{\partial F(x)}{\partial x_i}.

    It takes the place of :class:`captum.attr.IntegratedGradients` without another edit, checks before it returns that F
    is homogeneous, and otherwise names the layers that break it.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        multiply_by_inputs: Return x·∇F/k (global attributions), else ∇F/k, the mean gradient on the path (local ones).
        degree: k ≥ 1, or ``"auto"`` to find it on each call, one k for all examples.
        validate: ``"auto"`` tests F(αx) = αᵏF(x) on every example and proves it op by op (:func:`captum_xg.certify`) at
            the first call for a model state and shape of inputs. While the proof stands, later calls test Euler's
            identity Σ xᵢ·∂ᵢF = kF, and now and then one example at another α; where there is none, all test F(αx). A
            model that changes a Python attribute at every call (``self.calls += 1``) has none that stands.
            ``"numeric"`` tests that on every call, by two forward passes without gradients, and proves nothing.
            ``"certificate"`` refuses what cannot be proven. A proof is made again once the model changes in a way that
            it rests on, which the numbers in weights are not. ``"off"`` tests nothing.
        on_violation: ``"raise"`` a :class:`~captum_xg.errors.HomogeneityError`; or ``"warn"`` once per call
            (:class:`~captum_xg.errors.HomogeneityWarning`) and return x·∇F/k all the same; or ``"integrate"``: give
            Integrated Gradients of any model against any baseline. Where F is not homogeneous, or the baseline not
            zero, they are integrated as by :class:`~captum_xg.AdaptiveIntegratedGradients`; where F is random, mixes
            examples or is otherwise no function to integrate to a tolerance, as Captum does. An
            :class:`~captum_xg.errors.IntegrationNotice` says so, once for each object. Then there is no error that
            Captum's class does not raise, but for ``create_graph=True``.
        rtol: Largest relative deviation that counts as rounding; by default 8 eps of the coarsest dtype involved
            (1 eps for bfloat16 and float16).

    Raises:
        DegreeError: If ``degree`` is not a number ≥ 1 or ``"auto"``.
        OptionTypeError: If ``forward_func`` is no model or function, such as the class of one, or an option is of the
            wrong type, such as a layer in the place where Captum's layer methods take one.
        OptionError: If another option has no such value.

    Source: Hesse et al. 2021, Proposition 3.2 and Eq. 3 (degree k), Definition 3.5 and Eq. 4 (k = 1).

    Example:
        >>> linear, relu = torch.nn.Linear(3, 2, bias=False), torch.nn.ReLU()
        >>> attributions = XGradient(torch.nn.Sequential(linear, relu)).attribute(torch.rand(4, 3), target=1)
        >>> attributions.shape
        torch.Size([4, 3])
    """

    _name = "XGradient"

    def __init__(
        self,
        forward_func: Callable[..., Any],
        multiply_by_inputs: bool = True,
        *,
        degree: float | Literal["auto"] = 1,
        validate: Validation = "auto",
        on_violation: OnViolation = "raise",
        rtol: float | None = None,
    ) -> None:
        super().__init__(forward_function(forward_func, "forward_func", "XGradient"))
        self._take_options(multiply_by_inputs, degree, validate, on_violation, rtol)

    @typing.overload
    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        *,
        return_convergence_delta: Literal[True],
        create_graph: bool = False,
    ) -> tuple[Inputs, Tensor]: ...

    @typing.overload
    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        create_graph: bool = False,
    ) -> Inputs: ...

    @typing.overload
    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines,
        target: Target,
        additional_forward_args: object,
        n_steps: int,
        method: str,
        internal_batch_size: int | None,
        return_convergence_delta: Literal[True],
        *,
        create_graph: bool = False,
    ) -> tuple[Inputs, Tensor]: ...

    @typing.overload
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
        *,
        create_graph: bool = False,
    ) -> Inputs | tuple[Inputs, Tensor]: ...

    @log_usage()  # type: ignore[untyped-decorator]  # NoiseTunnel reads the __wrapped__ that it leaves
    def attribute(
        self,
        inputs: Any,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        create_graph: bool = False,
    ) -> Any:
        """Return x·∇F(x)/k for every input, in the order of arguments of Captum's ``IntegratedGradients.attribute``.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``. Integers are made floating-point. Where a single
                example has several rows of output, as the nodes of a graph are, F is the sum over the rows.
            baselines: None, 0, or zeros in any form that Captum takes; with ``on_violation="integrate"`` any.
            target: Which output is explained, in the forms that Captum takes: one for all examples, or one for each
                (for each row of a single example that has several).
            additional_forward_args: What follows the inputs in a call of the forward function; not attributed to.
            n_steps: For compatibility. An integration goes to 1 %, and on to 0.01 % where half as many gradients do.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most examples, or points of an integration, in one forward pass; all if None.
            return_convergence_delta: Also return Σ attributions − (F(x) − F(baseline)), shape ``(N,)``.
            create_graph: Keep the graph, so that a loss of the attributions has gradients for the parameters (and for
                inputs that require them). Otherwise the attributions are detached.

        Returns:
            Attributions in the form, shape and dtype of ``inputs`` (float32 for coarser ones, as Integrated Gradients
            gives them); with ``return_convergence_delta`` a pair of them and the deltas.

        Raises:
            OptionError, InputError, BaselineError, TargetError: If an argument is unsuitable.
            ForwardOutputError, GradientError: If F or ∇F is not one finite real number per example, or per feature.
            ModelStateError, TrainingModeError: If the model holds no numbers, or dropout or the like is on.
            NondeterministicForwardError, CrossExampleError: If F is random, or mixes the examples of a batch.
            DegreeError: If ``degree="auto"`` and there is no single degree k ≥ 1.
            HomogeneityError: If F is not homogeneous of degree k. It carries the report and names the layers.
        """
        where = "XGradient.attribute"
        require_options_of_integration(n_steps, method, where)
        with_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        recorded = switch(create_graph, "create_graph", where)

        def ours() -> tuple[Any, Outcome]:
            limits = (internal_batch_size, n_steps)
            return self._attribute(inputs, baselines, target, additional_forward_args, *limits, with_delta, recorded)

        def captums() -> Any:
            if recorded:
                raise OptionError(f"{where}: Captum keeps no graph.")
            captum = IntegratedGradients(self.forward_func, self._multiply_by_inputs)
            captum.gradient_func = self.gradient_func
            rest = (n_steps, method, internal_batch_size, with_delta)
            return captum.attribute(inputs, baselines, target, additional_forward_args, *rest)

        result, outcome = self._or_as_captum(ours, captums, f"{n_steps} steps of {method}")
        self._warn(outcome, 3)  # past the logging decorator
        return result

    def _attribute(
        self,
        inputs: Any,
        baselines: Baselines,
        target: Target,
        additional_forward_args: object,
        internal_batch_size: int | None,
        n_steps: int,
        with_delta: bool,
        create_graph: bool,
    ) -> tuple[Any, Outcome]:
        where = "XGradient.attribute"
        formatted = format_inputs(inputs, where)
        start = self._start(baselines, formatted, where)
        size = batch_size(internal_batch_size, len(formatted[0]), where)
        function = ScalarFunction(self.forward_func, additional_forward_args, target, where)
        require_memory(self.forward_func, where)
        deltas = [torch.empty(0)]

        def note_delta(own: ScalarFunction, own_inputs: Tensors, attributions: Tensors) -> None:
            detached, ends = (tuple(x.detach() for x in tensors) for tensors in (attributions, own_inputs))
            # From elsewhere than zero all examples are one part.
            starts = tuple(map(torch.zeros_like, own_inputs)) if start is None else start
            deltas.append(self.compute_convergence_delta(detached, starts, ends, own.target, own.additional or None))

        with ids_refused(self.forward_func, inputs, additional_forward_args, where):
            task = Task(function, formatted, size, create_graph, start, internal_batch_size, n_steps=n_steps)
            outcome = self._explained(task, note_delta if with_delta else None)
        result = outcome.attributions if isinstance(inputs, tuple) else outcome.attributions[0]
        return ((result, torch.cat(deltas[1:])) if with_delta else result), outcome

    def attribute_all(
        self,
        inputs: Inputs,
        targets: Targets = None,
        baselines: Baselines = None,
        additional_forward_args: object = None,
        internal_batch_size: int | None = None,
    ) -> Inputs:
        """Return x·∇F(x)/k for many targets, from one forward pass and backward passes that carry many targets each.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
            targets: A sequence of targets, each an int or a tuple of ints and meant for every example; None for all
                classes of an output of shape ``(N, C)``.
            baselines: None, 0, or zeros in any form that Captum takes.
            additional_forward_args: What follows the inputs in a call; not attributed to.
            internal_batch_size: The most pairs of an example and a target in one backward pass, 256 if None. The
                attributions themselves are K times as large as the inputs.

        Returns:
            For K targets attributions of shape ``(N, K, …)``, a tuple of them for a tuple of inputs, detached: those of
            :meth:`attribute` with each target, stacked. Each target is validated as there.

        Raises:
            TargetError: If a target does not choose one number; and all others of :meth:`attribute`.
        """
        where = "XGradient.attribute_all"
        formatted = format_inputs(inputs, where)
        start = self._start(baselines, formatted, where)
        rows, many = rows_at_once(internal_batch_size, where), ManyTargets(checked_targets(targets, where), where)
        function = ScalarFunction(self.forward_func, additional_forward_args, None, where)
        require_memory(self.forward_func, where)
        with ids_refused(self.forward_func, inputs, additional_forward_args, where):
            size = rows or len(formatted[0])
            outcome = self._explained(Task(function, formatted, size, False, start, rows, many, rows))
        self._warn(outcome, 2)
        return outcome.attributions if isinstance(inputs, tuple) else outcome.attributions[0]

    def compute_convergence_delta(
        self,
        attributions: Tensor | tuple[Tensor, ...],
        start_point: Baselines,
        end_point: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: object = None,
    ) -> Tensor:
        """Return Σ attributions − (F(end) − F(start)) for every example, shape ``(N,)``, as Captum's method does.

        Where a single example has several rows of output, F is their sum, as in :meth:`attribute`; Captum's own method
        takes the sum of the attributions for that of every row.
        """
        where = "XGradient.compute_convergence_delta"
        function = ScalarFunction(self.forward_func, additional_forward_args, target, where)
        # Clones, as the first layer may work in place. The target is chosen already, so Captum is not told of it.
        scalar = GradientAttribution(lambda *inputs: function.values(tuple(x.clone() for x in inputs)))
        delta: Tensor = scalar.compute_convergence_delta(attributions, start_point, end_point)
        return delta
