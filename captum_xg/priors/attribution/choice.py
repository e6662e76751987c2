"""The attribution that the argument of a loss stands for: a registered name, a function, or an instance."""

from __future__ import annotations

from inspect import signature

from captum_xg._core.options import forward_function
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.priors.attribution.base import ATTRIBUTIONS, Attribution
from captum_xg.priors.attribution.custom import CustomAttribution
from captum_xg.priors.supported import WHERE
from captum_xg.priors.target_selection import TargetSelector


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
