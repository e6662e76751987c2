"""captum-xg repro table1: the axioms of Table 1, tried out on functions whose right answer is known."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.errors import OptionError
from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.section import Section

CASES = {"quick": 30, "full": 1000}
SEED = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    add = parser.add_argument
    about = ". ".join(f"{preset}: {n} cases for each method and axiom" for preset, n in CASES.items())
    add("--preset", choices=tuple(CASES), default="quick", help=f"{about}. (default: %(default)s)")
    add("--cases", type=int, metavar="N", help="another number of cases than that of the preset")
    add("--device", default="cpu", help="axioms are tried in float64 on the CPU, whatever this is")
    output = "where results go; what is there already is not done again (default: %(default)s)"
    add("--output", type=Path, default=Path("captum-xg-table1"), metavar="DIR", help=output)


def section(options: argparse.Namespace) -> Section:
    """Try what is missing, and return what came out."""
    from captum_xg._version import __version__
    from captum_xg.metrics import paper_methods
    from captum_xg.repro.section import Section
    from captum_xg.repro.table1 import report
    from captum_xg.repro.units import done, effort

    cases = CASES[options.preset] if options.cases is None else options.cases
    if cases < 1:
        raise OptionError(f"There must be at least 1 of --cases, but there are {cases}.")
    settings = {"cases": cases, "seed": SEED, "captum_xg": __version__}
    units = {name: partial(_tried, name, cases) for name in paper_methods()}
    found = done(options.output / "units", settings, units, "table1")
    cells = {(name, cell["axiom"]): cell for name, unit in found.items() for cell in unit.value["results"]}
    methods = {name: unit.value["results"][0]["models"] for name, unit in found.items()}
    seconds, commits = effort(found)
    notes = dict.fromkeys(note for unit in found.values() for note in unit.value["notes"])
    return Section(
        "table1",
        "Table 1: axioms",
        f"Small functions in float64 at integer inputs, {cases} cases for each method and axiom; X-Gradient on "
        "nonnegatively homogeneous ones (X-DNNs), the others on any. Expected Gradients are Captum's GradientShap "
        "without noise.",
        findings=report.findings(cells),
        panels=report.panels(methods, cells),
        notes=tuple(notes),
        command=f"captum-xg repro table1 --preset {options.preset}"
        + (f" --cases {options.cases}" if options.cases is not None else ""),
        seconds=seconds,
        commits=commits,
        numbers={name: unit.value for name, unit in found.items()},
    )


def _tried(name: str, cases: int) -> dict[str, Any]:
    """Return what came out for one method."""
    from captum_xg.metrics import axiom_report, paper_methods

    models = {name: "xdnn"} if name == "X-Gradient" else "any"
    found = axiom_report({name: paper_methods()[name]}, models=models, n_cases=cases, seed=SEED)
    return found.to_dict()


run = running(section)
