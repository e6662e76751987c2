"""Several processes under torch.distributed: ranks and groups, means over all of their examples, sharded models.

The invariant: every process that calls one of the collective functions calls all of them, in the same order and as
often, or all of them wait forever. Without torch.distributed, or in one process, nothing is communicated.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from captum_xg._core.modules import modules_of
from captum_xg._core.types import ForwardFunction
from captum_xg.errors import OptionTypeError

if TYPE_CHECKING:  # absent where PyTorch was built without torch.distributed
    from torch.distributed import ProcessGroup

Group: TypeAlias = "ProcessGroup | None"
"""The processes that work together; all of them if None."""
Part = TypeVar("Part")


def rank_and_processes(group: Group = None) -> tuple[int, int]:
    """Return which of how many processes this is; (0, 1) without torch.distributed."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(group), dist.get_world_size(group)


def gathered(part: Part) -> list[Part]:
    """Return what all processes have, in the order of their ranks."""
    _, processes = rank_and_processes()
    if processes == 1:
        return [part]
    everything = [part] * processes
    dist.all_gather_object(everything, part)
    return everything


def mean_over_processes(sum: Tensor, count: int, process_group: Group = None) -> Tensor:
    r"""Return the mean over the examples of all processes, from the sum over those of this one.

    .. math:: M = \sum_p S_p \Big/ \sum_p n_p

    Every process gets the same M. The gradients of the processes' losses with respect to M are summed in the backward
    pass; so what DistributedDataParallel makes of it, the mean over processes of the parameters' gradients, is the
    gradient that one process with all the examples would have. All derivatives exist.

    Args:
        sum: Sum over the examples of this process, of the same shape on all.
        count: How many examples that are; processes may have different numbers.
        process_group: The processes to take the mean over.
    """
    if rank_and_processes(process_group)[1] == 1:
        return sum / count
    counts = torch.tensor(count, dtype=torch.int64, device=sum.device)
    dist.all_reduce(counts, group=process_group)
    total: Tensor = _SumOverProcesses.apply(sum, process_group)
    return total / counts


def largest_over_processes(value: Tensor, process_group: Group = None) -> Tensor:
    """Return the largest of the processes' values, element by element and without a graph."""
    value = value.detach()
    if rank_and_processes(process_group)[1] > 1:
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=process_group)
    return value


def checked_group(group: object, where: str) -> Group:
    """Return a process group, the placeholder that processes outside of it have, or None for all processes.

    Raises:
        OptionTypeError: If it is something else.
    """
    if group is None:
        return None
    if dist.is_available() and (group == dist.GroupMember.NON_GROUP_MEMBER or isinstance(group, dist.ProcessGroup)):
        return group  # type: ignore[return-value]  # outside of a group its place is taken by a mere object
    raise OptionTypeError(
        f"{where}: `process_group` must be a group of torch.distributed, as new_group returns, but is {group!r}."
    )


def unwrapped(model: ForwardFunction) -> ForwardFunction:
    """Return the model that DistributedDataParallel wraps; any other as it is."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def sharded_modules(model: ForwardFunction) -> list[Any]:  # FSDPModule, which not every build of PyTorch has
    """Return the modules of a model whose parameters ``fully_shard`` (FSDP2) spreads over processes."""
    return _modules_of_kind(model, "FSDPModule")


def is_fully_sharded(model: ForwardFunction) -> bool:
    """Return whether a model is, or has in it, a FullyShardedDataParallel: the older way of sharding."""
    return bool(_modules_of_kind(model, "FullyShardedDataParallel"))


def _modules_of_kind(model: ForwardFunction, name: str) -> list[nn.Module]:
    if not (dist.is_available() and dist.is_initialized()):
        return []
    fsdp = sys.modules.get("torch.distributed.fsdp")  # a program that has not imported it does not use it
    kind: type[nn.Module] | None = getattr(fsdp, name, None)
    if kind is None:
        return []
    return [module for root in modules_of(model) for module in root.modules() if isinstance(module, kind)]


class _SumOverProcesses(torch.autograd.Function):
    """S = Σ_p S_p on every process. Each loss depends on each S_p, so the gradient is such a sum itself."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, process_group: Group) -> Tensor:
        ctx.process_group = process_group
        # Gloo and NCCL want contiguous memory.
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=process_group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Itself again, and not the bare all_reduce, so that it can be differentiated once more.
        return _SumOverProcesses.apply(gradients[0], ctx.process_group), None
