"""The tables of Table 2's section: accuracy, distances, where they come from on X-DNNs, and exact integrals."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg._core.estimate import Estimate
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.section import Panel, table
from captum_xg.repro.table2.measure import FEW_STEPS
from captum_xg.repro.table2.results import PRECISIONS, Family, percent

_SINGLE = ("Input×Gradient", "X-Gradient")


def panels(families: Sequence[Family]) -> tuple[Panel, ...]:
    """Return all tables."""
    return (
        _accuracy(families),
        _distances(families),
        *([_precision(families)] if all(family.precision["float64"] for family in families) else []),
        *([_exact(families)] if any(family.exact for family in families) else []),
    )


def _accuracy(families: Sequence[Family]) -> Panel:
    rows = [["network", *(f"top-{k} {what}" for k in (1, 5) for what in ("with biases", "without", "difference"))]]
    for family in families:
        row = [family.family]
        for key in ("top1", "top5"):
            row += [_one(family.accuracy(0, key)), _one(family.accuracy(1, key)), family.lost(key).formatted("+.2f")]
        rows.append(row)
    return table("Accuracy in %; differences are paired by image", rows)


def _distances(families: Sequence[Family]) -> Panel:
    rows = [["network", "one gradient", "released formula", "Eq. 14", "median number", "off by > 10 %", "IG is 0"]]
    for family in families:
        for which, name in enumerate(family.names):
            cells = [
                family.distance(which, key).formatted(".3g")
                if key in ("released", "paper")
                # Medians and shares are there to judge the means by.
                else f"{family.distance(which, key).value:.3g}"
                for key in ("released", "paper", "median", "large", "zeros")
            ]
            rows.append([name, _SINGLE[which], *cells])
    n = len(families[0].distances[families[0].names[0]]["paper"])
    return table(f"Distance of one gradient from IG(128) in %, float32, {n} images", rows)


def _precision(families: Sequence[Family]) -> Panel:
    compared = {
        "xg to ig": "XG to IG(128)",
        "xg to few": f"XG to IG({FEW_STEPS})",
        "xg to exact": "XG to exact",
        "ig to exact": "IG(128) to exact",
    }
    rows = [["X-DNN", *(f"{precision}: {what}" for precision in PRECISIONS for what in compared.values())]]
    for family in families:
        found = [mean_over_examples(family.precision[p][key]).value for p in PRECISIONS for key in compared]
        rows.append([family.names[1], *(f"{value:.1e}" if value else "0" for value in found)])
    n = len(families[0].precision["float64"]["xg to ig"])
    title = f"Where the deviation of X-DNNs comes from: relative differences of XG, IG(128) and the exact integral, {n}"
    return table(f"{title} images", rows)


def _exact(families: Sequence[Family]) -> Panel:
    rows = [["network", "images", "regions of a path", "I×G to IG(128)", "I×G to exact", "IG(128) to exact"]]
    for family in families:
        if family.exact:
            keys = ("ixg to ig", "ixg to exact", "ig to exact")
            cells = [percent(family.exact[key]["released"]).formatted(".3g") for key in keys]
            regions = f"{min(family.regions):,} to {max(family.regions):,}"
            rows.append([family.names[0], str(len(family.regions)), regions, *cells])
        else:
            rows.append([family.names[0], "0", *["–"] * 4])
    return table(
        "Networks with biases against the exact integral in float64: distance in % by the released formula", rows
    )


def _one(found: Estimate) -> str:
    return f"{found.value:.1f} ± {found.reach:.1f}"
