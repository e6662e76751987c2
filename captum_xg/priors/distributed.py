"""Means over the examples of all processes, through which gradients flow to each of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from captum_xg.errors import OptionTypeError


def mean_over_processes(sum: Tensor, count: int, process_group: Any = None) -> Tensor:
    r"""Return the mean over the examples of all processes, from the sum over those of this one.

    .. math:: M = \sum_p S_p \Big/ \sum_p n_p

    Every process gets the same M, and must call this as often as the others. The gradients of the processes' losses
    with respect to M are summed in the backward pass; so what DistributedDataParallel makes of it, the mean over
    processes of the parameters' gradients, is the gradient that one process with all the examples would have. All
    derivatives exist. Without torch.distributed, or with one process, it is ``sum / count``.

    Args:
        sum: Sum over the examples of this process, of the same shape on all.
        count: How many examples that are; processes may have different numbers.
        process_group: The processes to take the mean over; all if None.
    """
    if processes(process_group) == 1:
        return sum / count
    counts = torch.tensor(count, dtype=torch.int64, device=sum.device)
    dist.all_reduce(counts, group=process_group)
    total: Tensor = _SumOverProcesses.apply(sum, process_group)
    return total / counts


def largest_over_processes(value: Tensor, process_group: Any = None) -> Tensor:
    """Return the largest of the processes' values, element by element and without a graph."""
    value = value.detach()
    if processes(process_group) > 1:
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=process_group)
    return value


def checked_group(group: Any, where: str) -> Any:
    """Return a process group, what stands for one in processes outside of it, or None for all processes.

    Raises:
        OptionTypeError: If it is something else.
    """
    outside = (dist.GroupMember.NON_GROUP_MEMBER,) if dist.is_available() else ()
    if group is None or group in outside or (dist.is_available() and isinstance(group, dist.ProcessGroup)):
        return group
    raise OptionTypeError(
        f"{where}: `process_group` must be a group of torch.distributed, as new_group returns, but is {group!r}."
    )


def processes(process_group: Any = None) -> int:
    """Return how many processes work together; 1 without torch.distributed."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size(process_group)


class _SumOverProcesses(torch.autograd.Function):
    """S = Σ_p S_p on every process. Each loss depends on each S_p, so the gradient is such a sum itself."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, process_group: Any) -> Tensor:
        ctx.process_group = process_group
        # Gloo and NCCL want contiguous memory.
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=process_group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Itself again, and not the bare all_reduce, so that it can be differentiated once more.
        return _SumOverProcesses.apply(gradients[0], ctx.process_group), None
