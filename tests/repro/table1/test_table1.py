"""Table 1: verdicts follow from the report of axioms, and each method is tried once."""

import json

import pytest

from captum_xg.cli.command_line import main
from captum_xg.repro.section import Section
from captum_xg.repro.table1 import command
from captum_xg.repro.table1.claims import STATEMENTS
from captum_xg.repro.table1.report import findings, panels

pytest.importorskip("hypothesis")


def _cell(holds):
    verdict = {True: "holds", False: "fails", None: "not tried"}[holds]
    found = {"functions": ["F(x) = x0"], "x": [1.0], "baselines": [], "quantity": "A0", "expected": "1"}
    return {
        **{"holds": holds, "verdict": verdict, "title": "an axiom", "cases": 5, "violations": 2},
        "counterexample": None if holds else {**found, "observed": "0"},
    }


def _cells(holds):
    return {(s.method, axiom): _cell(holds(s)) for s in STATEMENTS for axiom in s.axioms}


def test_verdicts_flip_with_what_came_out():
    verdicts = lambda holds: {f.claim.key: f.verdict for f in findings(_cells(holds))}
    assert set(verdicts(lambda s: s.satisfied).values()) == {"confirmed"}
    for statement in STATEMENTS:
        right, wrong = (
            verdicts(lambda _, h=h: h)[statement.claim.key] for h in (statement.satisfied, not statement.satisfied)
        )
        assert (right, wrong) == ("confirmed", "not confirmed")
        assert verdicts(lambda _: None)[statement.claim.key] == "not run"


def test_each_cross_shows_its_counterexample():
    cells = {("A", "one"): _cell(True), ("A", "two"): _cell(False)}
    signs, broken = panels({"A": "any"}, cells)
    assert signs.rows[1:] == (("an axiom", "✓ 5"), ("an axiom", "✗ 2/5"))
    assert broken.rows[1:] == (("A", "an axiom", "F(x) = x0; x = (1); A0: expected 1, observed 0"),)


def test_the_command_tries_each_method_once_and_keeps_it(tmp_path, monkeypatch, capsys):
    from captum_xg import metrics

    few = {name: metrics.paper_methods()[name] for name in ("Gradient", "X-Gradient")}
    monkeypatch.setattr(metrics, "paper_methods", lambda: few)
    monkeypatch.setattr("captum_xg.repro.table1.report.STATEMENTS", [s for s in STATEMENTS if s.method in few])
    arguments = ["repro", "table1", "--cases", "4", "--output", str(tmp_path)]
    assert main(arguments) == 0
    found = Section.from_dict(json.loads((tmp_path / "section.json").read_text()))
    assert found.panels[0].rows[0] == ("axiom", "Gradient (any)", "X-Gradient (X-DNNs)")
    by_key = {each.claim.key: each.verdict for each in found.findings}
    assert by_key["table1/xg"] == by_key["table1/xg_homogeneity"] == "confirmed"
    monkeypatch.setattr(command, "_tried", lambda *_: pytest.fail("tried again"))
    assert main(arguments) == 0
    assert main([*arguments[:3], "5", *arguments[4:]]) == 3
    assert "other settings" in capsys.readouterr().err
