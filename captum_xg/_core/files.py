"""Writers of files: whole or not at all, with what was there before kept if writing fails.

All is written to a file beside the destination, which takes its place by a rename, the one step that is atomic. So a
reader never sees half a file, two processes that write the same one leave one of both, and a full disk costs nothing
that was there. Links stay links, and what replaces a file has its permissions.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from captum_xg._core.text import in_one_line
from captum_xg.errors import FileError

_NOT_FILES = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; the file takes its place once all is written, and stays as it was if that fails.

    Symbolic links are followed and stay links. A file that is replaced keeps its permissions. Several processes may
    write one file: it is then that of one of them.

    Args:
        path: The file. What is yielded is a file beside it, without a suffix.

    Raises:
        FileError: If the path is that of something other than a regular file, or cannot be written.
    """
    path = Path(path)
    with _said(path):
        destination, before = _destination(path)
        # Private from the start: the file that it replaces may be, and permissions are copied only at the end.
        unfinished = _new_file(destination.parent, 0o666 if before is None else 0o600)
    try:
        yield unfinished
        with _said(path):
            if before is not None:
                _take_over(unfinished, before)
            unfinished.replace(destination)
    except FileError:
        raise
    except OSError as error:
        raise FileError(_text(path, error)) from error
    finally:
        # Also after a rename, where it is gone, and after KeyboardInterrupt.
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def require_writable(path: str | Path) -> None:
    """Find out whether a file can be written, before the work whose result it is for; nothing is changed.

    Raises:
        FileError: If not.
    """
    path = Path(path)
    with _said(path):
        destination, _ = _destination(path)
        # By doing it: permissions tell little of network drives, quotas and read-only mounts.
        _new_file(destination.parent, 0o600).unlink()


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those above it, unless it is there; return its path.

    Raises:
        FileError: If it cannot be made, or there is something else of that name.
    """
    path = Path(path)
    with _said(path, "cannot be used as a folder"):
        real = Path(os.path.realpath(path))  # mkdir would stumble over a link to a folder that is yet to be made
        if real.exists() and not real.is_dir():
            raise FileError(f"{path} cannot be used as a folder: it is {_kind(real.stat().st_mode)}.")
        real.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8.

    Raises:
        FileError: As :func:`whole_file`.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Mapping[str, object], *, indent: int = 1) -> None:
    """Write a JSON file in UTF-8.

    Raises:
        FileError: As :func:`whole_file`.
    """
    write_text(path, json.dumps(dict(content), indent=indent, ensure_ascii=False) + "\n")


def write_tensors(path: str | Path, content: object) -> None:
    """Write a file for ``torch.load``.

    Raises:
        FileError: As :func:`whole_file`.
    """
    import torch

    with whole_file(path) as unfinished:
        try:
            with unfinished.open("wb") as sink:  # torch would name its archive after the file, and refuses some names
                torch.save(content, sink)
        except RuntimeError as error:  # so torch calls what goes wrong with files
            raise FileError(_text(Path(path), error)) from error


def write_figure(path: str | Path, figure: Any, *, dpi: int) -> None:
    """Write a figure of matplotlib, in the format that the suffix names; PNG without one.

    Raises:
        FileError: As :func:`whole_file`, or if there is no such format.
    """
    kind = figure_format(path)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=dpi, format=kind)


def figure_format(path: str | Path) -> str:
    """Return the format that the suffix of a figure names.

    Raises:
        FileError: If matplotlib does not know it.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    kind = Path(path).suffix[1:].lower() or "png"
    known = FigureCanvasBase.get_supported_filetypes()
    if kind not in known:
        raise FileError(f"{path} cannot be written: there is no picture format {kind!r}, only {', '.join(known)}.")
    return kind


def _destination(path: Path) -> tuple[Path, os.stat_result | None]:
    """Return the file behind symbolic links, and what is known of it if it exists."""
    # Renamed onto the file behind a link: onto the link itself, it would replace the link.
    real = Path(os.path.realpath(path))
    try:
        before = real.stat()
    except FileNotFoundError:
        if not real.parent.is_dir():
            folder = real.parent if path.is_symlink() else path.parent
            raise FileError(
                f"{path} cannot be written: there is no directory {str(folder)!r}. Make it first."
            ) from None
        return real, None
    if not stat.S_ISREG(before.st_mode):
        raise FileError(
            f"{path} cannot be written: it is {_kind(before.st_mode)} and no regular file. Give the path of a file."
        )
    if not os.access(real, os.W_OK):
        raise FileError(f"{path} cannot be written: it is write-protected.")
    return real, before


def _new_file(folder: Path, mode: int) -> Path:
    # In the same folder, as renames across file systems are copies; with a name that no other process has.
    path = folder / f".captum-xg-{secrets.token_hex(8)}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    return path


def _take_over(path: Path, before: os.stat_result) -> None:
    """Give a file the owner and permissions of the one that it replaces, as far as this user may."""
    now = path.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with suppress(OSError):
            os.chown(path, before.st_uid, before.st_gid)
    path.chmod(stat.S_IMODE(before.st_mode))


def _kind(mode: int) -> str:
    return next((name for test, name in _NOT_FILES if test(mode)), "a file")


@contextmanager
def _said(path: Path, what: str = "cannot be written") -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except (OSError, ValueError) as error:  # the latter for a path that no file can have
        raise FileError(_text(path, error, what)) from error


def _text(path: Path, error: Exception, what: str = "cannot be written") -> str:
    reason = getattr(error, "strerror", None) or in_one_line(error)
    return f"{path} {what}: {reason}."
