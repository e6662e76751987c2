"""The folder of a page: written beside its place and moved there when all of it is written."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path

from captum_xg._core.files import make_folder
from captum_xg._core.text import in_one_line
from captum_xg.errors import FileError

PAGE, DATA, SITE = "index.html", "data", "viewer"
MARK = '<meta name="generator" content="captum_xg.viewer">'
ASSETS = "captum_xg.viewer.site"
_CHUNK = re.compile(r"index\.js|((maps|large|outputs)\d+|pictures|largePictures|values|tokens)\.\d{5,}\.js")
"""Files that this package writes to the data of a page; whatever else is there is the user's."""
_UNFINISHED = ".captum-xg-page-"
_OLD = 24 * 3600
"""Seconds without a new file after which an unfinished page is that of a process that was killed."""


@contextmanager
def page_folder(to: Path) -> Iterator[Path]:
    """Yield an empty folder to write a page to, which takes its place once all is written.

    A page that is there is replaced; whatever else is there is not touched.

    Raises:
        FileError: If there is something other than a page, or nothing can be written.
    """
    real = Path(os.path.realpath(to))
    require_place(real)
    make_folder(real.parent)
    unfinished = real.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
    try:
        _clear(real.parent)
        unfinished.mkdir()
        yield unfinished
        _move(unfinished, real)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{to} cannot be written: {error.strerror or in_one_line(error)}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def require_place(to: Path) -> None:
    """Find out whether a page may take this place.

    Raises:
        FileError: If there is a file, or a folder with anything other than a page in it.
    """
    to = Path(os.path.realpath(to))
    try:
        if not to.exists():
            return
        if not to.is_dir():
            raise FileError(f"{to} cannot be used as a folder: it is a file. Give another one.")
        _require_page(to)
    except FileError:
        raise
    except (OSError, ValueError) as error:  # the latter for a path that no file can have
        raise FileError(f"{to} cannot be used as a folder: {in_one_line(error)}.") from error


def _require_page(to: Path) -> None:
    foreign = next((path for path in sorted(to.rglob("*")) if not _is_own(path, to)), None)
    if foreign is not None or (any(to.iterdir()) and not _is_page(to / PAGE)):
        named = f"{foreign.relative_to(to)} in it" if foreign is not None else "no page in it"
        raise FileError(f"{to} has {named}, and is not replaced. Give an empty folder, or one that is not there.")


def _is_own(path: Path, to: Path) -> bool:
    parts = path.relative_to(to).parts
    if len(parts) == 2:
        return _CHUNK.fullmatch(parts[1]) is not None if parts[0] == DATA else parts in _site()
    return parts in ((PAGE,), (DATA,), (SITE,))


@cache
def _site() -> frozenset[tuple[str, ...]]:
    return frozenset((SITE, name) for name in asset_names())


def asset_names() -> list[str]:
    """Return the names of the files that every page has, in order."""
    return sorted(each.name for each in files(ASSETS).iterdir() if each.name.endswith((".js", ".css", ".html")))


def _is_page(path: Path) -> bool:
    try:
        return MARK in path.read_text(encoding="utf-8", errors="replace")[:2000]
    except OSError:
        return False


def _move(unfinished: Path, to: Path) -> None:
    if not to.exists():
        unfinished.rename(to)
        return
    before = to.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
    try:
        to.rename(before)
        unfinished.rename(to)
    except BaseException:  # whoever interrupts it here would else find no page at all
        if before.exists() and not to.exists():
            before.rename(to)
        raise
    with suppress(OSError):
        shutil.rmtree(before)


def _clear(folder: Path) -> None:
    """Remove what processes that were killed have left; what others are writing now is young."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            newest = max(path.stat().st_mtime for path in (left, left / DATA) if path.exists())
            if newest < time.time() - _OLD:
                shutil.rmtree(left)
