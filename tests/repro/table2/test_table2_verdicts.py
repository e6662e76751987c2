"""Verdicts of Table 2 follow the numbers: where these are turned round, so are they."""

import copy

import pytest

from captum_xg.repro.table2 import claims
from captum_xg.repro.table2.results import families
from captum_xg.repro.table2.verdict import findings
from captum_xg.repro.units import Unit

NAMES = {family: (family.lower(), f"x{family.lower()}") for family in ("AlexNet", "VGG", "ResNet")}
KEYS = ("paper", "released", "median", "large", "zeros")


def near(value, n=4):
    """Numbers around a value, a per cent apart."""
    return [value * (1 + 0.01 * i) for i in range(n)]


def world():
    """Units in which every statement holds."""
    units = {}
    for regular, xdnn in NAMES.values():
        for name, distance in ((regular, 0.8), (xdnn, 1e-8)):
            units[f"accuracy {name} 0-100"] = {"top1": [1] * 90 + [0] * 10, "top5": [1] * 99 + [0]}
            units[f"distance {name} 0-4"] = {key: near(distance) for key in KEYS}
        of_precision = {"xg to ig": near(1e-8), "xg to few": near(1e-9), "xg to exact": near(1e-15)}
        precisions = {each: {**of_precision, "ig to exact": near(3e-9)} for each in ("float32", "float64")}
        units[f"precision {xdnn} 0-4"] = {"refusal": "", **copy.deepcopy(precisions)}
        for i in range(2):
            distances = {key: {k: [0.8 + 0.001 * i] for k in KEYS} for key in ("ixg to exact", "ixg to ig")}
            of_ig = {k: [0.01] for k in KEYS}
            units[f"exact {regular} {i}"] = {"refusal": "", "regions": 9000, **distances, "ig to exact": of_ig}
    return units


def verdicts(units, not_the_papers=""):
    found = families(NAMES, {name: Unit(name, value, 1.0, "") for name, value in units.items()})
    return {each.claim.key: each for each in findings(found, not_the_papers)}


def test_every_claim_has_one_finding_in_order():
    assert list(verdicts(world())) == [claim.key for claim in claims.CLAIMS]


def lose_accuracy(units):
    units["accuracy xvgg 0-100"]["top1"] = [0] * 30 + [1] * 70


def come_near(units):
    units["distance vgg 0-4"]["released"] = near(0.1)


def come_near_by_the_formula(units):
    units["distance vgg 0-4"]["paper"] = near(0.1)


def go_apart(units):
    units["distance xresnet 0-4"]["paper"] = near(0.01)


def not_reduced(units):
    units["distance xalexnet 0-4"]["released"] = near(0.9)


def not_exact(units):
    units["precision xvgg 0-4"]["float64"]["xg to exact"] = near(1e-9)


def steep(units):
    units["precision xalexnet 0-4"]["float64"]["xg to few"] = near(1e-6)


def no_better(units):
    units["precision xalexnet 0-4"]["float64"]["ig to exact"] = units["precision xalexnet 0-4"]["float64"][
        "xg to exact"
    ]


def beyond_rounding(units):
    units["precision xvgg 0-4"]["float32"]["xg to ig"] = near(1e-5)


def far_from_exact(units):
    for i in range(2):
        units[f"exact alexnet {i}"]["ixg to exact"]["released"] = [0.7]


@pytest.mark.parametrize(
    ("turned", "claim"),
    [
        (lose_accuracy, claims.MARGINAL),
        (come_near, claims.DIFFERENT),
        (come_near_by_the_formula, claims.DIFFERENT),
        (go_apart, claims.EQUAL),
        (not_reduced, claims.REDUCED),
        (not_exact, claims.EXACT),
        (steep, claims.WEIGHTS),
        (no_better, claims.QUADRATURE),
        (beyond_rounding, claims.ROUNDING),
        (far_from_exact, claims.REGULAR_EXACT),
    ],
)
def test_a_verdict_turns_with_its_numbers(turned, claim):
    units = world()
    assert verdicts(units)[claim.key].verdict == "confirmed"
    turned(units)
    found = verdicts(units)
    assert found[claim.key].verdict == "not confirmed"


def test_printed_numbers_are_compared_in_the_papers_setting_alone():
    units = world()
    for family, (regular, xdnn) in NAMES.items():
        for name, percent, far in zip((regular, xdnn), claims.TOP5[family], claims.DISTANCES[family], strict=True):
            right = round(10 * percent)
            units[f"accuracy {name} 0-100"]["top5"] = [1] * right + [0] * (1000 - right)
            units[f"accuracy {name} 0-100"]["top1"] = units[f"accuracy {name} 0-100"]["top5"]
            units[f"distance {name} 0-4"]["released"] = [far / 100] * 4
    rows = [*claims.TOP5_CLAIMS.values(), *claims.DISTANCE_CLAIMS.values()]
    assert {verdicts(units)[claim.key].verdict for claim in rows} == {"confirmed"}
    assert {verdicts(units, "elsewhere")[claim.key].verdict for claim in rows} == {"not comparable"}
    units["distance xalexnet 0-4"]["released"] = [0.0] * 4
    found = verdicts(units)[claims.DISTANCE_CLAIMS["AlexNet"].key]
    assert found.verdict == "not confirmed"
    assert "1.2" in found.why


def test_a_refusal_is_reported_with_its_reason_and_is_no_number():
    units = world()
    for i in range(2):
        units[f"exact alexnet {i}"] = {"refusal": "more than 7 regions"}
    found = verdicts(units)[claims.REGULAR_EXACT.key]
    assert "AlexNet" not in found.ours
    for regular, xdnn in NAMES.values():
        units[f"precision {xdnn} 0-4"]["refusal"] = "softmax is no line"
        for i in range(2):
            units[f"exact {regular} {i}"] = {"refusal": "more than 7 regions"}
    found = verdicts(units)
    for claim in (claims.EXACT, claims.QUADRATURE, claims.WEIGHTS, claims.ROUNDING, claims.REGULAR_EXACT):
        assert found[claim.key].verdict == "not run"
        assert "softmax is no line" in found[claim.key].why
    assert "more than 7 regions" in found[claims.REGULAR_EXACT.key].why
