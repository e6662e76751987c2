"""What explains a batch: the closed form from one forward and one backward pass, or any method of Captum's form.

An engine returns outputs, targets, attributions and their gap. Two are alike in what they return and differ in what it
costs: the closed form observes the model where it differentiates it; of other methods nothing is known but
``attribute``, so that outputs are one forward pass more, and targets one call each.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from captum.attr import DeepLiftShap, LayerDeepLiftShap
from torch import Tensor

from captum_xg._core.function import ScalarFunction, without_gradients
from captum_xg._core.inputs import all_finite
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.seeding import seeded
from captum_xg._core.types import Tensors
from captum_xg.attr.adaptive.adaptive_integrated_gradients import AdaptiveIntegratedGradients
from captum_xg.attr.adaptive.adaptive_layer_integrated_gradients import AdaptiveLayerIntegratedGradients
from captum_xg.attr.adaptive.report import IntegrationReport, IntegrationWarning
from captum_xg.attr.call_options import require_gradients_of_f
from captum_xg.attr.explainer import Explainer
from captum_xg.attr.joint.joint_x_gradient import JointXGradient
from captum_xg.attr.layer_x_gradient import LayerXGradient
from captum_xg.attr.observed import Observed, observed, table_of
from captum_xg.attr.x_gradient import XGradient
from captum_xg.errors import ForwardOutputError, HomogeneityWarning, OptionError
from captum_xg.scan.batch import WHERE, Batch
from captum_xg.scan.ends import other_end
from captum_xg.scan.targets import TargetRule

ERROR = "error"
"""The column of estimated relative errors, of what was integrated to a tolerance."""


class Engine(Protocol):
    """What explains a batch."""

    def explained(self, batch: Batch) -> Observed:
        """Return what a batch comes to; what cannot be explained raises."""


class ClosedForm:
    """x·∇F(x)/k, with outputs and targets from the same pass.

    Args:
        method: An instance of :class:`~captum_xg.XGradient` or :class:`~captum_xg.LayerXGradient`.
        rule: Which outputs are explained.
    """

    def __init__(self, method: Explainer, rule: TargetRule) -> None:
        # Of its own, as a run decides for itself what becomes of an example that is refused, and proves for itself.
        self._method = copy.copy(method)
        self._method._take_options(
            method.multiplies_by_inputs,
            method.degree,
            method.validate,
            "warn" if method.on_violation == "warn" else "raise",
            method.rtol,
        )
        self._rule = rule
        self._classes, self._warned = 0, False
        require_gradients_of_f(method.gradient_func, WHERE)
        # Once: tensors in whose place others are put during a run end it, as their versions differ.
        require_memory(method.forward_func, f"{method._name}.attribute")

    def explained(self, batch: Batch) -> Observed:
        """Return the closed form of a batch."""

        def chosen(outputs: Tensor) -> Tensor:
            self._classes = outputs.shape[1]
            return self._rule.chosen(outputs, batch.labels, batch.positions[0])

        count = self._rule.count(self._classes) if self._classes else self._count(batch)
        found = observed(self._method, batch.inputs, batch.additional, chosen, count, batch.positions[0])
        if found.targets.shape[1] != count:
            raise ForwardOutputError(
                f"{WHERE}: the model gives {self._classes} outputs, and gave another number before."
            )
        if found.warning is not None and not self._warned:
            self._warned = True
            warnings.warn(found.warning, HomogeneityWarning, stacklevel=2)
        return found

    def _count(self, batch: Batch) -> int:
        """Return how many outputs are explained, before the number of outputs is known."""
        if self._rule.kind not in ("all", "top", "numbers"):
            return 1
        return self._rule.count(_outputs(self._method.forward_func, batch).shape[1])


class AnyMethod:
    """A method of Captum's form: outputs by a forward pass, then a call for each target.

    Args:
        method: An instance with ``attribute(inputs, target=…)``.
        rule: Which outputs are explained.
        options: What else ``attribute`` is called with.
    """

    def __init__(self, method: Any, rule: TargetRule, options: Mapping[str, object]) -> None:
        self._method, self._rule, self._options = method, rule, dict(options)
        self._arguments = inspect.signature(method.attribute).parameters
        # Of our own classes and Captum's integrals it is F's, of others an estimate by samples of theirs.
        self._draws = _samples(method) or isinstance(method, (DeepLiftShap, LayerDeepLiftShap))
        self._has_delta = "return_convergence_delta" in self._arguments and not _samples(method)
        self._has_report = isinstance(method, (AdaptiveIntegratedGradients, AdaptiveLayerIntegratedGradients))

    def explained(self, batch: Batch) -> Observed:
        """Return what the method gives for a batch, one target after the other."""
        require_evaluation_mode(self._method.forward_func, WHERE)
        outputs = _outputs(self._method.forward_func, batch)
        targets = self._rule.chosen(outputs, batch.labels, batch.positions[0])
        each = [self._one(batch, None if int(t[0]) < 0 else t) for t in targets.unbind(1)]
        attributions = tuple(
            torch.stack(column, 1) for column in zip(*(attributions for attributions, _, _ in each), strict=True)
        )
        gap = torch.stack([delta for _, delta, _ in each], 1)
        names = each[0][2].keys()
        further = {name: torch.stack([more[name] for _, _, more in each], 1) for name in names}
        if not all(map(all_finite, (outputs, *attributions))):
            raise ForwardOutputError(f"{WHERE}: outputs or attributions hold NaN or infinity.")
        return Observed(attributions, outputs, targets, gap, further)

    def _one(self, batch: Batch, target: Tensor | None) -> tuple[Tensors, Tensor, dict[str, Tensor]]:
        """Return attributions, gap and what else there is, for one target."""
        given: dict[str, object] = {"target": target}
        if batch.additional:
            given["additional_forward_args"] = batch.additional
        if self._has_delta:
            given["return_convergence_delta"] = True
        if self._has_report:
            given["return_report"] = True
        inputs = batch.inputs if len(batch.inputs) > 1 else batch.inputs[0]
        # What methods draw depends on where the batch stands, and not on which process explains it.
        with warnings.catch_warnings(), seeded(batch.positions[0], batch.inputs[0].device):
            # What each batch would repeat: errors are kept beside the attributions, and told at the end.
            warnings.simplefilter("ignore", IntegrationWarning)
            warnings.filterwarnings("ignore", message=r".*did not already require gradients")
            result = self._method.attribute(inputs, **{**given, **self._options})
        if isinstance(self._method, JointXGradient):
            parts = result.inputs if isinstance(result.inputs, tuple) else (result.inputs,)
            constants = result.constant_part.detach()
            return tuple(a.detach() for a in parts), result.total - result.values, {"constants": constants}
        further: dict[str, Tensor] = {}
        delta: Tensor | None = None
        if self._has_report:
            *result, report = result
            assert isinstance(report, IntegrationReport)
            further[ERROR] = report.estimated_error
        if self._has_delta:
            result, delta = result[0], result[1]
        found = tuple(a.detach() for a in (result if isinstance(result, tuple) else (result,)))
        if delta is None or delta.numel() != len(batch):  # some give one for each example and baseline
            return found, self._gap(found, batch, target), further
        return found, delta.detach().reshape(len(batch)), further

    def _gap(self, attributions: Tensors, batch: Batch, target: Tensor | None) -> Tensor:
        """Return Σ attributions − (F(x) − F(baseline)), for methods that do not say it."""
        function = ScalarFunction(self._method.forward_func, batch.additional or None, target, WHERE)
        with torch.no_grad():
            at_x = function.values(tuple(map(torch.clone, batch.inputs))).double()
            other = other_end(function, batch.inputs, self._options.get("baselines"), drawn=self._draws)
        total = sum(a.flatten(1).sum(1, dtype=torch.float64) for a in attributions)
        found: Tensor = total - (at_x - other)
        return found


def engine_for(method: object, rule: TargetRule, options: Mapping[str, object]) -> Engine:
    """Return what explains batches by a method.

    Raises:
        OptionError: If it is no method, or cannot be used for a data set.
    """
    if isinstance(method, type) or not callable(getattr(method, "attribute", None)):
        raise OptionError(
            f"{WHERE}: `method` must be an instance of an attribution method, such as XGradient(model), but is "
            f"{method!r}."
        )
    if type(method) in (XGradient, LayerXGradient) and isinstance(method, Explainer):
        if options:
            raise OptionError(
                f"{WHERE}: `options` are for other methods; XGradient has its own, and takes {', '.join(options)} from "
                "nobody here. For baselines other than zero use ExpectedXGradient or AdaptiveIntegratedGradients."
            )
        return ClosedForm(method, rule)
    if not hasattr(method, "forward_func"):
        raise OptionError(f"{WHERE}: {type(method).__name__} has no forward_func, so that outputs cannot be known.")
    return AnyMethod(method, rule, options)


def fallback_for(method: object, rule: TargetRule) -> Engine | None:
    """Return what integrates examples that a method refuses; None for methods that refuse none."""
    if isinstance(method, LayerXGradient):
        layer: Any = AdaptiveLayerIntegratedGradients(
            method.forward_func, method.layer, multiply_by_inputs=method.multiplies_by_inputs
        )
        return AnyMethod(layer, rule, {})
    if isinstance(method, XGradient):
        return AnyMethod(AdaptiveIntegratedGradients(method.forward_func, method.multiplies_by_inputs), rule, {})
    return None


def _outputs(forward_func: Any, batch: Batch) -> Tensor:
    """Return what the model gives for a batch, ``(N, C)``."""

    def run(inputs: Tensors) -> Tensor:
        found: Tensor = ScalarFunction(forward_func, batch.additional or None, None, WHERE).output(inputs)
        return found

    with torch.inference_mode(False):
        return table_of(without_gradients(run, tuple(x.clone() for x in batch.inputs)), len(batch), WHERE)


def _samples(method: object) -> bool:
    return "n_samples" in inspect.signature(method.attribute).parameters  # type: ignore[attr-defined]  # it has one
