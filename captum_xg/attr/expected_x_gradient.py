"""X-Gradient against any baselines, by the path through the origin: x·∇F(x) − mean of b·∇F(b)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xg._core.captum_compat import GradientAttribution, log_usage
from captum_xg._core.function import ScalarFunction, has_rows
from captum_xg._core.inputs import format_inputs
from captum_xg._core.many_targets import ManyTargets, Targets, checked_targets
from captum_xg._core.model_state import require_memory
from captum_xg._core.options import forward_function, switch
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Inputs, Target, Tensors
from captum_xg.attr.baseline_terms import BaselineSet, TermCache, baseline_points
from captum_xg.attr.call_options import batch_size, require_options_of_integration, rows_at_once, said_further
from captum_xg.attr.explainer import Explainer, OnViolation, Validation
from captum_xg.attr.task import Outcome, Task
from captum_xg.errors import DegreeError, OptionError

TaskAt = Callable[[ScalarFunction, Tensors], Task]
"""From a function and points to what is to be explained there."""


class ExpectedXGradient(Explainer, GradientAttribution):  # type: ignore[misc]  # Captum has no type information
    r"""Attributions against any baseline, or the mean over a set, of a homogeneous F, from two gradients.

    For F of degree k, and baselines b₁ … b_M,

    .. math:: A_i(x) = \frac{1}{k}\Bigl(x_i \frac{\partial F(x)}{\partial x_i}
              - \frac{1}{M}\sum_m b_{m,i} \frac{\partial F(b_m)}{\partial x_i}\Bigr),

    the path integral of ∇F from b to the origin and from there to x, averaged over the baselines. They add up to F(x)
    less the mean of F(b). The second term does not depend on x: it is remembered for each target as long as model and
    baselines stay as they are, and further calls cost one gradient, like :class:`~captum_xg.XGradient`.

    **It is not Expected Gradients**, nor Integrated Gradients from b, which follow the straight line from b to x. By
    the origin all features change at once, so **Sensitivity (a) is lost**: where x and b differ in one feature and
    F(x) ≠ F(b), that feature may get nothing, and others what they did not cause (see the example). Where all features
    of b are zero it is X-Gradient, and Sensitivity (a) holds.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        multiply_by_inputs: True. The path has a corner, and no one mean gradient that could be returned by itself.
        degree, validate, on_violation, rtol: As of :class:`~captum_xg.XGradient`; baselines are validated as inputs.

    Raises:
        OptionError: If ``multiply_by_inputs`` is False, or another option has no such value.
        DegreeError, OptionTypeError: As of :class:`~captum_xg.XGradient`.

    Source: Hesse et al. 2021, Eq. 3, for both legs of the path; the combination is our own.

    Example:
        >>> F = lambda p: torch.minimum(2 * p[:, 0], p[:, 0] + p[:, 1])
        >>> x, b = torch.tensor([[1.5, 1.0]]), torch.tensor([[0.75, 1.0]])  # they differ in feature 0 alone
        >>> ExpectedXGradient(F).attribute(x, b)  # and F(x) − F(b) = 1 goes to feature 1
        tensor([[0., 1.]])
    """

    _name = "ExpectedXGradient"

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
        super().__init__(forward_function(forward_func, "forward_func", self._name))
        self._take_options(multiply_by_inputs, degree, validate, on_violation, rtol)
        if not self._multiply_by_inputs:
            raise OptionError(
                f"{self._name}: `multiply_by_inputs` must be True. The path runs from the baseline to the origin and on"
                " to x; ∇F is multiplied by another vector on each leg, so that there is no one local attribution."
            )
        self._terms = TermCache()

    @log_usage()  # type: ignore[untyped-decorator]  # NoiseTunnel reads the __wrapped__ that it leaves
    def attribute(
        self,
        inputs: Inputs,
        baselines: BaselineSet,
        target: Target = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        create_graph: bool = False,
    ) -> Any:
        """Return (x·∇F(x) − mean of b·∇F(b))/k for every input.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
            baselines: A set of M baselines of shape ``(M, …)``, each of which is used for every example, as by
                ``GradientShap`` and also where M = N (``IntegratedGradients`` takes the n-th for the n-th example); a
                number for all features; a tuple with one of these for each input, row by row together; a function that
                returns them, called with the inputs if it takes an argument; or None for zero.
            target: Which output is explained, in the forms that Captum takes.
            additional_forward_args: What follows the inputs in a call. Where tensors among them have a row for each
                example, baselines are run with the rows of each, M·N in all.
            n_steps: A positive integer, for compatibility; there is nothing to approximate.
            method: A rule of integration that Captum knows, for compatibility.
            internal_batch_size: The most examples, or baselines, in one forward pass. All at once if None.
            return_convergence_delta: Also return Σ attributions − (F(x) − mean of F(b)), shape ``(N,)``.
            create_graph: Keep the graph, for a loss of the attributions. Then nothing is remembered.

        Returns:
            Attributions in the form and shape of ``inputs``; with ``return_convergence_delta`` a pair of them and the
            deltas.

        Raises:
            BaselineError: If baselines are not finite or do not fit the inputs.
            HomogeneityError: If F is not homogeneous of degree k, at the inputs or at a baseline; and all others of
                :meth:`captum_xg.XGradient.attribute`.
        """
        where = f"{self._name}.attribute"
        require_options_of_integration(n_steps, method, where)
        with_delta = switch(return_convergence_delta, "return_convergence_delta", where)
        create_graph = switch(create_graph, "create_graph", where)
        x = format_inputs(inputs, where)
        size = batch_size(internal_batch_size, len(x[0]), where)
        require_memory(self.forward_func, where)
        with torch.inference_mode(False), ids_refused(self.forward_func, inputs, additional_forward_args, where):
            points = baseline_points(baselines, x, where)
            function = ScalarFunction(self.forward_func, additional_forward_args, target, where)
            limit = batch_size(internal_batch_size, len(points[0]), where)
            outcome = self._explained(Task(function, x, size, create_graph=create_graph))

            def task_at(own: ScalarFunction, points: Tensors) -> Task:
                return Task(own, points, limit, create_graph=create_graph)

            terms, groups = self._terms_of(function, baselines, points, task_at, outcome)
            found = _less(outcome, terms, groups, create_graph)
            delta = self._delta(function, found, x, points, groups, limit) if with_delta else None
        self._warn(_warning(outcome, terms), 3)  # past the decorator
        result = found if isinstance(inputs, tuple) else found[0]
        return result if delta is None else (result, delta)

    def attribute_all(
        self,
        inputs: Inputs,
        targets: Targets = None,
        baselines: BaselineSet = None,
        additional_forward_args: object = None,
        internal_batch_size: int | None = None,
    ) -> Inputs:
        """Return (x·∇F(x) − mean of b·∇F(b))/k for many targets; see :meth:`captum_xg.XGradient.attribute_all`.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
            targets: A sequence of targets, each meant for every example; None for all classes of an output ``(N, C)``.
            baselines: As of :meth:`attribute`.
            additional_forward_args: What follows the inputs in a call.
            internal_batch_size: The most pairs of an example, or baseline, and a target in one backward pass; 256 if
                None.

        Returns:
            Attributions of shape ``(N, K, …)``, a tuple of them for a tuple of inputs.
        """
        where = f"{self._name}.attribute_all"
        rows, many = rows_at_once(internal_batch_size, where), ManyTargets(checked_targets(targets, where), where)
        x = format_inputs(inputs, where)
        require_memory(self.forward_func, where)
        with torch.inference_mode(False), ids_refused(self.forward_func, inputs, additional_forward_args, where):
            points = baseline_points(baselines, x, where)
            function = ScalarFunction(self.forward_func, additional_forward_args, None, where)

            def task_at(own: ScalarFunction, points: Tensors) -> Task:
                return Task(own, points, rows or len(points[0]), targets=many, rows=rows)

            outcome = self._explained(task_at(function, x))
            terms, groups = self._terms_of(function, baselines, points, task_at, outcome)
            found = _less(outcome, terms, groups, False)
        self._warn(_warning(outcome, terms), 2)
        return found if isinstance(inputs, tuple) else found[0]

    def _terms_of(
        self, function: ScalarFunction, baselines: object, points: Tensors, task_at: TaskAt, at_inputs: Outcome
    ) -> tuple[list[Outcome], Tensor]:
        """Return the mean of b·∇F(b)/k for each group of examples that share it, and the group of each example."""
        n = len(at_inputs.attributions[0])
        groups, first = _groups(function, n)
        terms: list[Outcome] = []
        for i in first:
            own = function.examples(i, i + 1, n)
            task = task_at(own, points)

            def compute(own: ScalarFunction = own) -> Outcome:
                return self._term(own, points, task_at)

            if task.create_graph or len(first) == n > 1:
                terms.append(compute())
            else:
                target = own.target.tolist() if isinstance(own.target, Tensor) else own.target
                asked = "" if task.targets is None else repr(task.targets.asked)
                settings = (repr(target), asked, self.degree, self.validate, self.on_violation, self.rtol)
                terms.append(self._terms.term(self.forward_func, baselines, points, own.additional, settings, compute))
            self._require_one_degree(at_inputs, terms[-1])
        return terms, groups

    def _term(self, own: ScalarFunction, points: Tensors, task_at: TaskAt) -> Outcome:
        """Return the mean of b·∇F(b)/k over the baselines, for the target and arguments of one example."""
        # A baseline of zero contributes zero, and the numeric check has nothing to go by there.
        away = torch.stack([(p != 0).reshape(len(p), -1).any(1).to("cpu") for p in points]).any(0)
        count, some = len(away), int(away.sum())
        if some == 0:
            return Outcome(tuple(torch.zeros(1, device=p.device, dtype=p.dtype) for p in points))
        task = task_at(own.repeat(some), tuple(p[away.to(p.device)] for p in points))
        with said_further(lambda: "Here inputs and examples are the baselines, at which F is run as well."):
            outcome = self._explained(task)
        with torch.set_grad_enabled(task.create_graph):
            outcome.attributions = tuple(a.sum(0, keepdim=True) / count for a in outcome.attributions)
        return outcome

    def _require_one_degree(self, one: Outcome, other: Outcome) -> None:
        seen = [o.degree for o in (one, other) if any(bool(a.detach().any()) for a in o.attributions)]
        if self.degree == "auto" and len(seen) == 2 and abs(seen[0] - seen[1]) > 1e-4 * seen[0]:
            raise DegreeError(
                f"{self._name}.attribute: degree='auto' found {seen[0]:g} at the inputs and {seen[1]:g} at the "
                "baselines. One forward function has one degree; pass `degree`."
            )

    def _delta(
        self, function: ScalarFunction, found: Tensors, x: Tensors, points: Tensors, groups: Tensor, size: int
    ) -> Tensor:
        """Return Σ attributions − (F(x) − mean of F(b)) for each example."""

        def values(own: ScalarFunction, at: Tensors) -> Tensor:
            return torch.cat([f.values(tuple(p.clone() for p in parts)) for parts, f in own.parts(at, size)])

        n, count = len(x[0]), len(points[0])
        first = [int((groups == g).nonzero()[0]) for g in range(int(groups.max()) + 1)]
        means = [values(function.examples(i, i + 1, n).repeat(count), points).mean() for i in first]
        ends = values(function, x)
        total = sum(a.detach().reshape(n, -1).sum(1) for a in found)
        return total - (ends - torch.stack(means)[groups.to(ends.device)])

    def has_convergence_delta(self) -> bool:
        """Return True: :meth:`attribute` returns the delta against the mean over the baselines."""
        return True


def _warning(outcome: Outcome, terms: list[Outcome]) -> Outcome:
    """Return the first outcome that warns of something, of those at the inputs and at the baselines."""
    return next((each for each in [outcome, *terms] if each.warning is not None), outcome)


def _less(outcome: Outcome, terms: list[Outcome], groups: Tensor, create_graph: bool) -> Tensors:
    """Return the attributions of an outcome less the terms of each example's group."""
    with torch.set_grad_enabled(create_graph):
        return tuple(
            a - torch.cat(parts)[groups.to(a.device)].reshape(-1, *parts[0].shape[1:] or [1] * (a.dim() - 1))
            for a, *parts in zip(outcome.attributions, *(term.attributions for term in terms), strict=True)
        )


def _groups(function: ScalarFunction, n: int) -> tuple[Tensor, list[int]]:
    """Return for each example the number of its group, and the first example of each: those of one target."""
    target = function.target
    several = isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)
    if n > 1 and any(has_rows(value, n) for value in function.additional):
        return torch.arange(n), list(range(n))
    if not several or n == 1:
        return torch.zeros(n, dtype=torch.int64), [0]
    entries = target.tolist() if isinstance(target, Tensor) else [repr(entry) for entry in target]  # type: ignore[union-attr]
    numbers: dict[object, int] = {}
    groups = [numbers.setdefault(entry, len(numbers)) for entry in entries]
    return torch.tensor(groups), [groups.index(g) for g in range(len(numbers))]
