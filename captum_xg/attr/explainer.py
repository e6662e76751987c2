"""What all classes of X-Gradient share: their options, and the closed form, validated part by part.

A class says what is explained, as a :class:`Task`: a function, the point x, and how many examples go into one forward
pass. For each part of the batch the validation evaluates F and ∇F and decides the degree k; x·∇F/k follows in closed
form. Example: 20 examples with ``internal_batch_size=8`` have three parts; a violation in the last one raises, or, with
``on_violation="integrate"``, has all 20 integrated.
What must never happen: attributions are returned of an F that was not validated as the caller asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captum_xg._core.captum_compat import compute_gradients
from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.inputs import format_baselines, require_zero_baselines
from captum_xg._core.options import one_of, single_number, switch
from captum_xg._core.types import ForwardFunction, Tensors
from captum_xg.attr.adaptive.report import IntegrationWarning
from captum_xg.attr.all_targets import evaluated_for_all
from captum_xg.attr.closed_form import closed_form, evaluate_by
from captum_xg.attr.integrated import (
    NOT_ONE_DEGREE,
    Integration,
    IntegrationNotice,
    Path,
    first_sentence,
    is_zero,
)
from captum_xg.attr.task import Outcome, Task
from captum_xg.attr.trusted import Trusted
from captum_xg.attr.validation import VALIDATIONS
from captum_xg.errors import CaptumXGError, DegreeError, InputError, OptionError, TargetError
from captum_xg.homogeneity.certificate.cache import CertificateCache
from captum_xg.homogeneity.check.numeric import checked_rtol
from captum_xg.homogeneity.check.report import HomogeneityError, HomogeneityWarning

Validation = Literal["auto", "numeric", "certificate", "off"]
OnViolation = Literal["raise", "warn", "integrate"]


_Returned = tuple[Any, Outcome]
_NO_GRAPH = "With create_graph=True there is the closed form alone, as an integration keeps no graph."

AfterPart = Callable[[ScalarFunction, Tensors, Tensors], None]
"""Called with the function, the inputs and the attributions of each part."""


class Explainer:
    """The options of all classes of X-Gradient, and the closed form. A mixin beside Captum's base classes.

    Attributes:
        degree: k, or ``"auto"``.
        validate: How the degree is validated.
        on_violation: What happens where it is not what was asked for.
        rtol: Largest relative deviation that counts as rounding; None for that of the dtype.
    """

    forward_func: ForwardFunction
    gradient_func: Callable[..., Any]
    degree: float | Literal["auto"]
    validate: Validation
    on_violation: OnViolation
    rtol: float | None
    _name: str
    """The public name, that errors begin with also in subclasses."""

    def _take_options(
        self, multiply_by_inputs: object, degree: object, validate: object, on_violation: object, rtol: object
    ) -> None:
        """Check the options and keep them.

        Raises:
            DegreeError, OptionTypeError, OptionError: If one has no such value.
        """
        name = self._name
        self._multiply_by_inputs = switch(multiply_by_inputs, "multiply_by_inputs", name)
        self.degree = _checked_degree(degree, name)
        self.validate = one_of(validate, get_args(Validation), "validate", name)
        self.on_violation = one_of(on_violation, get_args(OnViolation), "on_violation", name)
        self.rtol = checked_rtol(rtol, name)
        if validate == "off" and self.degree == "auto":
            raise DegreeError(
                f"{name}: degree='auto' is found by a numeric check or a proof, and validate='off' leaves out both."
            )
        self._proofs = CertificateCache()
        self._noticed: set[bool] = set()
        """Of which kinds of integration there was a notice: to a tolerance, or by Captum."""

    def _validation(self, where: str) -> Trusted:
        """Return what validates one call."""
        degree = None if self.degree == "auto" else self.degree
        return VALIDATIONS[self.validate](degree, self.on_violation != "warn", self.rtol, self._proofs, where)

    def _start(self, baselines: object, inputs: Tensors, where: str) -> Tensors | None:
        """Return baselines of the inputs' shapes if they may be other than zero; else refuse them, and return None."""
        if self.on_violation == "integrate" and baselines is not None:
            return format_baselines(baselines, inputs, where)
        require_zero_baselines(baselines, inputs, where)
        return None

    def _explained(self, task: Task, after: AfterPart | None = None) -> Outcome:
        """Return the attributions of a task in closed form.

        The one place where what is not homogeneous, or does not begin at zero, is handed over to integration, if that
        is what ``on_violation`` asks for. Otherwise it says whether the former is an error or a warning.
        """
        if self.on_violation != "integrate":
            return self._in_closed_form(task, after)
        where, function = task.function.where, task.function
        if task.start is not None and not is_zero(task.start):
            reason = f"{where}: the baseline is not zero, and the closed form is of the ray from zero alone."
        elif (said := self._refused_before(task)) is not None:
            reason = said
        else:
            try:
                return self._in_closed_form(task, after)
            except (InputError, TargetError):
                raise  # of integration, too
            except CaptumXGError as error:
                reason = first_sentence(error)
                if task.create_graph:
                    error.args = (f"{error.args[0]}\n  {_NO_GRAPH}", *error.args[1:])
                    raise
                self._remember(task, error, reason)
            except Exception as error:  # of F's own, at points off the path, to which an integration does not go
                said = first_sentence(error) if str(error) else "no message."
                reason = (
                    f"{where}: it could not be tested that F(αx) = αᵏF(x), as the forward function raises "
                    f"{type(error).__name__} at inputs larger or smaller than these: {said}"
                )
        if task.create_graph:
            raise OptionError(f"{reason} {_NO_GRAPH}")
        self._require_known_gradients(task)
        start = tuple(map(torch.zeros_like, task.inputs)) if task.start is None else task.start
        path = Path(function, start, task.inputs, task.at_once, task.n_steps // 2, task.targets)
        found, reports = path.integrated(multiply_by_inputs=self._multiply_by_inputs)
        if after is not None:
            after(function, task.inputs, found)
        return Outcome(found, None, NOT_ONE_DEGREE, Integration(reason, reports))

    def _refused_before(self, task: Task) -> str | None:
        """Return why the closed form was refused at an earlier call, if nothing has changed since.

        To integrate is right in any case, so that this saves work and decides nothing.
        """
        if self.validate == "off" or task.create_graph:
            return None
        function = task.function
        return self._proofs.unproven(function.forward_func, task.inputs, function.additional).seen.refusal(
            function.forward_func
        )

    def _remember(self, task: Task, error: CaptumXGError, reason: str) -> None:
        violated = isinstance(error, HomogeneityError) and (error.report is None or error.report.violated)
        if violated:
            function = task.function
            known = self._proofs.unproven(function.forward_func, task.inputs, function.additional)
            known.seen.refuse(function.forward_func, reason)

    def _or_as_captum(
        self, ours: Callable[[], _Returned], captums: Callable[[], Any], steps: str
    ) -> tuple[Any, Outcome]:
        """Return what we compute and how; what Captum computes where we refuse and integration was asked for."""
        try:
            return ours()
        except CaptumXGError as error:
            if self.on_violation != "integrate":
                raise
            try:
                result = captums()
            except Exception:  # Captum's own words say less
                raise error from None
            return result, Outcome((), integration=Integration(first_sentence(error), steps=steps))

    def _in_closed_form(self, task: Task, after: AfterPart | None) -> Outcome:
        function, validation = task.function, self._validation(task.function.where)
        self._require_known_gradients(task)
        parts: list[Tensors] = []
        values: list[Tensor] = []
        calls: list[tuple[ScalarFunction, Tensors, Tensors]] = []
        degree = 1.0

        def evaluate(function: ScalarFunction, inputs: Tensors) -> Evaluation:
            if self.gradient_func is compute_gradients:
                return function.evaluate(inputs, create_graph=task.create_graph)
            return evaluate_by(self.gradient_func, function, inputs)

        def validated(own: ScalarFunction, inputs: Tensors) -> tuple[Evaluation, float]:
            if task.targets is None:
                return validation.evaluated(own, inputs, evaluate)
            many, degree = evaluated_for_all(validation, own, task.targets, inputs, task.rows)
            return Evaluation(tuple(x.unsqueeze(1) for x in many.inputs), many.values, many.gradients), degree

        with torch.inference_mode(False), validation.around(function, task.inputs[0].device):
            for own_inputs, own in function.parts(task.inputs, task.size):
                evaluation, degree = validated(own, own_inputs)
                parts.append(closed_form(evaluation, degree, multiply_by_inputs=self._multiply_by_inputs))
                calls.append((own, own_inputs, parts[-1]))
                values.append(evaluation.values.detach())
            if after is not None:  # and all parts are known to be valid
                for call in calls:
                    after(*call)
            # Here, where a caller's no_grad is not in force.
            with torch.set_grad_enabled(task.create_graph):
                attributions = parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))
        return Outcome(attributions, validation.conclusion(), degree, values=torch.cat(values))

    def _require_known_gradients(self, task: Task) -> None:
        needed = self.validate != "off" or task.create_graph or task.targets is not None
        if self.gradient_func is not compute_gradients and needed:
            raise OptionError(
                f"{self._name}: `gradient_func` was replaced, so the function whose gradient it takes is unknown and "
                "cannot be checked for homogeneity. Use attribute(…) with validate='off' and create_graph=False."
            )

    def _warn(self, outcome: Outcome, stacklevel: int) -> None:
        """Warn of what an outcome warns of, at the line that called."""
        integration = outcome.integration
        if integration is not None:
            if (kind := bool(integration.reports)) not in self._noticed:
                self._noticed.add(kind)
                warnings.warn(integration.notice(), IntegrationNotice, stacklevel=stacklevel + 1)
            if unfinished := integration.unfinished(f"{self._name}.attribute"):
                warnings.warn(unfinished, IntegrationWarning, stacklevel=stacklevel + 1)
        if outcome.warning is not None:
            warnings.warn(outcome.warning, HomogeneityWarning, stacklevel=stacklevel + 1)

    def attribute_future(self) -> None:
        """Raise NotImplementedError, as Captum's gradient methods do."""
        raise NotImplementedError(f"attribute_future is not implemented for {self._name}")

    def has_convergence_delta(self) -> bool:
        """Return True: the attributions are complete, and the delta says how exactly."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the attributions are x·∇F/k (else ∇F/k)."""
        return self._multiply_by_inputs


def _checked_degree(degree: object, name: str) -> float | Literal["auto"]:
    if isinstance(degree, str) and degree == "auto":
        return "auto"
    k = single_number(degree)
    if k is None or not 1 <= k < float("inf"):
        raise DegreeError(
            f"{name}: `degree` must be a number ≥ 1 or 'auto' but is {degree!r}. Below 1 the gradient grows without "
            "bound towards the zero baseline."
        )
    return k
