"""``captum-xg explain``: numbers that are Integrated Gradients, a picture beside them, one line where it cannot."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

from captum_xg.cli.command_line import main
from captum_xg.cli.model_spec import load_target

MODELS = """
import torch
from torch import nn

print("noise from the user's file")


def table(bias=True):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3, bias=bias))


def without_biases():
    return table(False)


def regression():
    return nn.Sequential(table(False), nn.Linear(3, 1, bias=False), nn.Flatten(0))


def pairs():
    return lambda x: (x, x)
"""
FILE = "models_to_explain.py"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    (tmp_path / FILE).write_text(MODELS)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(6, 5)).astype("float32")
    np.savez(tmp_path / "table.npz", inputs=inputs, labels=np.array([0, 1, 2, 0, 1, 2]))
    np.save(tmp_path / "inputs.npy", inputs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("factory", ["table", "without_biases"])
@pytest.mark.parametrize("target", ["predicted", "label", "2"])
def test_it_writes_integrated_gradients_of_the_target(factory, target, directory, capsys):
    assert main(["explain", f"{FILE}:{factory}", "--data", "table.npz", "--target", target, "--to", "there"]) == 0
    out = capsys.readouterr().out
    assert "noise" not in out
    assert str((directory / "there" / "attributions.npz").resolve()) in out
    found = np.load(directory / "there" / "attributions.npz")
    model, x = load_target(f"{FILE}:{factory}"), torch.from_numpy(found["inputs"])
    targets = {"predicted": model(x).argmax(1), "label": torch.from_numpy(found["labels"])}.get(
        target, torch.full((6,), 2)
    )
    assert found["targets"].tolist() == targets.tolist()
    assert found["predictions"].tolist() == model(x).argmax(1).tolist()
    expected = IntegratedGradients(model).attribute(x, target=targets, n_steps=200).detach().numpy()
    assert np.linalg.norm(found["attributions"] - expected) <= 0.02 * np.linalg.norm(expected)
    homogeneous = factory == "without_biases"
    assert (found["verdict"] == "homogeneous") == homogeneous == (found["degree"] == 1)
    assert ("closed form" in str(found["method"])) == homogeneous
    assert (directory / "there" / "attributions.png").read_bytes().startswith(b"\x89PNG")


def test_images_of_the_demo_are_explained(directory, capsys):
    assert main(["explain", "captum_xg.demo:demo_model", "--images", "2"]) == 0
    found = np.load(directory / "captum-xg-explain" / "attributions.npz")
    assert found["attributions"].shape == (2, 1, 28, 28)
    assert "homogeneous of degree 1" in capsys.readouterr().out


def test_outputs_of_one_number_and_inputs_without_labels():
    assert main(["explain", f"{FILE}:regression", "--data", "inputs.npy", "--images", "3", "--to", "r"]) == 0
    found = np.load("r/attributions.npz")
    assert found["targets"].tolist() == [-1, -1, -1]
    np.testing.assert_allclose(found["attributions"].sum(1), found["predictions"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([f"{FILE}:table", "--data", "table.npz", "--on-violation", "raise"], "F(αx) ≠ αF(x)"),
        ([f"{FILE}:table", "--data", "table.npz", "--target", "3"], "has 3 outputs, and 3 is none"),
        ([f"{FILE}:table", "--data", "inputs.npy", "--target", "label"], "has no labels"),
        ([f"{FILE}:table", "--data", "missing.npz"], "missing.npz"),
        ([f"{FILE}:table"], "fails on examples of shape 8,1,28,28"),
        ([f"{FILE}:pairs", "--data", "table.npz"], "returns tuple"),
        ([f"{FILE}:table", "--data", "table.npz", "--to", FILE], FILE),
    ],
)
def test_what_cannot_be_explained_is_one_message_and_status_3(arguments, said, capsys):
    assert main(["explain", *arguments]) == 3
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_wrong_arguments_have_status_2():
    for wrong in (["--target", "cat"], ["--images", "0"], ["--on-violation", "ignore"]):
        with pytest.raises(SystemExit) as left:
            main(["explain", f"{FILE}:table", *wrong])
        assert left.value.code == 2
