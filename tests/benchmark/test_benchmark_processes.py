"""Several processes give the numbers of one, whatever does not divide evenly, and one folder serves them all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from benchmark_samples import Profile, Total, data, network

from captum_xg.metrics import AttributionBenchmark

METHODS = ["expected_gradients_2", "xgradient"]
WORKER = """
import sys
import torch.distributed as dist
from torch.utils.data import DataLoader, DistributedSampler
from benchmark_samples import Profile, Total, data, network
from captum_xg.errors import OptionError
from captum_xg.metrics import AttributionBenchmark

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/rendezvous", rank=int(sys.argv[2]), world_size=2)
benchmark = AttributionBenchmark(network(), ["expected_gradients_2", "xgradient"], [Total(), Profile()])
result = benchmark.run(data(10, 4), f"{sys.argv[1]}/parts", progress=False)
result.to_json(f"{sys.argv[1]}/{sys.argv[2]}.json")
try:
    benchmark.run(DataLoader(range(4), sampler=DistributedSampler(range(4))), progress=False)
except OptionError as error:
    assert "DistributedSampler" in str(error)
else:
    raise AssertionError("not refused")
dist.destroy_process_group()
"""


def _without_times(result):
    for method in result["methods"].values():
        del method["cost"]["seconds"]
    return result


def test_two_processes_give_the_numbers_of_one(tmp_path):
    # Three batches, of 4, 4 and 2: neither batches nor examples divide evenly.
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(rank)], env=environment) for rank in (0, 1)
    ]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    torch.set_num_threads(1)
    benchmark = AttributionBenchmark(network(), METHODS, [Total(), Profile()])
    alone = _without_times(benchmark.run(data(10, 4), progress=False).to_dict())
    assert alone["n_examples"] == 10
    for rank in (0, 1):
        assert _without_times(json.loads((tmp_path / f"{rank}.json").read_text())) == alone
    assert len(list((tmp_path / "parts").glob("*.pt"))) == 3 * 4
