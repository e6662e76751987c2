"""Captum's infidelity and maximum sensitivity as metrics that accumulate over a loader and over processes.

The invariant: Captum is called for each example alone, with the global generators seeded by that example's values, so
that batches and processes leave the numbers as they are and all methods meet the same perturbations.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from captum.attr import Attribution
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import all_finite, first_not_finite, format_inputs
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, one_of, positive_integer, single_number, switch
from captum_xg._core.seeding import checked_seed, example_seed, seeded
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.errors import GradientError, OptionTypeError
from captum_xg.metrics.base import ModelMetric
from captum_xg.metrics.perturbations import RandomRemoval, UniformNoise
from captum_xg.metrics.protocols import AttributionFunction, MetricOptions, Tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

Perturbation = Callable[..., object]
"""As Captum takes it: from inputs to perturbed inputs, for infidelity to (perturbations, perturbed inputs)."""


class _Perturbing(ModelMetric):
    """Base of the metrics that draw perturbations of each example, the same for all methods.

    Args:
        function: What is called with perturbed inputs.
        perturb_func: As Captum takes it.
        n_samples: Perturbations of each example.
        seed: Integer that decides which perturbations are drawn.
        internal_batch_size: The most examples in one call of the function; all perturbations of an example if None.
        options: Options of :class:`torchmetrics.Metric`.
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(
        self,
        function: ForwardFunction,
        perturb_func: Perturbation,
        n_samples: int,
        seed: int,
        internal_batch_size: int | None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(function, internal_batch_size=internal_batch_size, **options)
        self.perturb_func: Perturbation = forward_function(perturb_func, "perturb_func", self._where)
        self.n_samples = positive_integer(n_samples, "n_samples", self._where)
        self.seed = checked_seed(seed, self._where)

    def _scored(self, function: ScalarFunction, inputs: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        found = []
        for i, (x, own) in enumerate(function.parts(inputs, 1)):
            given = tuple(a[i : i + 1] for a in attributions)
            with seeded(example_seed(x, self.seed), x[0].device):
                found.append(self._of_one(own, x, given))
        return torch.cat(found).double()

    def _of_one(self, function: ScalarFunction, x: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        """Return the score of one example, shape ``(1,)``, while the global generators are seeded by it."""
        raise NotImplementedError

    @property
    def _sampling(self) -> dict[str, int | None]:
        """How many perturbations Captum draws, and how many at once: it warns of more than there are."""
        at_once = None if self.internal_batch_size is None else min(self.internal_batch_size, self.n_samples)
        return {"n_perturb_samples": self.n_samples, "max_examples_per_batch": at_once}


class Infidelity(_Perturbing):
    r"""The mean squared error of attributions as a prediction of what a random perturbation does to the output.

    .. math:: \operatorname{INFD}(x) = \mathbb{E}_I \Big[ \big( I^\top A(x) - (F(x) - F(x_I)) \big)^2 \Big]

    In squared units of the output; 0 is perfect. Captum's :func:`captum.metrics.infidelity`, called for each example
    with a seed made of ``seed`` and the example's values, so that batches and processes leave the numbers as they are
    and all methods meet the same perturbations. The global random generators of torch and NumPy are put back.

    Args:
        forward_func: A module or any callable that gives one number per example once a target is chosen.
        perturb_func: From inputs to (I, perturbed inputs), as Captum takes it. By default
            :class:`~captum_xg.metrics.RandomRemoval`, which sets each entry to zero with probability ½: right for
            attributions that contain the factor x. For gradients pass :class:`~captum_xg.metrics.GaussianNoise`.
        n_samples: Perturbations of each example.
        normalize: Scale the attributions by the factor that fits best, so that only their proportions are judged.
        seed: Integer that decides which perturbations are drawn.
        internal_batch_size: The most examples in one forward pass; all perturbations of an example at once if None.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionError: If an option has no such value.

    Source: Yeh et al. 2019, *On the (In)fidelity and Sensitivity of Explanations*, Definition 2.1.
    """

    unit = "mean infidelity, (output)²"

    def __init__(
        self,
        forward_func: ForwardFunction,
        perturb_func: Perturbation | None = None,
        *,
        n_samples: int = 100,
        normalize: bool = False,
        seed: int = 0,
        internal_batch_size: int | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        perturb = RandomRemoval() if perturb_func is None else perturb_func
        super().__init__(forward_func, perturb, n_samples, seed, internal_batch_size, **options)
        self.normalize = switch(normalize, "normalize", self._where)

    def _of_one(self, function: ScalarFunction, x: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        def values(*tensors: Tensor) -> Tensor:
            return self._values(function.repeat(len(tensors[0])), tensors).double()

        given = tuple(a.double().to(t.device) for a, t in zip(attributions, x, strict=True))
        score = infidelity(values, self.perturb_func, x, given, normalize=self.normalize, **self._sampling)
        # Captum expands the square in order to normalize, and a perfect fit may come out as less than zero.
        return cast(Tensor, score).clamp(min=0)


class MaxSensitivity(_Perturbing):
    r"""The largest relative change of the attributions that small random changes of the input bring about.

    .. math:: \operatorname{SENS}(x) = \max_\delta \frac{\lVert A(x + \delta) - A(x) \rVert}{\lVert A(x) \rVert}

    over ``n_samples`` random δ; lower is steadier. Where A(x) = 0 Captum divides by 1, so the change is absolute there.
    Captum's :func:`captum.metrics.sensitivity_max`, called for each example with a seed made of ``seed`` and the
    example's values, so that batches and processes leave the numbers as they are. The global random generators of torch
    and NumPy are put back.

    This is the one metric that attributes itself. ``attributions`` are taken as A(x); with None, the function is asked
    for them.

    Args:
        attribution_func: ``attribute`` of an attribution method, or any callable that takes inputs and the keywords
            ``target`` and ``additional_forward_args`` where they are given. Fix further ones by
            :func:`functools.partial`.
        perturb_func: From inputs to perturbed inputs, as Captum takes it; by default
            :class:`~captum_xg.metrics.UniformNoise` of radius 0.02.
        n_samples: Perturbations of each example.
        norm_ord: Order of the norm, as in :func:`torch.norm`.
        seed: Integer that decides which perturbations are drawn.
        internal_batch_size: The most examples in one call of ``attribution_func``; all perturbations of an example at
            once if None.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionError: If an option has no such value.

    Source: Yeh et al. 2019, *On the (In)fidelity and Sensitivity of Explanations*, Definition 4.1.
    """

    function_name = "attribution_func"
    unit = "mean largest relative change of the attributions"

    def __init__(
        self,
        attribution_func: AttributionFunction,
        perturb_func: Perturbation | None = None,
        *,
        n_samples: int = 10,
        norm_ord: float | str = "fro",
        seed: int = 0,
        internal_batch_size: int | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        if isinstance(attribution_func, Attribution):
            raise OptionTypeError(
                f"{self._where}: `attribution_func` is the method {type(attribution_func).__name__} itself. Pass its "
                "function: method.attribute."
            )
        perturb = UniformNoise() if perturb_func is None else perturb_func
        super().__init__(attribution_func, perturb, n_samples, seed, internal_batch_size, **options)
        self.norm_ord = _checked_norm(norm_ord, self._where)

    @torch.no_grad()
    def scores(
        self,
        inputs: Tensors,
        attributions: Tensors | None = None,
        target: Target = None,
        additional_forward_args: object = None,
    ) -> Tensor:
        """Return the sensitivity of each example, shape ``(N,)``, float64; arguments as for :meth:`update`.

        Raises:
            GradientError: If attributions of a perturbed input are NaN or infinite.
        """
        if attributions is not None:
            return super().scores(inputs, attributions, target, additional_forward_args)
        return self._scored(self._function(target, additional_forward_args), format_inputs(inputs, self._where), ())

    def _function(self, target: Target, additional_forward_args: object) -> ScalarFunction:
        """Return what is never called, but cut to single examples as a forward function is."""
        if (model := _model_behind(self.forward_func)) is not None:
            require_evaluation_mode(model, self._where)
        return super()._function(target, additional_forward_args)

    def _scored(self, function: ScalarFunction, inputs: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        scores = super()._scored(function, inputs, attributions)
        if not all_finite(scores):
            raise GradientError(
                f"{self._where}: attributions near example {first_not_finite(scores)} are NaN or infinite. The "
                "attribution method is not defined at a perturbed input; try a smaller perturbation."
            )
        return scores

    def _of_one(self, function: ScalarFunction, x: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        options: dict[str, object] = {} if function.target is None else {"target": function.target}
        if function.additional:
            options["additional_forward_args"] = function.additional
        explain = self._explanation(x, attributions)
        score = sensitivity_max(explain, x, self.perturb_func, norm_ord=self.norm_ord, **self._sampling, **options)
        return cast(Tensor, score)

    def update(
        self,
        inputs: Tensors,
        attributions: Tensors | None = None,
        target: Target = None,
        additional_forward_args: object = None,
    ) -> None:
        """Add examples; ``attributions`` may be None, otherwise as for every metric that runs the model."""
        self._add(self.scores(inputs, attributions, target, additional_forward_args))

    def bound_to(self, attribution_func: AttributionFunction) -> MaxSensitivity:
        """Return a metric of the same settings and states for another attribution function; this one stays as it is."""
        other = copy.copy(self)
        other._hold(attribution_func)
        return other

    def _explanation(self, x: tuple[Tensor, ...], known: tuple[Tensor, ...]) -> AttributionFunction:
        def explain(inputs: Tensors, **options: object) -> tuple[Tensor, ...]:
            # Captum asks for A(x) with the very tuple that it was given.
            if inputs is x and known:
                return known
            tensors = inputs if isinstance(inputs, tuple) else (inputs,)
            options = {**options, **_for_each(options.get("target"), len(tensors[0]))}
            with torch.enable_grad():  # Captum calls without, and not every method turns them on itself
                result = self.forward_func(tensors if len(tensors) > 1 else tensors[0], **options)
            # Captum flattens by `view`, which only contiguous tensors have.
            return tuple(a.detach().contiguous() for a in (result if isinstance(result, tuple) else (result,)))

        return explain


def _for_each(target: object, rows: int) -> dict[str, object]:
    """Return one target as one for each row, as callables need it that choose by row; Captum leaves a single one."""
    if isinstance(target, Tensor) and target.dim() == 1 and len(target) == 1:
        return {"target": target.expand(rows)}
    return {"target": target * rows} if isinstance(target, list) and len(target) == 1 else {}


def _checked_norm(norm_ord: object, where: str) -> float | str:
    if isinstance(norm_ord, str):
        return one_of(norm_ord, ("fro",), "norm_ord", where)
    order = single_number(norm_ord)
    if order is None or math.isnan(order):
        raise OptionTypeError(f"{where}: `norm_ord` must be a number or 'fro' but is {norm_ord!r}.")
    return order


def _model_behind(attribution_func: AttributionFunction) -> ForwardFunction | None:
    """Return the forward function of the Captum method whose ``attribute`` this is, or None."""
    while isinstance(attribution_func, functools.partial):
        attribution_func = attribution_func.func
    return getattr(getattr(attribution_func, "__self__", None), "forward_func", None)
