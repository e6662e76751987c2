"""The command of the decoy experiment, on a made-up data set."""

import json
import os
import shutil
from functools import partial

import pytest
import torch
from decoy_samples import made_up
from fashion_files import write_fashion_mnist

from captum_xg.cli.command_line import main
from captum_xg.repro.decoy import figure as decoy_figure
from captum_xg.repro.decoy import timing as decoy_timing
from captum_xg.repro.decoy import training as decoy_training
from captum_xg.repro.decoy.protocol import METHODS
from captum_xg.repro.decoy.training import train


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few images explained and drawn, and few steps timed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoy_training, "EXPLAINED_IMAGES", 20)
        patched.setattr(decoy_timing, "ROUNDS", 2)
        patched.setattr(decoy_figure, "draw_examples", partial(decoy_figure.draw_examples, rows=1))
        yield


@pytest.fixture
def no_pictures(monkeypatch):
    """Draw none: they take seconds."""
    monkeypatch.setattr(decoy_figure, "draw_accuracies", lambda *_: None)
    monkeypatch.setattr(decoy_figure, "draw_examples", lambda *_: None)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    parts = {part: made_up(n, seed=n) for part, n in (("train", 400), ("t10k", 200))}
    numbers = lambda tensor: tensor.to(torch.uint8).numpy()
    files = {part: (numbers((255 * images[:, 0]).round()), numbers(y)) for part, (images, y) in parts.items()}
    write_fashion_mnist(root, **files)
    return root


def _arguments(data_root, output, *, seeds=2):
    sizes = ["--train-images", "256", "--validation-images", "64", "--epochs", "1", "--batch-size", "32"]
    return [
        *("repro", "decoy", "--data", str(data_root), "--output", str(output)),
        *("--seeds", str(seeds), "--weights", "1", "100", *sizes),
    ]


def _numbers(output):
    """Return what does not depend on the clock."""
    content = json.loads((output / "decoy.json").read_text())
    for entry in content["methods"].values():
        assert entry.pop("seconds_per_step") > 0
        assert entry.pop("seconds_per_plain_step") > 0
    return content


@pytest.fixture(scope="module")
def finished(data_root, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished")
    assert main(_arguments(data_root, output)) == 0
    return output


@pytest.mark.thorough
def test_the_command_writes_tables_numbers_and_pictures(finished):
    for name, least in (("decoy.png", 20_000), ("decoy_examples.png", 20_000)):
        content = (finished / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) > least
    text = (finished / "decoy.md").read_text(encoding="utf-8")
    for method in METHODS:
        assert text.count(f"| {method.label} |") == (2 if method.attribution else 1)


def test_the_numbers_are_those_of_the_trainings(finished):
    content = _numbers(finished)["methods"]
    assert list(content) == [method.key for method in METHODS]
    for method in METHODS:
        entry = content[method.key]
        assert [run["seed"] for run in entry["runs"]] == [0, 1]
        stored = [
            json.loads(path.read_text()) for path in sorted((finished / "runs").glob(f"{method.key}_*seed[01].json"))
        ]
        assert entry["runs"] == stored
        values = [run["scores"]["test"] for run in stored]
        assert entry["test_accuracy"]["mean"] == pytest.approx(sum(values) / 2)
        # Two values: the interval is the mean ± 12.706 · |difference| / 2.
        assert entry["test_accuracy"]["high"] - entry["test_accuracy"]["mean"] == pytest.approx(
            12.7062 * abs(values[0] - values[1]) / 2, rel=1e-5
        )
        plain = [run["scores"]["test"] for run in content["none" if method.bias else "none-xdnn"]["runs"]]
        assert entry["test_accuracy_minus_no_prior"]["mean"] == pytest.approx((sum(values) - sum(plain)) / 2, abs=1e-12)
        if method.attribution:
            validation = {run["weight"]: run["scores"]["validation"] for run in entry["selection"]}
            assert entry["weight"] == min(w for w in validation if validation[w] == max(validation.values()))
            assert {run["seed"] for run in entry["selection"]} == {1000}
            assert {run["weight"] for run in entry["runs"]} == {entry["weight"]}


@pytest.mark.usefixtures("no_pictures")
def test_a_second_run_trains_nothing_and_gives_the_same_numbers(finished, data_root, monkeypatch):
    before = _numbers(finished)
    monkeypatch.setattr(decoy_training, "train", lambda *_: pytest.fail("trained again"))
    assert main(_arguments(data_root, finished)) == 0
    assert _numbers(finished) == before


@pytest.mark.usefixtures("no_pictures")
def test_an_interrupted_run_goes_on_to_the_same_numbers(finished, data_root, tmp_path, monkeypatch):
    output, done = tmp_path / "copy", []
    shutil.copytree(finished, output)
    runs = sorted((output / "runs").glob("*seed*.json"))
    for path in runs[::5]:  # some that choose λ and some that are reported
        path.unlink()
        path.with_suffix(".pt").unlink(missing_ok=True)

    def interrupted(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments)
        return train(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(decoy_training, "train", interrupted)
        assert main(_arguments(data_root, output)) == 130
    assert len(list((output / "runs").glob("*seed*.json"))) == len(runs) - len(runs[::5]) + 2
    assert main(_arguments(data_root, output)) == 0
    assert _numbers(output) == _numbers(finished)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--seeds", "1"], "at least 2 --seeds"),
        (["--selection-seeds", "0"], "1 of --selection-seeds"),
        (["--seeds", "1001"], "those that choose λ"),
        (["--weights", "0"], "above 0"),
        (["--weights", "inf"], "finite"),
        (["--epochs", "0"], "--epochs 0"),
        (["--learning-rate", "-1"], "--learning-rate"),
        (["--train-images", "390"], "400 training images"),
        (["--batch-size", "257"], "--batch-size 257"),
        (["--device", "nonsense"], "--device nonsense"),
    ],
)
def test_options_without_meaning_are_refused_before_anything_is_trained(wrong, said, data_root, tmp_path, capsys):
    assert main([*_arguments(data_root, tmp_path), *wrong]) == 3
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*seed*"))


@pytest.mark.parametrize("name", ["decoy.json", "decoy.md", "decoy.png", "decoy_examples.png"])
def test_what_cannot_be_written_is_said_before_anything_is_trained(name, data_root, tmp_path, capsys):
    os.mkfifo(tmp_path / name)
    assert main(_arguments(data_root, tmp_path)) == 3
    assert f"{name} cannot be written: it is a named pipe" in capsys.readouterr().err
    assert (tmp_path / name).is_fifo()
    assert not list(tmp_path.glob("runs/*seed*"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("damage", ["", "{", '{"method": "xg"}'])
def test_a_training_that_is_damaged_is_named_and_can_be_done_anew(damage, finished, data_root, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    path = sorted((tmp_path / "copy" / "runs").glob("xg*seed0.json"))[0]
    path.write_text(damage)
    assert main(_arguments(data_root, tmp_path / "copy")) == 3
    assert f"{path.name} cannot be read" in (message := capsys.readouterr().err)
    assert "Delete it" in message
    path.unlink()
    if not damage:
        assert main(_arguments(data_root, tmp_path / "copy")) == 0
        assert _numbers(tmp_path / "copy") == _numbers(finished)


def test_results_of_other_settings_are_not_mixed_in(finished, data_root, capsys):
    assert main([*_arguments(data_root, finished), "--epochs", "2"]) == 3
    assert "epochs 1 there and 2 now" in capsys.readouterr().err
