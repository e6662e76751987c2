"""Processes that ``torchrun`` has started: they share the units of an experiment; the first one speaks."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch.distributed as dist

from captum_xg._core.distributed import gathered, rank_and_processes
from captum_xg.errors import CaptumXGError

Found = TypeVar("Found")


@contextlib.contextmanager
def shared_among_processes() -> Iterator[bool]:
    """Let processes that ``torchrun`` started find each other; yield whether this one is the first, or the only one.

    What the others print is dropped, as all of them have the same to say.
    """
    launched = dist.is_available() and dist.is_torchelastic_launched() and not dist.is_initialized()
    if launched:
        dist.init_process_group("gloo")  # for numbers in JSON, whatever the device of the networks is
    try:
        first = rank_and_processes()[0] == 0
        with contextlib.nullcontext() if first else contextlib.redirect_stdout(io.StringIO()):
            yield first
        if launched:
            dist.barrier()  # or one that is early closes the connection that another still needs
    finally:
        if launched:
            dist.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process is here."""
    if rank_and_processes()[1] > 1:
        dist.barrier()


def by_the_first(work: Callable[[], Found]) -> Found:
    """Return what the first process makes of it, on all of them; what it is refused, all are.

    If it were refused alone, the others would take what it gathers next for what they wait for.
    """
    found: tuple[Found] | CaptumXGError | None = None
    if rank_and_processes()[0] == 0:
        try:
            found = (work(),)
        except CaptumXGError as error:
            found = error
    done = gathered(found)[0]
    if isinstance(done, CaptumXGError):
        raise done
    assert done is not None
    return done[0]


def of_this_process(device: str) -> str:
    """Return the device of this process: of several GPUs each process takes its own, unless one is named."""
    if device != "cuda" or rank_and_processes()[1] == 1:
        return device
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
