"""The value of a prior for a batch: computed with a look at every term of a sum, and refused where it is not finite.

The invariant: every term that is wanted trains something. In ``LpNorm() + rank``, where ``rank`` sorts and compares,
the sum has a gradient and the second term has none; only a look at each term, while the sum is computed, finds that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from captum_xg._core.inputs import first_not_finite
from captum_xg._core.types import Tensors
from captum_xg.errors import NonFinitePriorError, PriorOutputError
from captum_xg.priors.base import WeightedSum
from captum_xg.priors.paths import checked_prior, nodes_of, require_path_to_attributions
from captum_xg.priors.supported import WHERE


def prior_value(
    prior: Callable[..., object],
    attributions: Tensors,
    single: bool,
    arguments: Mapping[str, object],
    connected: Tensors | None,
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
    # While it runs, for afterwards a sum is one number, and a term without a path hides behind the others.
    with _each_term_of(prior, lambda value, what: require_path_to_attributions(value, nodes, what)):
        try:
            value = prior(given, **arguments)
        except RuntimeError as error:
            if "call numpy() on Tensor that requires grad" not in str(error):
                raise
            raise PriorOutputError(
                f"{WHERE}: the prior hands attributions to NumPy, which has no gradients: it would train nothing. Use "
                "the functions of torch in it. (Do not detach, as PyTorch's message advises.)"
            ) from error
    value = checked_prior(value, "the prior")
    require_path_to_attributions(value, nodes, "the prior")
    return value


@contextmanager
def _each_term_of(prior: Callable[..., object], look: Callable[[Tensor, str], None]) -> Iterator[None]:
    """Call ``look`` with the value and the name of every term of a sum that a prior is, or has in it.

    Terms of weight 0 are left out: they are not wanted. So are those of a compiled prior, which hooks would have
    compiled again.
    """

    def hook(module: nn.Module, arguments: object, value: object) -> None:
        if isinstance(value, Tensor):
            look(value, f"{module!r}, a term of the prior,")

    # Each once: a prior that stands in a sum twice is one module.
    handles = [term.register_forward_hook(hook) for term in dict.fromkeys(_terms(prior))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _terms(prior: Callable[..., object]) -> Iterator[nn.Module]:
    modules = list(prior.modules()) if isinstance(prior, nn.Module) else []
    if any("_orig_mod" in module._modules or module._compiled_call_impl is not None for module in modules):
        return
    for module in modules:
        if isinstance(module, WeightedSum):
            yield from (term for weight, term in module.terms() if weight != 0)


def weighted_sum(task: Tensor, prior: Tensor, weight: float) -> Tensor:
    """Return task + weight · prior, in the wider of their dtypes."""
    # At weight 0 nothing is added, so that the total is the task loss bit for bit.
    return task if weight == 0 else task + weight * prior.to(torch.promote_types(task.dtype, prior.dtype))


def raise_not_finite(step: int, prior: Tensor, attributions: Tensors, outputs: Tensor, inputs: Tensors) -> None:
    """Say at which step, and where first, something was not finite.

    Raises:
        NonFinitePriorError: Always.
    """
    where = f"{WHERE}: the prior is {prior.item()} at step {step}: "
    for what, tensors in (("inputs", inputs), ("model's outputs", (outputs,)), ("attributions", attributions)):
        for x in tensors:
            if x.dtype.is_floating_point and not bool(torch.isfinite(x).all()):
                bad = first_not_finite(x.detach())
                raise NonFinitePriorError(
                    f"{where}the {what} have NaN or infinity, first in example {bad}. {_ADVICE[what]}"
                )
    # All that went into the prior is finite, so that it is the prior itself.
    largest = max(float(a.detach().abs().max()) for a in attributions)
    raise NonFinitePriorError(
        f"{where}inputs, outputs and attributions are finite (largest attribution {largest:.3g}), so the prior itself "
        "divides by zero or overflows on them. Nothing was changed."
    )


_ADVICE = {
    "inputs": "Clean the data. Nothing was changed.",
    "model's outputs": "Training diverged earlier (try a lower learning rate, gradient clipping, or a smaller weight "
    "of the prior), or the model overflows in this dtype. Nothing was changed.",
    "attributions": "The outputs are finite, so their gradient is not: often the square root or norm of exactly zero. "
    "Nothing was changed.",
}
