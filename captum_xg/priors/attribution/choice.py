"""The attribution that the argument of a loss stands for: a registered name, an instance, or a function as Captum's."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from torch import Tensor

from captum_xg._core.losses import one_number
from captum_xg._core.options import forward_function
from captum_xg._core.types import Tensors
from captum_xg.errors import ForwardOutputError, OptionError, OptionTypeError
from captum_xg.priors.attribution.base import ATTRIBUTIONS, Attribution, Batch
from captum_xg.priors.supported import WHERE
from captum_xg.priors.target_selection import TargetSelector


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


def attribution_of(attribution: object, options: dict[str, object], selector: TargetSelector) -> Attribution:
    """Return the attribution that a name, a function or an instance stands for, with its options.

    Raises:
        OptionError: If there is no such attribution, or it has no such option.
    """
    if isinstance(attribution, Attribution):
        if options:
            raise OptionError(
                f"{WHERE}: options {sorted(options)} go to the attribution itself, which is made already."
            )
        return attribution
    if callable(attribution) and not isinstance(attribution, str):
        forward_function(attribution, "attribution", WHERE)
        if options:
            raise OptionError(f"{WHERE}: options {sorted(options)} are for no attribution that is a function.")
        if selector.chosen not in ("true", "predicted"):
            raise OptionError(
                f"{WHERE}: `target` must be 'true' or 'predicted' where `attribution` is a function, which is called "
                "with the class of each example."
            )
        return CustomAttribution(attribution)
    if not isinstance(attribution, str) or attribution not in ATTRIBUTIONS:
        wrong = OptionError if isinstance(attribution, str) else OptionTypeError
        hint = " Of an instance of a Captum method pass .attribute." if hasattr(attribution, "attribute") else ""
        raise wrong(
            f"{WHERE}: `attribution` must be one of {', '.join(map(repr, ATTRIBUTIONS))} or a function but is "
            f"{attribution!r}.{hint}"
        )
    kind = ATTRIBUTIONS[attribution]
    known = list(signature(kind).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(
            f"{WHERE}: attribution={attribution!r} takes no option {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(known) or 'none'}, besides task_loss, weight, target, reduction, ignore_index, layer, output."
        )
    return kind(**options)
