"""The ledger of a prediction: the parts of inputs and of each added constant, and the remainder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_xg._core.text import Table, displayed
from captum_xg.homogeneity.ledger.figure import Part, draw_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 24


@displayed
@dataclass(frozen=True, eq=False)
class LedgerRow:
    """What one constant carries.

    Attributes:
        module: Path of the module whose forward adds it, ``""`` for the model's own forward and for plain functions.
        type: The class of the module, ``""`` outside of modules.
        constant: Name of the parameter or buffer; ``"shift"`` for bias − running_mean·weight/√(running_var + eps) of a
            batch norm; ``"constant …"`` for a number and ``"constant"`` for anything else.
        location: ``"file:line"`` that adds it first.
        contributions: t·∂F/∂y, summed over all calls and positions of each example, shape ``(N,)``.
    """

    module: str
    type: str
    constant: str
    location: str
    contributions: Tensor

    @property
    def name(self) -> str:
        """Path of the constant in the model."""
        return f"{self.module}.{self.constant}" if self.module else self.constant


@displayed
@dataclass(frozen=True, eq=False)
class BiasLedger:
    r"""F(x) of every example, split into what the inputs carry, what each added constant carries, and the rest.

    .. math:: F(x) = \sum_i x_i \frac{\partial F}{\partial x_i} + \sum_t t \cdot \frac{\partial F}{\partial t}
              + \text{remainder}

    If F is homogeneous of degree 1 in the inputs and the listed constants jointly, as ReLU networks with biases are,
    the remainder is zero but for rounding, by Euler's identity. Otherwise it is what these constants do not explain.

    Attributes:
        values: F(x), shape ``(N,)``.
        input_part: Σ x·∂F/∂x over all inputs, shape ``(N,)``.
        rows: One for each constant that F depends on and that is not zero, in order of execution.
        remainder: F(x) − input_part − Σ contributions, shape ``(N,)``.
        rounding: The largest |remainder| that counts as rounding, shape ``(N,)``.
        dtype: The coarsest dtype of the computation, which decides the rounding.
        notes: Further findings, one sentence each.
    """

    values: Tensor
    input_part: Tensor
    rows: tuple[LedgerRow, ...]
    remainder: Tensor
    rounding: Tensor
    dtype: str
    notes: tuple[str, ...] = ()

    @property
    def constant_part(self) -> Tensor:
        """What all listed constants carry together, shape ``(N,)``."""
        return sum((row.contributions for row in self.rows), torch.zeros_like(self.input_part))

    @property
    def by_module(self) -> dict[str, Tensor]:
        """What the constants of each module carry, by its path, shape ``(N,)`` each."""
        parts: dict[str, Tensor] = {}
        for row in self.rows:
            parts[row.module] = parts[row.module] + row.contributions if row.module in parts else row.contributions
        return parts

    @property
    def share(self) -> Tensor:
        """Σ|contributions| / (|input_part| + Σ|contributions| + |remainder|): 0 in an X-DNN, at most 1, shape ``(N,)``.

        Absolute parts, as parts of both signs cancel: a share of F itself may be anything.
        """
        return sum((self.share_of(row.contributions) for row in self.rows), torch.zeros_like(self.input_part))

    @property
    def exact(self) -> bool:
        """Whether the remainder is no more than rounding, in every example.

        It is compared with the sum of all absolute terms x·∂F/∂x and t·∂F/∂y, which can be a hundred times |F|. So a
        bfloat16 or float16 remainder has to be large to count; float64 tells 4e-11 from rounding.
        """
        return bool((self.remainder.abs() <= self.rounding).all())

    def share_of(self, part: Tensor) -> Tensor:
        """Return |part| relative to the sum of all absolute parts, per example; 0 where all are zero."""
        whole = self.input_part.abs() + sum(row.contributions.abs() for row in self.rows)
        if not self.exact:  # what is rounding is no part
            whole = whole + self.remainder.abs()
        return torch.where(whole > 0, part.abs() / whole, torch.zeros_like(whole))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as numbers, strings, lists and dicts."""
        numbers = {name: getattr(self, name).tolist() for name in ("values", "input_part", "constant_part")}
        rows = [vars(row) | {"contributions": row.contributions.tolist()} for row in self.rows]
        rest = {name: getattr(self, name).tolist() for name in ("remainder", "rounding", "share")}
        return {**numbers, "rows": rows, **rest, "exact": self.exact, "dtype": self.dtype, "notes": list(self.notes)}

    def plot(self, ax: Axes | None = None, *, most: int = 20) -> Axes:
        """Draw what each part carries, as horizontal bars in order of execution.

        Bars are means over the examples, whiskers go from the lowest to the highest tenth of them. The bars add up to
        the mean prediction, which a dashed line marks.

        Args:
            ax: Where to draw; a new figure if None, reached by ``.figure`` of what is returned.
            most: How many constants to show at most, those with the largest share; the others become one bar.

        Returns:
            The axes.
        """
        title = self.headline()
        if not self.exact:
            title += "\nNot only added constants break F(αx) = αF(x): see the remainder"
        bars = [part for part in self._largest(most) if part.kind != "unexplained" or not self.exact]
        return draw_parts(bars, self.values, title, ax)

    def _largest(self, most: int) -> list[Part]:
        """Return the parts in order of execution; of more rows than ``most`` those with the smallest shares as one."""

        def part(name: str, type_: str, detail: str, kind: str, of: Tensor, size: Tensor | None = None) -> Part:
            size = of.abs() if size is None else size
            return Part(name, type_, detail, kind, of, size, self.share_of(size))

        rows = [part(r.name, r.type, r.type or r.location, "constant", r.contributions) for r in self.rows]
        by_share = sorted(range(len(rows)), key=lambda i: -float(rows[i].share.mean()))
        left_out = {*by_share[most - 1 :]} if len(rows) > most else set()
        parts = [part("inputs", "", "x·∂F/∂x", "inputs", self.input_part)]
        parts += [row for i, row in enumerate(rows) if i not in left_out]
        if left_out:
            rest = torch.stack([rows[i].part for i in sorted(left_out)])
            parts.append(part(f"{len(rest)} more constants", "", "", "constant", rest.sum(0), rest.abs().sum(0)))
        meaning = "rounding" if self.exact else "unexplained"
        return [*parts, part("remainder", "", meaning, "unexplained", self.remainder)]

    def headline(self) -> str:
        """Return in one sentence how far this is from an X-DNN."""
        share = self.share
        carried = f"Constants carry {_percent(share.mean())} of the prediction"
        if len(share) > 1:
            carried = (
                f"Constants carry {_percent(share.mean())} of the predictions on average "
                f"({_percent(share.min())} to {_percent(share.max())})"
            )
        if not self.rows:
            carried = "No constant that is not zero is added on the way from the inputs to F"
            return f"{carried}, as in an X-DNN" if self.exact else carried
        return carried

    def _parts(self) -> list[str | Table]:
        n = len(self.values)
        verdict = "exact to rounding" if self.exact else "with a remainder that is NOT rounding"
        lines: list[str | Table] = [
            f"F(x) = Σ x·∂F/∂x + constants, {verdict} ({n} example{'s' * (n != 1)}, {self.dtype})"
        ]
        lines.append(f"  {self.headline()}.")
        table: list[tuple[str, ...]] = [("part", "", "mean", "mean |·|", "share")]
        for part in self._largest(_MOST):
            share = "" if part.kind == "unexplained" and self.exact else _percent(part.share.mean())
            table.append((part.name, part.detail, *_means(part.part, part.size), share))
        table.append(("F(x)", "", *_means(self.values, self.values.abs()), ""))
        lines.append(Table(table, left=2, indent=4))
        if not self.exact:
            lines += [f"  {line}" for line in _REMAINDER]
        return [*lines, *(f"  {note}" for note in self.notes)]


_REMAINDER = (
    "The remainder is what inputs and the constants above do not explain: F is not homogeneous of degree 1 in them.",
    "An activation such as GELU or sigmoid, a norm, attention or clipping does that, and so do constants that are",
    "added where they are not seen (in fused recurrent or attention layers, scripted or custom code). certify(…) names",
    "what it is.",
)


def _means(part: Tensor, absolute: Tensor) -> tuple[str, str]:
    return f"{float(part.mean()):.4g}", f"{float(absolute.mean()):.4g}"


def _percent(share: Tensor) -> str:
    return f"{float(share):.1%}" if share == 0 or share >= 0.0005 else f"{float(share):.0e}"
