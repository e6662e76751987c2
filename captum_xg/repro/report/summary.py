"""The report as data: all sections, and how many statements are confirmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captum_xg._core.text import Table, displayed
from captum_xg.repro.section import BEYOND, VERDICTS, Finding, Section

TITLE = "Fast Axiomatic Attribution for Neural Networks: does the paper hold, here, today?"
PAPER = (
    "R. Hesse, S. Schaub-Meyer and S. Roth, Fast Axiomatic Attribution for Neural Networks, NeurIPS 2021. Every number "
    "in the columns “printed” is theirs, every number in the columns “here” was computed by this run."
)
MEANINGS = {
    "confirmed": "the number of this run, with its 95 % interval, is on the side that the statement names",
    "not confirmed": "it is on the other side, or the interval includes the bound and nothing is decided: the row says",
    "not comparable": "a printed number about other networks or other data than those of this run",
    "not run": "the row says what is missing, and the section which command does it",
}


@displayed
@dataclass(frozen=True)
class Report:
    """What all experiments have to say.

    Attributes:
        sections: One for each experiment.
        environment: Of the run that wrote the report: versions, processor, commit.
        command: What was typed.
    """

    sections: tuple[Section, ...]
    environment: Mapping[str, str]
    command: str

    @property
    def of_the_paper(self) -> tuple[Finding, ...]:
        """The findings on statements and numbers of the paper."""
        return tuple(each for section in self.sections for each in section.findings if each.claim.source != BEYOND)

    @property
    def beyond(self) -> tuple[Finding, ...]:
        """The findings on statements that are not the paper's."""
        return tuple(each for section in self.sections for each in section.findings if each.claim.source == BEYOND)

    @property
    def summary(self) -> str:
        """How many statements are confirmed, in a sentence."""
        counts = Counter(each.verdict for each in self.of_the_paper)
        tested = counts["confirmed"] + counts["not confirmed"]
        text = f"Of {tested} statements of the paper that were tested here, {counts['confirmed']} are confirmed"
        text += f" and {counts['not confirmed']} are not." if counts["not confirmed"] else "."
        if counts["not comparable"]:
            text += f" {counts['not comparable']} printed numbers are about another setting than this one."
        if counts["not run"]:
            text += f" {counts['not run']} were not run."
        return text

    @property
    def counts(self) -> list[tuple[str, ...]]:
        """A table of verdicts, the header first."""
        rows = [("", *VERDICTS)]
        for name, findings in (("the paper", self.of_the_paper), (BEYOND, self.beyond)):
            counts = Counter(each.verdict for each in findings)
            rows.append((name, *(str(counts[verdict]) for verdict in VERDICTS)))
        return rows

    @property
    def effort(self) -> list[tuple[str, ...]]:
        """A table of what each experiment took and was done with, the header first."""
        rows = [("experiment", "minutes", "commit", "command")]
        for each in self.sections:
            minutes = f"{each.seconds / 60:.1f}" if each.seconds else "–"
            rows.append((each.name, minutes, ", ".join(each.commits) or "–", each.command))
        total = sum(each.seconds for each in self.sections)
        return [*rows, ("all", f"{total / 60:.1f}", "", self.command)]

    def _parts(self) -> list[str | Table]:
        return [TITLE, "", self.summary, "", Table(self.counts, rule=True), "", Table(self.effort, rule=True, left=4)]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        return {
            "environment": dict(self.environment),
            "command": self.command,
            "sections": [each.to_dict() for each in self.sections],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """Return the report that :meth:`to_dict` was called on, from what JSON has made of it.

        Raises:
            ValueError: If these are not the values of a report.
        """
        try:
            sections: Sequence[Mapping[str, Any]] = values["sections"]
            found = tuple(Section.from_dict(each) for each in sections)
            return cls(found, dict(values["environment"]), str(values["command"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"it holds no report ({error})") from error
