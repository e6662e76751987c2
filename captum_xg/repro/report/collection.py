"""The sections of all experiments, one after the other; what cannot be run becomes a section that says so.

What must never happen: that one experiment that fails takes the others with it, or disappears. Its claims stand in the
report all the same, as *not run*, with the reason and the command that would.
"""

from __future__ import annotations

import argparse
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, cast

from captum_xg._core.files import make_folder
from captum_xg._core.text import in_one_line
from captum_xg.errors import CaptumXGError, OptionError
from captum_xg.repro.experiment import Experiment
from captum_xg.repro.section import Claim, Finding, Section

Arguments = Callable[[argparse.Namespace], list[str]]


def _of_images(options: argparse.Namespace) -> list[str]:
    images = [] if options.images is None else ["--images", str(options.images)]
    given = ["--models", options.models, "--weights", options.weights, "--data", options.data]
    return [*given, *images, *_of_all(options)]


def _of_cost(options: argparse.Namespace) -> list[str]:
    return ["--models", options.models, *_of_all(options)]  # images and weights are random, and so few


def _of_all(options: argparse.Namespace) -> list[str]:
    return ["--preset", options.preset, "--device", options.device]


def _of_people(options: argparse.Namespace) -> list[str]:
    return [*([] if options.people is None else ["--data", str(options.people)]), *_of_all(options)]


def _of_figure1(options: argparse.Namespace) -> list[str]:
    # In the quick report the 20 repetitions of its own preset, or the right panel, would take minutes.
    size = ["--repetitions", "6"] if options.preset == "quick" else ["--panel", "both"]
    return [*_of_people(options), *size]


def _of_decoys(options: argparse.Namespace) -> list[str]:
    there = options.data.startswith("fashion-mnist:")
    return [*(["--data", options.data] if there else []), *_of_all(options)]


@dataclass(frozen=True)
class Entry:
    """One experiment of the report.

    Attributes:
        name: On the command line.
        module: Of :mod:`captum_xg.repro`.
        title: Of its section if it cannot be run.
        arguments: From the options of the report to those of the experiment, without ``--output``.
        timed: Whether it measures seconds, so that nothing else should run beside it.
    """

    name: str
    module: str
    title: str
    arguments: Arguments
    timed: bool = False


ENTRIES = (
    Entry("table1", "table1", "Table 1: axioms", _of_all),
    Entry("table2", "table2", "Table 2: networks without biases", _of_images),
    Entry("table3", "table3", "Table 3: masking metrics", _of_images),
    Entry("figure1", "sparsity", "Figure 1: a sparsity prior", _of_figure1),
    Entry("figure2", "figure2", "Figure 2: less contrast", _of_images),
    Entry("figure3", "figure3", "Figure 3: convergence of Integrated Gradients", _of_images),
    Entry("figure4", "figure4", "Figure 4: attributions at two contrasts", _of_images),
    Entry("cost", "cost", "Appendix B.3: cost of a training step", _of_cost, timed=True),
    Entry("fair", "fair", "Figure 1 with other choices", _of_people),
    Entry("truth", "truth", "Networks whose attribution is known", _of_all),
    Entry("decoy", "decoy", "Decoys", _of_decoys, timed=True),
)
"""In the order of the report."""


def sections(options: argparse.Namespace, names: list[str], parts: Path) -> Iterator[Section]:
    """Yield a section for each experiment, once it is done: in their order, or as they end if several run at a time.

    Args:
        options: Of the report.
        names: Which experiments.
        parts: The folder that has one folder for each experiment.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    entries = [entry for entry in ENTRIES if entry.name in names]
    at_a_time = workers(options)
    together = [entry for entry in entries if not entry.timed] if at_a_time > 1 else []
    if together:
        values = {name: value for name, value in vars(options).items() if name not in ("parser", "run")}
        threads = max(1, (os.cpu_count() or 1) // at_a_time)
        context = multiprocessing.get_context("spawn")  # a forked process would inherit the threads of PyTorch
        with ProcessPoolExecutor(at_a_time, context, _begin, (threads, os.getpid())) as pool:
            futures = [pool.submit(_apart, entry.name, values, parts / entry.name) for entry in together]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    for entry in entries:  # what is timed is timed alone
        if entry not in together:
            yield _section(entry, options, parts / entry.name)


def workers(options: argparse.Namespace) -> int:
    """Return how many experiments run at a time: one under ``torchrun``, whose processes share each of them."""
    from captum_xg._core.distributed import rank_and_processes

    if rank_and_processes()[1] > 1:
        return 1
    if options.workers is not None:
        return int(options.workers)
    return 1 if options.device != "cpu" else min(4, os.cpu_count() or 1)


def command_of(entry: Entry, options: argparse.Namespace) -> str:
    """Return what runs one experiment by itself."""
    return shlex.join(["captum-xg", "repro", entry.name, *entry.arguments(options)])


def _begin(threads: int, parent: int) -> None:
    """Make a process ready: it takes its share of the cores, and ends if the one that it works for has ended."""
    import torch

    torch.set_num_threads(threads)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # killed, the parent could not say so

    threading.Thread(target=watch, daemon=True).start()


def _apart(name: str, values: Mapping[str, Any], folder: Path) -> Section:
    """Return the section of an experiment, in a process of its own, with what it says in a file."""
    entry = next(entry for entry in ENTRIES if entry.name == name)
    log = make_folder(folder) / "log.txt"
    with log.open("a", encoding="utf-8") as sink, redirect_stdout(sink), redirect_stderr(sink):
        return _section(entry, argparse.Namespace(**values), folder)


class _Parser(argparse.ArgumentParser):
    """Parser of an experiment, whose refusals are those of the experiment."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


def _section(entry: Entry, options: argparse.Namespace, folder: Path) -> Section:
    from captum_xg._core.distributed import rank_and_processes

    command = command_of(entry, options)
    try:
        experiment = cast("Experiment", import_module(f"captum_xg.repro.{entry.module}"))
        parser = _Parser(prog=f"captum-xg repro {entry.name}")
        parser.set_defaults(parser=parser)
        experiment.add_arguments(parser)
        own = parser.parse_args([*entry.arguments(options), "--output", str(make_folder(folder))])
        return replace(experiment.section(own), name=entry.name, command=command)
    except CaptumXGError as error:
        reason = str(error)
    except Exception as error:  # whatever one experiment runs into, the others are not to blame for it
        if rank_and_processes()[1] > 1:
            raise  # the other processes wait for this one where it failed, and not at the next experiment
        reason = f"it failed with {in_one_line(error)}"
    return not_run(entry, reason, command)


def not_run(entry: Entry, reason: str, command: str) -> Section:
    """Return the section of an experiment that was not run: its claims, and why."""
    findings = tuple(Finding(claim, "–", "not run", reason) for claim in claims_of(entry.module))
    return Section(entry.name, entry.title, f"Not run: {reason}", findings, command=command)


def claims_of(module: str) -> tuple[Claim, ...]:
    """Return the claims of an experiment."""
    found: tuple[Claim, ...] = import_module(f"captum_xg.repro.{module}.claims").CLAIMS
    return found
