"""Several processes give the numbers of one, whatever does not divide evenly, and one folder serves them all."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
from benchmark_samples import Profile, Total, data, network
from torch.utils.data import DataLoader, DistributedSampler

from captum_xg.errors import OptionError
from captum_xg.metrics import AttributionBenchmark

METHODS = ["expected_gradients_2", "xgradient"]
WORKER = "import sys, test_benchmark_processes as t; t.take_part(sys.argv[1], int(sys.argv[2]))"


def take_part(folder, rank):
    """Run the benchmark as one of two processes."""
    meeting = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=600))
    try:
        benchmark = AttributionBenchmark(network(), METHODS, [Total(), Profile()])
        result = benchmark.run(data(10, 4), f"{folder}/parts", progress=False)
        result.to_json(f"{folder}/{rank}.json")
        with pytest.raises(OptionError, match="DistributedSampler"):
            benchmark.run(DataLoader(range(4), sampler=DistributedSampler(range(4))), progress=False)
    finally:
        dist.destroy_process_group()


def _without_times(result):
    for method in result["methods"].values():
        del method["cost"]["seconds"]
    return result


@pytest.mark.thorough
def test_two_processes_give_the_numbers_of_one(tmp_path, monkeypatch):
    # Three batches, of 4, 4 and 2: neither batches nor examples divide evenly.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    here = Path(__file__).parent
    other = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), "1"], env=environment, cwd=here)
    alone = _without_times(
        AttributionBenchmark(network(), METHODS, [Total(), Profile()]).run(data(10, 4), progress=False).to_dict()
    )
    take_part(tmp_path, 0)
    assert other.wait(600) == 0
    assert alone["n_examples"] == 10
    for rank in (0, 1):
        assert _without_times(json.loads((tmp_path / f"{rank}.json").read_text())) == alone
    assert len(list((tmp_path / "parts").glob("*.pt"))) == 3 * 4
