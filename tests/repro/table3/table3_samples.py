"""Scores of Table 3 by hand, options for two images, and one of two processes of the experiment."""

import argparse
import itertools
import sys
from pathlib import Path

import torch

from captum_xg.repro import table3
from captum_xg.repro.processes import shared_among_processes
from captum_xg.repro.table3 import measure
from captum_xg.repro.table3.printed import METHODS, METRICS, NETWORKS, XG, printed
from captum_xg.repro.table3.scores import CONTROL, Scores

MASKINGS = ("paper", "released", "ROAD")


def options(folder, *arguments):
    parser = argparse.ArgumentParser()
    table3.add_arguments(parser)
    return parser.parse_args(["--images", "2", "--output", str(folder), *arguments])


def scores_like(values, reach=0.001):
    """Scores with these values, (network, method) → metric → value, known to ±reach."""
    found = {}
    for network in NETWORKS:
        given = {method: row for method in (*METHODS, CONTROL) if (row := values(network, method))}
        scores = {m: {k: [r[m], r[m] - reach, r[m] + reach] for k, r in given.items()} for m in METRICS}
        differences = {
            metric: {
                f"{a} - {b}": [(d := given[a][metric] - given[b][metric]), d - reach, d + reach]
                for a, b in itertools.combinations(given, 2)
            }
            for metric in METRICS
        }
        plain = {
            "refusals": {} if XG in given else {XG: "HomogeneityError: no"},
            "gradient_evaluations": {method: 128.0 if "128" in method else 1.0 for method in given},
            "seconds": {method: 128.0 if "128" in method else 1.0 for method in given},
            "scores": dict.fromkeys(MASKINGS, scores),
            "differences": dict.fromkeys(MASKINGS, differences),
        }
        found[network] = Scores(network, plain)
    return found


def as_printed(network, method):
    """The paper's own numbers; its control would be noise."""
    return printed(network, "Random" if method == CONTROL else method)


def main():
    """Take part as one of two processes, in batches of one image."""
    measure.BATCH = 1
    folder = Path(sys.argv[1])
    with shared_among_processes():
        rank = torch.distributed.get_rank()
        torch.save(table3.section(options(folder / "results")).numbers, folder / f"{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    main()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
