"""``captum-xg convert``: prints the report, writes weights that fit a conversion of one's own, never half a file."""

import json

import numpy as np
import pytest
import torch

from captum_xg import to_xdnn
from captum_xg.cli.command_line import main
from captum_xg.cli.model_spec import load_target

MODELS = """
import torch
from torch import nn

print("noise from the user's file")


def net():
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    model = nn.Sequential(*layers)
    nn.init.uniform_(model[1].running_mean)
    return model


def attention():
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, batch_first=True), nn.Linear(8, 3))


def function():
    return lambda x: x
"""
TARGET = "models_to_convert:net"


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    (tmp_path / "models_to_convert.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report_is_printed_and_the_weights_fit_a_conversion_of_ones_own(capsys, directory):
    assert main(["convert", TARGET, "--input", "2,3,8,8", "--to", "x.pt"]) == 0
    out = capsys.readouterr().out
    assert "converted to an X-DNN" in out
    assert "SiLU → ReLU" in out
    assert str(directory / "x.pt") in out
    x = torch.randn(4, 3, 8, 8)
    xdnn, _ = to_xdnn(load_target(TARGET).eval(), x)
    xdnn.load_state_dict(torch.load("x.pt", weights_only=True))
    assert torch.equal(xdnn(4 * x), 4 * xdnn(x))


def test_what_cannot_be_converted_is_named_and_nothing_is_written(capsys, directory):
    assert main(["convert", "models_to_convert:attention", "--input", "2,4,8", "--to", "x.pt"]) == 1
    printed = capsys.readouterr()
    assert "0 (TransformerEncoderLayer)" in printed.out
    assert "HomogeneousExtension" in printed.err
    assert not list(directory.glob("x.pt*"))


def test_json_is_all_that_is_printed(capsys):
    assert main(["convert", TARGET, "--input", "2,3,8,8", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["homogeneous"]
    assert [change["module"] for change in report["changes"]] == ["1", "2", "0", "5"]


def test_real_examples_and_weights_are_read_from_files(capsys):
    model = load_target(TARGET)
    torch.nn.init.constant_(model[5].bias, 7.0)
    torch.save({"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, "net.pt")
    images = torch.rand(6, 3, 8, 8)
    np.save("images.npy", images.numpy())
    torch.save(images, "images.pt")
    for file in ("images.npy", "images.pt"):
        assert main(["convert", TARGET, "--examples", file, "--weights", "net.pt", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["agreement"][0]["examples"] == 6
        assert "up to 7" in report["changes"][-1]["why"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([TARGET, "--input", "2,4,8,8"], "fails"),
        (["models_to_convert:function", "--input", "2,3"], "not a torch.nn.Module"),
        ([TARGET, "--examples", "models_to_convert.py"], "cannot be read"),
        ([TARGET, "--examples", "nowhere.npy"], "cannot be read"),
        ([TARGET, "--input", "2,3,8,8", "--weights", "nowhere.pt"], "nowhere.pt"),
        ([TARGET, "--input", "2,3,8,8", "--to", "nowhere/x.pt"], "there is no directory 'nowhere'"),
        (["models_to_convert:nothing", "--input", "2,3"], "nothing"),
    ],
)
def test_what_could_not_run_has_its_own_status_and_says_why(arguments, says, capsys, directory):
    assert main(["convert", *arguments]) == 3
    assert says in capsys.readouterr().err
    assert not list(directory.glob("*.pt*"))


@pytest.mark.parametrize("arguments", [[], ["--input", "2,3", "--examples", "x.npy"], ["--input", "2,x"]])
def test_wrong_arguments_have_the_status_of_wrong_arguments(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", TARGET, *arguments])
    assert stopped.value.code == 2


def test_a_file_that_was_there_is_kept_if_writing_fails(capsys, monkeypatch, directory):
    (directory / "x.pt").write_bytes(b"good")

    def full(_, file):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert main(["convert", TARGET, "--input", "2,3,8,8", "--to", "x.pt"]) == 3
    assert "No space left" in capsys.readouterr().err
    assert [file.read_bytes() for file in directory.glob("x.pt*")] == [b"good"]


def test_batch_norms_that_have_seen_no_data_are_pointed_out_as_certify_does(capsys, directory):
    (directory / "fresh.py").write_text(MODELS.replace("    nn.init.uniform_(model[1].running_mean)\n", ""))
    says = "1 of 1 batch norms have a mean of zero, as if they had never seen data"
    assert main(["convert", "fresh.py:net", "--input", "2,3,8,8"]) == 0
    assert f"{says}, and so add no shift for it. Trained ones do: convert the model" in capsys.readouterr().out
    assert main(["convert", "fresh.py:net", "--input", "2,3,8,8", "--json"]) == 0
    assert any(says in note for note in json.loads(capsys.readouterr().out)["notes"])
    assert main(["convert", TARGET, "--input", "2,3,8,8"]) == 0
    assert "never seen data" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_not_finite_are_named_and_nothing_is_written(capsys, directory, value):
    spoilt = MODELS.replace(
        "    return model\n", f"    model[5].weight.data[0, 0] = float('{value}')\n    return model\n"
    )
    (directory / "spoilt.py").write_text(spoilt)
    assert main(["convert", "spoilt.py:net", "--input", "2,3,8,8", "--to", "out.pt"]) == 3
    assert "5.weight (parameter): 1 " in capsys.readouterr().err
    assert not (directory / "out.pt").exists()
