"""Attributions by a function of the user's, called as Captum's methods are."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from captum_xg._core.losses import one_number
from captum_xg._core.types import Tensors
from captum_xg.errors import ForwardOutputError
from captum_xg.priors.attribution.base import Attribution, Batch
from captum_xg.priors.supported import WHERE


class CustomAttribution(Attribution):
    """What a function ``(inputs, target=…)`` returns, which is how Captum's methods are called.

    It gets the inputs as they were passed, and the class of each example (None, or 0, for models with one output).
    """

    one_pass = False

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return the function's attributions.

        Raises:
            ForwardOutputError: If they are not one floating-point tensor for each input, with one row per example.
        """
        explained, inputs = batch.passed.explained, batch.inputs
        target: Tensor | int | None = batch.selection.index
        if one_number(explained):
            target = 0 if explained.dim() > 1 else None
        additional = {"additional_forward_args": batch.additional} if batch.additional else {}
        found = self._function(inputs[0] if len(inputs) == 1 else inputs, target=target, **additional)
        result = found if isinstance(found, tuple) else (found,)
        for a in result:
            if not isinstance(a, Tensor) or not a.dtype.is_floating_point or a.dim() == 0 or len(a) != len(inputs[0]):
                what = f"shape {tuple(a.shape)}, {a.dtype}" if isinstance(a, Tensor) else type(a).__name__
                raise ForwardOutputError(
                    f"{WHERE}: the function given as `attribution` must return floating-point tensors with "
                    f"one row for each of the {len(inputs[0])} examples, but returned {what}."
                )
        return [result]
