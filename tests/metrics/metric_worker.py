"""One of two processes that evaluate parts of the data, for test_metric_processes; run by torchrun."""

import pathlib
import sys

import torch
import torch.distributed as dist
from metric_cases import N, data, exported, feed, make, results
from torch.utils.data import DataLoader, DistributedSampler

from captum_xg.metrics import CompletenessGap, MeanAbsoluteRelativeDifference, UnpaddedDistributedSampler

PARTS = {
    "unequal": ([[0, 1], [2]], [[3, 4, 5], [6]]),
    "empty": ([], [[4, 5, 6], [0, 1], [2, 3]]),
    "one each": ([[0], [2], [4], [6]], [[1], [3], [5]]),
}


def dealt(sampler):
    """The examples that this process sees, in batches of two."""
    return [batch.tolist() for batch in DataLoader(range(N), batch_size=2, sampler=sampler)]


def evaluate(rank):
    for name in exported():
        for kind, parts in PARTS.items():
            metric = make(name)
            for examples in parts[rank]:
                feed(metric, examples)
            yield (name, kind), results(metric)
        metric = make(name)
        for examples in dealt(UnpaddedDistributedSampler(range(N))):
            feed(metric, examples)
        yield (name, "sampler"), results(metric)
        yield (name, "sampler, again"), results(metric)

    for kind, sampler in (
        ("unpadded", UnpaddedDistributedSampler(range(N))),
        ("padded", DistributedSampler(range(N), shuffle=False)),
    ):
        seen = [i for examples in dealt(sampler) for i in examples]
        metric = MeanAbsoluteRelativeDifference()
        # Example i has the value i/8, which sums exactly.
        for i in seen:
            metric.update(torch.tensor([[8.0 - i]]), torch.tensor([[8.0]]))
        yield kind, (seen, metric.compute())

    exact = CompletenessGap(lambda x: x.sum(1))
    if rank:
        exact.update(*whole_numbers())
    yield "exact", exact.compute()

    released = MeanAbsoluteRelativeDifference("released")
    attributions, reference = data()[1::2]
    for examples in ([[0, 1, 2]], [[3, 4], [5, 6]])[rank]:
        released.update(attributions[examples], reference[examples])
    yield "released", released.compute()


def whole_numbers():
    x = torch.arange(12.0).reshape(4, 3)
    return x, x.flip(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        found = dict(evaluate(dist.get_rank()))
        torch.save(found, pathlib.Path(sys.argv[1]) / f"{dist.get_rank()}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
