"""Integrated Gradients to a tolerance: the method with Captum's interface."""

from __future__ import annotations

import typing
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.captum_compat import GradientAttribution, log_usage
from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_baselines, format_inputs
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, number_that, positive_integer, switch
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Baselines, Inputs, Target, Tensors
from captum_xg.attr.adaptive.integral import Integrals, integrate
from captum_xg.attr.adaptive.report import IntegrationReport, IntegrationWarning
from captum_xg.attr.adaptive.straight_path import StraightPath
from captum_xg.attr.call_options import (
    batch_size,
    require_gradients_of_f,
    require_options_of_integration,
    with_further,
)
from captum_xg.errors import OptionError

MOST_EVALUATIONS = 1024
"""The most gradients for one example, unless the caller says otherwise."""
_AT_ONCE = 64
_HELD = 2**25
"""Numbers of rows that are held at once, if examples need :data:`_TYPICAL` each."""
_TYPICAL = 256


def points_at_once(n: int) -> int:
    """Return how many points of n examples go into one forward pass, if the caller does not say it."""
    return max(_AT_ONCE, n)


def checked_tolerance(rtol: object, where: str) -> float:
    """Return a tolerance between 0 and 1.

    Raises:
        OptionTypeError, OptionError: If it is something else.
    """
    return number_that(rtol, lambda r: 0 < r < 1, "a number between 0 and 1", "rtol", where)


def checked_budget(max_evaluations: object, where: str) -> int:
    """Return a number of gradients, at least the two that every example takes.

    Raises:
        OptionTypeError, OptionError: If it is something else.
    """
    found = positive_integer(max_evaluations, "max_evaluations", where)
    if found < 2:
        raise OptionError(f"{where}: `max_evaluations` must be at least 2 but is {max_evaluations}.")
    return found


