"""Metrics that run the model: its values in batches of bounded size, and arguments cut to one example."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import all_finite, first_not_finite
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, positive_integer
from captum_xg._core.types import Target
from captum_xg.errors import ForwardOutputError
from captum_xg.metrics.mean_scores import MeanOfScores


class ModelMetric(MeanOfScores):
    """Base of the means over examples that need the outputs of a model.

    The model stays outside of the metric: ``to``, ``train`` or ``state_dict`` of the metric do not reach it,
    and a clone of the metric looks at the same model, as it is by then.

    Args:
        forward_func: A module or any callable that gives one number per example once a target is chosen.
        internal_batch_size: The most examples in one forward pass. All at once if None.
        n_points: How many numbers there are per example; None for a single one.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionTypeError: If an option is of the wrong type, such as the class of a model.
        OptionError: If an option has no such value.
    """

    function_name: ClassVar[str] = "forward_func"
    """What the first argument is called."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        internal_batch_size: int | None = None,
        n_points: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(n_points, **options)
        forward_function(forward_func, self.function_name, self._where)
        if internal_batch_size is not None:
            internal_batch_size = positive_integer(internal_batch_size, "internal_batch_size", self._where)
        # In a tuple, because a module that is an attribute of a module becomes part of it.
        self._held = (forward_func,)
        self.internal_batch_size = internal_batch_size

    @property
    def forward_func(self) -> Callable[..., Any]:
        """The function that is explained."""
        return self._held[0]

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelMetric:
        # A copied model would stay as it was while the model itself is trained on.
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        held = tuple(_held_by_copy(function, memo) for function in self._held)
        state = {name: value for name, value in self.__getstate__().items() if name != "_held"}
        result.__setstate__({**copy.deepcopy(state, memo), "_held": held})
        return result

    def scores(
        self, inputs: Any, attributions: Any, target: Target = None, additional_forward_args: object = None
    ) -> Tensor:
        """Return the number, or the curve, of each example; nothing is accumulated."""
        raise NotImplementedError

    def update(
        self, inputs: Any, attributions: Any, target: Target = None, additional_forward_args: object = None
    ) -> None:
        """Add examples.

        Args:
            inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
            attributions: The attributions of these inputs, in the same form.
            target: Which output is explained: int, tuple, integer tensor, or list of ints or tuples, as in Captum.
            additional_forward_args: What follows the inputs in a call of the forward function.

        Raises:
            InputError: Unsuitable inputs or attributions: NaN, infinite, or of shapes that do not fit.
            TargetError: A target that is missing, out of range, or of the wrong form.
            ForwardOutputError: An output that is not one finite real number per example.
            TrainingModeError: Dropout, batch norm or the like in training mode.
        """
        self._add(self.scores(inputs, attributions, target, additional_forward_args))

    def _function(self, target: Target, additional_forward_args: object) -> ScalarFunction:
        require_evaluation_mode(self.forward_func, self._where)
        return ScalarFunction(self.forward_func, additional_forward_args, target, self._where)

    def _values(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return F(x), shape ``(N,)``, in the dtype of the output; inputs are kept from being overwritten.

        Raises:
            ForwardOutputError: If a value is NaN or infinite.
        """
        n = len(inputs[0])
        size = self.internal_batch_size or n
        if size >= n:
            values = function.values(tuple(x.clone() for x in inputs))
        else:
            parts = [(start, min(start + size, n)) for start in range(0, n, size)]
            values = torch.cat(
                [
                    function.examples(start, stop, n).values(tuple(x[start:stop].clone() for x in inputs))
                    for start, stop in parts
                ]
            )
        if not all_finite(values):
            raise ForwardOutputError(
                f"{self._where}: forward_func gives NaN or infinity, first for example "
                f"{function.first + first_not_finite(values)}. Nothing can be measured with that value; a perturbed "
                "input may lie where the model is not defined."
            )
        return values


def _held_by_copy(function: Any, memo: dict[int, Any]) -> Any:
    """Return the function itself, or its copy if it has been copied along with what contains the metric."""
    if isinstance(function, types.MethodType) and id(function.__self__) in memo:
        return types.MethodType(function.__func__, memo[id(function.__self__)])
    return memo.get(id(function), function)


def repeated(function: ScalarFunction, rows: int) -> ScalarFunction:
    """Return the function of one example, as ``examples(i, i + 1, n)`` gives it, for that many copies of it."""

    def copies(value: Any) -> Any:
        single = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == 1
        return value.expand(rows, *value.shape[1:]) if single else value

    target = function.target * rows if isinstance(function.target, list) else function.target
    additional = tuple(map(copies, function.additional))
    return ScalarFunction(function.forward_func, additional, target, function.where, first=function.first)
