"""AttributionPriorLoss: task loss plus a prior on attributions, from one forward pass where possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map, tree_map_only

from captum_xg._core.function import additional_arguments, recordable
from captum_xg._core.inputs import format_inputs
from captum_xg._core.losses import IGNORED, Loss, checked_number, default_loss, require_a_loss_of_one_output
from captum_xg._core.options import forward_function, integer, single_number
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.homogeneity.certificate.certify import Output
from captum_xg.priors.attribution import ATTRIBUTIONS, Attribution, Batch, Foreign
from captum_xg.priors.forward import Forward
from captum_xg.priors.guards import (
    Trained,
    raise_not_finite,
    require_gradient_mode,
    require_no_fused_kernels,
    require_path_to_parameters,
    require_twice_differentiable,
)
from captum_xg.priors.parallel import require_reduction_in_step
from captum_xg.priors.prior_loss import PriorLoss
from captum_xg.priors.scores import Chosen, ScoreRule
from captum_xg.priors.values import prior_value, weighted_sum

Weight: TypeAlias = float | Callable[[int], float]

_WHERE = "AttributionPriorLoss"


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
            model), ``"gradient"``, ``"rrr"`` (gradient of the summed log-probabilities), ``"expected_gradients"``,
            ``"integrated_gradients"``, or a function ``(inputs, target=…)`` that returns attributions.
        target: Which scores are explained: ``"true"`` class, ``"predicted"`` class, ``"all"`` classes (one attribution
            for each, and the mean of their priors), or a function of outputs and target that gives one score per
            example. Models with one output have one score, and ``"rrr"`` always takes all classes together.
        reduction: ``"mean"`` or ``"sum"`` of scores over positions, for outputs ``(N, C, positions…)``.
        ignore_index: Label of positions, or examples, without a class.
        layer: Attribute to what this layer (a name, or the module) returns in place of the inputs.
        output: Which part of a tuple or dict that the model returns is explained: a key, a path, or a function.
        options: Of the attribution: ``validate``, ``degree`` for ``"xgradient"``; ``n_samples``, ``references``,
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
        model: Callable[..., Any],
        prior: Callable[..., Tensor],
        *,
        weight: Weight = 1.0,
        task_loss: Loss | None = None,
        attribution: str | Callable[..., Any] = "xgradient",
        target: Chosen = "true",
        reduction: str = "mean",
        ignore_index: int = IGNORED,
        layer: str | nn.Module | None = None,
        output: Output = None,
        **options: Any,
    ) -> None:
        super().__init__()
        forward_function(model, "model", _WHERE)
        forward_function(prior, "prior", _WHERE)
        if task_loss is not None:
            forward_function(task_loss, "task_loss", _WHERE)
        self.prior = prior
        self.weight = weight if callable(weight) else _checked_weight(weight)
        self.task_loss = task_loss
        self.step = 0
        """How many losses were made to train with; the argument of a weight that is a function."""
        self._looked = False
        self._rule = ScoreRule(target, reduction, ignore_index)  # type: ignore[arg-type]
        # Not a submodule: its parameters belong to the caller's optimiser and checkpoint, once.
        forward = Forward(model, layer, output)
        self._forward = forward, forward.bare()
        # Nor is what it is attributed by: a module would bring the model's parameters along.
        object.__setattr__(self, "attribution", attribution)
        self._attribution = _attribution(attribution, options, self._rule)

    @property
    def model(self) -> Callable[..., Any]:
        """The model."""
        return self._forward[0].model

    def forward(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any,
        additional_forward_args: object = None,
        *,
        step: int | None = None,
        **prior_arguments: Any,
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
        target, prior_arguments = tree_map(recordable, (target, prior_arguments))
        now = self.step if step is None else integer(step, "step", _WHERE)
        weight = self.weight if isinstance(self.weight, float) else _checked_weight(self.weight(now), now)
        if not self.training:
            with torch.inference_mode(False), torch.enable_grad(), self._forward[0].first_layers.differentiable():
                measured = self._loss(formatted, target, additional, now, weight, prior_arguments, False)
                return self._in_form_of(inputs, _detached(measured))
        require_gradient_mode()
        require_reduction_in_step(self.model)
        with self._forward[0].first_layers.differentiable():
            result = self._loss(formatted, target, additional, now, weight, prior_arguments, weight != 0)
        self.step = now + 1
        return self._in_form_of(inputs, result)

    if TYPE_CHECKING:  # nn.Module says Any

        def __call__(
            self,
            inputs: Tensor | tuple[Tensor, ...],
            target: Any,
            additional_forward_args: object = None,
            *,
            step: int | None = None,
            **prior_arguments: Any,
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

    def _loss(
        self,
        inputs: tuple[Tensor, ...],
        target: Any,
        additional: tuple[Any, ...],
        step: int,
        weight: float,
        arguments: dict[str, Any],
        train: bool,
    ) -> PriorLoss:
        wrapped, forward = self._forward
        attribution = self._attribution
        attribution.prepare(forward, self._rule, inputs, additional, target)
        at_points = attribution.one_pass or forward.layer is not None
        passed = (wrapped if self.training else forward).recorded(inputs, additional, at_points=at_points)
        if train:
            require_twice_differentiable(forward.model, passed.explained)
            if not self._looked:  # once, for it is a walk through the whole graph
                require_no_fused_kernels(passed.explained)
                self._looked = True
        rule = self._rule if attribution.explains else ScoreRule("all", self._rule.reduction)
        choice = rule.choice(passed.explained, target)
        batch = Batch(forward, inputs, additional, passed, rule, choice, create_graph=train)
        found = attribution(batch)
        connected: list[tuple[Tensor, ...]] = []
        if train:
            foreign = isinstance(attribution, Foreign)
            trained = Trained(forward.model, passed.points, passed.explained, (*inputs, *additional))
            connected = [require_path_to_parameters(each, trained, foreign=foreign) for each in found]
        else:
            found = [tuple(a.detach() for a in each) for each in found]
        single = len(found[0]) == 1 and passed.single
        with nullcontext() if train else torch.no_grad():
            priors = [
                prior_value(self.prior, a, single, arguments, connected[i] if train else None)
                for i, a in enumerate(found)
            ]
            prior = priors[0] if len(priors) == 1 else torch.stack(priors).mean()
        if not math.isfinite(float(prior.detach())):
            flat = tuple(a for each in found for a in each)
            raise_not_finite(step, prior.detach(), flat, passed.explained, inputs)
        if self.task_loss is None:
            task = default_loss(passed.explained, target, _WHERE, "task_loss", self._rule.ignore_index)
        else:
            require_a_loss_of_one_output(self.task_loss, passed.outputs, _WHERE, "task_loss")
            task = checked_number(self.task_loss(passed.outputs, target), "task_loss", _WHERE)
        together = tuple(
            torch.stack(each, 1) if self._rule.chosen == "all" and len(found) > 1 else each[0]
            for each in zip(*found, strict=True)
        )
        return PriorLoss(
            weighted_sum(task, prior, weight), task, prior, passed.outputs, together[0] if single else together
        )

    def _in_form_of(self, inputs: Any, result: PriorLoss) -> PriorLoss:
        """Return the attributions as a tuple where the inputs were one, of one tensor too."""
        found = result.attributions
        several = self._forward[0].layer is None and isinstance(inputs, tuple)
        return result._replace(attributions=(found,)) if several and isinstance(found, Tensor) else result

    def _formatted(self, inputs: Any) -> tuple[Tensor, ...]:
        if self._forward[0].layer is None:
            return tuple(map(recordable, format_inputs(inputs, _WHERE, finite=False)))
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        if not tensors or not all(isinstance(x, Tensor) and x.dim() > 0 and len(x) == len(tensors[0]) for x in tensors):
            raise InputError(f"{_WHERE}: `inputs` must be tensors (N, …) with the same number of examples.")
        return tuple(map(recordable, tensors))


def _attribution(attribution: Any, options: dict[str, Any], rule: ScoreRule) -> Attribution:
    if callable(attribution) and not isinstance(attribution, str):
        forward_function(attribution, "attribution", _WHERE)
        if options:
            raise OptionError(f"{_WHERE}: options {sorted(options)} are for no attribution that is a function.")
        if rule.chosen not in ("true", "predicted"):
            raise OptionError(
                f"{_WHERE}: `target` must be 'true' or 'predicted' where `attribution` is a function, which is called "
                "with the class of each example."
            )
        return Foreign(attribution)
    if not isinstance(attribution, str) or attribution not in ATTRIBUTIONS:
        wrong = OptionError if isinstance(attribution, str) else OptionTypeError
        hint = " Of an instance of a Captum method pass .attribute." if hasattr(attribution, "attribute") else ""
        raise wrong(
            f"{_WHERE}: `attribution` must be one of {', '.join(map(repr, ATTRIBUTIONS))} or a function but is "
            f"{attribution!r}.{hint}"
        )
    kind = ATTRIBUTIONS[attribution]
    known = list(signature(kind).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(
            f"{_WHERE}: attribution={attribution!r} takes no option {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(known) or 'none'}, besides task_loss, weight, target, reduction, ignore_index, layer, output."
        )
    return kind(**options)


def _checked_weight(weight: Any, step: int | None = None) -> float:
    at = "" if step is None else f" at step {step}"
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise OptionTypeError(
            f"{_WHERE}: `weight` is a tensor that requires a gradient{at}, and would get none: it must be a number. "
            "Let the prior multiply by what is to be learned."
        )
    number = single_number(weight.reshape(()) if isinstance(weight, Tensor) and weight.numel() == 1 else weight)
    if number is None or not math.isfinite(number):
        kind = OptionTypeError if number is None else OptionError
        raise kind(
            f"{_WHERE}: `weight` must be a finite number, or a function of the step to one, but is {weight!r}{at}."
        )
    return number


def _detached(result: PriorLoss) -> PriorLoss:
    def detached(value: Any) -> Any:
        return tree_map_only(Tensor, Tensor.detach, value)

    return PriorLoss(*map(detached, result))
