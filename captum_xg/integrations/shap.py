"""Attributions as a ``shap.Explanation``, for the plots of shap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.options import forward_function
from captum_xg.errors import InputError, OptionError
from captum_xg.integrations.optional import required


def to_shap(
    attributions: Tensor,
    inputs: Tensor,
    base_values: float | Tensor = 0.0,
    *,
    feature_names: Sequence[str] | None = None,
    forward_func: Any = None,
    target: Any = None,
) -> Any:
    """Return a ``shap.Explanation``, which ``shap.plots.waterfall``, ``beeswarm`` and the others take.

    Args:
        attributions: Shape ``(N, …)``, or ``(N, K, …)`` as of ``attribute_all``, which shap has last.
        inputs: Shape ``(N, …)``.
        base_values: F at the baseline, to which the attributions add up to F(x): 0 for an X-DNN against zero.
        feature_names: Of the columns of a table.
        forward_func: If it is given, the base values are what it gives at zero.
        target: Which output, for ``forward_func``: an int, or None where it gives one number.

    Raises:
        MissingPackageError: If shap is not installed.
        InputError: If the shapes do not fit.
        OptionError: If there are other than one name for each feature.
    """
    where = "to_shap"
    for name, value in (("attributions", attributions), ("inputs", inputs)):
        if not isinstance(value, Tensor):
            raise InputError(f"{where}: `{name}` must be a tensor but is {type(value).__name__}.")
    values = attributions.detach()
    if values.shape != inputs.shape:
        if values.dim() != inputs.dim() + 1 or (values.shape[0], *values.shape[2:]) != tuple(inputs.shape):
            raise InputError(
                f"{where}: `attributions` must have the shape of `inputs`, {tuple(inputs.shape)}, with or without a "
                f"dimension of targets behind the first, but has {tuple(values.shape)}."
            )
        values = values.movedim(1, -1)
    if feature_names is not None and (inputs.dim() != 2 or len(feature_names) != inputs.shape[1]):
        raise OptionError(
            f"{where}: `feature_names` has {len(feature_names)} names for inputs of shape {tuple(inputs.shape)}; there "
            "must be one for each column of a table."
        )
    if forward_func is not None:
        with torch.no_grad():
            at_zero = forward_function(forward_func, "forward_func", where)(torch.zeros_like(inputs))
        base_values = at_zero if target is None else at_zero[:, target]
    base = base_values.detach().cpu().numpy() if isinstance(base_values, Tensor) else base_values
    explanation = required("shap", "shap", where).Explanation
    if not isinstance(base, float | int) or inputs.dim() == 2:
        import numpy as np

        classes = values.shape[-1:] if values.dim() > inputs.dim() else ()
        base = np.broadcast_to(np.asarray(base, dtype=float), (len(inputs), *classes)).copy()
    return explanation(
        values=values.cpu().numpy(),
        base_values=base,
        data=inputs.detach().cpu().numpy(),
        feature_names=None if feature_names is None else list(feature_names),
    )
