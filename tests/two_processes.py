"""Two processes under torchrun, and what each of them saved."""

import os
import pathlib
import subprocess
import sys

import torch


def results_of(worker: pathlib.Path, folder: pathlib.Path) -> list:
    """Run a script in two processes with a folder as its argument; return what they saved there as RANK.pt."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *(str(worker), str(folder)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]
