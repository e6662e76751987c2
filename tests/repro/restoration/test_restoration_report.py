"""Verdicts on denoisers follow the numbers, both ways."""

import copy

import pytest

from captum_xg.repro.restoration import claims
from captum_xg.repro.restoration.protocol import MOST, SEEN, UNSEEN, Protocol
from captum_xg.repro.restoration.report import report
from captum_xg.repro.restoration.results import Family

LEVELS = (*SEEN, *UNSEEN)
TRAINED = Protocol(("dncnn",), (0, 1, 2), steps=3000)


def run(seed, *, bias, unseen=0.0, seen=0.0, growth=0.0, homogeneous=None):
    """The numbers of a network: decibels over those of a base line, and a net bias that grows beyond training."""
    jitter = [0.01 * ((7 * seed + i) % 3) for i in range(4)]
    return {
        "psnr": {str(n): [30 - n / 10 + (seen if n <= MOST else unseen) + j for j in jitter] for n in LEVELS},
        "noisy": {str(n): [20.0] * 4 for n in LEVELS},
        "removed": {str(n): [1.0] * 4 for n in LEVELS},
        "net_bias": {str(n): [1 + growth * (n > MOST) + j * (n > MOST) for j in jitter] for n in LEVELS},
        "homogeneous": (not bias) if homogeneous is None else homogeneous,
        "device": "cpu",
        "parameters": 21168,
    }


def of_filters(more=2.0, deviation=1e-9):
    pixels = {str(n): [(more if n > MOST else 1.0) + 0.01 * i for i in range(8)] for n in LEVELS}
    explained = {"25": {"from_ig": [deviation], "from_pixel": [1e-12]}}
    return {"pixels": pixels, "sum": {str(n): [1.0] * 8 for n in LEVELS}, "drawn": {}, "explained": explained}


def family(*, unseen=2.0, seen=0.0, growth=0.1, more=2.0, deviation=1e-9, proven=True, twin_proven=False, seeds=3):
    xdnns = tuple(run(i, bias=False, unseen=unseen, seen=seen, homogeneous=proven) for i in range(seeds))
    twins = tuple(run(i + 5, bias=True, growth=growth, homogeneous=twin_proven) for i in range(seeds))
    return Family("dncnn", xdnns, twins, (of_filters(more, deviation), of_filters()))


def verdicts_of(found, protocol=TRAINED):
    section = report([found], {}, protocol, "full", "captum-xg repro restoration")
    return {each.claim.key.split("/", 1)[1]: each.verdict for each in section.findings}


def test_a_run_in_which_all_holds():
    found = verdicts_of(family())
    assert {key for key, verdict in found.items() if verdict == "confirmed"} == {
        claims_of["dncnn"].key.split("/", 1)[1] for claims_of in claims.BY_KIND
    }
    assert all(found[key] == "not run" for key in found if key.startswith("unet"))
    assert len(found) == len(claims.CLAIMS)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"unseen": -1.0}, "unseen"),
        ({"unseen": 0.0}, "unseen"),
        ({"seen": 0.6}, "seen"),
        ({"growth": -0.2}, "net_bias"),
        ({"more": 0.5}, "averages"),
        ({"deviation": 1e-3}, "filters"),
        ({"proven": False}, "certified"),
        ({"twin_proven": True}, "certified"),
    ],
)
def test_a_verdict_flips_with_its_number_alone(change, key):
    found = verdicts_of(family(**change))
    assert found.pop(f"dncnn/{key}") == "not confirmed"
    assert {verdict for other, verdict in found.items() if other.startswith("dncnn")} == {"confirmed"}


def test_networks_of_few_steps_are_not_judged():
    found = verdicts_of(family(), Protocol(("dncnn",), (0, 1, 2), steps=10))
    assert [found[f"dncnn/{key}"] for key in ("unseen", "seen", "net_bias", "averages")] == ["not comparable"] * 4
    assert found["dncnn/certified"] == found["dncnn/filters"] == "confirmed"


def test_one_network_has_an_interval_over_images_and_says_so():
    section = report([family(seeds=1)], {}, Protocol(("dncnn",), (), steps=0), "quick", "")
    assert any("over images" in note for note in section.notes)
    assert "shipped weights" in section.setting
    assert "±" not in section.panels[0].rows[1][2]
    assert "not trained on" in section.panels[0].rows[-1][0]


def test_differences_are_paired_by_seed_and_image():
    found = family()
    shifted = copy.deepcopy(found)
    for i, runs in enumerate(zip(shifted.xdnns, shifted.twins, strict=True)):
        for each in runs:  # one seed is better by so much, with biases or without
            each["psnr"] = {level: [value + 10 * i for value in values] for level, values in each["psnr"].items()}
    assert shifted.gain(UNSEEN).low == pytest.approx(found.gain(UNSEEN).low)
