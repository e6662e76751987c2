"""The experiment runs, goes on where it stopped, does nothing twice, and its verdicts follow its numbers."""

import argparse
import copy
import shutil
from dataclasses import replace

import pytest
import torch

from captum_xg.cli.command_line import main
from captum_xg.errors import OptionError
from captum_xg.repro.texts import command, measure
from captum_xg.repro.texts.claims import CLAIMS
from captum_xg.repro.texts.data import task_of
from captum_xg.repro.texts.explaining import X_GRADIENT
from captum_xg.repro.texts.results import Results
from captum_xg.repro.texts.settings import PRESETS
from captum_xg.repro.texts.verdict import findings

TINY = replace(
    PRESETS["quick"],
    texts=120,
    epochs=1,
    decoy_epochs=1,
    steps_texts=2,
    reference_steps=16,
    networks=("bag",),
    decoy_networks=("bag",),
    weights=(1.0, 100.0),
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "quick", TINY)


def section(folder):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.section(parser.parse_args(["--output", str(folder)]))


@pytest.mark.thorough
def test_what_is_reported_stays_the_same_and_nothing_is_done_twice(tiny, tmp_path, monkeypatch, capsys):
    whole = tmp_path / "whole"
    assert main(["repro", "texts", "--output", str(whole)]) == 0
    printed = capsys.readouterr().out
    assert all(claim.says in printed for claim in CLAIMS)
    for name in ("report.md", "section.json", "words.png", "decoys.png", "tokens.png", "tokens.html"):
        assert (whole / name).stat().st_size > 500
    half = tmp_path / "half"
    shutil.copytree(whole / "units", half / "units")
    gone = sorted(path for path in (half / "units").iterdir() if path.name != "settings.json")[::3]
    for path in gone:
        path.unlink()
    found = section(half)

    def refuse(*_, **__):
        raise AssertionError("it is done already")

    monkeypatch.setattr(measure, "measured", refuse)
    monkeypatch.setattr(measure, "trained_on_decoys", refuse)
    again = section(whole)
    assert again.numbers == found.numbers
    assert again.findings == found.findings
    assert again.panels == found.panels
    _verdicts_follow_their_numbers(dict(again.numbers))


def _verdicts_follow_their_numbers(units):
    """Not a test of its own, as numbers of a run are needed."""
    task = task_of(None, TINY)

    def verdicts(change):
        changed = copy.deepcopy(units)
        for name, value in changed.items():
            change(name, value)
        found = findings(Results(task, TINY, changed))
        assert [each.claim for each in found] == list(CLAIMS)
        return {each.claim.key.removeprefix("texts/"): each.verdict == "confirmed" for each in found}

    def words(sign):
        def change(name, value):
            if X_GRADIENT in value.get("words", {}):
                value["words"][X_GRADIENT] = [sign * v for v in task.valences.tolist()]

        return change

    def scores(lead):
        def change(name, value):
            if "test" in value and "degree 1" in name:
                twin = units[name.replace("degree 1", "twin")]["test"]
                value["test"] = {key: v + (lead if key == "accuracy" else -lead) for key, v in twin.items()}

        return change

    def exact(size):
        def change(name, value):
            value |= {key: size for key in ("difference", "gap") if key in value}
            value |= {"steps": [1 if size > 0.5 else None] * 2} if "steps" in value else {}

        return change

    def decoys(accuracy):
        def change(name, value):
            if name.startswith("decoys"):
                value["test"] = (accuracy if ", xg" in name else 0.5) + 1e-3 * int(name[-1])

        return change

    for make, good, bad, keys in (
        (words, 1, -1, ("words/ig", "words/random", "words/gradient", "words/input")),
        (scores, 0.1, -0.1, ("classes", "rating")),
        (exact, 1e-12, 1.0, ("equal", "sums", "steps")),
        (decoys, 0.9, 0.1, ("prior", "prior/input", "prior/eg")),
    ):
        assert all(verdicts(make(good))[key] for key in keys), keys
        assert not any(verdicts(make(bad))[key] for key in keys), keys


@pytest.mark.parametrize("options", [["--seeds", "1"], ["--seeds", "1001"], ["--texts", "5"], ["--device", "abacus"]])
def test_options_that_make_no_sense_are_refused_before_any_work(options, tmp_path, capsys):
    assert main(["repro", "texts", *options, "--output", str(tmp_path / "new")]) == 3
    assert options[1] in capsys.readouterr().err
    assert not (tmp_path / "new" / "units").exists()


def test_a_folder_without_the_data_is_refused(tmp_path, capsys):
    assert main(["repro", "texts", "--data", str(tmp_path), "--output", str(tmp_path / "new")]) == 3
    assert "movieReviewSnippets_GroundTruth.txt" in capsys.readouterr().err


def test_parts_have_no_text_in_common_and_the_training_ratings_are_centred():
    task = task_of(None, PRESETS["quick"])
    rows = [{tuple(i for i in row if i) for row in part.ids.tolist()} for part in (task.train, task.validation)]
    assert abs(task.train.ratings.mean()) < 1e-5
    assert len(rows[0] & rows[1]) <= 1  # texts that differ in unknown words only
    assert set(task.words) <= set(task.vocabulary.words)
    assert torch.isfinite(task.valences).all()
    with pytest.raises(OptionError, match="at least 20 texts"):
        task_of(None, replace(PRESETS["quick"], texts=10))
