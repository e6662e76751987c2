"""The value of a prior for a batch, which a gradient must lead back from, and the total that it is a part of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xg.errors import PriorOutputError
from captum_xg.priors.guards import checked_prior, nodes_of, require_path_to_attributions
from captum_xg.priors.terms import looked_at

_WHERE = "AttributionPriorLoss"


def prior_value(
    prior: Callable[..., Any],
    attributions: tuple[Tensor, ...],
    single: bool,
    arguments: dict[str, Any],
    connected: tuple[Tensor, ...] | None,
) -> Tensor:
    """Return Ω(A), one number.

    Args:
        prior: Ω.
        attributions: A.
        single: Whether Ω takes a tensor and no tuple.
        arguments: What Ω takes besides.
        connected: Those of the attributions that have a path to the parameters, which one must lead to from Ω(A) and
            from all of its terms; None if nothing is to be trained.

    Raises:
        DisconnectedAttributionError: If there is none.
        ForwardOutputError: If the prior gives something else than one floating-point number.
    """
    given = attributions[0] if single else attributions
    if connected is None:
        return checked_prior(prior(given, **arguments), "the prior")
    nodes = nodes_of(attributions, connected)  # as they are now: the prior may work in place
    with looked_at(prior, lambda value, what: require_path_to_attributions(value, nodes, what)):
        try:
            value = prior(given, **arguments)
        except RuntimeError as error:
            if "call numpy() on Tensor that requires grad" not in str(error):
                raise
            raise PriorOutputError(
                f"{_WHERE}: the prior hands attributions to NumPy, which has no gradients: it would train nothing. Use "
                "the functions of torch in it. (Do not detach, as PyTorch's message advises.)"
            ) from error
    value = checked_prior(value, "the prior")
    require_path_to_attributions(value, nodes, "the prior")
    return value


def weighted_sum(task: Tensor, prior: Tensor, weight: float) -> Tensor:
    """Return task + weight · prior, in the wider of their dtypes."""
    return task if weight == 0 else task + weight * prior.to(torch.promote_types(task.dtype, prior.dtype))
