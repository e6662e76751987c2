"""Table 2 once more, slowly: distances over lists of numbers. No captum_xg."""

import math


def slow_distances(given, reference):
    """Return Eq. 14, the released formula, median, share of ratios above 0.1, and share of zeros, of flat lists."""
    ratios = [abs(a - r) / abs(r) for a, r in zip(given, reference, strict=True) if r]
    lost = any(a for a, r in zip(given, reference, strict=True) if not r)
    off = sum(abs(a - r) for a, r in zip(given, reference, strict=True)) / len(given)
    ordered = sorted(ratios)
    return {
        "paper": math.inf if lost else sum(ratios) / len(given),
        "released": off / (sum(map(abs, reference)) / len(given) + 1e-7),
        "median": ordered[(len(ordered) - 1) // 2] if ordered else 0.0,
        "large": sum(ratio > 0.1 for ratio in ratios) / len(ratios) if ratios else 0.0,
        "zeros": sum(r == 0 for r in reference) / len(reference),
    }
