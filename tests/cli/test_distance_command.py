"""``captum-xg distance``: a page and a picture, one line where it cannot."""

import numpy as np
import pytest

from captum_xg.cli.command_line import main

FILE = "models_to_measure.py"
MODELS = """
import torch
from torch import nn

print("noise from the user's file")


def table(activation=nn.ReLU):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), activation(), nn.Linear(8, 3))


def curved():
    return table(nn.GELU)
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    (tmp_path / FILE).write_text(MODELS)
    inputs = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    np.savez(tmp_path / "table.npz", inputs=inputs, labels=np.array([0, 1, 2, 0, 1, 2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("factory", "how"), [("table", "exact"), ("curved", "GELU")])
def test_it_prints_and_writes_a_page_and_a_picture(factory, how, directory, capsys):
    assert main(["distance", f"{FILE}:{factory}", "--data", "table.npz", "--images", "2", "--to", "there"]) == 0
    out = capsys.readouterr().out
    assert "noise" not in out
    assert how in out
    assert "2 examples: how far from an X-DNN" in out
    assert (directory / "there" / "distance.txt").read_text().strip() in out
    assert (directory / "there" / "distance.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([f"{FILE}:table", "--data", "table.npz", "--target", "3"], "has 3 outputs, and 3 is none"),
        ([f"{FILE}:table", "--data", "missing.npz"], "missing.npz"),
        ([f"{FILE}:table"], "fails on examples of shape 4,1,28,28"),
        ([f"{FILE}:table", "--data", "table.npz", "--to", FILE], FILE),
    ],
)
def test_what_cannot_be_measured_is_one_message_and_status_3(arguments, said, capsys):
    assert main(["distance", *arguments]) == 3
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_wrong_arguments_have_status_2():
    for wrong in (["--max-regions", "0"], ["--images", "0"]):
        with pytest.raises(SystemExit) as left:
            main(["distance", f"{FILE}:table", *wrong])
        assert left.value.code == 2
