"""Bases of all metrics: means over examples that add up over batches and processes, and those that run a model.

The invariant: a metric is a sum of scores and a count, so that every example counts once, however the data are cut into
batches and dealt out to processes. ``scores`` has the arithmetic and leaves no trace; ``update`` adds what it returns;
``compute`` is ``aggregate`` of the mean. A subclass gives ``scores`` and ``higher_is_better``, nothing else.

Example: after scores (1, 2) of one batch and (6,) of the next the states are ``total`` 9 and ``count`` 3, and the value
is 3, not the mean of the means 1.5 and 6. What must never happen: that a ``MetricCollection`` takes two metrics for
one; hence the state ``fingerprint`` (:mod:`captum_xg.metrics.fingerprint`), which says what the sums are sums of.
"""

from __future__ import annotations

import copy
import math
import types
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor
from torchmetrics import Metric

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import all_finite, first_not_finite, format_inputs
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, positive_integer, single_number
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.errors import ForwardOutputError, InputError, OptionTypeError
from captum_xg.metrics.fingerprint import fingerprint_of
from captum_xg.metrics.formatting import format_attributions, require_same_shapes
from captum_xg.metrics.protocols import MetricOptions, Tensors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from typing_extensions import Unpack


class MeanOfScores(Metric):
    """Base of the metrics whose value is the mean of one number, or one curve, per example.

    The states are a float64 sum and a count, summed over processes; a process without any example adds nothing.

    Args:
        n_points: How many numbers there are per example; None for a single one.
        options: Options of :class:`torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False

    of_mean: ClassVar[bool] = True
    """Whether :meth:`aggregate` depends on the mean of the scores over examples alone."""

    total: Tensor
    count: Tensor
    fingerprint: Tensor

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        # A subclass that aggregates in another way declares it again, or a median would be taken for a mean.
        if "aggregate" in vars(cls) and "of_mean" not in vars(cls):
            cls.of_mean = False

    def __init__(self, n_points: int | None = None, **options: Unpack[MetricOptions]) -> None:
        super().__init__(**options)
        # First, for torchmetrics 1.4 compares the first state alone. Of no use across processes, where it differs.
        self.add_state("fingerprint", torch.zeros(16, dtype=torch.int64), dist_reduce_fx="max")
        shape = () if n_points is None else (n_points,)
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def _where(self) -> str:
        """The public name that errors begin with."""
        return type(self).__name__

    def _add(self, scores: Tensor) -> None:
        """Add scores of shape ``(N,)`` or ``(N, n_points)`` to the sums."""
        # New tensors, never in place: torchmetrics keeps the old ones while `forward` and the synchronisation last.
        self.total = self.total + scores.to(self.total).sum(0)
        self.count = self.count + len(scores)
        # At every update, as settings may have been changed, or the metric copied, since the last.
        self.fingerprint = torch.tensor(list(fingerprint_of(self))).to(self.fingerprint)

    def aggregate(self, scores: Tensor) -> Tensor:
        """Return the number that :meth:`compute` gives for the examples with these scores, shape ``()``."""
        return scores.double().mean()

    def compute(self) -> Tensor:
        """Return the mean over all examples of all processes, shape ``()``, float64.

        Raises:
            InputError: If there was no example at all.
        """
        # One row stands for all: whatever the metric aggregates depends on the mean alone, or it overrides this.
        return self.aggregate(self._mean()[None])

    def _mean(self) -> Tensor:
        """Return the mean of the scores from the states as they are, synchronised or not."""
        if not int(self.count):
            raise InputError(f"{self._where}: no example was given, so there is no mean. Call update first.")
        return self.total / self.count

    def plot(self, val: object = None, ax: Axes | None = None) -> tuple[Figure, Axes]:
        """Plot the metric, as metrics of torchmetrics do, and return the figure and the axes.

        A metric with a curve draws it where the value is its own; other values are drawn as points, a list of them as
        a series of steps.

        Args:
            val: A result of ``compute`` or of calling the metric, or a list of them; by default ``compute()``, which
                all processes must call. The axes alone may stand in this place, too.
            ax: Matplotlib's axes to draw on; new ones by default.

        Raises:
            OptionTypeError: If a value is not a number.
            InputError: If there was no example, and no value is given.
        """
        from matplotlib.axes import Axes  # here, as it takes longer to import than all of the metrics

        if isinstance(val, Axes) and ax is None:
            val, ax = None, val
        axes = self._drawn(self._plottable(self.compute() if val is None else val), ax)
        return cast("Figure", axes.figure), axes

    def _drawn(self, value: Tensor | list[Tensor], ax: Axes | None) -> Axes:
        axes = cast("Axes", self._plot(value, ax)[1])
        if not all(map(math.isfinite, value if isinstance(value, list) else [value])):
            axes.set_title("values that are not finite cannot be drawn", fontsize="small")
        return axes

    def _plottable(self, val: object) -> Tensor | list[Tensor]:
        """Return one value, or a list of them, as tensors of one dtype on the CPU."""
        values = list(val) if isinstance(val, (list, tuple)) else [val]
        numbers = [single_number(v.reshape(()) if isinstance(v, Tensor) and v.numel() == 1 else v) for v in values]
        if not numbers or None in numbers:
            raise OptionTypeError(
                f"{self._where}.plot: `val` must be what compute() or a call of the metric returned, or a list of such "
                f"numbers, but is {val!r:.80}."
            )
        tensors = [torch.tensor(number, dtype=torch.float64) for number in numbers]
        return tensors if isinstance(val, (list, tuple)) else tensors[0]


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
        forward_func: ForwardFunction,
        *,
        internal_batch_size: int | None = None,
        n_points: int | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(n_points, **options)
        self._hold(forward_func)
        if internal_batch_size is not None:
            internal_batch_size = positive_integer(internal_batch_size, "internal_batch_size", self._where)
        self.internal_batch_size = internal_batch_size

    def _hold(self, function: ForwardFunction) -> None:
        # In a tuple, because a module that is an attribute of a module becomes part of it.
        self._held: tuple[ForwardFunction] = (forward_function(function, self.function_name, self._where),)

    @property
    def forward_func(self) -> ForwardFunction:
        """The function that is explained."""
        return self._held[0]

    def __deepcopy__(self, memo: dict[int, object]) -> ModelMetric:
        # A copied model would stay as it was while the model itself is trained on.
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        state = {name: value for name, value in self.__getstate__().items() if name != "_held"}
        result.__setstate__({**copy.deepcopy(state, memo), "_held": (_held_by_copy(self.forward_func, memo),)})
        return result

    @torch.no_grad()
    def scores(
        self, inputs: Tensors, attributions: Tensors, target: Target = None, additional_forward_args: object = None
    ) -> Tensor:
        """Return the number ``(N,)``, or the curve ``(N, n_points)``, of each example, float64.

        Arguments and errors as for :meth:`update`; nothing is accumulated.
        """
        formatted, given = format_inputs(inputs, self._where), format_attributions(attributions, self._where)
        self._require_fit(given, formatted)
        return self._scored(self._function(target, additional_forward_args), formatted, given)

    def _require_fit(self, attributions: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
        require_same_shapes(attributions, inputs, "attributions and inputs", self._where)

    def _scored(self, function: ScalarFunction, inputs: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        """Return the scores, from arguments that were checked."""
        raise NotImplementedError

    def update(
        self, inputs: Tensors, attributions: Tensors, target: Target = None, additional_forward_args: object = None
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
        # Copies, for a model may work in place, and inputs are used again by the next perturbation or metric.
        parts = function.parts(inputs, self.internal_batch_size or len(inputs[0]))
        values = torch.cat([own.values(tuple(x.clone() for x in part)) for part, own in parts])
        if not all_finite(values):
            raise ForwardOutputError(
                f"{self._where}: forward_func gives NaN or infinity, first for example "
                f"{function.first + first_not_finite(values)}. Nothing can be measured with that value; a perturbed "
                "input may lie where the model is not defined."
            )
        return values


def _held_by_copy(function: ForwardFunction, memo: dict[int, object]) -> ForwardFunction:
    """Return the function itself, or its copy if it has been copied along with what contains the metric."""
    if isinstance(function, types.MethodType) and id(function.__self__) in memo:
        return types.MethodType(function.__func__, memo[id(function.__self__)])
    return cast(ForwardFunction, memo.get(id(function), function))
