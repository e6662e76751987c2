"""Hooks that act in the thread that made them alone: other threads may run the same model, at inputs of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that does nothing, and changes nothing, where another thread calls it."""
    own = threading.get_ident()

    @wraps(hook)
    def here(*args: Any, **kwargs: Any) -> Any:
        return hook(*args, **kwargs) if threading.get_ident() == own else None

    return here
