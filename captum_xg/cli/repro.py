"""captum-xg repro: the experiments on attribution priors, run anew on real data; each one module of captum_xg.repro."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

# An experiment is a module captum_xg.repro.NAME with `add_arguments(parser)` and `run(options) -> exit status`. It is
# imported only when it is asked for, as what it needs may not be installed.
EXPERIMENTS = {
    "sparsity": "Figure 1 of the paper: does a sparsity prior help a small network on 100 people of NHANES I?",
    "decoy": "Fashion-MNIST with a patch that gives the label away: does a prior keep a network from using it?",
}


def add_parser(commands: Any) -> None:
    """Add the subcommand.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser = commands.add_parser(
        "repro",
        help="run an experiment on attribution priors anew, and report what comes out",
        usage="captum-xg repro EXPERIMENT [options of the experiment]",
        description="Run an experiment anew on real data: prints a table and writes all numbers and a figure.\n"
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
    module = import_module(f"captum_xg.repro.{options.experiment}")
    parser = type(options.parser)(
        prog=f"captum-xg repro {options.experiment}",
        description=EXPERIMENTS[options.experiment],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)  # so that an experiment can refuse arguments that do not fit together
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(options.rest)))
