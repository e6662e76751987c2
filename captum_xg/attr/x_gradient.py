"""X-Gradient: Integrated Gradients against zero from one forward and one backward pass."""

from __future__ import annotations

import typing
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captum_xg._core.captum_compat import SUPPORTED_METHODS, GradientAttribution, compute_gradients, log_usage
from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.inputs import format_inputs, require_zero_baselines
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, one_of, positive_integer, single_number, switch
from captum_xg._core.state import nothing_left_behind
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Baselines, Inputs, Target
from captum_xg.attr.refusal import refusal_message, uncertified_message
from captum_xg.errors import DegreeError, HomogeneityError, HomogeneityWarning, OptionError
from captum_xg.homogeneity.certificate.cache import StandingProofs
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.check.numeric import checked_rtol, verify_homogeneity
from captum_xg.homogeneity.check.report import HomogeneityReport

Validation = Literal["numeric", "certificate", "off"]
OnViolation = Literal["raise", "warn"]


class XGradient(GradientAttribution):  # type: ignore[misc]  # Captum has no type information
    r"""Integrated Gradients against the zero baseline, exactly, from one forward and one backward pass.

    If F(αx) = αᵏF(x) for all α > 0 and k ≥ 1, then ∇F(αx) = αᵏ⁻¹∇F(x), the path integral is a power of α, and

    .. math:: \mathrm{IG}_i(x) = x_i \int_0^1 \frac{\partial F(\alpha x)}{\partial x_i}\, d\alpha
              = \frac{1}{k}\, x_i \frac{\partial F(x)}{\partial x_i}.

    It takes the place of :class:`captum.attr.IntegratedGradients` without another edit, checks before it returns that F
    is homogeneous, and otherwise names the layers that break it.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        multiply_by_inputs: Return x·∇F/k (global attributions), else the mean gradient along the path, ∇F/k (local
            ones).
        degree: k ≥ 1, or ``"auto"`` to find it on each call, one k for all examples.
        validate: ``"numeric"`` tests F(αx) = αᵏF(x) on every example of every call at a power of two on each side of 1,
            and Euler's identity Σ xᵢ·∂ᵢF = kF; this costs two forward passes without gradients. ``"off"`` tests
            nothing: then the result is Integrated Gradients only if you know that F is homogeneous.
            ``"certificate"`` proves it op by op (see :func:`captum_xg.certify`) at the first call for each shape of
            input, and again only once the model has changed in a way that the proof rests on; the numbers in weights
            are none. What cannot be proven is refused.
        on_violation: ``"raise"`` a :class:`~captum_xg.errors.HomogeneityError`, or ``"warn"`` once per call
            (:class:`~captum_xg.errors.HomogeneityWarning`) and return x·∇F/k all the same.
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

    def __init__(
        self,
        forward_func: Callable[..., Any],
        multiply_by_inputs: bool = True,
        *,
        degree: float | Literal["auto"] = 1,
        validate: Validation = "numeric",
        on_violation: OnViolation = "raise",
        rtol: float | None = None,
    ) -> None:
        super().__init__(forward_function(forward_func, "forward_func", "XGradient"))
        self._multiply_by_inputs = switch(multiply_by_inputs, "multiply_by_inputs", "XGradient")
        self.degree = _checked_degree(degree)
        self.validate: Validation = one_of(validate, get_args(Validation), "validate", "XGradient")
        self.on_violation: OnViolation = one_of(on_violation, get_args(OnViolation), "on_violation", "XGradient")
        self.rtol = checked_rtol(rtol, "XGradient")
        if validate == "off" and self.degree == "auto":
            raise DegreeError(
                "XGradient: degree='auto' is found by the numeric check or by the certificate, and validate='off' "
                "leaves out both."
            )
        self._proofs = StandingProofs()

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
            baselines: None, 0, or zeros in any form that Captum takes.
            target: Which output is explained: int, tuple, integer tensor, or list of ints or tuples, as in Captum: one
                for all, or one for each example (for each row of a single example that has several).
            additional_forward_args: What follows the inputs in a call of the forward function; not attributed to.
            n_steps: Accepted for compatibility; there is nothing to approximate. A positive integer.
            method: Accepted for compatibility: a rule of integration that Captum knows.
            internal_batch_size: The most examples in one forward pass. All at once if None.
            return_convergence_delta: Also return Σ attributions − (F(x) − F(0)), shape ``(N,)``.
            create_graph: Keep the graph, so that a loss of the attributions has gradients for the parameters (and for
                inputs that require them). Otherwise the attributions are detached.

        Returns:
            Attributions in the form and shape of ``inputs``, float32 for inputs of a coarser dtype (as Integrated
            Gradients gives them), otherwise in the inputs' dtype; with ``return_convergence_delta`` a pair of them and
            the deltas.

        Raises:
            OptionTypeError, OptionError: If another argument is of the wrong type or has no such value.
            InputError: Unsuitable inputs: not tensors, empty, unequal batches, complex, boolean, NaN or infinite, ids.
            BaselineError: A baseline that is not zero.
            TargetError: A target that is missing, out of range, or of the wrong form.
            ForwardOutputError: An output that is not one finite real number per example.
            GradientError: An input without influence through autograd, or a gradient that is not finite.
            ModelStateError: Parameters or buffers on the meta device, or not yet initialised.
            TrainingModeError: Dropout, batch norm or the like in training mode.
            NondeterministicForwardError: A random forward function.
            CrossExampleError: A forward function that mixes the examples of a batch.
            DegreeError: ``degree="auto"`` and there is no single degree k ≥ 1.
            HomogeneityError: F is not homogeneous of degree k. It carries the report and names the layers.
        """
        where = "XGradient.attribute"
        positive_integer(n_steps, "n_steps", where)
        one_of(method, SUPPORTED_METHODS, "method", where)
        return_convergence_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        create_graph = switch(create_graph, "create_graph", where)
        formatted = format_inputs(inputs, where)
        require_zero_baselines(baselines, formatted, where)
        n = len(formatted[0])
        size = n if internal_batch_size is None else positive_integer(internal_batch_size, "internal_batch_size", where)
        function = ScalarFunction(self.forward_func, additional_forward_args, target, where)
        require_memory(self.forward_func, where)
        checked = self.validate == "numeric"
        if checked:
            require_evaluation_mode(self.forward_func, where)
        parts: list[tuple[Tensor, ...]] = []
        deltas: list[Tensor] = []
        reports: list[HomogeneityReport] = []
        doubts: list[Certificate] = []
        restored = nothing_left_behind(self.forward_func, formatted[0].device) if checked else nullcontext()
        refusing_ids = ids_refused(self.forward_func, inputs, additional_forward_args, where)
        with refusing_ids, torch.inference_mode(False), restored:
            for inputs_part, function_part in function.parts(formatted, size):
                degree = None if self.degree == "auto" else self.degree
                if self.validate == "certificate":
                    certificate = self._certified(function_part, inputs_part)
                    degree = certificate.degree if degree is None else degree
                    doubts += [] if certificate.covers(degree) else [certificate]
                evaluation = self._evaluate(function_part, inputs_part, create_graph)
                if checked:
                    reports.append(self._validated(function_part, evaluation, degree))
                    degree = reports[-1].tested_degree
                # No degree is left only where F and all attributions are zero, whatever it is.
                attributions = self._attributions(evaluation, degree or 1.0)
                parts.append(attributions)
                if return_convergence_delta:
                    deltas.append(self._delta(attributions, inputs_part, function_part))
            # Here, where a caller's no_grad is not in force.
            with torch.set_grad_enabled(create_graph):
                result = parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
        self._require_one_degree(reports)
        self._warn_of_violation(reports, doubts)
        formatted_result = result if isinstance(inputs, tuple) else result[0]
        return (formatted_result, torch.cat(deltas)) if return_convergence_delta else formatted_result

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
        scalar = GradientAttribution(lambda *inputs: function.values(tuple(x.clone() for x in inputs)))
        delta: Tensor = scalar.compute_convergence_delta(attributions, start_point, end_point)
        return delta

    def attribute_future(self) -> None:
        """Not implemented, as for Captum's gradient methods.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("attribute_future is not implemented for XGradient")

    def has_convergence_delta(self) -> bool:
        """Return True: the attributions are complete, and how exactly is to be had."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the attributions are x·∇F/k (else ∇F/k)."""
        return self._multiply_by_inputs

    def _evaluate(self, function: ScalarFunction, inputs: tuple[Tensor, ...], create_graph: bool) -> Evaluation:
        if self.gradient_func is compute_gradients:
            return function.evaluate(inputs, create_graph=create_graph)
        return self._evaluate_replaced(function, inputs, create_graph)

    def _evaluate_replaced(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], create_graph: bool
    ) -> Evaluation:
        """Honour a replaced ``gradient_func``, Captum's place to differentiate something else than the output."""
        if self.validate != "off" or create_graph:
            raise OptionError(
                "XGradient: `gradient_func` was replaced, so the function whose gradient is taken is not to be had and "
                "cannot be checked for homogeneity. Use validate='off' and create_graph=False with it."
            )
        with torch.enable_grad():
            leaves = tuple(x.detach().clone().requires_grad_() for x in inputs)
            gradients = self.gradient_func(
                forward_fn=function.forward_func,
                inputs=leaves,
                target_ind=function.target,
                additional_forward_args=function.additional or None,
            )
        return Evaluation(tuple(x.detach() for x in leaves), torch.empty(0), tuple(g.detach() for g in gradients))

    def _attributions(self, evaluation: Evaluation, degree: float) -> tuple[Tensor, ...]:
        def attribute(x: Tensor, gradient: Tensor) -> Tensor:
            # Integrated Gradients multiplies by float32 step sizes, which makes coarser dtypes float32.
            wide = torch.promote_types(gradient.dtype, torch.float32)
            if self._multiply_by_inputs:
                result = x * gradient.to(wide)
            else:
                # Autograd may hand out one number seen as many, or a tensor that is still in use elsewhere.
                result = gradient.to(wide).clone(memory_format=torch.contiguous_format)
            return result if degree == 1 else result / degree

        # The caller may be under no_grad, where products would lose the graph that create_graph asks for.
        with torch.set_grad_enabled(evaluation.values.requires_grad):
            return tuple(attribute(x, g) for x, g in zip(evaluation.inputs, evaluation.gradients, strict=True))

    def _validated(self, function: ScalarFunction, evaluation: Evaluation, degree: float | None) -> HomogeneityReport:
        """Check one part of the batch and raise what must be raised."""
        report = verify_homogeneity(function, evaluation, degree=degree, rtol=self.rtol)
        if report.homogeneous:
            return report
        report = report.shifted(function.first)
        if degree is None and (report.tested_degree is None or report.tested_degree < 1):
            reason = " ".join(report.notes) or "F(αx)/F(x) is no single power of α."
            raise DegreeError(f"XGradient.attribute: degree='auto' found no degree k ≥ 1. {reason}\n{report}")
        if self.on_violation == "raise":
            raise HomogeneityError(refusal_message(report, "XGradient.attribute"), report, report.certificate)
        return report

    def _certified(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> Certificate:
        """Return a certificate for one part of the batch, from memory if it still holds, and raise what must be."""
        where = "XGradient.attribute"
        certificate = self._proofs.certificate(function.forward_func, inputs, function.additional, where)
        if self.degree == "auto" and certificate.homogeneous and not certificate.covers(certificate.degree):
            raise DegreeError(
                f"{where}: degree='auto' found degree {certificate.degree:g}, but X-Gradient needs k ≥ 1: below it ∇F "
                "grows without bound towards the zero baseline, and at 0 there is nothing to distribute."
            )
        degree = certificate.degree if self.degree == "auto" else self.degree
        if not certificate.covers(degree) and self.on_violation == "raise":
            raise HomogeneityError(uncertified_message(certificate, degree, where), certificate=certificate)
        return certificate

    def _require_one_degree(self, reports: list[HomogeneityReport]) -> None:
        found = sorted({report.tested_degree for report in reports if report.tested_degree is not None})
        if self.degree == "auto" and found and found[-1] - found[0] > 1e-4 * found[-1]:
            raise DegreeError(
                f"XGradient.attribute: degree='auto' found different degrees in different parts of the batch: {found}. "
                "One forward function has one degree; explain the parts separately with `degree` given."
            )

    def _warn_of_violation(self, reports: list[HomogeneityReport], doubts: list[Certificate]) -> None:
        where, message = "XGradient.attribute", None
        if violated := [report for report in reports if not report.homogeneous]:
            message = refusal_message(max(violated, key=lambda report: report.max_deviation), where)
        elif doubts:
            message = uncertified_message(doubts[0], None if self.degree == "auto" else self.degree, where)
        if message is not None:
            # Past attribute, the logging decorator and this method: the line that called.
            warnings.warn(message, HomogeneityWarning, stacklevel=4)

    def _delta(self, attributions: tuple[Tensor, ...], inputs: tuple[Tensor, ...], function: ScalarFunction) -> Tensor:
        return self.compute_convergence_delta(
            tuple(a.detach() for a in attributions),
            tuple(torch.zeros_like(x) for x in inputs),
            tuple(x.detach() for x in inputs),
            target=function.target,
            additional_forward_args=function.additional or None,
        )


def _checked_degree(degree: Any) -> float | Literal["auto"]:
    if isinstance(degree, str) and degree == "auto":
        return "auto"
    k = single_number(degree)
    if k is None or not 1 <= k < float("inf"):
        raise DegreeError(
            f"XGradient: `degree` must be a number ≥ 1 or 'auto' but is {degree!r}. Below 1 the gradient grows without "
            "bound towards the zero baseline."
        )
    return k
