"""What ``certify`` says of random programs, beside what they do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from programs import Line, Program, draw_program
from truth import Truth, truth_of

from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.certify import certify


@dataclass(frozen=True)
class Outcome:
    """One program, what it does, and what is said of it.

    Attributes:
        seed: That it was drawn from.
        program: The program.
        truth: What it was seen to do.
        certificate: What is said of it.
    """

    seed: int
    program: Program
    truth: Truth
    certificate: Certificate

    @cached_property
    def kind(self) -> str:
        """In one word or two.

        *unsound*: certified, though values or gradients say otherwise; *falsely disproved*; *missed*: meant to be
        homogeneous, seen to be, every operation has a rule, and not certified; *without rule*: homogeneous, but
        something is not supported; *unclear*: the truth could not be told, or autograd gives no gradient. *By chance*:
        something was broken on purpose, and does not show (x + 1 − 1, or a cut at a value that is always zero).
        """
        truth, certificate = self.truth, self.certificate
        if certificate.homogeneous and (truth.disproved or (truth.values == "yes" and not self._degree_fits)):
            return "unsound"
        if truth.homogeneous:
            if certificate.verdict == "disproved":
                seen = certificate.counterexample is not None
                return "falsely disproved" if seen or not self.program.cut else "disproved by chance"
            if certificate.homogeneous:
                return "certified"
            if certificate.unsupported:
                return "without rule"
            return "missed" if self.program.meant_homogeneous else "missed by chance"
        if truth.disproved:
            return "refused"
        return "unclear"

    @property
    def _degree_fits(self) -> bool:
        if self.certificate.identically_zero:
            return self.truth.degree is None
        return self.truth.fits(self.certificate.degree)

    def __str__(self) -> str:
        return f"# seed {self.seed}: {self.kind}\n# {self.truth}\n{self.program}\n{self.certificate}\n"


def judge(program: Program, seed: int = -1) -> Outcome:
    """Return what a program does and what is said of it."""
    draws = [program.inputs(1), program.inputs(2), program.inputs(3, "heavy")]
    try:
        truth = truth_of(program.function(), draws, [program.inputs(4, "positive"), program.inputs(5, "sparse")])
    except (
        RuntimeError,
        IndexError,
        ValueError,
        ArithmeticError,
    ) as error:  # it does not run at all inputs of these shapes
        truth = Truth("unclear", "unclear", None, repr(error))
    return Outcome(seed, program, truth, certify(program.function(torch.float32), *program.inputs(1)))


def outcomes(seeds: Iterable[int], mode: str | None = None) -> Iterable[Outcome]:
    """Yield the outcome of the program that each seed draws."""
    for seed in seeds:
        program = draw_program(seed, mode)
        try:
            yield judge(program, seed)
        except Exception as error:
            raise RuntimeError(f"seed {seed}: {error!r}\n{program}") from error


class Tally:
    """Counts outcomes, and keeps those that break a law."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.ops: Counter[str] = Counter()
        self.gradients: Counter[str] = Counter()
        self.truly = 0
        self.kept: dict[str, list[Outcome]] = {}

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.kinds[outcome.kind] += 1
        self.verdicts[outcome.certificate.verdict] += 1
        self.ops.update(set(outcome.program.ops))
        self.truly += outcome.truth.homogeneous
        if outcome.truth.values == "yes":
            self.gradients[outcome.truth.gradient] += 1
        if outcome.kind not in ("certified", "refused"):
            self.kept.setdefault(outcome.kind, []).append(outcome)

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.kinds.values())

    @property
    def share_certified(self) -> float:
        """Of those that are homogeneous as meant, and whose operations all have rules."""
        n = sum(self.kinds[kind] for kind in ("certified", "missed", "falsely disproved"))
        return self.kinds["certified"] / n if n else 1.0

    @property
    def share_homogeneous(self) -> float:
        """Of all."""
        return self.truly / self.total

    def examples(self, kind: str, n: int = 3) -> str:
        """Return some outcomes of a kind as text."""
        return "\n".join(map(str, self.kept.get(kind, [])[:n]))

    def __str__(self) -> str:
        lines = [
            f"{self.total} programs, {len(self.ops)} kinds of steps",
            f"homogeneous in truth: {self.truly} ({self.share_homogeneous:.1%})",
            f"verdicts: {dict(self.verdicts.most_common())}",
            f"against the truth: {dict(self.kinds.most_common())}",
            f"gradients where values scale: {dict(self.gradients.most_common())}",
            f"certified, of those that are homogeneous as meant and have rules: {self.share_certified:.2%}",
        ]
        return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- cutting down


def shrunk(program: Program, still: Callable[[Program], bool]) -> Program:
    """Return a shorter program of which ``still`` holds.

    Args:
        program: One of which it holds.
        still: Asked of each attempt; what raises does not hold.
    """
    statements = [
        Line(source, line.op) for line in program.lines for source in re.split(r"\n(?! )", line.source) if source
    ]
    program = replace(program, lines=tuple(statements))
    smaller = True
    while smaller:
        smaller = False
        for attempt in _attempts(program):
            if len(attempt.lines) >= len(program.lines):
                continue
            try:
                holds = still(attempt)
            except Exception:
                holds = False
            if holds:
                program, smaller = attempt, True
                break
    return program


def _attempts(program: Program) -> Iterable[Program]:
    lines = list(program.lines)
    names = [f"x{i}" for i in range(len(program.shapes))]
    defined = [match[1] for line in lines if (match := re.match(r"(v\d+) = ", line.source))]
    for name in reversed([*names, *defined]):
        if name != program.result:
            used = [i for i, line in enumerate(lines) if re.search(rf"\b{name}\b", line.source)]
            yield replace(program, result=name, lines=tuple(lines[: max(used, default=-1) + 1]))
    for i in reversed(range(len(lines))):
        rest = lines[:i] + lines[i + 1 :]
        match = re.match(r"(v\d+) = ", lines[i].source)
        if match is None or not any(re.search(rf"\b{match[1]}\b", line.source) for line in rest):
            if match is None or match[1] != program.result:
                yield replace(program, lines=tuple(rest))
            continue
        sources = [name for name in re.findall(r"\b[vx]\d+\b", lines[i].source)[1:] if name != match[1]]
        for source in dict.fromkeys(sources):
            renamed = [replace(line, source=re.sub(rf"\b{match[1]}\b", source, line.source)) for line in rest]
            result = source if program.result == match[1] else program.result
            yield replace(program, lines=tuple(renamed), result=result)
