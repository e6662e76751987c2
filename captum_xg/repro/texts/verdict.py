"""What the numbers say to each claim."""

from __future__ import annotations

from captum_xg._core.estimate import Estimate
from captum_xg.repro.estimate import difference
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.section import Claim, Finding
from captum_xg.repro.texts import claims
from captum_xg.repro.texts.decoys import EG_1, INPUT_X_GRADIENT, NO_PRIOR_X, X_GRADIENT, Method
from captum_xg.repro.texts.results import INTEGRAL, OURS, RANKED, Results
from captum_xg.repro.texts.steps import EQUAL_STEPS, TRIED
from captum_xg.repro.texts.training import OUTPUTS
from captum_xg.repro.verdicts import above, below

EQUAL, SUMS = 1e-6, 1e-4
"""Largest relative differences: of numbers in float64, and of sums in float32."""
_NO_WORSE = -0.05


def findings(results: Results) -> tuple[Finding, ...]:
    """Return one finding for each claim, in their order."""
    return (*_networks(results), *_exact(results), _steps(results), *_words(results), *_priors(results))


def _networks(results: Results) -> tuple[Finding, Finding]:
    accuracies: list[list[float]] = [[], []]
    errors: list[float] = []
    for architecture in results.settings.networks:
        for i, x in enumerate((True, False)):
            accuracies[i] += [100 * v for v in results.tests("classes", architecture, "accuracy", x=x)]
        ours, twins = (results.tests("rating", architecture, "rmse", x=x) for x in (True, False))
        errors += [100 * (one / other - 1) for one, other in zip(ours, twins, strict=True)]
    pairs = f"mean of {len(errors)} pairs of networks"
    accuracy, error = difference(*accuracies), difference(errors, [0.0] * len(errors))
    return (
        above(claims.CLASSES, accuracy, -1.0, f"accuracy minus that of the twin, percentage points, {pairs}", "+.2f"),
        below(claims.RATING, error, 2.0, f"error above that of the twin, %, {pairs}", "+.2f"),
    )


def _exact(results: Results) -> tuple[Finding, Finding]:
    from_integral, gap = results.largest("difference"), results.largest("gap")
    what = f"largest relative difference from IG ({EQUAL_STEPS}) in float64"
    return (
        _at_most(claims.EQUAL, from_integral, EQUAL, what),
        _at_most(claims.SUMS, gap, SUMS, "largest gap over the sum of absolute attributions, in float32"),
    )


def _at_most(claim: Claim, found: float, bound: float, what: str) -> Finding:
    small = found <= bound
    why = f"it is {'no more' if small else 'more'} than {bound:g}"
    return Finding(claim, f"{what}: {found:.2g}", "confirmed" if small else "not confirmed", why)


def _steps(results: Results) -> Finding:
    needed = [n for goal in OUTPUTS for a in results.settings.networks for n in results.steps(goal, a)]
    # Texts on which none of the numbers tried is enough count with the largest: the mean is a lower bound.
    most = max(n for n in TRIED if n < results.settings.reference_steps)
    mean = mean_over_examples([float(most if n is None else n) for n in needed])
    return above(claims.STEPS, mean, 1.0, f"steps, mean of {len(needed)} texts", ".1f")


def _words(results: Results) -> tuple[Finding, ...]:
    networks = f"mean of {2 * len(results.settings.networks) * results.settings.seeds} networks"

    def against(claim: Claim, label: str, bound: float) -> Finding:
        found = results.ranks_of_all(minus=label)[OURS]
        return above(claim, found, bound, f"rank correlation minus that of {label}, {networks}", "+.3f")

    _, _, product, slope, _, chance = RANKED
    return (
        against(claims.WORDS_IG, INTEGRAL, _NO_WORSE),
        against(claims.WORDS_RANDOM, chance, 0.0),
        against(claims.WORDS_GRADIENT, slope, 0.0),
        against(claims.WORDS_INPUT, product, 0.0),
    )


def _priors(results: Results) -> tuple[Finding, ...]:
    def gain(over: Method) -> Estimate:
        pairs: list[list[float]] = [[], []]
        for architecture in results.settings.decoy_networks:
            outcomes = results.decoys(architecture)
            for values, method in zip(pairs, (X_GRADIENT, over), strict=True):
                values += [100 * v for v in outcomes[method].test]
        return difference(*pairs)

    what = "test accuracy minus that of {}, percentage points"
    return tuple(
        above(claim, gain(method), 0.0, what.format(method.label), "+.1f")
        for claim, method in (
            (claims.PRIOR, NO_PRIOR_X),
            (claims.PRIOR_INPUT, INPUT_X_GRADIENT),
            (claims.PRIOR_EG, EG_1),
        )
    )
