"""Few groups of features with attributions, by the group lasso."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import torch
from torch import Tensor

from captum_xg.errors import OptionError, PriorError
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.shapes import divisor, numbered_features, root_of_sum

Groups = Tensor | Sequence[Sequence[int]] | Literal["channels"]


class GroupSparsity(AttributionPrior):
    r"""The sum of the Euclidean norms of groups of attributions, averaged over examples.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \sum_{g} \sqrt{|g|}\, \Big(\sum_{i \in g} A_i(x)^2\Big)^{1/2}

    It sets whole groups to zero, where :class:`~captum_xg.LpNorm` sets single features.

    Range: 0, where all groups are zero, to ∞. Degree 1. A group that is zero has zero gradient.

    Args:
        groups: Lists of the features in each group; an int64 tensor with the number of its group for each feature; or
            ``"channels"``, one group for each index of dimension 1, such as the columns of a table of embeddings or the
            channels of images. Features are numbered as in ``attributions.flatten(1)``. Lists may overlap and leave
            features out, which then go unpenalised.

    Shapes: attributions ``(N, …)``.

    Raises:
        OptionError: If there are no such groups, one is empty, or one has a feature twice.
        PriorError: When called, if the attributions do not have these features.

    Source: Yuan and Lin 2006, *Model selection and estimation in regression with grouped variables*
    (the group lasso with weights √|g|), here of attributions instead of coefficients.
    """

    members: Tensor | None
    group_of: Tensor | None

    def __init__(self, groups: Groups) -> None:
        super().__init__()
        members: Tensor | None = None
        group_of: Tensor | None = None
        self.n_groups = 0
        self.n_features: int | None = None
        if isinstance(groups, Tensor):
            group_of = _checked_ids(groups)
            members = torch.arange(len(group_of), device=group_of.device)
            self.n_features = len(group_of)
        elif not isinstance(groups, str):
            members, group_of = _checked_lists(groups)
        elif groups != "channels":
            raise OptionError(f"GroupSparsity: `groups` must be lists, a tensor or 'channels' but is {groups!r}.")
        if members is not None and group_of is not None:
            self.n_groups = int(group_of.max()) + 1
            self._largest = int(members.max())
        self.register_buffer("members", members)
        self.register_buffer("group_of", group_of)

    def penalty(self, attributions: Tensor) -> Tensor:
        """Return the mean over examples of the weighted sum of norms."""
        if self.members is None or self.group_of is None:
            return self._of_channels(attributions)
        rows = numbered_features(attributions, self.n_features, self._largest, "GroupSparsity")
        taken = rows.index_select(1, self.members)
        index = self.group_of.expand_as(taken)
        zeros = rows.new_zeros(len(rows), self.n_groups)
        # A scale of their own for each group: next to a large one the squares of a small one would vanish.
        largest = divisor(zeros.scatter_reduce(1, index, taken.detach().abs(), "amax"))
        squares = zeros.index_add(1, self.group_of, (taken / largest.gather(1, index)).square())
        sizes = rows.new_zeros(self.n_groups).index_add(0, self.group_of, torch.ones_like(taken[0]))
        return (sizes.sqrt() * largest * root_of_sum(squares, 2)).sum() / len(rows)

    def extra_repr(self) -> str:
        """Return what the groups are."""
        return "groups='channels'" if self.members is None else f"groups={self.n_groups}"

    def _of_channels(self, attributions: Tensor) -> Tensor:
        if attributions.dim() < 2:
            raise PriorError(
                f"GroupSparsity: attributions of shape {tuple(attributions.shape)} have no dimension 1 whose indices "
                "could be the groups."
            )
        channels = attributions.reshape(*attributions.shape[:2], -1)
        largest = divisor(channels.detach().abs().amax(2))
        squares = (channels / largest.unsqueeze(2)).square().sum(2)
        size = channels.shape[2]
        return math.sqrt(size) * (largest * root_of_sum(squares, 2)).sum() / len(channels)


def _checked_ids(ids: Tensor) -> Tensor:
    if ids.dtype != torch.int64 or ids.numel() == 0 or bool((ids < 0).any()):
        raise OptionError(
            f"GroupSparsity: `groups` as a tensor must be int64 with the number ≥ 0 of its group for each feature, but "
            f"is {ids.dtype} of shape {tuple(ids.shape)}{' with negative entries' if ids.dtype == torch.int64 else ''}."
        )
    return ids.detach().flatten().clone()  # a buffer that is loaded is written to


def _checked_lists(groups: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    lists = [list(map(int, group)) for group in groups] if _are_lists(groups) else []
    if not lists or any(not group or min(group) < 0 or len(set(group)) < len(group) for group in lists):
        raise OptionError(
            "GroupSparsity: `groups` must be lists of features, none of them empty, each of indices ≥ 0 without "
            f"repeats; or an int64 tensor, or 'channels'. It is {groups!r}."
        )
    members = torch.tensor([i for group in lists for i in group])
    return members, torch.tensor([g for g, group in enumerate(lists) for _ in group])


def _are_lists(groups: object) -> bool:
    return isinstance(groups, Sequence) and all(
        isinstance(group, Sequence)
        and not isinstance(group, str)
        and all(isinstance(i, Integral) and not isinstance(i, bool) for i in group)
        for group in groups
    )
