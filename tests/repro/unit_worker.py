"""One of two processes that share the units of an experiment, for test_units."""

import contextlib
import io
import sys
from pathlib import Path

import torch

from captum_xg.errors import OptionError
from captum_xg.repro import processes
from captum_xg.repro.units import done

folder = Path(sys.argv[1])
calls = []
# Forked processes find the variables of torchrun, but for the one that says it was torchrun.
processes.dist.is_torchelastic_launched = lambda: True


def unit(i):
    def do():
        calls.append(i)
        return {"square": i * i}

    return do


def refuse():
    raise OptionError("no plums")


said, refused = io.StringIO(), ""
with contextlib.redirect_stdout(said), processes.shared_among_processes() as first:
    rank, _ = processes.rank_and_processes()
    found = done(folder / "units", {}, {str(i): unit(i) for i in range(5)}, "units")
    print("said")
    try:
        done(folder / "refused", {}, {"fine": unit(0), "refused by the second process": refuse}, "units")
    except OptionError as error:
        refused = str(error)
    try:
        processes.by_the_first(refuse)
    except OptionError as error:
        refused += f", {error}"
    assert processes.by_the_first(lambda: rank) == 0
    again = done(folder / "units", {}, {str(i): unit(i) for i in range(5)}, "units")
    assert again == found
values = {k: u.value for k, u in found.items()}
told = {"values": values, "calls": calls, "first": first, "printed": said.getvalue(), "refused": refused}
torch.save(told, folder / f"{rank}.pt")
