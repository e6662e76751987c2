"""Parts of a dataset for evaluation by several processes: every example in one of them, and in one only."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from torch.utils.data import Sampler

from captum_xg._core.distributed import rank_and_processes
from captum_xg._core.options import integer
from captum_xg.errors import OptionError, OptionTypeError


class UnpaddedDistributedSampler(Sampler[int]):
    """Deals the examples out to the processes in turn and repeats none to make the parts equal.

    :class:`torch.utils.data.DistributedSampler` repeats examples until all processes have as many, so a sum over
    processes counts these twice; ``drop_last`` leaves some out instead. Here process r of R has the examples r, r + R,
    r + 2R, …: parts differ by at most one example and may be empty.

    Processes therefore may have different numbers of batches. Evaluate ``model.module`` and not the model inside
    DistributedDataParallel, whose forward pass waits for all processes when there are buffers; the metrics of
    ``captum_xg.metrics`` communicate in ``compute`` and ``curve`` only. In Lightning set
    ``Trainer(use_distributed_sampler=False)``, which keeps the sampler as it is.

    Args:
        dataset: Anything with a length.
        num_replicas: Number of processes; by default that of the default process group, 1 without one.
        rank: Which of them this is; by default from the default process group, 0 without one.

    Raises:
        OptionError: If ``rank`` does not lie in [0, num_replicas).

    Example:
        >>> list(UnpaddedDistributedSampler(range(7), num_replicas=2, rank=1))
        [1, 3, 5]
    """

    def __init__(self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None) -> None:
        this, processes = rank_and_processes()
        replicas = processes if num_replicas is None else num_replicas
        own = this if rank is None else rank
        where = "UnpaddedDistributedSampler"
        if not isinstance(dataset, Sized) or isinstance(dataset, type):
            raise OptionTypeError(f"{where}: `dataset` must have a length but is {type(dataset).__name__}.")
        self.dataset = dataset
        wrong = f"{where}: `rank` must be an integer in [0, `num_replicas`) but they are {own!r} and {replicas!r}."
        try:
            self.num_replicas, self.rank = integer(replicas, "num_replicas", where), integer(own, "rank", where)
        except OptionTypeError as error:
            raise OptionTypeError(wrong) from error
        if not 0 <= self.rank < self.num_replicas:
            raise OptionError(wrong)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self.dataset), self.num_replicas))

    def __len__(self) -> int:
        return len(range(self.rank, len(self.dataset), self.num_replicas))
