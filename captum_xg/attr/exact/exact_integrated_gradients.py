"""Integrated Gradients without error, of piecewise linear networks: the method with Captum's interface."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xg._core.captum_compat import SUPPORTED_METHODS, GradientAttribution, log_usage
from captum_xg._core.function import ScalarFunction
from captum_xg._core.options import forward_function, number_that, one_of, positive_integer, switch
from captum_xg._core.types import Baselines, Inputs, Target
from captum_xg.attr.adaptive.samples import Array, Indices
from captum_xg.attr.call_options import require_gradients_of_f, require_options_of_integration, with_further
from captum_xg.attr.exact.paths import Call, checked, prepared
from captum_xg.attr.exact.report import ExactReport, report_of
from captum_xg.attr.exact.steps import MOST_STEPS, StepsNeeded, errors_of_rules, first_within, numbers_of_steps, rule_of
from captum_xg.errors import OptionError

MOST_REGIONS = 100_000
"""The most regions of one example, unless the caller says otherwise."""


class ExactIntegratedGradients(GradientAttribution):  # type: ignore[misc]  # Captum has no type information
    r"""Integrated Gradients without error, for piecewise linear networks and any baseline.

    .. math:: \mathrm{IG}_i(x) = (x_i - b_i) \int_0^1 \frac{\partial F(b + \alpha (x - b))}{\partial x_i}\, d\alpha
              = (x_i - b_i) \sum_r (\alpha_{r+1} - \alpha_r)\, \frac{\partial F}{\partial x_i}\Big|_r

    On the straight path from b to x a network of affine layers, ReLU, LeakyReLU, PReLU, abs, Hardtanh, max pooling,
    batch norm in evaluation mode, sorting and the like is linear between finitely many places. All of them are found,
    and one gradient is taken in each region between two: biases and kinks make no error, whatever their number. A
    network of 10,000 ReLUs has some 3,000 regions on a path, a homogeneous one against zero has one.

    That F is piecewise linear is proven operation by operation while it runs; what is not (GELU, softmax, LayerNorm, a
    product of two features) is an error that names the operation and its line. The proof is confronted with numbers:
    in each region F must change as its gradient says, and regions must meet.

    Everything is computed in float64: modules in a copy, other callables in what they are given.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        multiply_by_inputs: Return (x − b)·mean gradient (global attributions), else the mean gradient along the path
            (local ones).
        max_regions: The most regions of one example. Each takes about one and a half gradients of time.

    Raises:
        OptionTypeError: If ``forward_func`` is no model or function, or an option is of the wrong type.
        OptionError: If an option has no such value.

    Source: Sundararajan et al. 2017, Eq. 1 (Integrated Gradients); Sotoudeh and Thakur 2019, *Computing Linear
    Restrictions of Neural Networks* (that they can be computed exactly on a line).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> x, baseline = torch.rand(4, 3), torch.full((1, 3), 0.5)
        >>> attributions, report = ExactIntegratedGradients(model).attribute(x, baseline, 1, return_report=True)
        >>> bool((report.completeness_gap < 1e-10).all())
        True
    """

    def __init__(
        self, forward_func: Callable[..., Any], multiply_by_inputs: bool = True, *, max_regions: int = MOST_REGIONS
    ) -> None:
        where = "ExactIntegratedGradients"
        super().__init__(forward_function(forward_func, "forward_func", where))
        self._multiply_by_inputs = switch(multiply_by_inputs, "multiply_by_inputs", where)
        self.max_regions = positive_integer(max_regions, "max_regions", where)

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
        return_report: Literal[False] = False,
    ) -> Inputs: ...

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
        return_report: Literal[True],
    ) -> tuple[Inputs, ExactReport]: ...

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
        return_report: bool = False,
    ) -> Any: ...

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
        return_report: bool = False,
    ) -> Any:
        """Return Integrated Gradients, in the order of arguments of Captum's ``IntegratedGradients.attribute``.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``. Integers are made floating-point.
            baselines: None for zeros, a number, or a tensor of the inputs' shape or with 1 in place of N; a tuple of
                these for several inputs.
            target: Which output is explained, in the forms that Captum takes: one for all examples, or one for each.
            additional_forward_args: What follows the inputs in a call of the forward function; not attributed to.
            n_steps: A positive integer, for compatibility: there is nothing to approximate.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most points on paths, of all examples together, in one forward pass. If None, as
                many as have some half a million activations with kinks together, at most 2,048; up to 32 with more.
            return_convergence_delta: Also return Σ attributions − (F(x) − F(b)), shape ``(N,)``.
            return_report: Also return an :class:`ExactReport`, last.

        Returns:
            Attributions in the form, shape and dtype of ``inputs`` (float32 for coarser ones), detached; with
            ``return_convergence_delta`` or ``return_report`` a tuple that begins with them.

        Raises:
            NotPiecewiseLinearError: If F is not continuous and piecewise linear on a path, with the gradient that
                autograd gives; it names the first operation that is not.
            RegionLimitError: If a path has more than ``max_regions`` regions.
            OptionError, InputError, BaselineError, TargetError: If an argument is unsuitable.
            ForwardOutputError, GradientError: If F or ∇F is not one finite real number per example, or per feature.
            ModelStateError, TrainingModeError: If the model holds no numbers, or dropout or the like is on.
            NondeterministicForwardError, CrossExampleError: If F is random, or mixes the examples of a batch.
        """
        where = "ExactIntegratedGradients.attribute"
        require_options_of_integration(n_steps, method, where)
        with_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        with_report = switch(return_report, "return_report", where)
        call = self._call(inputs, baselines, target, additional_forward_args, internal_batch_size, where)
        with prepared(call) as paths:
            means = torch.zeros_like(paths.points.displacement)

            def collect(examples: Indices, left: Array, right: Array, gradients: Tensor) -> None:
                lengths = torch.from_numpy(right - left).to(gradients.device).unsqueeze(1)
                means.index_add_(0, torch.from_numpy(examples).to(gradients.device), lengths * gradients)

            pieces = paths.walked(range(len(means)), self.max_regions, collect)
            total = means * paths.points.displacement
            attributions = paths.split(total if self._multiply_by_inputs else means, call.inputs)
        deltas = total.sum(1).cpu() - torch.from_numpy(paths.ends[:, 1] - paths.ends[:, 0])
        result = attributions if isinstance(inputs, tuple) else attributions[0]
        delta = deltas.to(attributions[0]) if with_delta else None
        return with_further(result, delta, report_of(pieces, deltas) if with_report else None)

    def steps_needed(
        self,
        inputs: Any,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: object = None,
        *,
        rtol: float = 1e-2,
        method: str = "gausslegendre",
        most: int = MOST_STEPS,
        internal_batch_size: int | None = None,
    ) -> StepsNeeded:
        """Return how many steps Captum's Integrated Gradients needs to come as near as ``rtol`` to the exact ones.

        The gradients of all regions tell what any rule of integration gives: it takes as long as
        :meth:`attribute`, and nothing is integrated. Captum multiplies in the dtype of the inputs, which is not
        counted as error.

        Args:
            inputs: As in :meth:`attribute`.
            baselines: As there.
            target: As there.
            additional_forward_args: As there.
            rtol: The relative error ‖IG(n) − IG‖₂/‖IG‖₂ that is allowed, between 0 and 1.
            method: The rule of integration, one that Captum knows.
            most: The largest number of steps that is tried, at least 2.
            internal_batch_size: As there.

        Raises:
            CaptumXGError: As :meth:`attribute`.
        """
        where = "ExactIntegratedGradients.steps_needed"
        rtol = number_that(rtol, lambda r: 0 < r < 1, "a number between 0 and 1", "rtol", where)
        method = one_of(method, SUPPORTED_METHODS, "method", where)
        if positive_integer(most, "most", where) < 2:
            raise OptionError(f"{where}: `most` must be at least 2 but is {most}.")
        tried = numbers_of_steps(most)
        call = self._call(inputs, baselines, target, additional_forward_args, internal_batch_size, where)
        with prepared(call) as paths:
            errors = errors_of_rules(paths, [rule_of(method, n) for n in tried], self.max_regions)
        return StepsNeeded(first_within(rtol, tried, errors), torch.tensor(tried), errors, rtol, method)

    def _call(
        self, inputs: Any, baselines: Baselines, target: Target, additional: object, size: int | None, where: str
    ) -> Call:
        require_gradients_of_f(self.gradient_func, where)
        function = ScalarFunction(self.forward_func, additional, target, where)
        return checked(function, inputs, baselines, size)

    def attribute_future(self) -> None:
        """Raise NotImplementedError, as Captum's gradient methods do."""
        raise NotImplementedError("attribute_future is not implemented for ExactIntegratedGradients")

    def has_convergence_delta(self) -> bool:
        """Return True: the attributions are complete, and the delta says how exactly."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the attributions are (x − b)·mean gradient (else the mean gradient)."""
        return self._multiply_by_inputs
