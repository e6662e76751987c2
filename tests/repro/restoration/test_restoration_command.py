"""The command on tiny networks and few steps: what is there is not done again, and an interrupted run goes on."""

import json

import pytest
import torch

from captum_xg.cli.command_line import main
from captum_xg.models import load_checkpoint, xdncnn_small
from captum_xg.repro.restoration import figure, filters, protocol, training, work
from captum_xg.repro.restoration.protocol import Protocol

pytest.importorskip("skimage")
TINY = Protocol(("dncnn",), (), steps=0, batch=2, patch=16, stride=128, crops=1, side=16, pixels=3)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """Few pixels, and few steps of Integrated Gradients."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(protocol, "PRESETS", {"quick": TINY, "full": TINY})
        patched.setattr(filters, "IG_STEPS", 4)
        patched.setitem(protocol.WINDOWS, "dncnn", 14)
        yield


def command(output, *more):
    return main(["repro", "restoration", "--steps", "2", "--seeds", "2", "--output", str(output), *more])


def numbers(output):
    return json.loads((output / "section.json").read_text())["numbers"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    assert command(output, "--assets", str(output / "assets")) == 0
    return output


def test_it_writes_a_section_pictures_and_weights(whole, capsys):
    section = json.loads((whole / "section.json").read_text())
    assert {each["claim"]["source"] for each in section["findings"]} == {"beyond the paper"}
    assert any("only shows that everything runs" in note for note in section["notes"])
    for panel in section["panels"]:
        if panel["picture"]:
            assert (whole / panel["picture"]).stat().st_size < 120_000
    assert len(list((whole / "weights").iterdir())) == 4
    for name in ("xdncnn_small", "dncnn_small"):
        assert (whole / "assets" / f"{name}.pt").stat().st_size < 50_000
    model = xdncnn_small()
    load_checkpoint(model, whole / "assets" / "xdncnn_small.pt")
    record = json.loads((whole / "assets" / "denoisers.json").read_text())
    assert record["networks"]["xdncnn_small"]["seed"] == 0
    assert record["networks"]["xdncnn_small"]["parameters"] == sum(p.numel() for p in model.parameters())


def test_a_second_run_does_no_work_and_an_interrupted_one_goes_on_to_the_same_numbers(whole, monkeypatch):
    before = numbers(whole)
    monkeypatch.setattr(figure, "draw", lambda *_: None)
    with monkeypatch.context() as patched:
        patched.setattr(work, "train", lambda *_, **__: pytest.fail("trains again"))
        patched.setattr(work.filters, "measured", lambda *_, **__: pytest.fail("measures again"))
        assert command(whole) == 0
    assert numbers(whole) == before
    (whole / "units" / "dncnn_small, seed 1.json").unlink()
    (whole / "units" / "filters of xdncnn_small, seed 0.json").unlink()
    torch.manual_seed(99)
    assert command(whole) == 0
    assert numbers(whole) == before


def test_results_of_other_steps_are_refused(whole, capsys):
    assert main(["repro", "restoration", "--steps", "3", "--seeds", "2", "--output", str(whole)]) == 3
    assert "other settings (steps 2 there and 3 now)" in capsys.readouterr().err


def test_twins_of_one_seed_see_the_same_patches_and_noise():
    seen = {}
    for bias in (False, True):
        batches = seen.setdefault(bias, [])
        with pytest.MonkeyPatch.context() as patched:
            loss = training.F.mse_loss

            def kept(restored, clean, batches=batches, loss=loss):
                batches.append(clean.clone())
                return loss(restored, clean)

            patched.setattr(training.F, "mse_loss", kept)
            steps = Protocol(("dncnn",), (0,), steps=2, batch=2, patch=16, stride=128)
            training.train("dncnn", 0, steps, torch.device("cpu"), bias=bias)
    assert all(torch.equal(*pair) for pair in zip(seen[False], seen[True], strict=True))
    assert not torch.equal(*seen[True])


def test_weights_are_those_of_half_precision():
    steps = Protocol(("dncnn",), (0,), steps=1, batch=2, patch=16, stride=128)
    model = training.train("dncnn", 0, steps, torch.device("cpu"), bias=True)
    assert all(torch.equal(p, p.half().float()) for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "2"], "the preset quick trains nothing"),
        (["--assets", "x"], "the preset quick trains nothing"),
        (["--steps", "0"], "at least 1"),
        (["--steps", "1", "--seeds", "0"], "at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, words, tmp_path, capsys):
    assert main(["repro", "restoration", "--output", str(tmp_path), *arguments]) == 3
    assert words in capsys.readouterr().err
