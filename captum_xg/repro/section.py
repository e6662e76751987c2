"""What an experiment has to say in a report: the paper's claims with our numbers and a verdict, tables and pictures.

A *claim* is one statement of the paper, with the words it is printed in. A *finding* is what came out here: our number
with its interval, a verdict, and in one sentence the rule by which the verdict follows from the number. What must never
happen: a verdict without a number of this run, or a number that was measured in another setting than the section says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from captum_xg._core.text import Table, displayed

Verdict: TypeAlias = Literal["confirmed", "not confirmed", "not comparable", "not run"]
VERDICTS: tuple[Verdict, ...] = ("confirmed", "not confirmed", "not comparable", "not run")
BEYOND = "beyond the paper"
"""The source of statements that are not the paper's."""


@displayed
@dataclass(frozen=True)
class Claim:
    """One statement of the paper, or of ours about it.

    Attributes:
        key: Its name in files, such as ``"table2/distance"``.
        source: Where it is printed, such as ``"Table 2"``; :data:`BEYOND` for a statement that is not the paper's.
        says: The statement, in our words.
        printed: The paper's numbers as a reader of the report sees them; empty if it gives none.
        quotes: Passages as they stand in the paper, word for word; each number of ``printed`` is in one of them.
    """

    key: str
    source: str
    says: str
    printed: str = ""
    quotes: tuple[str, ...] = ()


@displayed
@dataclass(frozen=True)
class Finding:
    """What came out for a claim.

    Attributes:
        claim: The claim.
        ours: Our number with its interval, as text.
        verdict: *confirmed*, *not confirmed*, *not comparable* (another setting than the paper's), *not run*.
        why: The rule by which the verdict follows, in a sentence.
    """

    claim: Claim
    ours: str
    verdict: Verdict
    why: str


@displayed
@dataclass(frozen=True)
class Panel:
    """A table or a picture of a section.

    Attributes:
        title: Above it, or its caption.
        rows: Cells of a table, the header first; empty for a picture.
        picture: The file name of a picture, in the folder of the experiment; empty for a table.
        description: What a picture shows, for readers who do not see it.
    """

    title: str
    rows: tuple[tuple[str, ...], ...] = ()
    picture: str = ""
    description: str = ""


@displayed
@dataclass(frozen=True)
class Section:
    """What one experiment has to say.

    Attributes:
        name: Of the experiment, as on the command line.
        title: In a report.
        setting: Networks, data and numbers of examples, in a sentence or two: what every number here is about.
        findings: One for each claim.
        panels: Tables and pictures, in order.
        notes: Sentences to be read with them.
        command: What was typed, or would have to be.
        seconds: Processor-independent it is not: how long the work took, when it was done.
        commits: Of the package, that the work was done with; several if it was interrupted between two.
        numbers: Everything, as JSON knows it.
    """

    name: str
    title: str
    setting: str
    findings: tuple[Finding, ...] = ()
    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    seconds: float = 0.0
    commits: tuple[str, ...] = ()
    numbers: Mapping[str, object] = field(default_factory=dict, repr=False)

    def _parts(self) -> list[str | Table]:
        parts: list[str | Table] = [self.title, f"  {self.setting}"]
        for panel in self.panels:
            if panel.rows:
                parts += ["", panel.title, Table(panel.rows, rule=True)]
        if self.findings:
            parts += ["", "What the paper says, and what came out here"]
        for each in self.findings:
            printed = f" (printed: {each.claim.printed})" if each.claim.printed else ""
            parts += [f"  {each.verdict.upper()}: {each.claim.says}{printed}", f"    here {each.ours}; {each.why}"]
        return [*parts, *([""] if self.notes else []), *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Section:
        """Return the section that :meth:`to_dict` was called on, from what JSON has made of it.

        Raises:
            ValueError: If these are not the values of a section.
        """
        try:
            return cls(
                **{
                    **values,
                    "findings": tuple(_finding(each) for each in values["findings"]),
                    "panels": tuple(_panel(each) for each in values["panels"]),
                    "notes": tuple(values["notes"]),
                    "commits": tuple(values["commits"]),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it holds no section of a report ({error})") from error


def _finding(values: Mapping[str, Any]) -> Finding:
    if values["verdict"] not in VERDICTS:
        raise ValueError(f"there is no verdict {values['verdict']!r}")
    claim = Claim(**{**values["claim"], "quotes": tuple(values["claim"]["quotes"])})
    return Finding(**{**values, "claim": claim})


def _panel(values: Mapping[str, Any]) -> Panel:
    return Panel(**{**values, "rows": tuple(map(tuple, values["rows"]))})


def table(title: str, rows: Sequence[Sequence[str]]) -> Panel:
    """Return a table, the header first."""
    return Panel(title, rows=tuple(tuple(row) for row in rows))
