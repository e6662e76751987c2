"""Every degree rule on PyTorch's own samples of operations: which claims hold, which are wrong, what is not claimed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.testing._internal import common_utils
from torch.testing._internal.opinfo import core as opinfo_core
from torch.utils._pytree import tree_flatten, tree_unflatten

from captum_xg.homogeneity.certificate.apply_rule import TransferFunction
from captum_xg.homogeneity.rules.registry import rules
from captum_xg.testing.degree_rules import Comparison, examine, scalable

KINDS = ("correct", "wrong", "missed", "refused", "silent")
RANDOM = "draws random numbers"
SCALES = (1e-14, 1e-3, 0.37, 2.6, 1e3, 1e14)
"""So far from 1 that constants of 1e-12, as divisions are guarded by, are seen."""

CONFINED = ("special.", "gamma", "roi")
"""Operations that take steps in proportion to their argument, or read memory in proportion to it."""


@dataclass(frozen=True)
class Sample:
    """A call of an operation: a function of the floating-point tensors in it, which are ``inputs``."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]

    def choices(self) -> list[tuple[int, ...]]:
        """Each input alone, and all of them."""
        alone = [(i,) for i in range(len(self.inputs))]
        return alone if len(alone) < 2 else [*alone, tuple(range(len(alone)))]


@dataclass
class Tally:
    """What was found about one rule, as descriptions of the samples."""

    correct: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def tested(self) -> bool:
        return bool(self.correct or self.wrong or self.missed or self.refused)


class Table(dict):
    """From the name of a rule to its tally, for all rules."""

    def __init__(self) -> None:
        super().__init__({name: Tally() for name in sorted(rules())})

    def add(self, sample: Sample, finding: Comparison, used: set[str]) -> None:
        """Count a finding for every rule that had a part in it."""
        named = "+".join(f"#{i}" for i in finding.chosen)
        text = f"{sample.name}[{named}→{finding.output}] {finding.claim}"
        if finding.wrong:
            kind = "wrong"
            text += f" — {finding.wrong}"
        elif finding.missed:
            kind = "missed"
            text += f" — scales with degree {finding.degree:g}"
        elif finding.silent and not finding.claim.zero:
            kind = "silent"
        elif finding.proven:
            kind = "correct"
        else:
            kind = "refused"
        for name in used:
            getattr(self[name], kind).append(text)

    def total(self, kind: str) -> int:
        return len({text for tally in self.values() for text in getattr(tally, kind)})


@contextmanager
def rules_used() -> Iterator[set[str]]:
    """Collect the names of the rules that are asked about something that depends on the input."""
    used: set[str] = set()
    ask, moved = TransferFunction._ask, TransferFunction._moved

    def watched(self, scalings):
        if any(scaling.depends_on_input for scaling in scalings.values()):
            used.add(self.entry.name)
        return ask(self, scalings)

    def watched_moves(self, values):
        result = moved(self, values)
        if result is not None:
            used.add(self.entry.name)
        return result

    TransferFunction._ask, TransferFunction._moved = watched, watched_moves
    try:
        yield used
    finally:
        TransferFunction._ask, TransferFunction._moved = ask, moved


def check(sample: Sample, table: Table, **options: Any) -> list[str]:
    """Compare claims and values for a sample; return what went wrong otherwise."""
    errors = []
    scales = SCALES[1:-1] if any(name in sample.name for name in CONFINED) else SCALES
    for chosen in sample.choices():
        with rules_used() as used, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                findings = examine(sample.function, sample.inputs, chosen, scales=scales, **options)
            except Exception as error:
                errors.append(f"{sample.name}{chosen}: {type(error).__name__}: {str(error)[:200]}")
                continue
        for finding in findings:
            if RANDOM not in finding.obstacles:
                table.add(sample, finding, used)
    return errors


def samples_of(op: Any, dtype: torch.dtype, most: int, largest: int = 1000) -> Iterator[Sample]:
    """Yield samples of one of PyTorch's operations, spread over all that there are, and one of its in-place form."""
    # For each operation PyTorch looks through the stack for the name of the test, which takes longest of all.
    with warnings.catch_warnings(), ExitStack() as unnamed:
        for module in (common_utils, opinfo_core):
            if hasattr(module, "extract_test_fn"):
                unnamed.enter_context(mock.patch.object(module, "extract_test_fn", return_value=None))
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        every = list(islice(op.sample_inputs("cpu", dtype, requires_grad=False), 400))
    made = [sample for sample in (_sample(op, s) for s in every) if sample.inputs]
    made = [sample for sample in made if sum(x.numel() for x in sample.inputs) <= largest] or made[:1]
    yield from made[:: max(1, len(made) // most)][:most]
    if op.inplace_variant is not None:
        written = (_sample(op, s, in_place=True) for s in every if scalable(s.input) and s.input.numel() <= largest)
        yield from islice(written, 1)


def _sample(op: Any, sample: Any, *, in_place: bool = False) -> Sample:
    leaves, spec = tree_flatten((sample.input, tuple(sample.args), sample.kwargs))
    places = [i for i, leaf in enumerate(leaves) if scalable(leaf)]

    def function(*tensors: Tensor) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        first, args, kwargs = tree_unflatten(filled, spec)
        return op.inplace_variant(first.clone(), *args, **kwargs) if in_place else op.op(first, *args, **kwargs)

    name = f"{op.name}{'_' if in_place else ''}{'.' + op.variant_test_name if op.variant_test_name else ''}"
    return Sample(name, function, tuple(leaves[i].detach() for i in places))
