"""captum-xg repro: the tables and figures of the paper, run on real data; each one module of captum_xg.repro."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from captum_xg.cli.parser import Commands
    from captum_xg.repro.experiment import Experiment

# Name → module of captum_xg.repro, each a captum_xg.repro.experiment.Experiment, and what it asks.
EXPERIMENTS = {
    "all": ("report", "everything below in one report: does the paper hold, here, today?"),
    "table1": ("table1", "Table 1: which axioms do the attribution methods satisfy?"),
    "table2": (
        "table2",
        "Table 2: what does removing biases cost, and how far are single gradients from the integral?",
    ),
    "table3": ("table3", "Table 3: attribution methods by masking metrics, with and without biases"),
    "figure1": ("sparsity", "Figure 1: does a sparsity prior help a small network on 100 people of NHANES I?"),
    "figure2": ("figure2", "Figure 2: accuracy and attributions of images with less contrast"),
    "figure3": ("figure3", "Figure 3: how many steps does Integrated Gradients need?"),
    "figure4": ("figure4", "Figure 4: attributions of more images, at two contrasts"),
    "cost": ("cost", "Appendix B.3: a training step with an attribution prior, Expected Gradients and X-Gradient"),
    "fair": ("fair", "Figure 1 again: which of its statements survive other choices than the paper's?"),
    "truth": ("truth", "networks whose true attribution is known: how near do the methods come?"),
    "decoy": ("decoy", "Fashion-MNIST with a patch that gives the label away: does a prior keep a network from it?"),
    "scan": ("scan", "a patch that nobody tells of: do explanations of all data find it, and does a prior cure it?"),
    "patches": ("patches", "images in patches: a transformer of degree 1 beside a regular one"),
    "texts": ("texts", "rated sentences: networks of degree 1, and their words beside a lexicon that people made"),
    "molecules": ("molecules", "molecules: message passing of degree 1, and its atoms beside known contributions"),
    "restoration": ("restoration", "denoising without biases: noise that was not trained on, and filters by pixel"),
    "sparsity": ("sparsity", "figure1 under its old name"),
}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "repro",
        help="run experiments of the paper, and report what comes out beside what is printed",
        usage="captum-xg repro EXPERIMENT [options of the experiment]",
        description="Run an experiment on real data: prints a table and writes all numbers and a figure.\n"
        "`captum-xg repro EXPERIMENT --help` lists its options.\n\nexperiments:\n"
        + "\n".join(f"  {name:<13}{about}" for name, (_, about) in EXPERIMENTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiment", choices=EXPERIMENTS, metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    rest = parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # else argparse asks for it by name where the experiment is missing
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Run the experiment with the arguments that stand after its name, and return its exit status."""
    # Imported only when it is asked for, as what it needs may not be installed.
    module, about = EXPERIMENTS[options.experiment]
    experiment = cast("Experiment", import_module(f"captum_xg.repro.{module}"))
    parser = type(options.parser)(
        prog=f"captum-xg repro {options.experiment}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)  # so that an experiment can refuse arguments that do not fit together
    experiment.add_arguments(parser)
    return experiment.run(parser.parse_args(options.rest))
