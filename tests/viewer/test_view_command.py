"""``captum-xg view``: a page of what ``captum-xg attribute`` wrote, or one line and status 3."""

import json
import re

import numpy as np
import pytest
from scans import pictures, write_scan

from captum_xg.cli import command_line, view
from captum_xg.datasets.attributions import Attributions
from captum_xg.scan.sources import opened


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    commands = tuple(dict.fromkeys((*command_line.COMMANDS, view)))
    monkeypatch.setattr(command_line, "COMMANDS", commands)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named_scan(folder, command, n=30, seed=0):
    """A folder as ``captum-xg attribute`` leaves it: with the names of model and data."""
    data = opened(command)
    x, (_, a, outputs, labels) = [data[i][0] for i in range(n)], pictures(n, size=28, seed=seed)
    inputs = x[0].new_empty(n, *x[0].shape)
    for i, each in enumerate(x):
        inputs[i] = each
    write_scan(folder, inputs, a, outputs, labels=labels)
    index = folder / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "command": command}))
    return Attributions(folder)


def said(page):
    """What the index of a page says."""
    return json.loads(
        json.loads(re.fullmatch(r"captumXG\.open\((.*)\);\n", (page / "data" / "index.js").read_text())[1])
    )


def test_the_page_stands_beside_the_folder_and_reads_the_data_again(here, capsys):
    named_scan(here / "scan", {"target": "net.py:make", "data": "demo", "examples": 30, "dtype": "float32"})
    assert command_line.main(["view", "scan", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert (here / "scan-page" / "index.html").as_uri() in out
    about = said(here / "scan-page")
    assert about["title"] == "net.py:make on demo"
    assert about["examples"] == 30
    assert about["classes"][1] == "Trouser"
    assert about["media"]["kind"] == "picture"
    assert about["clusters"]


def test_names_are_lists_or_files_and_runs_are_compared(here, capsys):
    command = {"data": "demo", "examples": 30, "dtype": "float32"}
    named_scan(here / "one", command)
    named_scan(here / "two", command, seed=1)
    (here / "names.txt").write_text("a\nb, c\nd\ne\n")
    arguments = [
        "view",
        "one",
        "--compare",
        "two",
        "--classes",
        "names.txt",
        "--no-clusters",
        "--quiet",
        "--to",
        "page",
    ]
    assert command_line.main(arguments) == 0
    about = said(here / "page")
    assert about["classes"] == ["a", "b, c", "d", "e"]
    assert [each["name"] for each in about["sets"]] == ["one", "two"]
    assert about["clusters"] is None
    assert command_line.main(["view", "one", "--classes", "x, y,z", "--no-clusters", "--quiet", "--data", "none"]) == 0
    assert said(here / "one-page")["classes"] == ["x", "y", "z"]
    assert said(here / "one-page")["media"]["kind"] == "none"


def test_of_the_folder_that_one_is_in_the_page_stands_beside_it_too(here, monkeypatch, capsys):
    named_scan(here / "scan", {"data": "demo", "examples": 4, "dtype": "float32"}, n=4)
    monkeypatch.chdir(here / "scan")
    assert command_line.main(["view", ".", "--quiet", "--no-clusters"]) == 0
    assert (here / "scan-page" / "index.html").as_uri() in capsys.readouterr().out
    assert said(here / "scan-page")["examples"] == 4


@pytest.mark.parametrize("option", ["--workers", "--input"])
def test_counts_below_zero_are_wrong_arguments(here, capsys, option):
    with pytest.raises(SystemExit) as left:
        command_line.main(["view", "scan", option, "-1"])
    assert left.value.code == 2
    assert f"argument {option}: must be 0 or a positive number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere has no index.json"),
        (["python"], "Give --data, or --data none"),
        (["scan", "--data", "other.npz"], "example 0 of `examples`"),
        (["scan", "--compare", "nowhere"], "nowhere has no index.json"),
        (["scan", "--to", "taken"], "taken has mine.txt in it"),
        (["scan", "--vocabulary", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["scan", "--input", "1"], "view: --input 1: there is a single input"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(here, capsys, arguments, words):
    named_scan(here / "scan", {"data": "demo", "examples": 30, "dtype": "float32"})
    x, a, outputs, labels = pictures(30)
    write_scan(here / "python", x, a, outputs, labels=labels)
    np.savez(here / "other.npz", images=np.zeros((30, 1, 28, 28), "float32"), labels=np.zeros(30, int))
    (here / "taken").mkdir()
    (here / "taken" / "mine.txt").write_text("mine")
    before = sorted(path.name for path in here.iterdir())
    assert command_line.main(["view", *arguments, "--quiet", "--no-clusters"]) == 3
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == before
