"""AttributionPriorLoss: task loss plus a prior on attributions, from one forward pass where possible.

The invariant: ``total.backward()`` gives every parameter the gradient of task + λ·Ω(A), the second term included, or
the loss refuses. A step is: format, prepare the attribution (X-Gradient proves homogeneity), run the model once, select
scores, attribute, look that paths lead from Ω(A) to parameters, add up. With one gradient of the same pass as
attribution, as for ``"xgradient"``, nothing runs twice. What must never happen: a prior that silently trains nothing, a
caller's tensor that is marked or written to, a model that is left in another mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map, tree_map_only

from captum_xg._core.function import additional_arguments, recordable
from captum_xg._core.inputs import format_inputs
from captum_xg._core.losses import IGNORED, Loss, checked_number, default_loss, require_a_loss_of_one_output
from captum_xg._core.options import forward_function, integer, single_number
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.homogeneity.certificate.outputs import Output
from captum_xg.priors.attribution import Batch, CustomAttribution, attribution_of
from captum_xg.priors.forward import Forward, Pass
from captum_xg.priors.paths import Trained, require_path_to_parameters
from captum_xg.priors.prior_loss import PriorLoss
from captum_xg.priors.supported import (
    WHERE,
    require_gradient_mode,
    require_no_fused_kernels,
    require_reduction_in_step,
    require_twice_differentiable,
)
from captum_xg.priors.target_selection import Chosen, TargetSelector
from captum_xg.priors.values import prior_value, raise_not_finite, weighted_sum

Weight: TypeAlias = float | Callable[[int], float]


class AttributionPriorLoss(nn.Module):
    r"""The objective of training with an attribution prior, with gradients for every parameter.

    .. math:: \mathcal{L}(F(x), y) + \lambda\, \Omega(\mathcal{A}(F, x))

    It replaces the task loss in a training loop: ``loss(inputs, target).total.backward()``. Where the attribution is
    made of one gradient, the forward pass is shared, and a step costs about twice the arithmetic of a plain one.

    Args:
        model: A module or any callable; it is not registered here, so that parameters have one owner.
        prior: Ω, one of :mod:`captum_xg.priors`, a sum of them, or any function from attributions to one number through
            which a gradient finds its way back to them.
        weight: λ, a number or a function of the step. At 0 the prior is measured but no graph is kept for it.
        task_loss: A function of what the model returns and the target. By default cross entropy for class indices or
            probabilities, and binary cross entropy for one logit and labels 0 and 1; anything else, a regression among
            it, needs one.
        attribution: ``"xgradient"`` (x·∇F, where F is proven to be homogeneous), ``"input_x_gradient"`` (x·∇F of any
            model), ``"joint"`` (x·∂F/∂x, and c·∂F/∂c of the constants that a model with biases adds, where F is proven
            to be homogeneous in both together), ``"gradient"``, ``"rrr"`` (gradient of the summed log-probabilities),
            ``"expected_gradients"``, ``"integrated_gradients"``, a function ``(inputs, target=…)`` that returns
            attributions, or one of your own (:class:`~captum_xg.priors.attribution.Attribution`): an instance, or the
            name it is registered by.
        target: Which scores are explained: ``"true"`` class, ``"predicted"`` class, ``"all"`` classes (one attribution
            for each, and the mean of their priors), or a function of outputs and target that gives one score per
            example. Models with one output have one score, and ``"rrr"`` always takes all classes together.
        reduction: ``"mean"`` or ``"sum"`` of scores over positions, for outputs ``(N, C, positions…)``.
        ignore_index: Label of positions, or examples, without a class.
        layer: Attribute to what this layer (a name, or the module) returns in place of the inputs.
        output: Which part of a tuple or dict that the model returns is explained: a key, a path, or a function.
        options: Of the attribution: ``validate``, ``degree`` for ``"xgradient"``; ``part`` (``"inputs"``,
            ``"constants"`` or ``"both"``), ``constants``, ``validate`` for ``"joint"``; ``n_samples``, ``references``,
            ``generator`` for ``"expected_gradients"``; ``n_steps``, ``baselines`` for ``"integrated_gradients"``.

    Under ``loss.eval()`` everything is computed, also within ``no_grad``, and returned detached; steps are not counted.
    The model's own mode is yours to set. Batch norm in training mode mixes examples, and gradients run through that.

    With ``DistributedDataParallel`` pass the wrapped model, not its ``module``, from which no gradient would reach the
    other processes; or wrap a module that holds model and loss, as Lightning does. Gradients are then the mean over
    processes, as for any loss. Where gradients are accumulated, a prior of the batch mean (:class:`GiniSparsity`) is
    that of each micro-batch. Parameters sharded by ``fully_shard`` need ``validate="off"``, and a certificate from
    before.

    Raises:
        OptionError: If an option has no such value, or the attribution does not know it.

    Source: Hesse et al. 2021, Eq. 1; Erion et al. 2021.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
        >>> loss = AttributionPriorLoss(model, lambda a: a.abs().mean(), weight=0.1)
        >>> loss(torch.rand(5, 4), torch.randint(3, (5,))).total.backward()
    """

    def __init__(
        self,
        model: ForwardFunction,
        prior: Callable[..., Tensor],
        *,
        weight: Weight = 1.0,
        task_loss: Loss | None = None,
        attribution: str | Callable[..., object] = "xgradient",
        target: Chosen = "true",
        reduction: str = "mean",
        ignore_index: int = IGNORED,
        layer: str | nn.Module | None = None,
        output: Output = None,
        **options: object,
    ) -> None:
        super().__init__()
        forward_function(model, "model", WHERE)
        forward_function(prior, "prior", WHERE)
        if task_loss is not None:
            forward_function(task_loss, "task_loss", WHERE)
        self.prior = prior
        self.weight = weight if callable(weight) else _checked_weight(weight)
        self.task_loss = task_loss
        self.step = 0
        """How many losses were made to train with; the argument of a weight that is a function."""
        self._kernels_checked = False
        self._selector = TargetSelector(target, reduction, ignore_index)  # type: ignore[arg-type]
        # Not a submodule: its parameters belong to the caller's optimiser and checkpoint, once.
        self._forward = Forward(model, layer, output)
        # Nor is what it is attributed by: a module would bring the model's parameters along.
        object.__setattr__(self, "attribution", attribution)
        self._attribution = attribution_of(attribution, options, self._selector)

    @property
    def model(self) -> ForwardFunction:
        """The model."""
        return self._forward.wrapped

    def forward(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: object,
        additional_forward_args: object = None,
        *,
        step: int | None = None,
        **prior_arguments: object,
    ) -> PriorLoss:
        """Return the loss of one batch.

        Args:
            inputs: Tensor ``(N, …)``, or a tuple of tensors. With ``layer`` of any dtype, else floating-point.
            target: What the task loss takes: class indices ``(N,)`` or ``(N, positions…)``, or anything.
            additional_forward_args: What follows the inputs in a call of the model.
            step: For the weight and messages; by default calls are counted.
            prior_arguments: Handed to the prior, such as ``mask``.

        Raises:
            InputError: Inputs that nothing can be attributed to.
            TargetError: A target that does not say what is explained.
            HomogeneityError: ``"xgradient"`` and a model that is not proven to be homogeneous.
            DisconnectedAttributionError: If the prior, or a term of it, would train nothing: if no gradient leads back
                from it to attributions that depend on the parameters.
            NonFinitePriorError: If it is NaN or infinite.
        """
        formatted = self._formatted(inputs)
        additional = additional_arguments(additional_forward_args)
        # Batches that were loaded in inference mode are copied: autograd could not save them for the backward pass.
        target, prior_arguments = tree_map(recordable, (target, prior_arguments))
        now = self.step if step is None else integer(step, "step", WHERE)
        weight = self.weight if isinstance(self.weight, float) else _checked_weight(self.weight(now), now)
        if self.training:
            require_gradient_mode()
            require_reduction_in_step(self.model)
        # Attributions are gradients, so that evaluation needs them, too, whatever mode it is called in.
        with nullcontext() if self.training else torch.inference_mode(False), torch.enable_grad():
            batch = self._batch(formatted, additional, target, create_graph=self.training and weight != 0)
            attributions = self._attributions(batch)
            prior = self._prior(batch, attributions, prior_arguments, now)
            task = self._task(batch.passed, target)
            given = self._in_form_of(inputs, attributions, batch.passed)
            result = PriorLoss(weighted_sum(task, prior, weight), task, prior, batch.passed.outputs, given)
            if not self.training:
                return PriorLoss(*tree_map_only(Tensor, Tensor.detach, tuple(result)))
        self.step = now + 1  # not before, so that a batch that was refused does not count
        return result

    if TYPE_CHECKING:  # nn.Module says Any; written out, so that type checkers name an argument that is missing

        def __call__(
            self,
            inputs: Tensor | tuple[Tensor, ...],
            target: object,
            additional_forward_args: object = None,
            *,
            step: int | None = None,
            **prior_arguments: object,
        ) -> PriorLoss:
            """Return the loss of one batch."""

    def extra_repr(self) -> str:
        """Return the options."""
        return f"attribution={self.attribution!r}, weight={self.weight!r}, step={self.step}"

    def get_extra_state(self) -> dict[str, int]:
        """Return the step, so that a schedule goes on where it was."""
        return {"step": self.step}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take over the step."""
        self.step = state["step"]

    def _formatted(self, inputs: object) -> Tensors:
        if self._forward.layer is None:
            return tuple(map(recordable, format_inputs(inputs, WHERE, finite=False)))
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        if not tensors or not all(isinstance(x, Tensor) and x.dim() > 0 and len(x) == len(tensors[0]) for x in tensors):
            raise InputError(f"{WHERE}: `inputs` must be tensors (N, …) with the same number of examples.")
        return tuple(map(recordable, tensors))

    def _batch(self, inputs: Tensors, additional: Arguments, target: object, *, create_graph: bool) -> Batch:
        """Run the model once, for the task and the attribution, and select the scores that are explained."""
        forward, attribution = self._forward, self._attribution
        attribution.prepare(forward, self._selector, inputs, additional, target)
        at_points = attribution.one_pass or forward.layer is not None
        passed = forward.recorded(inputs, additional, at_points=at_points, in_step=self.training)
        if create_graph:
            require_twice_differentiable(forward.model, passed.explained)
            if not self._kernels_checked:  # once, for it is a walk through the whole graph
                require_no_fused_kernels(passed.explained)
                self._kernels_checked = True
        # An attribution of all classes together needs no true class, and so no target that names one.
        selector = self._selector if attribution.explains else TargetSelector("all", self._selector.reduction)
        selection = selector.select(passed.explained, target)
        return Batch(forward, inputs, additional, passed, selector, selection, create_graph)

    def _attributions(self, batch: Batch) -> list[Tensors]:
        """Return the attributions for each score, detached where nothing is trained by them."""
        found = self._attribution(batch)
        return found if batch.create_graph else [tuple(a.detach() for a in each) for each in found]

    def _prior(self, batch: Batch, found: list[Tensors], arguments: dict[str, object], step: int) -> Tensor:
        """Return Ω(A), the mean over the scores, with a path to the parameters if it is trained with."""
        passed = batch.passed
        connected: list[Tensors | None] = [None] * len(found)
        if batch.create_graph:
            trained = Trained(self._forward.model, passed.points, passed.explained, (*batch.inputs, *batch.additional))
            custom = isinstance(self._attribution, CustomAttribution)
            connected = [require_path_to_parameters(each, trained, custom=custom) for each in found]
        single = passed.single and len(found[0]) == 1
        # A prior that is only measured may use what has no derivative.
        with nullcontext() if batch.create_graph else torch.no_grad():
            priors = [
                prior_value(self.prior, each, single, arguments, trained_by)
                for each, trained_by in zip(found, connected, strict=True)
            ]
            prior = priors[0] if len(priors) == 1 else torch.stack(priors).mean()
        if not math.isfinite(float(prior.detach())):
            flat = tuple(a for each in found for a in each)
            raise_not_finite(step, prior.detach(), flat, passed.explained, batch.inputs)
        return prior

    def _task(self, passed: Pass, target: object) -> Tensor:
        if self.task_loss is None:
            return default_loss(passed.explained, target, WHERE, "task_loss", self._selector.ignore_index)
        require_a_loss_of_one_output(self.task_loss, passed.outputs, WHERE, "task_loss")
        return checked_number(self.task_loss(passed.outputs, target), "task_loss", WHERE)

    def _in_form_of(self, inputs: object, found: list[Tensors], passed: Pass) -> Tensor | Tensors:
        """Return the attributions, those of all classes stacked, as a tuple where the inputs or points were one."""
        stacked = self._selector.chosen == "all" and len(found) > 1
        together = tuple(torch.stack(each, 1) if stacked else each[0] for each in zip(*found, strict=True))
        several = self._forward.layer is None and isinstance(inputs, tuple)
        single = passed.single and len(together) == 1 and not several
        return together[0] if single else together


def _checked_weight(weight: object, step: int | None = None) -> float:
    at = "" if step is None else f" at step {step}"
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise OptionTypeError(
            f"{WHERE}: `weight` is a tensor that requires a gradient{at}, and would get none: it must be a number. "
            "Let the prior multiply by what is to be learned."
        )
    number = single_number(weight.reshape(()) if isinstance(weight, Tensor) and weight.numel() == 1 else weight)
    if number is None or not math.isfinite(number):
        kind = OptionTypeError if number is None else OptionError
        raise kind(
            f"{WHERE}: `weight` must be a finite number, or a function of the step to one, but is {weight!r}{at}."
        )
    return number
