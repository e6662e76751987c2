"""Integrated Gradients over inputs and additive constants together, from one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from captum_xg._core.captum_compat import GradientAttribution, log_usage
from captum_xg._core.function import ScalarFunction, checked_arguments
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, switch
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Target
from captum_xg.attr.call_options import batch_size, said_further
from captum_xg.attr.explainer import Explainer, OnViolation, Validation
from captum_xg.attr.joint.attributions import JointAttributions
from captum_xg.attr.joint.maps import constant_maps
from captum_xg.attr.task import Task
from captum_xg.homogeneity.joint.alone import require_same_alone
from captum_xg.homogeneity.joint.augmented import ALONE, Augmented
from captum_xg.homogeneity.joint.constants import chosen_constants, held_tensors
from captum_xg.homogeneity.joint.found import AugmentedFunctions
from captum_xg.homogeneity.scaling.dtypes import inner_dtypes


class JointXGradient(Explainer, GradientAttribution):  # type: ignore[misc]  # Captum has no type information
    r"""Integrated Gradients over the inputs and the additive constants of a model together, in closed form.

    A ReLU network with biases is not homogeneous in x. In x and all that it adds, c (biases, shifts and running means
    of batch norms, class tokens, position embeddings), it is: F(αx; αc) = αF(x; c), for any weights. So Integrated
    Gradients of F as a function of both, from (0, 0) to (x, c), are

    .. math:: \Bigl(x \cdot \frac{\partial F}{\partial x},\; c \cdot \frac{\partial F}{\partial c}\Bigr),
              \qquad \sum_i x_i \frac{\partial F}{\partial x_i} + \sum_j c_j \frac{\partial F}{\partial c_j} = F(x),

    from one gradient, exactly, with the axioms of Integrated Gradients. The first part is Input×Gradient: this is what
    it means on networks with biases. Together they are the terms of FullGrad.

    **The part of the inputs is not Integrated Gradients of x alone**, which keep the constants as they are while x
    fades in: here constants fade in with it. Which of the two is meant is up to the question; for x alone there are
    :class:`~captum_xg.AdaptiveIntegratedGradients` and ``XGradient(…, on_violation="integrate")``.

    It is validated like :class:`~captum_xg.XGradient`, with inputs and constants scaled together, and refuses models
    that are not homogeneous in both: GELU and sigmoid, ReLU6, LayerNorm and softmax are no more so than before. While
    it runs, other tensors stand in the model's places for constants: no other thread may run the model meanwhile, but
    for calls of this class, which wait for each other.

    Args:
        forward_func: A module or any callable that gives one score per example once a target is chosen.
        constants: The names of the parameters, buffers and tensors that are the constants; None for all that are found
            to be added. Numbers in the code, such as ``x + 1``, cannot be named: make them buffers.
        degree, validate, on_violation, rtol: As of :class:`~captum_xg.XGradient`.

    Raises:
        DegreeError, OptionTypeError, OptionError: As of :class:`~captum_xg.XGradient`.

    Source: Hesse et al. 2021, Proposition 3.2, for F as a function of inputs and constants; Srinivas and Fleuret 2019,
    Proposition 2, has the sum. That it is Integrated Gradients is our own.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).double()
        >>> x = torch.rand(4, 3).double()
        >>> joint = JointXGradient(model).attribute(x, target=1)
        >>> list(joint.constants), joint.inputs.shape, joint.constants["0.bias"].shape
        (['0.bias', '2.bias'], torch.Size([4, 3]), torch.Size([4, 8]))
        >>> bool((joint.total - model(x)[:, 1]).abs().max() < 1e-12)
        True
    """

    _name = "JointXGradient"

    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        constants: Sequence[str] | None = None,
        degree: float | Literal["auto"] = 1,
        validate: Validation = "auto",
        on_violation: OnViolation = "raise",
        rtol: float | None = None,
    ) -> None:
        super().__init__(forward_function(forward_func, "forward_func", self._name))
        self._take_options(True, degree, validate, on_violation, rtol)
        if constants is not None:
            chosen_constants(constants, held_tensors(forward_func), self._name)
        self._functions = AugmentedFunctions(True if constants is None else constants, f"{self._name}.attribute")

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Target = None,
        additional_forward_args: object = None,
        internal_batch_size: int | None = None,
        *,
        create_graph: bool = False,
    ) -> JointAttributions:
        """Return x·∂F/∂x and c·∂F/∂c of every example.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
            target: Which output is explained, in the forms that Captum takes.
            additional_forward_args: What follows the inputs in a call; neither attributed to nor scaled.
            internal_batch_size: The most examples in one forward pass; all if None.
            create_graph: Keep the graph, so that a loss of the attributions has gradients for the parameters.

        Returns:
            :class:`~captum_xg.attr.JointAttributions`: one tensor ``(N, …)`` for each input and each constant.

        Raises:
            HomogeneityError: If F is not homogeneous in inputs and constants together; it names what breaks it.
            OptionError, InputError, TargetError, ForwardOutputError, GradientError, ModelStateError, TrainingModeError,
                NondeterministicForwardError, CrossExampleError, DegreeError: As of
                :meth:`captum_xg.XGradient.attribute`.
        """
        where = f"{self._name}.attribute"
        recorded = switch(create_graph, "create_graph", where)
        x = format_inputs(inputs, where)
        n = len(x[0])
        size = batch_size(internal_batch_size, n, where)
        additional = checked_arguments(additional_forward_args, where)
        require_usable_state(self.forward_func, where)
        require_evaluation_mode(self.forward_func, where)
        with ALONE, torch.inference_mode(False), ids_refused(self.forward_func, inputs, additional_forward_args, where):
            augmented = self._functions.of(self.forward_func, x, additional)
            values = augmented.values(n) if recorded else tuple(v.detach() for v in augmented.values(n))
            function = ScalarFunction(augmented, additional, target, where)
            with said_further(lambda: _meant(augmented)):
                outcome = self._explained(Task(function, (*x, *values), size, recorded, at_once=internal_batch_size))
                found = outcome.values
                found = function.values((*x, *values)).detach() if found is None else found
            own = ScalarFunction(self.forward_func, additional, target, where)
            if n > 1 and self.validate != "off":
                with preserve_state(self.forward_func, x[0].device):
                    together = torch.cat([f.values(tuple(map(Tensor.clone, xs))) for xs, f in own.parts(x, size)])
                    inner = partial(inner_dtypes, own.values, x)
                    require_same_alone(together, found, outcome.attributions, where, inner)
        self._warn(outcome, 3)
        parts = outcome.attributions
        names = [constant.name for constant in augmented.constants]
        return JointAttributions(
            inputs=parts[: len(x)] if isinstance(inputs, tuple) else parts[0],
            constants=dict(zip(names, parts[len(x) :], strict=True)),
            values=found,
            degree=outcome.degree,
            holders={constant.name: (constant.module, constant.type) for constant in augmented.constants},
            maps=partial(constant_maps, own, tuple(t.detach() for t in x)),
        )


def _meant(augmented: Augmented) -> str:
    n = len(augmented.constants)
    return (
        f"F is meant as a function of the inputs and of {n} constant{'s' * (n != 1)} of the model, which are scaled "
        "together. Numbers in the code and tensors of a closure are none of them: make those buffers of a module."
    )
