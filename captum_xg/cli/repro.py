"""captum-xg repro: the experiments on attribution priors, run on real data; each one module of captum_xg.repro."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands
    from captum_xg.repro.experiment import Experiment

# The names of modules of captum_xg.repro, each a captum_xg.repro.experiment.Experiment.
EXPERIMENTS = {
    "sparsity": "Figure 1 of the paper: does a sparsity prior help a small network on 100 people of NHANES I?",
    "decoy": "Fashion-MNIST with a patch that gives the label away: does a prior keep a network from using it?",
}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "repro",
        help="run an experiment on attribution priors, and report what comes out",
        usage="captum-xg repro EXPERIMENT [options of the experiment]",
        description="Run an experiment on real data: prints a table and writes all numbers and a figure.\n"
        "`captum-xg repro EXPERIMENT --help` lists its options.\n\nexperiments:\n"
        + "\n".join(f"  {name:<12}{about}" for name, about in EXPERIMENTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiment", choices=EXPERIMENTS, metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    rest = parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # else argparse asks for it by name where the experiment is missing
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Run the experiment with the arguments that stand after its name, and return its exit status."""
    # Imported only when it is asked for, as what it needs may not be installed.
    experiment = cast("Experiment", import_module(f"captum_xg.repro.{options.experiment}"))
    parser = type(options.parser)(
        prog=f"captum-xg repro {options.experiment}",
        description=EXPERIMENTS[options.experiment],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)  # so that an experiment can refuse arguments that do not fit together
    experiment.add_arguments(parser)
    return experiment.run(parser.parse_args(options.rest))
