"""The protocol of an experiment, its common options, and methods that are compared at their best λ.

Every experiment trains networks by several methods, each an attribution that a prior is on, and compares them at the λ
that does best on validation data: never on test data, and never with the repetitions that are reported as a choice.

A new experiment ``captum_xg/repro/NAME`` has the three functions of :class:`Experiment`, and takes the rest from here
and from the files beside this one: options (:func:`add_common_arguments`), the choice of λ (:func:`best_strength`),
means with intervals (``estimate``), a folder of results that goes on where it stopped (``store``), looks (``figure``).

What must never happen: that λ is chosen by what is reported. The choice takes runs and a score, and has no access to
anything else; a λ at the edge of its grid is reported as such, since a better one may lie outside.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from captum_xg.repro.section import Section

Run = TypeVar("Run")


class Experiment(Protocol):
    """A module ``captum_xg.repro.NAME``, imported when it is asked for, as what it needs may not be installed."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the experiment."""

    def section(self, options: argparse.Namespace) -> Section:
        """Do what is missing, write numbers and pictures, and return what there is to say in a report."""

    def run(self, options: argparse.Namespace) -> int:
        """Do what is missing, print the tables, write the numbers and pictures, and return the exit status."""


def add_common_arguments(
    parser: argparse.ArgumentParser, name: str, *, presets: Mapping[str, str], data: str, data_metavar: str
) -> argparse.Action:
    """Add the options that all experiments have, and return that of the data.

    Args:
        parser: Of the experiment.
        name: Of the experiment.
        presets: Preset → what it asks for; the first one is the default.
        data: What ``--data`` names.
        data_metavar: What stands for it in the usage.
    """
    parser.add_argument(
        "--preset",
        choices=tuple(presets),
        default=next(iter(presets)),
        help=" ".join(f"{preset}: {about}." for preset, about in presets.items()) + " (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(f"captum-xg-{name}"),
        metavar="DIR",
        help="where results go; what is there already is not done again (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    # Returned, as some experiments cannot do without data, and others have some of their own.
    return parser.add_argument("--data", type=Path, metavar=data_metavar, help=data)


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        key: Its name in files.
        label: Its name in tables.
        attribution: What the prior is on; "" or "none" for training without a prior.
        bias: Whether the network has biases; without them it is an X-DNN.
        n_references: References per example and step, for Expected Gradients.
    """

    key: str
    label: str
    attribution: str
    bias: bool
    n_references: int = 0

    @property
    def has_prior(self) -> bool:
        """Whether there is a λ to choose."""
        return self.attribution not in ("", "none")


def best_strength(grid: Mapping[float, Iterable[Run]], score: Callable[[Run], float]) -> tuple[float, float]:
    """Return the λ with the largest mean score over its runs, of equals the smallest, and that mean."""
    # Means over the runs and not the best run, which would favour the λ with the largest spread.
    means = {strength: statistics.fmean([score(run) for run in runs]) for strength, runs in grid.items()}
    best = max(means.values())
    # Of equals the smallest, which interferes least with the task.
    return min(strength for strength, mean in means.items() if mean == best), best


def at_the_edge(grid: Iterable[float], chosen: float) -> str:
    """Return "lower" or "upper" if the chosen λ is the smallest or largest of several; a better one may lie beyond."""
    tried = sorted(grid)  # a grid of one λ has no edge, since nothing was chosen
    return {tried[0]: "lower", tried[-1]: "upper"}.get(chosen, "") if len(tried) > 1 else ""
