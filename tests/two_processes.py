"""Two processes that talk over gloo, and what each of them saved.

They are forked from one that has imported the package, which costs half of what ``torchrun`` does and is safe there,
as nothing has been computed yet. A worker finds the variables that ``torchrun`` sets.
"""

import os
import pathlib
import runpy
import signal
import socket
import subprocess
import sys
import traceback

import torch


def results_of(worker: pathlib.Path, folder: pathlib.Path) -> list:
    """Run a script in two processes with a folder as its argument; return what they saved there as RANK.pt."""
    done = subprocess.run(
        [sys.executable, __file__, str(worker), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def _forked(rank: int, port: int, worker: str) -> int:
    """Start a process that runs the worker as if it was called with our arguments; return its id."""
    if process := os.fork():
        return process
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    sys.argv, sys.path[0] = sys.argv[1:], str(pathlib.Path(worker).parent)
    status = 1
    try:
        runpy.run_path(worker, run_name="__main__")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _main() -> int:
    import captum_xg
    import captum_xg.metrics
    import captum_xg.priors  # noqa: F401  all before forking, for both

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alive = {_forked(rank, port, sys.argv[1]) for rank in (0, 1)}
    worst = 0
    while alive:
        process, status = os.wait()
        alive.discard(process)
        if status and not worst:
            worst = 1
            for other in alive:  # which would wait for the one that failed
                os.kill(other, signal.SIGTERM)
    return worst


if __name__ == "__main__":
    sys.exit(_main())
