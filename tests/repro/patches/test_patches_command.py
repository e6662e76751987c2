"""The command of the experiment on patches, on the shipped images with everything tiny."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from captum_xg.cli.command_line import main
from captum_xg.models import vision_transformer
from captum_xg.repro.patches import cost, work
from captum_xg.repro.patches.networks import VARIANTS, X

SIZES = {
    "seeds": 2,
    "epochs": 1,
    "ablation-epochs": 1,
    "batch-size": 8,
    "train-images": 8,
    "validation-images": 4,
    "test-images": 6,
    "measured-images": 1,
    "reference-steps": 4,
    "most-steps": 2,
}


@pytest.fixture(scope="module", autouse=True)
def small():
    """One layer each, few steps timed, and no proof made, which takes most of the time and is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vision_transformer, "_LAYERS", 1)
        patched.setattr(work, "VARIANTS", tuple(replace(each, build=X.build) for each in VARIANTS))
        patched.setattr(work, "ROUNDS", {"cpu": 2})
        patched.setattr(work, "COST_IMAGES", {"cpu": (1, 2)})
        patched.setattr(cost, "_WARM_UP", 0)
        patched.setattr(work, "certify", lambda *_: SimpleNamespace(homogeneous=True, degree=1.0))
        yield


def arguments(output, *more, **sizes):
    given = [f"--{name}={value}" for name, value in {**SIZES, **sizes}.items()]
    return ["repro", "patches", "--output", str(output), *given, *more]


def numbers(output):
    """Return what does not depend on the clock."""
    units = json.loads((output / "section.json").read_text())["numbers"]["units"]
    for value in units.values():
        for key in ("seconds", "training_seconds"):
            value.pop(key, None)
    return units


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert main(arguments(folder)) == 0
    return folder


def broken(*_, **__):
    raise AssertionError("nothing was left to do")


@pytest.mark.thorough
def test_a_second_run_does_no_work_and_says_the_same(finished, monkeypatch, capsys):
    before = (finished / "section.json").read_text()
    for name in ("train", "errors", "deviations"):
        monkeypatch.setattr(work, name, broken)
    assert main(arguments(finished)) == 0
    assert (finished / "section.json").read_text() == before
    assert "Images in patches" in capsys.readouterr().out


@pytest.mark.thorough
def test_shared_work_comes_to_the_same_numbers(finished, tmp_path, capsys):
    for part in (["vit_small-*"], ["deep-0", "xvit_small-1"]):
        assert main(arguments(tmp_path, "--only", *part)) == 0
    assert "xvit_small-1: done" in capsys.readouterr().out
    assert not (tmp_path / "section.json").exists()
    assert main(arguments(tmp_path)) == 0
    assert numbers(tmp_path) == numbers(finished)


def test_weights_and_picture_are_left(finished):
    assert (finished / "patches.png").stat().st_size < 120_000
    assert sorted(path.name for path in (finished / "weights").iterdir()) == [
        *("vit_small_0.pt", "vit_small_1.pt", "xvit_small_0.pt", "xvit_small_1.pt")
    ]
    assert max(path.stat().st_size for path in (finished / "weights").iterdir()) < 300_000


def test_a_run_that_trains_nothing_concludes_nothing_about_training(finished):
    section = json.loads((finished / "section.json").read_text())
    verdicts = {each["claim"]["key"]: each["verdict"] for each in section["findings"]}
    trained = ("accuracy", "steps", "norm", "positions", "temperature", "gate", "deep")
    assert {verdicts.pop(f"patches/{name}") for name in trained} == {"not comparable"}
    assert verdicts["patches/proven"] == verdicts["patches/exact"] == "confirmed"
    assert "says nothing of trained networks" in section["notes"][0]


def test_other_settings_are_refused(finished, capsys):
    assert main(arguments(finished, epochs=2)) == 3
    assert "results of other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--only", "xvit"], "there is no such unit. There are xvit_small-0"),
        (["--preset", "full"], "the 500 shipped images are too few"),
        (["--data", "cifar"], "give shipped or fashion-mnist:ROOT"),
        (["--train-images", "600"], "more than there are"),
        (["--seeds", "1"], "at least 2"),
        (["--epochs", "0"], "must be above 0"),
        (["--measured-images", "7"], "the integral needs more steps"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_trained(more, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(work, "train", broken)
    assert main(arguments(tmp_path, *more)) == 3
    assert words in capsys.readouterr().err
