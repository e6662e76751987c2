"""Which degree rules are right, which wrong, which claim too little: every rule against brute-force truth.

    python tests/benchmarks/rule_table.py [--samples 3] [--dtype float64] [--details]

The calls are PyTorch's own samples of its operations, and those of tests/rule_samples.py. Every floating-point tensor
in a call is taken as the input alone, and all of them jointly; F(αx) for α from 1e-14 to 1e14, autograd's gradient and
finite differences are the truth. A line counts the claims that a rule had a part in:

* correct: a degree was claimed, and holds;
* wrong: one was claimed, and values or gradients contradict it;
* missed: none was claimed, though F scales as far as seen;
* refused: none was claimed, and F does not scale;
* silent: F is zero or not finite wherever it was looked.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracles"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "zoo"))

from op_samples import KINDS, Table, check, samples_of
from rule_samples import own_samples, vision_samples
from torch.testing._internal.common_methods_invocations import op_db


def main() -> None:
    """Print one line per rule, and totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3, help="how many of PyTorch's samples of each operation")
    parser.add_argument("--dtype", default="float64", choices=["float64", "complex128"])
    parser.add_argument("--details", action="store_true", help="print what is wrong and what is missed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dtype = getattr(torch, options.dtype)
    table = Table()
    not_run = [message for sample in [*own_samples(), *vision_samples()] for message in check(sample, table)]
    for op in op_db:
        if op.supports_dtype(dtype, "cpu"):
            for sample in samples_of(op, dtype, options.samples):
                not_run += check(sample, table)
    print(f"{'rule':<48}" + "".join(f"{kind:>9}" for kind in KINDS))
    for name, tally in table.items():
        if tally.tested:
            print(f"{name:<48}" + "".join(f"{len(getattr(tally, kind)):>9}" for kind in KINDS))
    print(f"{'all, each claim once':<48}" + "".join(f"{table.total(kind):>9}" for kind in KINDS))
    print(f"\n{len(not_run)} calls did not run, or cannot be differentiated by the input in question")
    untested = [name for name, tally in table.items() if not tally.tested]
    print(f"{len(table)} rules, {len(table) - len(untested)} tested; not reached on this machine:")
    print(" ".join(name.removeprefix("aten::") for name in untested))
    for kind in ("wrong", "missed") if options.details else ():
        print(f"\n{kind}:")
        for text in sorted({text for tally in table.values() for text in getattr(tally, kind)}):
            print(f"  {text}")


if __name__ == "__main__":
    main()
