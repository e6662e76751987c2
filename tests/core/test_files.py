"""Results on disk are whole at any time, links stay links, and what is no file stays what it is."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from captum_xg._core import files as _files
from captum_xg._core.files import (
    make_folder,
    require_writable,
    whole_file,
    write_figure,
    write_json,
    write_tensors,
    write_text,
)
from captum_xg.errors import FileError

WRITERS = {
    "text": lambda path: write_text(path, "α"),
    "json": lambda path: write_json(path, {"a": "α"}),
    "tensors": lambda path: write_tensors(path, {"w": torch.ones(2)}),
    "figure": lambda path: write_figure(path, Figure(), dpi=20),
}


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


def tree(folder):
    """What is in a folder: names with kind and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = stat.S_IFMT(path.lstat().st_mode)
        content = os.readlink(path) if stat.S_ISLNK(kind) else path.read_bytes() if stat.S_ISREG(kind) else None
        found[str(path.relative_to(folder))] = (kind, content)
    return found


def fifo(path):
    os.mkfifo(path)


def listening(path):
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # as addresses of sockets must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def loop(path):
    path.symlink_to(path.name)


def dangling(path):
    path.symlink_to("nowhere/file")


def to_folder(path):
    (path.parent / "folder").mkdir()
    path.symlink_to("folder")


def to_fifo(path):
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


OBSTACLES = {
    fifo: "a named pipe",
    listening: "a socket",
    Path.mkdir: "a directory",
    to_folder: "a directory",
    to_fifo: "a named pipe",
    loop: "Too many levels of symbolic links",
    dangling: "there is no directory",
}


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda make: make.__name__)
def test_what_is_no_file_is_refused_and_stays_what_it_is(obstacle, write, tmp_path):
    path = tmp_path / "result.png"
    obstacle(path)
    before = tree(tmp_path)
    for attempt in (write, require_writable):
        with pytest.raises(FileError, match=rf"result\.png cannot be written: .*{OBSTACLES[obstacle]}") as error:
            attempt(path)
        assert "\n" not in str(error.value)
        assert tree(tmp_path) == before


@pytest.mark.parametrize("there", [True, False])
def test_links_are_written_through_and_stay_links(there, write, tmp_path):
    (tmp_path / "deep").mkdir()
    real, link, link_to_link = (tmp_path / name for name in ("deep/real.png", "link.png", "linked.png"))
    link.symlink_to("deep/real.png")
    link_to_link.symlink_to(link)
    if there:
        real.write_bytes(b"old")
    write(link_to_link)
    assert os.readlink(link) == "deep/real.png"
    assert os.readlink(link_to_link) == str(link)
    assert real.is_file()
    assert not real.is_symlink()
    assert real.read_bytes() not in (b"old", b"")
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "real.png", "link.png", "linked.png"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions_and_owner(mode, write, tmp_path):
    path = tmp_path / "result.png"
    path.write_bytes(b"old")
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    path.chmod(mode)
    before = path.stat()
    write(path)
    after = path.stat()
    assert path.read_bytes() != b"old"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_new_file_has_the_permissions_that_the_user_asks_for(write, tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "result.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.png").stat().st_mode) == 0o640


def test_what_is_not_finished_is_for_nobody_else_to_read(tmp_path):
    path = tmp_path / "secret"
    path.touch(0o600)
    with whole_file(path) as unfinished:
        assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), ArithmeticError("a bug")], ids=repr
)
def test_a_failure_leaves_what_was_there_and_nothing_else(failure, there, tmp_path):
    path = tmp_path / "result"
    if there:
        path.write_bytes(b"old")
    before = tree(tmp_path)

    def interrupted():
        with whole_file(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise failure

    with pytest.raises(FileError if isinstance(failure, OSError) else type(failure)) as error:
        interrupted()
    assert tree(tmp_path) == before
    if isinstance(failure, OSError):
        assert str(error.value) == f"{path} cannot be written: No space left on device."


def test_an_error_of_torch_save_is_said_and_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"old")

    def full(_, unfinished):
        unfinished.write(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 0 vs 1")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FileError, match=r"weights\.pt cannot be written: .*enforce fail"):
        write_tensors(path, {})
    assert tree(tmp_path) == {"weights.pt": (stat.S_IFREG, b"old")}


@pytest.mark.parametrize("name", ["weights", ".pt", "ü ö", f"w.{'x' * 250}", "w." + "x" * 30, "a.b.c"])
def test_every_name_that_the_system_takes_is_a_name_for_a_file(name, tmp_path, write):
    require_writable(tmp_path / name)
    if write is WRITERS["figure"] and "." in name[1:]:
        return  # whose suffix names its format
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if write is WRITERS["tensors"]:
        assert torch.load(tmp_path / name, weights_only=True).keys() == {"w"}


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(tmp_path, monkeypatch):
    """As root may write everywhere, the refusal of the system is played."""

    def denied(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(_files.os, "open", denied)
    with pytest.raises(FileError, match=r"result\.json cannot be written: Permission denied\."):
        require_writable(tmp_path / "result.json")


def test_a_protected_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(_files.os, "access", lambda *_: False)
    with pytest.raises(FileError, match="write-protected"):
        write_json(path, {})
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["", ".", "file/below", "nul\0", "x" * 300])
def test_paths_that_no_file_can_have_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileError):
        write_text(name, "new")
    assert tree(tmp_path) == {"file": (stat.S_IFREG, b"old")}


def test_a_file_keeps_what_it_held_if_writing_it_again_is_interrupted(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_json(path, {"done": 1})

    def interrupted(self, text, **_):
        self.write_bytes(text[: len(text) // 2].encode())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_json(path, {"done": 2})
    assert json.loads(path.read_text()) == {"done": 1}
    write_json(path, {"done": 2})
    assert json.loads(path.read_text()) == {"done": 2}


def test_folders_are_made_through_links_and_never_in_place_of_something_else(tmp_path):
    (tmp_path / "link").symlink_to("yet/to/be/made")
    assert make_folder(tmp_path / "link") == tmp_path / "link"
    assert (tmp_path / "yet/to/be/made").is_dir()
    make_folder(tmp_path / "link" / "below")
    (tmp_path / "file").write_bytes(b"old")
    os.mkfifo(tmp_path / "pipe")
    before = tree(tmp_path)
    for name, said in (("file", "a file"), ("pipe", "a named pipe"), ("file/below", "Not a directory")):
        with pytest.raises(FileError, match=rf"{name} cannot be used as a folder: .*{said}"):
            make_folder(tmp_path / name)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.png", b"\x89PNG"), ("a.PNG", b"\x89PNG"), ("a", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")],
)
def test_the_suffix_of_a_figure_names_its_format(name, begins, tmp_path):
    write_figure(tmp_path / name, Figure(), dpi=20)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_format_that_there_is_not_is_said_with_those_that_there_are(tmp_path):
    with pytest.raises(FileError, match=r"a\.doc cannot be written: there is no picture format 'doc', only .*png"):
        write_figure(tmp_path / "a.doc", Figure(), dpi=20)
    assert not list(tmp_path.iterdir())
