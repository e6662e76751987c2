"""Right for the right reasons: no attribution where the model must not look."""

from __future__ import annotations

from torch import Tensor

from captum_xg.errors import PriorError
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.masks import checked_mask, chosen, fitted_mask


class RightForRightReasons(AttributionPrior):
    r"""The squared attributions where the model must not look, averaged over examples.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \sum_i \big(M_i(x)\, A_i(x)\big)^2

    with M = 1 where the model must not look, else 0; or any number ≥ 0.

    Range: 0, where nothing masked has attribution, to ∞. Degree 2. It is a sum over features, as in the source.

    Args:
        mask: A mask that all examples of all batches share. Without it, every call needs ``mask=``.

    Shapes: attributions ``(N, …)``. For ``(N, C, *S)``, say images, masks ``S``, ``(C, *S)`` and ``(1, *S)`` are
    shared, and ``(N, C, *S)`` and ``(N, 1, *S)`` per example, with 1 in place of N for a shared one; for ``(N, F)``,
    ``(F,)`` and ``(1, F)`` or ``(N, F)``. A mask ``(C, *S)`` given in a call with N = C > 1 could be meant per
    example and is refused.

    Raises:
        OptionError: If the mask is not a tensor of booleans or finite numbers ≥ 0.
        PriorError: When called, if there is no mask or two, or the mask given is none or does not fit.

    Source: Ross, Hughes and Doshi-Velez 2017, *Right for the Right Reasons*, Section 3 (the middle term of the loss,
    there summed over examples, with the gradient of the summed log-probabilities as attribution).
    """

    mask: Tensor | None

    def __init__(self, mask: Tensor | None = None) -> None:
        super().__init__()
        where = "RightForRightReasons"
        # A copy, for a buffer that is loaded is written to.
        self.register_buffer("mask", None if mask is None else checked_mask(mask, "mask", where).detach().clone())

    def penalty(self, attributions: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """Return the mean over examples of Σ (M A)²."""
        where = "RightForRightReasons"
        used = chosen(self.mask, mask, "mask", where)
        if used is None:
            raise PriorError(f"{where}: there is no mask. Give one at construction, or call it with mask=….")
        used = fitted_mask(used, attributions, "mask", where, shared=mask is None)
        return (used.to(attributions) * attributions).square().sum() / len(attributions)

    def extra_repr(self) -> str:
        """Return the shape of the mask."""
        return "" if self.mask is None else f"mask={tuple(self.mask.shape)}"
