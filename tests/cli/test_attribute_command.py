"""captum-xg attribute: what a user types, sees, and gets told."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captum_xg import XGradient, explain_dataset
from captum_xg.cli import attribute
from captum_xg.cli.parser import Parser
from captum_xg.datasets import Attributions
from captum_xg.errors import FileError, HomogeneityError, InputError, OptionError
from captum_xg.scan import source


def command(*words):
    """Run the command; return its exit status."""
    parser = Parser(prog="captum-xg")
    attribute.add_parser(parser.add_subparsers(dest="command"))
    options = parser.parse_args(["attribute", *map(str, words), "--quiet"])
    return options.run(options)


def small(bias=False):
    """A network for 1×6×6 pictures."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, bias=bias))


def biased():
    """The same with biases."""
    return small(bias=True)


class Words(nn.Module):
    """Scores of texts."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 5, padding_idx=0)
        self.head = nn.Linear(5, 3, bias=False)

    def forward(self, ids):
        return self.head(torch.relu(self.embedding(ids)).sum(1))


HERE = "test_attribute_command"


def pictures(folder, n, size=(8, 6), seed=0):
    """Write PNG files of noise; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed)
    paths = [folder / f"{i:03d}.png" for i in range(n)]
    for path in paths:
        Image.fromarray(draws.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return paths


def test_the_demo_is_explained_and_said_in_a_few_lines(tmp_path, capsys):
    words = ("captum_xg.demo:demo_model", "--examples", 40, "--batch-size", 16, "--to", tmp_path / "scan")
    assert command(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "captum_xg.demo:demo_model on demo: 40 examples explained, none refused"
    assert lines[1] == "Method: XGradient, in closed form, x·∇F(x), of the predicted output"
    assert lines[2].startswith("Gap |Σ attributions − (F(x) − F(0))|: median")
    assert lines[3].startswith("Rate: ")
    assert lines[-1] == f"Next: captum-xg view {tmp_path / 'scan'}"
    assert command(*words) == 0
    assert "Nothing was left to do" in capsys.readouterr().out
    found = Attributions(tmp_path / "scan")
    assert found.command == {
        "target": "captum_xg.demo:demo_model",
        "data": "demo",
        "examples": 40,
        "dtype": "float32",
    }
    again = source(found)
    assert len(again) == 40
    assert len(again.classes) == 10
    assert int(again[7][1]) == found[7]["label"]


@pytest.mark.parametrize("by_class", [True, False])
def test_a_folder_of_pictures_with_one_that_is_damaged(tmp_path, capsys, by_class):
    data = tmp_path / "photos"
    if by_class:
        paths = pictures(data / "cat", 4) + pictures(data / "dog", 3, seed=1)
    else:
        paths = pictures(data, 7)
        (data / "notes.txt").write_text("no picture")
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    to = tmp_path / "scan"
    options = ("--size", 6, "--mean", 0.5, 0.5, 0.5, "--std", 0.2, 0.2, 0.2, "--batch-size", 2)
    assert command(f"{HERE}:small", "--data", data, "--to", to, *options) == 0
    out = capsys.readouterr().out
    assert "6 examples explained, 1 refused" in out
    assert "FileError: example 2: " in out
    assert str(paths[2]) in out
    found = Attributions(to)
    assert found.ids.tolist() == [0, 1, 3, 4, 5, 6]
    assert (found.labels.tolist() == [0, 0, 0, 1, 1, 1]) if by_class else found.labels is None
    assert found.command["mean"] == [0.5, 0.5, 0.5]
    again = source(found)
    assert again.classes == (("cat", "dog") if by_class else None)
    assert again[2][0].shape == (3, 6, 6)
    Image.fromarray(np.zeros((8, 6, 3), dtype=np.uint8)).save(paths[3])
    with pytest.raises(FileError, match="example 3 is not the one that was explained"):
        again[2]
    with pytest.raises(FileError, match=r"another run. Different are: the data"):
        command(f"{HERE}:small", "--data", data, "--to", to, *options)


@pytest.mark.parametrize("method", ["xgradient", "expected_3", "adaptive"])
@pytest.mark.parametrize("odd", [False, True])
def test_the_first_picture_decides_nothing(tmp_path, capsys, method, odd):
    paths = pictures(tmp_path / "photos", 7, size=(6, 6))
    if odd:
        Image.fromarray(np.zeros((9, 6, 3), dtype=np.uint8)).save(paths[0])
    else:
        paths[0].write_bytes(b"no picture")
    words = ("--data", tmp_path / "photos", "--method", method, "--batch-size", 3)
    assert command(f"{HERE}:small", *words, "--to", tmp_path / "a scan") == 0
    out = capsys.readouterr().out
    assert "6 examples explained, 1 refused" in out
    assert f"Next: captum-xg view '{tmp_path / 'a scan'}'" in out
    assert Attributions(tmp_path / "a scan").ids.tolist() == list(range(1, 7))


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mean", 0.5, 0.5, "--std", 0.2, 0.2), "must give 3 numbers each"),
        (("--mean", 0.5, 0.5, 0.5, "--std", 0.2, 0, 0.2), "no std of 0"),
        (("--mean", 0.5, 0.5, 0.5), "go together"),
        (("--mean", 0.5, 0.5, 0.5, "--std", "nan", 0.2, 0.2), "finite"),
    ],
)
def test_means_and_deviations_of_pictures_fit_them(tmp_path, words, said, by_class):
    pictures(tmp_path / "photos" / "cat" if by_class else tmp_path / "photos", 2, size=(6, 6))
    with pytest.raises(OptionError, match=said):
        command(f"{HERE}:small", "--data", tmp_path / "photos", *words, "--to", tmp_path / "scan")


