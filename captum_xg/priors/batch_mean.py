"""The mean of absolute attributions over a batch, which may be spread over processes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_xg.priors.distributed import mean_over_processes


def mean_absolute(attributions: Tensor, across_processes: bool, process_group: Any) -> Tensor:
    """Return the mean over examples of |A|, one number per feature."""
    total = attributions.reshape(len(attributions), -1).abs().sum(0)
    if across_processes:
        return mean_over_processes(total, len(attributions), process_group)
    return total / len(attributions)
