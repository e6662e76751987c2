"""How fast a data set is explained, as a share of a bare loop of forward and backward passes, and in how much memory.

    python tests/benchmarks/scan_rate.py [--rounds 5] [--threads 1] [--cases alexnet demo] [--examples 128]
    python tests/benchmarks/scan_rate.py --memory 1000 20000

The bare loop goes over the same loader on the same threads: forward, outputs[range, target].sum(), autograd.grad to the
inputs, and nothing is kept. The run chooses the predicted class, checks, packs, digests and writes. They take turns,
and each ratio is the median over the rounds of the loop's time / the run's of the same round, of the wall clock and of
the processor (all threads of the process; that hardly depends on what else the machine does). What a run does once
(digest of the weights, proof, some examples tried) is told beside it. Peak memory is that of a process of its own for
each number of examples, which are made when they are asked for.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from captum_xg import XGradient, models
from captum_xg.demo.assets import demo_model
from captum_xg.scan.over import Wanted, run_over

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "alexnet": (models.xalexnet, (3, 224, 224), 16),
    "demo": (demo_model, (1, 28, 28), 64),
    "demo, batch 16": (demo_model, (1, 28, 28), 16),
}


class Noise(Dataset[tuple[Tensor, int]]):
    """Examples of noise, the same each time, made of a few that are kept."""

    def __init__(self, n: int, shape: tuple[int, ...]) -> None:
        self._n = n
        self._some = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self._some[i % 64] * (1 + i / self._n), i % 10


def bare(model: nn.Module, loader: DataLoader[tuple[Tensor, int]]) -> None:
    """Go through the data with a forward and a backward pass for each batch."""
    for x, y in loader:
        inputs = x.requires_grad_()
        outputs = model(inputs)
        torch.autograd.grad(outputs[range(len(y)), y].sum(), inputs)


def timed(work: Callable[[], float | None]) -> tuple[float, float]:
    """Return seconds by the wall clock and of the processor; the former as the work tells it, if it does."""
    wall, processor = time.perf_counter(), time.process_time()
    told = work()
    return (time.perf_counter() - wall if told is None else told), time.process_time() - processor


def rate(name: str, rounds: int, examples: int) -> None:
    """Print how the run compares with the loop."""
    make, shape, batch = CASES[name]
    torch.manual_seed(0)
    model = make().eval()
    n = examples if name == "alexnet" else 8 * examples
    loader = DataLoader(Noise(n, shape), batch_size=batch)
    starts: list[float] = []

    def run(n_examples: int = n) -> float:
        own = DataLoader(Noise(n_examples, shape), batch_size=batch)
        with tempfile.TemporaryDirectory() as folder:
            wanted = Wanted("predicted", "raise", "float16", {}, progress=False)
            done = run_over(XGradient(model), own, folder, wanted)
            starts.append(done.prepared)
            return done.seconds

    run(batch), bare(model, loader)
    pairs = []
    for _ in range(rounds):
        loop = timed(lambda: bare(model, loader))
        own = timed(run)
        once = timed(lambda: run(batch))  # for the processor time of what is done once, which is taken off
        pairs.append((loop, own, once))
    wall = statistics.median(loop[0] / own[0] for loop, own, _ in pairs)
    share = batch / n
    processor = statistics.median(loop[1] * (1 - share) / max(own[1] - once[1], 1e-9) for loop, own, once in pairs)
    fastest = min(own[0] for _, own, _ in pairs)
    print(
        f"{name:15} batch {batch}: {n / fastest:6.1f} examples/s at best; share of the bare loop's rate {wall:.3f} by "
        f"the clock, {processor:.3f} by the processor; once {statistics.median(starts):.2f} s"
    )


def peak(n: int) -> int:
    """Return the peak of memory of a run over so many examples, in MiB."""
    loader = DataLoader(Noise(n, (1, 28, 28)), batch_size=64)
    wanted = Wanted("predicted", "raise", "float16", {}, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        run_over(XGradient(demo_model().eval()), loader, folder, wanted)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--memory", type=int, nargs="+")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(json.dumps(peak(options.peak)))
        return
    if options.memory:
        for n in options.memory:
            call = [sys.executable, __file__, "--peak", str(n), "--threads", str(options.threads)]
            found = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
            print(f"{n:7,} examples: peak of memory {found:,} MiB")
        return
    for name in options.cases:
        rate(name, options.rounds, options.examples)


if __name__ == "__main__":
    main()