def test_pictures_of_different_sizes_without_size_are_refused_one_by_one(tmp_path, capsys):
    data = tmp_path / "photos"
    pictures(data, 4, size=(6, 6))
    Image.fromarray(np.zeros((9, 6, 3), dtype=np.uint8)).save(data / "odd.png")
    assert command(f"{HERE}:small", "--data", data, "--to", tmp_path / "scan", "--batch-size", 8) == 0
    out = capsys.readouterr().out
    assert "4 examples explained, 1 refused" in out
    assert "its inputs have the shape 3×9×6, and those of the others 3×6×6" in out


def test_a_network_with_biases_is_integrated_and_that_is_said(tmp_path, capsys):
    pictures(tmp_path / "photos", 3, size=(6, 6))
    words = (f"{HERE}:biased", "--data", tmp_path / "photos", "--to", tmp_path / "scan")
    assert command(*words) == 0
    assert "Method: integrated to a tolerance of 1 %, as the closed form does not apply (" in capsys.readouterr().out
    with pytest.raises(HomogeneityError, match="Nothing was explained"):
        command(*words[:3], "--to", tmp_path / "b", "--on-violation", "record")


@pytest.mark.parametrize(
    "method",
    ["adaptive", "exact", "joint", "expected_3", "integrated_gradients_8", "input_x_gradient", "gradient"],
)
def test_every_method_that_is_offered_runs(tmp_path, method):
    pictures(tmp_path / "photos", 4, size=(6, 6))
    model = "small" if method.startswith("expected") else "biased"
    words = (f"{HERE}:{model}", "--data", tmp_path / "photos", "--to", tmp_path / "scan", "--method", method)
    assert command(*words, "--targets", "top:2") == 0
    found = Attributions(tmp_path / "scan")
    assert found[0]["attributions"].shape == (2, 3, 6, 6)
    if method not in ("gradient", "input_x_gradient"):
        assert float(found.gaps.abs().max()) < 0.05


def test_texts_are_explained_at_their_embedding(tmp_path):
    tokens = np.random.default_rng(0).integers(1, 20, (7, 5))
    np.savez(tmp_path / "texts.npz", tokens=tokens, labels=np.arange(7) % 3)
    words = (f"{HERE}:Words", "--data", tmp_path / "texts.npz", "--layer", "embedding", "--targets", "true")
    assert command(*words, "--to", tmp_path / "scan") == 0
    found = Attributions(tmp_path / "scan")
    assert found[0]["attributions"].shape == (1, 5)
    assert torch.equal(found[3]["tokens"], torch.from_numpy(tokens[3]))
    assert torch.equal(source(found)[3][0], torch.from_numpy(tokens[3]))
    with pytest.raises(OptionError, match=r"no such layer\. Did you mean embedding"):
        command(f"{HERE}:Words", "--data", tmp_path / "texts.npz", "--layer", "embeding", "--to", tmp_path / "b")
    with pytest.raises(OptionError, match="exact attributes to inputs alone"):
        command(*words, "--method", "exact", "--to", tmp_path / "b")
    with pytest.raises(OptionError, match=r"holds tokens, which have no gradients.*: --layer embedding\."):
        command(*words[:3], "--to", tmp_path / "b")
    with pytest.raises(OptionError, match="are for images"):
        command(*words, "--size", 6, "--to", tmp_path / "b")
    with pytest.raises(InputError, match="no features to sum over for each token"):
        command(*words[:4], "head", "--to", tmp_path / "b")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "nowhere"), "there is no such folder"),
        (("--data", "empty"), "there are no pictures in it"),
        (("--data", "inputs.npy", "--size", "6"), "--size, --mean and --std are for images"),
        (("--data", "inputs.npy", "--targets", "true"), "the data have no labels"),
        (("--data", "inputs.npy", "--targets", "9"), "the model has 3 outputs, and 9 is none"),
        (("--data", "other.npy"), r"fails on examples of shape 64,3,9,9: RuntimeError.*Does --data fit the model"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    np.save("inputs.npy", np.random.default_rng(0).random((4, 3, 6, 6)))
    np.save("other.npy", np.random.default_rng(0).random((4, 3, 9, 9)))
    with pytest.raises(Exception, match=f"(?s){said}"):
        command(f"{HERE}:small", *words, "--to", "scan")
    assert not (tmp_path / "scan").exists()


@pytest.mark.parametrize(
    "words",
    [("--method", "magic"), ("--targets", "best"), ("--workers", "-1"), ("--batch-size", "0"), ("--dtype", "int8")],
)
def test_wrong_arguments_leave_with_status_two(tmp_path, words, capsys):
    with pytest.raises(SystemExit) as left:
        command(f"{HERE}:small", *words, "--to", tmp_path / "scan")
    assert left.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_folder_that_python_made_has_no_data_to_open(tmp_path):
    loader = [(torch.randn(3, 3, 6, 6), torch.zeros(3, dtype=torch.int64))]
    found = explain_dataset(XGradient(small()), loader, tmp_path, progress=False)
    with pytest.raises(OptionError, match="Pass them"):
        source(found)
    assert json.loads((tmp_path / "index.json").read_text())["command"] == {}
