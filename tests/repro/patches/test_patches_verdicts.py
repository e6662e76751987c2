"""Verdicts of the experiment on patches follow the numbers: each flips when they do."""

import copy

import pytest

from captum_xg.repro.patches import claims
from captum_xg.repro.patches.networks import COMPARED, DEEP, FIXED, GATED, NO_NORM, NO_POSITIONS, VARIANTS
from captum_xg.repro.patches.protocol import PRESETS
from captum_xg.repro.patches.results import Results
from captum_xg.repro.patches.verdict import findings

FULL, QUICK = PRESETS["full"], PRESETS["quick"]


def training(network, accuracy):
    found = {"finite": True, "test_accuracy": accuracy}
    if not network.regular:
        found |= {"proven": True, "degree": 1.0, "deviations": [1e-9, 3e-9]}
    else:
        found["errors"] = {"1": [0.4, 0.3, 0.2], "2": [0.2, 0.1, 0.1], "4": [0.004, 0.02, 0.005], "6": [1e-3] * 3}
    return found


def numbers():
    """Return numbers that confirm every claim."""
    found = {f"{each.key}-{s}": training(each, 0.9 + s / 1000) for each in COMPARED for s in range(3)}
    worse = {NO_NORM: 0.86, NO_POSITIONS: 0.8, FIXED: 0.86, GATED: 0.94}
    found |= {f"{each.key}-{s}": training(each, worse.get(each, 0.9) + s / 1000) for each in VARIANTS for s in range(3)}
    found["cost-attribution-large"] = {"images": 9, "seconds": {"plain": [1.0] * 20, "X-Gradient": [1.01, 1.02] * 10}}
    found["cost-training"] = {"seconds": {"plain": [1.0] * 20, "prior": [2.3, 2.4] * 10}}
    return found


def verdicts(values, protocol=FULL):
    return {each.claim: each.verdict for each in findings(Results(values, 3), protocol)}


def test_there_is_a_finding_for_each_claim_and_good_numbers_confirm_all():
    found = verdicts(numbers())
    assert tuple(found) == claims.CLAIMS
    assert set(found.values()) == {"confirmed"}


def worse_by_seed(values):
    for seed in range(3):
        values[f"xvit_small-{seed}"]["test_accuracy"] -= 0.02


def one_not_proven(values):
    values["rotary-0"]["proven"] = False


def of_degree_2(values):
    values["xvit_small-2"]["degree"] = 2.0


def far_off_once(values):
    values["xvit_small-1"]["deviations"][1] = 2e-6


def one_step_is_enough(values):
    for seed in range(3):
        values[f"vit_small-{seed}"]["errors"]["1"] = values[f"vit_small-{seed}"]["errors"]["2"] = [1e-3] * 3
        values[f"vit_small-{seed}"]["errors"]["4"] = [1e-3] * 3


def as_good(network):
    def change(values):
        for seed, accuracy in enumerate((0.901, 0.9, 0.902)):
            values[f"{network.key}-{seed}"]["test_accuracy"] = accuracy

    return change


def deep_fails(values):
    for seed in range(3):
        values[f"{DEEP.key}-{seed}"]["test_accuracy"] = 0.87


def deep_diverges(values):
    values[f"{DEEP.key}-0"]["finite"] = False


def slow(unit, way, times):
    def change(values):
        values[unit]["seconds"][way] = [times] * 20

    return change


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        (claims.ACCURACY, worse_by_seed),
        (claims.PROVEN, one_not_proven),
        (claims.PROVEN, of_degree_2),
        (claims.EXACT, far_off_once),
        (claims.STEPS, one_step_is_enough),
        (claims.NORM, as_good(NO_NORM)),
        (claims.POSITIONS, as_good(NO_POSITIONS)),
        (claims.TEMPERATURE, as_good(FIXED)),
        (claims.GATE, as_good(GATED)),
        (claims.DEEP, deep_fails),
        (claims.DEEP, deep_diverges),
        (claims.ATTRIBUTION_COST, slow("cost-attribution-large", "X-Gradient", 1.06)),
        (claims.PRIOR_COST, slow("cost-training", "prior", 2.7)),
    ],
)
def test_a_verdict_flips_when_its_numbers_do_and_no_other_one(claim, change):
    values = copy.deepcopy(numbers())
    change(values)
    found = verdicts(values)
    assert found.pop(claim) == "not confirmed"
    assert set(found.values()) == {"confirmed"}


def test_a_part_whose_worth_differs_by_seed_is_worth_nothing():
    values = numbers()
    for seed, accuracy in enumerate((0.85, 0.9, 0.80)):
        values[f"{NO_NORM.key}-{seed}"]["test_accuracy"] = accuracy
    assert verdicts(values)[claims.NORM] == "not confirmed"


def test_a_part_without_which_training_diverges_is_worth_something():
    values = numbers()
    values["no_norm-0"]["finite"] = False
    assert verdicts(values)[claims.NORM] == "confirmed"
    values["short-0"]["finite"] = False
    assert verdicts(values)[claims.NORM] == "not confirmed"


def test_where_a_compared_training_diverges_nothing_of_the_two_is_confirmed():
    values = numbers()
    values["vit_small-1"] = {"finite": False, "test_accuracy": 0.1}
    found = verdicts(values)
    assert {found[each] for each in (claims.ACCURACY, claims.PROVEN, claims.EXACT, claims.STEPS)} == {"not confirmed"}


def test_networks_that_were_hardly_trained_conclude_nothing_about_trained_ones():
    found = verdicts(numbers(), QUICK)
    always = {claims.PROVEN, claims.EXACT, claims.ATTRIBUTION_COST, claims.PRIOR_COST}
    assert {claim for claim, verdict in found.items() if verdict == "confirmed"} == always
    assert {verdict for claim, verdict in found.items() if claim not in always} == {"not comparable"}


def test_steps_are_those_from_which_on_all_are_enough_and_infinite_where_none_is():
    values = numbers()
    steps = Results(values, 3).steps()
    assert steps.tolist() == [[4] * 3, [6] * 3, [4] * 3]
    assert Results(values, 3).median_steps().value == 4
    assert Results(values, 3).most_steps().value == 6
    for seed in range(3):
        values[f"vit_small-{seed}"]["errors"]["6"] = [0.02] * 3
    assert Results(values, 3).median_steps().value == float("inf")
    assert verdicts(values)[claims.STEPS] == "confirmed"  # more than the largest number is more than one
