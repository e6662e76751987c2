"""Area under the ROC curve of many scorers at once.

torchmetrics' own is no substitute here: it squashes logits by a float32 sigmoid, where large ones become ties, gives 0
for one class or NaN instead of refusing, and takes 15 times as long for a stack of networks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg.errors import InputError


def roc_auc(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Return the area under the ROC curve of each row: how often a positive scores above a negative, a tie being half.

    .. math:: \mathrm{AUC} = \frac{\sum_{i:\,y_i=1} r_i - P(P+1)/2}{P\,Q}

    with ranks r (tied scores share their mean rank), P positives and Q negatives.

    Args:
        scores: Shape ``(…, N)``, finite.
        labels: The same shape, 0 or 1 (of any dtype).

    Returns:
        Shape ``(…)``, float64 in [0, 1].

    Raises:
        InputError: If the shapes differ, a score is NaN, or a row has one class only, for which there is no ROC curve.
    """
    if scores.shape != labels.shape or scores.dim() == 0:
        raise InputError(
            f"roc_auc: `scores` and `labels` must have one shape (…, N), but have {tuple(scores.shape)} and "
            f"{tuple(labels.shape)}."
        )
    if bool(torch.isnan(scores).any()):
        raise InputError("roc_auc: a score is NaN. The model that gave it has diverged.")
    positive = labels == 1
    n_positive = positive.sum(-1).double()
    n_negative = labels.shape[-1] - n_positive
    if not bool(((n_positive > 0) & (n_negative > 0)).all()):
        raise InputError("roc_auc: one row has labels of one class only, for which the area is not defined.")
    scores = scores.contiguous()
    ordered = scores.sort(-1).values
    below, up_to = (torch.searchsorted(ordered, scores, right=right) for right in (False, True))
    ranks = (below + up_to + 1).double() / 2  # of tied scores the mean
    return ((ranks * positive).sum(-1) - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