class AdaptiveIntegratedGradients(GradientAttribution):  # type: ignore[misc]  # Captum has no type information
    r"""Integrated Gradients to a tolerance instead of a number of steps, for any model and any baseline.

    .. math:: \mathrm{IG}_i(x) = (x_i - b_i) \int_0^1 \frac{\partial F(b + \alpha (x - b))}{\partial x_i}\, d\alpha

    is integrated for each example until 1.5 times the estimated error is at most ``rtol`` times the attributions,

    .. math:: 1.5 \cdot \lVert \text{estimated error} \rVert_2 \le \text{rtol} \cdot \lVert \mathrm{IG}(x) \rVert_2,

    with as few gradients as the integrand allows. Along the path a biased ReLU network has a step function for an
    integrand, a smooth network a smooth one, and behind a LayerNorm everything may happen near to α = 0: the rule
    follows what it sees, and so does its estimate of the error. Homogeneous networks against zero take two gradients.
    F at 0, at 1 and wherever a gradient was taken is a second witness: what it shows to be missing is looked for.

    The estimate is of the size that the error has, and not a bound, which is what the factor of 1.5 is for: the error
    itself is then within ``rtol`` in some 99 % of examples at a tolerance of 1 %. What a rule for smooth integrands
    claims is confronted with one more gradient, where a jump would do most harm, before it is believed. Something that
    happens between two points without leaving a trace in F or the gradients is seen by no rule.

    It takes the place of :class:`captum.attr.IntegratedGradients` without another edit. All examples' gradients are
    held until an example is done: ``max_evaluations`` times the size of the inputs at most.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        multiply_by_inputs: Return (x − b)·mean gradient (global attributions), else the mean gradient along the path
            (local ones). The tolerance is for the former in both cases.
        rtol: The tolerance, between 0 and 1.
        max_evaluations: The most gradients for one example, at least 2. Where they do not suffice, an
            :class:`~captum_xg.errors.IntegrationWarning` says so, once per call.

    Raises:
        OptionTypeError: If ``forward_func`` is no model or function, or an option is of the wrong type.
        OptionError: If an option has no such value.

    Source: Sundararajan et al. 2017, Eq. 1 (Integrated Gradients).

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
        >>> x, baseline = torch.rand(4, 3), torch.full((1, 3), 0.5)
        >>> attributions, report = AdaptiveIntegratedGradients(model).attribute(x, baseline, 1, return_report=True)
        >>> bool(report.converged.all())
        True
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        multiply_by_inputs: bool = True,
        *,
        rtol: float = 1e-2,
        max_evaluations: int = MOST_EVALUATIONS,
    ) -> None:
        where = "AdaptiveIntegratedGradients"
        super().__init__(forward_function(forward_func, "forward_func", where))
        self._multiply_by_inputs = switch(multiply_by_inputs, "multiply_by_inputs", where)
        self.rtol = checked_tolerance(rtol, where)
        self.max_evaluations = checked_budget(max_evaluations, where)

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
    ) -> tuple[Inputs, IntegrationReport]: ...

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
            n_steps: A positive integer, for compatibility; the tolerance decides.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most points on paths, of all examples together, in one forward pass, and the most
                examples that are worked on at a time. If None, 64 points, or as many as there are examples.
            return_convergence_delta: Also return Σ attributions − (F(x) − F(b)), shape ``(N,)``.
            return_report: Also return an :class:`IntegrationReport`, last.

        Returns:
            Attributions in the form, shape and dtype of ``inputs`` (float32 for coarser ones), detached; with
            ``return_convergence_delta`` or ``return_report`` a tuple that begins with them.

        Raises:
            OptionError, InputError, BaselineError, TargetError: If an argument is unsuitable.
            ForwardOutputError, GradientError: If F or ∇F is not one finite real number per example, or per feature.
            ModelStateError, TrainingModeError: If the model holds no numbers, or dropout or the like is on.
            NondeterministicForwardError, CrossExampleError: If F is random, or mixes the examples of a batch.
        """
        where = "AdaptiveIntegratedGradients.attribute"
        require_options_of_integration(n_steps, method, where)
        with_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        with_report = switch(return_report, "return_report", where)
        formatted = format_inputs(inputs, where)
        ends = format_baselines(baselines, formatted, where)
        size = batch_size(internal_batch_size, points_at_once(len(formatted[0])), where)
        require_gradients_of_f(self.gradient_func, where)
        function = ScalarFunction(self.forward_func, additional_forward_args, target, where)
        require_memory(self.forward_func, where)
        with ids_refused(self.forward_func, inputs, additional_forward_args, where):
            attributions, deltas, report = self._attributed(function, formatted, ends, size)
        message = report.warning(where, self.max_evaluations)
        if message is not None:
            warnings.warn(message, IntegrationWarning, stacklevel=3)  # past the logging decorator: the line that called
        result = attributions if isinstance(inputs, tuple) else attributions[0]
        return with_further(result, deltas if with_delta else None, report if with_report else None)

    def _attributed(
        self,
        function: ScalarFunction,
        inputs: Tensors,
        baselines: Tensors,
        size: int,
        *,
        finer: float | None = None,
        to_spend: int = 0,
    ) -> tuple[Tensors, Tensor, IntegrationReport]:
        require_evaluation_mode(function.forward_func, function.where)
        n = len(inputs[0])
        features = sum(x[0].numel() for x in inputs)
        group = min(size, max(_HELD // (_TYPICAL * features), 1))
        dtypes = [torch.promote_types(x.dtype, torch.float32) for x in inputs]
        found: list[Integrals] = []
        parts: list[Tensors] = []
        totals: list[Tensor] = []
        with torch.inference_mode(False), torch.no_grad(), preserve_state(function.forward_func, inputs[0].device):
            path = StraightPath(function, inputs, baselines, size)
            for start in range(0, n, group):
                examples = range(start, min(start + group, n))
                integrals = integrate(path, examples, self.rtol, self.max_evaluations, finer=finer, to_spend=to_spend)
                rows = integrals.mean_gradients
                if self._multiply_by_inputs:
                    rows = rows * path.displacements(examples).to(rows.dtype)
                totals.append(rows.sum(1))
                parts.append(path.split(rows, dtypes))
                found.append(integrals)
            attributions = tuple(map(torch.cat, zip(*parts, strict=True)))
            ends = torch.from_numpy(path.ends(range(n)))
            change = (ends[:, 1] - ends[:, 0]).to(totals[0].device)
            deltas = (torch.cat(totals) - change).to(dtypes[0])
        report = IntegrationReport(
            torch.from_numpy(np.concatenate([integrals.evaluations for integrals in found])),
            torch.from_numpy(np.concatenate([integrals.errors for integrals in found])),
            torch.from_numpy(np.concatenate([integrals.converged for integrals in found])),
            self.rtol,
        )
        return attributions, deltas, report

    def attribute_future(self) -> None:
        """Raise NotImplementedError, as Captum's gradient methods do."""
        raise NotImplementedError("attribute_future is not implemented for AdaptiveIntegratedGradients")

    def has_convergence_delta(self) -> bool:
        """Return True: the attributions are complete up to the tolerance, and the delta says how exactly."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the attributions are (x − b)·mean gradient (else the mean gradient)."""
        return self._multiply_by_inputs
