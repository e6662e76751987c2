"""Locks on single bytes of a file, between processes and between the threads of one.

What the system locks belongs to a process: two threads of one would both get a lock, and the first to close the file
would let go of what the other one has. So a process opens a file once, for all that use it, and knows who has what.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_CHANGED = threading.Condition()
_SHARED: dict[tuple[int, str], _File] = {}
"""By process, as a fork has the files of its parent, and none of its locks."""


class _File:
    """A file that is open in this process.

    Attributes:
        file: It, or None where there are no locks.
        users: How many use it.
        taken: Byte → who has it.
    """

    def __init__(self, path: Path) -> None:
        self.file: Any = None
        self.users = 0
        self.taken: dict[int, object] = {}
        if fcntl is not None:
            with suppress(OSError):
                self.file = path.open("ab")


class Locks:
    """The locks of one run on the bytes of a file.

    Args:
        path: The file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._key = (os.getpid(), os.path.realpath(path))
        with _CHANGED:
            if self._key not in _SHARED:  # to close a second one would let go of all locks of the first
                _SHARED[self._key] = _File(path)
            self._shared = _SHARED[self._key]
            self._shared.users += 1

    def close(self) -> None:
        """Let go of all."""
        with _CHANGED:
            for byte in [byte for byte, owner in self._shared.taken.items() if owner is self]:
                self._let_go(byte)
            self._shared.users -= 1
            if not self._shared.users:
                _SHARED.pop(self._key, None)
                if self._shared.file is not None:
                    self._shared.file.close()

    def take(self, byte: int, *, wait: bool) -> bool:
        """Take a byte, or return False if another run has it and is not to be waited for."""
        with _CHANGED:
            while (owner := self._shared.taken.get(byte)) is not None and owner is not self:
                if not wait:
                    return False
                _CHANGED.wait()
            self._shared.taken[byte] = self
        # Not within, as another process may take its time.
        if self._system_takes(byte, wait):
            return True
        with _CHANGED:
            self._forget(byte)
        return False

    def release(self, byte: int) -> None:
        """Let go of a byte."""
        with _CHANGED:
            if self._shared.taken.get(byte) is self:
                self._let_go(byte)

    def alone(self) -> bool:
        """Return whether no other run uses the file, as far as can be seen."""
        with _CHANGED:
            if self._shared.file is None or self._shared.users > 1 or fcntl is None:
                return False
            try:
                fcntl.lockf(self._shared.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

    def share(self) -> None:
        """Let others in again after :meth:`alone`."""
        if fcntl is not None:
            with suppress(OSError):
                fcntl.lockf(self._shared.file, fcntl.LOCK_UN)

    def _system_takes(self, byte: int, wait: bool) -> bool:
        if self._shared.file is None or fcntl is None:
            return True
        try:
            fcntl.lockf(self._shared.file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def _let_go(self, byte: int) -> None:
        if self._shared.file is not None and fcntl is not None:
            with suppress(OSError):
                fcntl.lockf(self._shared.file, fcntl.LOCK_UN, 1, byte)
        self._forget(byte)

    def _forget(self, byte: int) -> None:
        self._shared.taken.pop(byte, None)
        _CHANGED.notify_all()
