"""Random programs: is what is certified true, and is what is true certified?

    python tests/benchmarks/random_programs.py [--programs 10000] [--seed 0] [--mode strict] [--shrink] [--ops]

Draws programs (tests/programs.py), measures what they do (tests/truth.py: values at twelve scales and five inputs,
gradients by differences) and compares with certify. Prints counts, and the programs that break a law.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracles"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "zoo"))

import torch
from verdicts import Outcome, Tally, judge, outcomes, shrunk

BROKEN = ("unsound", "falsely disproved", "missed")


def shortened(outcome: Outcome) -> Outcome:
    """Return the same finding in a shorter program."""
    reasons = {violation.op for violation in outcome.certificate.violations}

    def still(program: object) -> bool:
        other = judge(program)  # type: ignore[arg-type]
        return other.kind == outcome.kind and {violation.op for violation in other.certificate.violations} == reasons

    return judge(shrunk(outcome.program, still), outcome.seed)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--mode", default=None, choices=["strict", "planted", "wild", "escaping"])
    parser.add_argument("--kinds", nargs="*", default=BROKEN, help="which outcomes to print")
    parser.add_argument("--most", type=int, default=20, help="how many of each to print")
    parser.add_argument("--shrink", action="store_true", help="cut the printed programs down")
    parser.add_argument("--ops", action="store_true", help="print how many programs have each kind of step")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tally, start = Tally(), time.perf_counter()
    for outcome in outcomes(range(arguments.seed, arguments.seed + arguments.programs), arguments.mode):
        tally.add(outcome)
    seconds = time.perf_counter() - start
    for kind in arguments.kinds:
        for outcome in tally.kept.get(kind, [])[: arguments.most]:
            print(shortened(outcome) if arguments.shrink else outcome, flush=True)
    if arguments.ops:
        print(", ".join(f"{op} {n}" for op, n in tally.ops.most_common()))
    print(tally)
    print(f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
