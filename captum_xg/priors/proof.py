"""Proofs that a model is homogeneous while it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.modules import named_modules_of, require_evaluation_mode
from captum_xg.homogeneity.certificate.cache import CertificateCache
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.fingerprint import RestsOn
from captum_xg.priors.forward import Forward
from captum_xg.priors.scores import ScoreRule

_WHERE = "AttributionPriorLoss"
_REMEDY = (
    "Train a model without them (to_xdnn(model.eval(), x) folds batch norm into other layers), put these layers alone "
    "in evaluation mode, or choose another attribution, which needs no fixed function."
)
_DROPPING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Draws:
    """Stands in for the masks that dropout layers draw: a factor that is a step function of the points.

    What is proven must hold whatever is drawn. Of such a factor it is known that it does not scale, and nothing else: a
    proof may rest neither on a branch that looks at it nor on constants that cancel with it.
    """

    def __init__(self) -> None:
        self._factor: Tensor | None = None

    def begin(self, points: Tensor) -> None:
        """Take the factor from the points of a forward pass."""
        self._factor = torch.where(points.sum() > 0, 2.0, 1.0)

    def end(self) -> None:
        """Let go of it."""
        self._factor = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return what a dropout layer returns."""
        assert self._factor is not None
        return x * self._factor.to(x.dtype)


class DrawsInPlace(Draws):
    """The same for layers that work in place."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the argument, which is overwritten."""
        assert self._factor is not None
        return x.mul_(self._factor.to(x.dtype))


class Subject(RestsOn):
    """What has to be homogeneous: the explained output, or the user's score of it, as a function of the points.

    All built-in scores are linear in the outputs, so that a proof for the outputs is one for them.

    Args:
        forward: The model.
        rule: Which scores are explained.
    """

    def __init__(self, forward: Forward, rule: ScoreRule) -> None:
        self.forward = forward
        self.function = rule.chosen if callable(rule.chosen) else None
        self.n_points = 0
        """How many of the arguments are outputs of the layer, if there is one."""
        self.draws = (Draws(), DrawsInPlace())

    @property
    def rests_on(self) -> tuple[object, ...]:
        """The callables of the user's, whose state a proof rests on, too."""
        return self.forward.model, self.forward.output, self.function

    def __call__(self, *arguments: Any) -> Tensor:
        """Return the output or scores for (points of the layer, arguments of the model, target)."""
        target: Any = None
        given = arguments
        if self.function is not None:
            *rest, target = arguments
            given = tuple(rest)
        with self._drawn(arguments[0]):
            if self.forward.layer is None:
                outputs = self.forward(*given)
            else:
                outputs = self.forward.with_points(given[: self.n_points], *given[self.n_points :])
            return outputs if self.function is None else self.function(outputs, target)

    @contextmanager
    def _drawn(self, points: Tensor) -> Iterator[None]:
        for draws in self.draws:
            draws.begin(points)
        try:
            yield
        finally:
            for draws in self.draws:
                draws.end()


class TrainingProofs(CertificateCache):
    """Remembers proofs for one model, which may have dropout in training mode.

    For fixed draws dropout multiplies by numbers that do not depend on x, so that F with the draws of this step is a
    fixed function, homogeneous if it is with any other factors in their place. That is what is proven. It holds for the
    modules ``nn.Dropout``, ``Dropout1d``, ``2d``, ``3d`` and stochastic depth; any other randomness is refused.
    """

    def certificate(
        self,
        forward_func: Callable[..., Any],
        inputs: tuple[Tensor, ...],
        additional: tuple[Any, ...],
        where: str = _WHERE,
    ) -> Certificate:
        """Return a certificate that holds now for these inputs' shapes, from memory if possible.

        Raises:
            TrainingModeError: If layers other than dropout are in a training mode that matters.
        """
        assert isinstance(forward_func, Subject)
        with _fixed_draws(forward_func):
            return super().certificate(forward_func, inputs, additional, where)

    def _require_modes(self, forward_func: Callable[..., Any], where: str) -> None:
        stood_in_for = [m for _, m in named_modules_of(forward_func).values() if isinstance(m.forward, Draws)]
        for module in stood_in_for:
            module.training = False
        try:
            require_evaluation_mode(forward_func, where, _REMEDY)
        finally:
            for module in stood_in_for:
                module.training = True


@contextmanager
def _fixed_draws(subject: Subject) -> Iterator[None]:
    """Let dropout layers multiply by the stand-in for their draws; they say of themselves what they did before."""
    dropping = [m for _, m in named_modules_of(subject).values() if m.training and _drops(m)]
    for module in dropping:
        module.forward = subject.draws[bool(getattr(module, "inplace", False))]
    try:
        yield
    finally:
        for module in dropping:
            del module.forward


def _drops(module: nn.Module) -> bool:
    known = type(module) in _DROPPING or type(module).__module__ == "torchvision.ops.stochastic_depth"
    return known and "forward" not in module.__dict__
