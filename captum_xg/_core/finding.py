"""A finding: the place in a model that breaks homogeneity, what happens there, and what to do about it.

Certificate, numeric check and conversion name places in these words alone, and one printer shows them all::

    features.3 (GELU): is curved, so its slope changes with α  [aten.gelu.default, model.py:12]
      → Use to_xdnn(model), or put nn.ReLU, nn.LeakyReLU or nn.PReLU there.

A remedy that conversion is one way of is made by :func:`or_convert` and nowhere else, so that conversion itself can say
what is left to do without it (:attr:`Finding.without_conversion`); no one else looks into the text of a remedy.

:class:`Finding` itself is no dataclass: each of the three that are has its own fields, in the order in which people
make them, so that ``dataclasses.replace``, ``fields`` and ``asdict`` see these and no others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONVERT = "Use to_xdnn(model), or "


def or_convert(remedy: str) -> str:
    """Return the remedy for what conversion removes, or else this does, an imperative in lower case."""
    return f"{_CONVERT}{remedy}"


class Finding:
    """A module in which something breaks F(αx) = αᵏF(x), or is not known to keep it.

    Attributes:
        module: Its path in the model, ``""`` for the model's own forward and for plain functions.
        op: The operation, ``"aten.add.Tensor"``, ``""`` if it is not one.
        location: ``"file:line"`` that called it, ``""`` if that is not known.
        reason: What it does.
        remedy: What to do about it.
        type: The class of the module, ``""`` outside of modules.
        further: What else the same module does, as (op, location, reason).
    """

    module: str
    op: str
    location: str
    reason: str
    remedy: str
    type: str
    further: tuple[tuple[str, str, str], ...]

    @property
    def name(self) -> str:
        """The module as a reader finds it: by path and class."""
        if not self.type:
            return self.module or "the forward function"
        return f"{self.module or 'the model itself'} ({self.type})"

    @property
    def without_conversion(self) -> str:
        """The remedy for a model that has been converted already."""
        return re.sub(f"{re.escape(_CONVERT)}(.)", lambda found: found[1].upper(), self.remedy)

    def lines(self) -> list[str]:
        """Return what happens, and where, without the remedy."""
        lines = [f"{self.name}: {self.reason}{self._place(self.op, self.location)}"]
        return lines + [f"  also {reason}{self._place(op, location)}" for op, location, reason in self.further]

    def _place(self, op: str, location: str) -> str:
        place = ", ".join(filter(None, (op, location)))
        return f"  [{place}]" if place else ""

    def _parts(self) -> list[str]:
        return [*self.lines(), *([f"  → {self.remedy}."] if self.remedy else [])]


def listed(findings: Sequence[Finding], title: str, most: int | None, home: str) -> list[str]:
    """Return findings as indented lines below a title, a remedy once for those in a row that share it.

    Args:
        findings: In order of execution; no lines if there are none.
        title: What they are, ending in a colon.
        most: How many are shown; all if None.
        home: Where the others are.
    """
    if not findings:
        return []
    lines = [f"  {title}"]
    shown = findings[:most]
    for i, finding in enumerate(shown):
        lines += [f"    {line}" for line in finding.lines()]
        if finding.remedy and (i + 1 == len(shown) or shown[i + 1].remedy != finding.remedy):
            lines.append(f"      → {finding.remedy}.")
    if len(shown) < len(findings):
        lines.append(f"    … and {len(findings) - len(shown)} more (all in {home})")
    return lines
