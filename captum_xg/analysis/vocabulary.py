"""Which tokens have the attributions, over all texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.text import Table, displayed

if TYPE_CHECKING:
    from captum_xg.analysis.reading import Part


@displayed
@dataclass(frozen=True)
class TokenShares:
    r"""What each token has of the attributions, those with the most first.

    Attributes:
        tokens: Numbers of the V tokens that occur.
        occurrences: How often each does, ``(V,)``.
        texts: In how many texts, ``(V,)``.
        mean: Mean attribution of an occurrence, ``(V,)``, in units of the output.
        share: Mean over the texts that a token is in of its part of Σ \|A\|, ``(V,)``, in [0, 1].
        total: Mean over all texts of its part of Σ \|A\|; these sum to 1, but for texts without attributions.
        words: Of the tokens, as they are shown; empty if they are not known.
    """

    tokens: Tensor
    occurrences: Tensor
    texts: Tensor
    mean: Tensor
    share: Tensor
    total: Tensor
    words: tuple[str, ...] = field(default=(), repr=False)

    def _parts(self) -> list[str | Table]:
        rows = [("token", "texts", "times", "mean", "share in its texts", "share in all")]
        for i in range(min(20, len(self.tokens))):
            word = self.words[i] if self.words else str(int(self.tokens[i]))
            numbers = f"{float(self.mean[i]):.3g}", f"{float(self.share[i]):.2%}", f"{float(self.total[i]):.2%}"
            rows.append((word, f"{int(self.texts[i]):,}", f"{int(self.occurrences[i]):,}", *numbers))
        more = len(self.tokens) - len(rows) + 1
        return [f"{len(self.tokens):,} tokens", Table(rows), *([f"and {more:,} more"] if more else [])]


class TokenSums:
    """Sums by token, gathered part by part."""

    def __init__(self) -> None:
        self._sums = torch.zeros(4, 0, dtype=torch.float64)
        self._texts = 0

    def add(self, part: Part) -> None:
        """Add some texts."""
        assert part.tokens is not None
        used = part.tokens >= 0
        tokens = part.tokens[used]
        size = max(self._sums.shape[1], int(tokens.max()) + 1 if len(tokens) else 0)
        self._sums = torch.cat([self._sums, self._sums.new_zeros(4, size - self._sums.shape[1])], 1)
        texts = torch.arange(len(part.tokens))[:, None].expand_as(part.tokens)[used]
        once = torch.unique(torch.stack([texts, tokens]), dim=1)[1]
        ones = torch.ones(max(len(tokens), len(once)), dtype=torch.float64)
        columns = ((tokens, ones[: len(tokens)]), (once, ones[: len(once)]))
        for row, (at, numbers) in enumerate((*columns, (tokens, part.signed[used]), (tokens, part.shares()[used]))):
            self._sums[row].index_add_(0, at, numbers)
        self._texts += len(part.tokens)

    def shares(self, words: Sequence[str]) -> TokenShares:
        """Return what all came to."""
        times, texts, signed, share = self._sums
        there = times.nonzero().flatten()
        order = there[share[there].sort(descending=True, stable=True).indices]
        times, texts, signed, share = (column[order] for column in (times, texts, signed, share))
        shown = tuple(str(words[i]) if i < len(words) else str(i) for i in order.tolist()) if words else ()
        return TokenShares(order, times.long(), texts.long(), signed / times, share / texts, share / self._texts, shown)
