"""Table 3 as it is printed, and which of two methods its numbers say is the better one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

NETWORKS = ("AlexNet", "X-AlexNet")
METRICS = {"KPM": True, "KNM": False, "KAM": True, "RAM": False}
"""Short name → whether more is better."""
IG, RANDOM, GRAD, EG, XG = "IG (128)", "Random", "Grad (1)", "EG (1)", "XG (1)"
METHODS = {
    IG: "integrated_gradients_128",
    RANDOM: "random",
    GRAD: "gradient",
    EG: "expected_gradients_1",
    XG: "xgradient",
}
"""As in the table → as the benchmark calls it. The number in parentheses is that of gradient evaluations."""

_ROWS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    IG: ((7.57, 1.67, 25.22, 11.12), (7.38, 2.21, 21.79, 11.68)),
    RANDOM: ((3.68, 3.68, 14.12, 14.10), (3.81, 3.81, 13.52, 13.50)),
    GRAD: ((3.62, 3.88, 20.78, 11.82), (3.87, 4.34, 19.75, 11.25)),
    EG: ((4.92, 2.97, 20.49, 13.76), (5.41, 3.19, 19.47, 13.19)),
    XG: ((), (7.38, 2.21, 21.83, 11.68)),
}
QUOTES = {
    IG: "IG (128) 7.57 1.67 25.22 11.12 7.38 2.21 21.79 11.68",
    RANDOM: "Random 3.68 3.68 14.12 14.10 3.81 3.81 13.52 13.50",
    GRAD: "Grad (1) 3.62 3.88 20.78 11.82 3.87 4.34 19.75 11.25",
    EG: "EG (1) 4.92 2.97 20.49 13.76 5.41 3.19 19.47 13.19",
    XG: "G (1) N/A N/A N/A N/A 7.38 2.21 21.83 11.68",
}
"""The rows of the table, as they stand in the paper."""


def printed(network: str, method: str) -> dict[str, float]:
    """Return metric → number of one row, for one network; empty where the paper prints N/A."""
    values = _ROWS[method][NETWORKS.index(network)]
    return dict(zip(METRICS, values, strict=True)) if values else {}


def ordered_pairs(network: str, metric: str) -> list[tuple[str, str]]:
    """Return all pairs of methods that the printed numbers order, the better one first."""
    values = {method: row[metric] for method in METHODS if (row := printed(network, method))}
    sign = 1 if METRICS[metric] else -1
    return [(a, b) for a, b in permutations(values, 2) if sign * values[a] > sign * values[b]]
