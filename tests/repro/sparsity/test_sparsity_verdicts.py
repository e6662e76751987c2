"""Verdicts on Figure 1 follow from the outcomes."""

import pytest

from captum_xg.repro.sparsity.protocol import LEFT_PANEL, Result, expected_gradients_with
from captum_xg.repro.sparsity.results import PAPER, PAPER_STRENGTHS, Outcome
from captum_xg.repro.sparsity.verdict import findings

pytest.importorskip("scipy")
_LEVELS = {**PAPER, "rrr": 0.72, "gradient": 0.73}


def _outcome(method, level, strength):
    runs = {strength: [Result(0.7, level + d, 3, 0.1, "cpu") for d in (-0.001, 0.0, 0.001, 0.0005)]}
    return Outcome(method, strength, runs, "a test")


def _outcomes(levels, counts=(1, 2, 4, 8, 16, 32, 64, 128)):
    left = [_outcome(m, levels[m.key], PAPER_STRENGTHS.get(m.key, 0.0)) for m in LEFT_PANEL]
    return left, [_outcome(expected_gradients_with(k), levels[f"eg{k}"], 1.0) for k in counts]


def test_the_papers_own_numbers_confirm_all_of_it():
    found = findings(*_outcomes(_LEVELS), papers=True)
    assert {each.verdict for each in found} == {"confirmed"}, [f for f in found if f.verdict != "confirmed"]


def test_other_numbers_do_not_and_other_data_are_not_compared():
    worse = {**_LEVELS, "xgradient_nobias": 0.70, "unregularised_nobias": 0.60}
    verdicts = {f.claim.key.split("/")[1]: f.verdict for f in findings(*_outcomes(worse), papers=True)}
    wrong = {key for key, verdict in verdicts.items() if verdict == "not confirmed"}
    assert wrong == {
        *("unregularised", "rrr", "gradient", "eg1", "bias", "match"),
        *("mean_xgradient_nobias", "mean_unregularised_nobias"),
    }
    elsewhere = findings(*_outcomes(_LEVELS), papers=False)
    compared = [f.claim.key for f in elsewhere if f.verdict == "not comparable"]
    assert len(compared) == 9
    assert all("mean" in key or "strength" in key for key in compared)


def test_what_was_not_run_is_said():
    left, _ = _outcomes(_LEVELS)
    keys = {f.claim.key for f in findings(left, [], papers=True) if f.verdict == "not run"}
    assert keys == {f"figure1/{key}" for key in ("match", "more", "samples", "mean_eg32")}
    few = findings(*_outcomes(_LEVELS, (1, 2, 4)), papers=True)
    assert {f.claim.key for f in few if f.verdict == "not run"} == keys - {"figure1/samples"}
