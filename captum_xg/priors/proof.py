"""Proofs that a model is homogeneous while it trains, with dropout among its layers.

The invariant: what is proven is one fixed function of the points. Dropout draws another mask at every step, so a proof
must hold for any mask: :class:`FixedDropout` stands in for the layers while the certificate is made, and multiplies by
a factor of which nothing is known but that it does not scale with x. Example: ``Linear, Dropout, ReLU, Linear`` is
proven once and stays proven over all steps; with a BatchNorm in training mode, which mixes examples, it is refused.
A proof must never rest on the value of a draw: not on a branch that looks at it, nor on constants that cancel with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from captum_xg._core.modules import evaluation_mode, named_modules_of, require_evaluation_mode
from captum_xg._core.types import ForwardFunction, Tensors
from captum_xg.homogeneity.certificate.cache import CertificateCache
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.fingerprint import RestsOn
from captum_xg.priors.forward import Forward
from captum_xg.priors.supported import WHERE
from captum_xg.priors.target_selection import TargetSelector

_REMEDY = (
    "Train a model without them (to_xdnn(model.eval(), x) folds batch norm into other layers), put these layers alone "
    "in evaluation mode, or choose another attribution, which needs no fixed function."
)
_DROPPING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class FixedDropout:
    """Stands in for the masks that dropout layers draw: a factor that is a step function of the points.

    The factor is 1 or 2, whichever the sign of the points' sum says: that it does not scale is all that is known of it.
    """

    def __init__(self) -> None:
        self._factor: Tensor | None = None

    def begin(self, points: Tensor) -> None:
        """Take the factor from the points of a forward pass."""
        # A step function does not scale with x and is not constant either: no rule may cancel it or multiply it out.
        self._factor = torch.where(points.sum() > 0, 2.0, 1.0)

    def end(self) -> None:
        """Let go of it."""
        self._factor = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return what a dropout layer returns."""
        assert self._factor is not None
        return x * self._factor.to(x.dtype)


class FixedDropoutInPlace(FixedDropout):
    """The same for layers that work in place."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the argument, which is overwritten."""
        assert self._factor is not None
        return x.mul_(self._factor.to(x.dtype))


class CertifiedFunction(RestsOn):
    """What has to be homogeneous: the explained output, or the user's score of it, as a function of the points.

    One per loss, because proofs are remembered per callable. All built-in scores are linear in the outputs, so that a
    proof for the outputs is one for them.

    Args:
        forward: The model.
        selector: Which scores are explained.
    """

    def __init__(self, forward: Forward, selector: TargetSelector) -> None:
        self.forward = forward
        self.score = selector.chosen if callable(selector.chosen) else None
        self.n_points = 0
        """How many of the arguments are outputs of the layer, if there is one."""
        self.dropouts = (FixedDropout(), FixedDropoutInPlace())

    @property
    def rests_on(self) -> tuple[object, ...]:
        """The callables of the user's, whose state a proof rests on, too."""
        return self.forward.model, self.forward.output, self.score

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Return the output or scores for (points of the layer, arguments of the model, target)."""
        target: object = None
        given = arguments
        if self.score is not None:
            *rest, target = arguments
            given = tuple(rest)
        # The stand-in's factor must come from what is scaled: only then does it take part in the certificate at all.
        with self._with_dropout(arguments[0]):
            if self.forward.layer is None:
                outputs = self.forward(*given)
            else:
                outputs = self.forward.with_points(given[: self.n_points], *given[self.n_points :])
            return outputs if self.score is None else self.score(outputs, target)

    @contextmanager
    def _with_dropout(self, points: Tensor) -> Iterator[None]:
        for dropout in self.dropouts:
            dropout.begin(points)
        try:
            yield
        finally:
            for dropout in self.dropouts:
                dropout.end()


class TrainingProofs(CertificateCache):
    """Remembers proofs for one model, which may have dropout in training mode.

    For a fixed mask dropout multiplies by numbers that do not depend on x, so that F with the masks of this step is a
    fixed function, homogeneous if it is with any other factors in their place. That is what is proven. It holds for the
    modules ``nn.Dropout``, ``Dropout1d``, ``2d``, ``3d`` and stochastic depth; any other randomness is refused.
    """

    def certificate(
        self, forward_func: ForwardFunction, inputs: Tensors, additional: tuple[object, ...], where: str = WHERE
    ) -> Certificate:
        """Return a certificate that holds now for these inputs' shapes, from memory if possible.

        Raises:
            TrainingModeError: If layers other than dropout are in a training mode that matters.
        """
        assert isinstance(forward_func, CertifiedFunction)
        # Around the look into the memory, too: what a proof rests on is compared with the stand-ins in place.
        with _fixed_dropout(forward_func):
            return super().certificate(forward_func, inputs, additional, where)

    def require_modes(self, forward_func: ForwardFunction, where: str) -> None:
        """Refuse modes in which F with its stand-ins is no fixed function of the points."""
        # What a stand-in computes is a fixed function, whatever mode its layer is in: the check is not to stop at it.
        stood_in_for = [m for _, m in named_modules_of(forward_func).values() if isinstance(m.forward, FixedDropout)]
        with evaluation_mode(stood_in_for):
            require_evaluation_mode(forward_func, where, _REMEDY)


@contextmanager
def _fixed_dropout(function: CertifiedFunction) -> Iterator[None]:
    """Let dropout layers multiply by the stand-in for their masks; they say of themselves what they did before."""
    dropping = [m for _, m in named_modules_of(function).values() if m.training and is_dropout(m)]
    # An attribute of the instance, which `del` takes away: hooks run as ever and the class stays as it is.
    for module in dropping:
        module.forward = function.dropouts[bool(getattr(module, "inplace", False))]
    try:
        yield
    finally:
        for module in dropping:
            del module.forward


def is_dropout(module: nn.Module) -> bool:
    """Return whether a module drops in one of the ways that a proof holds for."""
    known = type(module) in _DROPPING or type(module).__module__ == "torchvision.ops.stochastic_depth"
    # By exact type: a subclass may drop in another way. One whose forward was replaced already is somebody else's.
    return known and "forward" not in module.__dict__
