"""What went wrong, in one line."""

from __future__ import annotations

LONGEST = 300


def in_one_line(error: BaseException) -> str:
    """Return type and text of an error, whatever it is: without line breaks, cut where it gets long."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).partition("Exception raised from ")[0].split())  # what follows is a stack of C++
    except Exception:  # the error of a user's class, whose text is made by the user's code
        return name
    if not text:
        return name
    return f"{name}: {text}" if len(text) <= LONGEST else f"{name}: {text[:LONGEST]}…"
