"""A page takes its place all at once: whoever interrupts it finds the one before."""

import os
import time
from pathlib import Path

import pytest
import torch
from scans import write_scan

from captum_xg.viewer import write_page


@pytest.fixture
def run(tmp_path):
    x = torch.rand(3, 4)
    return write_scan(tmp_path / "run", x, x[:, None], torch.rand(3, 2))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_interrupted_at_any_rename_there_is_a_page(tmp_path, monkeypatch, run, number, when):
    page = write_page(run, None, tmp_path / "page", title="before")
    renames, rename = [], Path.rename

    def interrupted(path, to):
        renames.append(to)
        if len(renames) == number and when == "before":
            raise KeyboardInterrupt
        rename(path, to)
        if len(renames) == number:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_page(run, None, tmp_path / "page", title="behind")
    last = number == 2 and when == "after"  # the new one was there already
    assert ("behind" if last else "before") in (page.path.parent / "data" / "index.js").read_text()
    write_page(run, None, tmp_path / "page")


def test_what_killed_processes_left_is_cleared_and_what_others_write_is_not(tmp_path, run):
    old, young, foreign = (tmp_path / name for name in (".captum-xg-page-old", ".captum-xg-page-young", ".captum-xg-x"))
    for folder in (old, young, foreign):
        (folder / "data").mkdir(parents=True)
    past = time.time() - 2 * 24 * 3600
    for path in (old / "data", old, young, foreign / "data", foreign):  # the data of the young one are of now
        os.utime(path, (past, past))
    write_page(run, None, tmp_path / "page")
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, foreign.name, "page", "run"]
