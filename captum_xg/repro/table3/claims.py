"""What Table 3 and Section 4.2 of the paper say, each statement with the comparisons that it is about."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim
from captum_xg.repro.table3.ordering import Comparison
from captum_xg.repro.table3.printed import EG, GRAD, IG, METRICS, NETWORKS, QUOTES, RANDOM, XG, printed
from captum_xg.repro.table3.scores import CONTROL

TABLE, TEXT = "Table 3", "Section 4.2"
REGULAR, XDNN = NETWORKS


def _row(network: str, method: str) -> Claim:
    numbers = printed(network, method)
    shown = ", ".join(f"{metric} {number:.2f}" for metric, number in numbers.items())
    key = f"table3/{network}/{method}"
    return Claim(key, TABLE, f"{method} on {network} scores these", shown, (QUOTES[method],))


ROWS = {
    (network, method): _row(network, method) for network in NETWORKS for method in QUOTES if printed(network, method)
}
"""(network, method) → the claim about its printed numbers."""

REFUSES = Claim(
    "table3/refuses",
    TABLE,
    "X-Gradient is not defined on the regular network: here it must refuse, and must not on the X-AlexNet",
    "N/A",
    (QUOTES[XG],),
)
ON_PAR = Claim(
    "table3/on-par",
    TEXT,
    "on the X-AlexNet X-Gradient is on par with Integrated Gradients",
    "",
    ("method is on par with Integrated Gradients and produces the best attributions",),
)
COST = Claim(
    "table3/cost",
    TABLE,
    "at two orders of magnitude less computational power",
    "128 gradient evaluations against 1",
    (
        "Our method is on par with IG in terms of quality while requiring two orders of magnitude less computational "
        "power.",
        QUOTES[IG],
        QUOTES[XG],
    ),
)
BEST_REGULAR = Claim(
    "table3/best-on-regular",
    TEXT,
    "Integrated Gradients produces the best attributions for the regular network",
    "",
    ("it produces the best attributions for the regular network",),
)
BEST_XDNN = Claim(
    "table3/best-on-xdnn",
    TEXT,
    "X-Gradient produces the best attributions for the X-AlexNet of all that take one gradient (but for the "
    "gradient's RAM, which is better in print, too)",
    "",
    ("produces the best attributions while requiring only one gradient evaluation",),
)
LOWER = Claim(
    "table3/lower-quality",
    TEXT,
    "the gradient and Expected Gradients with one reference give clearly lower quality (but for the gradient's RAM)",
    "",
    ("they produce clearly lower quality attributions as expected",),
)
GRAD_RAM = Claim(
    "table3/gradient-ram",
    TEXT,
    "the gradient performs well by RAM: better than Expected Gradients and noise",
    "RAM 11.82 against 13.76 and 14.10 on AlexNet, 11.25 against 13.19 and 13.50 on X-AlexNet",
    ("even though it performs well on the RAM metric", QUOTES[GRAD], QUOTES[EG], QUOTES[RANDOM]),
)
IMPROVES = Claim(
    "table3/improves",
    TEXT,
    "X-Gradient is a significant improvement over Expected Gradients with one reference, which costs the same",
    "",
    ("attribution yields a significant improvement in quality compared to state-of-the-art generic attribution",),
)
ORDER = Claim(
    "table3/order",
    TABLE,
    "every pair of methods that the printed numbers order has that order",
    "",
    tuple(QUOTES.values()),
)
CONTROLLED = Claim(
    "table3/control",
    BEYOND,
    "Integrated Gradients and X-Gradient are better than the blurred image as an attribution, which knows nothing of "
    "the network",
)


def _comparisons(network: str, better: str, worse: tuple[str, ...]) -> list[Comparison]:
    return [Comparison(network, metric, better, other) for metric in METRICS for other in worse]


def _without_ram_of_the_gradient(found: list[Comparison]) -> list[Comparison]:
    return [each for each in found if (each.metric, each.worse) != ("RAM", GRAD)]


STATEMENTS: dict[Claim, list[Comparison]] = {
    BEST_REGULAR: _comparisons(REGULAR, IG, (RANDOM, GRAD, EG)),
    BEST_XDNN: _without_ram_of_the_gradient(_comparisons(XDNN, XG, (RANDOM, GRAD, EG))),
    LOWER: _without_ram_of_the_gradient(
        _comparisons(REGULAR, IG, (GRAD, EG)) + _comparisons(XDNN, IG, (GRAD, EG)) + _comparisons(XDNN, XG, (GRAD, EG))
    ),
    GRAD_RAM: [Comparison(network, "RAM", GRAD, other) for network in NETWORKS for other in (EG, RANDOM)],
    IMPROVES: _comparisons(XDNN, XG, (EG,)),
    CONTROLLED: _comparisons(REGULAR, IG, (CONTROL,)) + _comparisons(XDNN, XG, (CONTROL,)),
}
"""Claims that say that methods are better than others → all that they say."""
CLAIMS = (*ROWS.values(), REFUSES, ON_PAR, COST, BEST_REGULAR, BEST_XDNN, LOWER, GRAD_RAM, IMPROVES, ORDER, CONTROLLED)
