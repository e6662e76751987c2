"""Gradients, errors and seconds of scripts after Captum's tutorials, with Captum and with their import line changed.

    python tests/benchmarks/captum_tutorials.py [--examples 2] [--steps 5000] [SCRIPT …]

Each script in tests/notebooks/scripts runs as it is, with all Integrated Gradients at 50 steps, and with one line
changed. Columns: calls of Integrated Gradients and their examples; gradients for each example by the script's own
number of steps, by 50, and by ours; the largest true error of an attribution, ‖error‖₂/‖attributions‖₂, among some
examples of each call, likewise; seconds in these calls. The reference has 5,000 midpoints in α^¼ in float64.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[1] / "notebooks")]

from dense_reference import make_double, reference, rows_of  # noqa: E402
from script_runs import SCRIPTS, Call, Run, run  # noqa: E402

Expected = dict[tuple[int, int], torch.Tensor]


def errors(calls: list[Call], expected: Expected) -> float:
    """Return the largest relative error of the examples that there is a reference for."""
    found = []
    for (i, row), truth in expected.items():
        own = torch.cat([part[row].flatten() for part in calls[i].attributions]).double()
        found.append(float((own - truth).norm() / truth.norm()))
    return max(found)


def expected_of(made: Run, examples: int, steps: int) -> Expected:
    """Return references for some examples of each call; the models of the run are in float64 then."""
    make_double(made)
    return {
        (i, row): reference(call, row, steps)
        for i, call in enumerate(made.calls)
        for row in rows_of(call, max(examples if len(made.calls) < 4 else 1, 1))
    }


def main() -> None:
    """Print one line per script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*")
    parser.add_argument("--examples", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'script':<19}{'calls':>6}{'examples':>9} │{'gradients':>10}{'IG(50)':>8}{'ours':>8} │"
        f"{'error':>8}{'IG(50)':>8}{'ours':>8} │{'seconds':>8}{'IG(50)':>8}{'ours':>8}"
    )
    for path in SCRIPTS:
        if options.scripts and path.stem not in options.scripts:
            continue
        runs = [run(path), run(path, n_steps=50), run(path, changed=True)]
        expected = expected_of(runs[-1], options.examples, options.steps)
        n = sum(call.n for call in runs[0].calls)
        gradients = [sum(call.gradients for call in own.calls) / n for own in runs]
        seconds = [sum(call.seconds for call in own.calls) for own in runs]
        wrong = [errors(own.calls, expected) for own in runs]
        print(
            f"{path.stem:<19}{len(runs[0].calls):>6}{n:>9} │"
            f"{gradients[0]:>10.1f}{gradients[1]:>8.1f}{gradients[2]:>8.1f} │"
            + "".join(f"{e:>8.2%}" for e in wrong)
            + " │"
            + "".join(f"{s:>8.2f}" for s in seconds),
            flush=True,
        )


if __name__ == "__main__":
    main()
