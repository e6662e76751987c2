"""The statements of Figure 1, each of which is tried under all choices."""

from __future__ import annotations

from captum_xg.repro.fair.statements import STATEMENTS

CLAIMS = tuple(each.claim for each in STATEMENTS)
