"""Forward functions that run, but not while every operation is followed."""

from __future__ import annotations

import traceback
from pathlib import Path

from captum_xg._core.provenance import is_torch, short_path
from captum_xg._core.text import in_one_line
from captum_xg.homogeneity.certificate.certificate import Violation
from captum_xg.homogeneity.rules.reasons import not_followed

_OPERATORS = "_higher_order_ops"


def unfollowed(error: Exception) -> Violation:
    """Return the finding that operations could not be followed, from what following them raised.

    PyTorch compiles the functions that torch.cond and the like are given, and its compiler may not bear a look.
    """
    frames = traceback.extract_tb(error.__traceback__)
    operators = [Path(frame.filename) for frame in frames if Path(frame.filename).parent.name == _OPERATORS]
    theirs = [frame for frame in frames if not is_torch(frame.filename)]
    location = f"{short_path(theirs[-1].filename)}:{theirs[-1].lineno}" if theirs else ""
    if operators:
        reason = not_followed(operators[0].stem)
        return Violation("", f"torch.{operators[0].stem}", location, reason.what, reason.remedy)
    return Violation(
        "",
        "",
        location,
        f"runs by itself, but not while its operations are followed ({in_one_line(error)})",
        "Test it numerically instead: check_homogeneity(…), or validate='numeric'",
    )
