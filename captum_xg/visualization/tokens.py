"""Tokens of texts on the colours of their attributions, as HTML and as a figure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.figures import SPEAKS, inches_of, new_figure, scale_of
from captum_xg._core.options import one_of
from captum_xg.errors import InputError, OptionTypeError
from captum_xg.visualization.numbers import array_of, checked_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Texts = Sequence[str] | Sequence[Sequence[str]]
_Text = tuple[str, list[str], NDArray[np.float64]]
_RED, _BLUE = (178, 24, 43), (33, 102, 172)
_STRONGEST = 0.75
"""The share of a colour's end that the largest attribution has: black letters stay readable on it."""


class Html(str):
    """HTML that a notebook shows and that is else a text, to be written into a file."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def token_html(
    tokens: Texts, attributions: Tensor, *, labels: Iterable[str] | None = None, scale: Literal["text", "all"] = "text"
) -> Html:
    """Return texts whose tokens lie on the colour of their attribution: red speaks for the class, blue against it.

    Behind each text stands the sum of its tokens: the score itself where a method is complete and the baseline scores
    0. The number of a token is shown where the mouse rests on it.

    Args:
        tokens: Of one text, or of each of N texts, which may differ in length.
        attributions: Shape ``(L,)`` or ``(L, D)`` for one text or with a leading 1, ``(N, L)`` or ``(N, L, D)`` for
            several; summed over the D dimensions of embeddings. What lies behind the last token of a shorter text is
            padding: left out.
        labels: What stands before each text, such as its class.
        scale: Whether each ``"text"`` has a colour scale of its own, or ``"all"`` have one.

    Returns:
        HTML, which a notebook shows; :class:`str` otherwise.

    Raises:
        InputError: If shapes do not fit, or numbers are not finite.
        OptionError, OptionTypeError: For tokens or labels that are no texts or do not fit.

    Example:
        >>> page = token_html(["not", "bad"], torch.tensor([-0.2, 0.9]))
        >>> page.count("<span")
        2
    """
    where = "token_html"
    lines = []
    texts = list(_texts(tokens, attributions, labels, where))
    for (label, words, numbers), end in zip(texts, _scales(texts, scale, where), strict=True):
        spans = " ".join(
            f'<span title="{number:.4g}" style="background: rgb{colour_of(number / end)}; color: black; '
            f'padding: 1px 3px; border-radius: 3px; line-height: 1.9">{html.escape(word)}</span>'
            for word, number in zip(words, numbers, strict=True)
        )
        head = f"<b>{html.escape(label)}</b> " if label else ""
        told = f"sum: {numbers.sum():+.3g}, end of the colours: {end:.2g}"
        lines.append(f'<p style="font-family: sans-serif">{head}{spans} <small>({told})</small></p>')
    return Html("\n".join(lines))


def token_figure(
    tokens: Texts,
    attributions: Tensor,
    *,
    labels: Iterable[str] | None = None,
    width: float = 8.0,
    scale: Literal["text", "all"] = "text",
) -> Figure:
    """Draw what :func:`token_html` writes, for papers and terminals.

    Args:
        tokens: As there.
        attributions: As there.
        labels: As there.
        width: Of the figure in inches.
        scale: As there.

    Raises:
        InputError, OptionError, OptionTypeError: As there.
    """
    where, size = "token_figure", 10.0
    texts = list(_texts(tokens, attributions, labels, where))
    placed: list[tuple[float, int, str, tuple[int, int, int] | None]] = []
    line = 0
    scales = _scales(texts, scale, where)
    for (label, words, numbers), end in zip(texts, scales, strict=True):
        at = 0.0
        if label:
            placed.append((0.0, line, label, None))
            line += 1
        for word, number in zip(words, numbers, strict=True):
            wide = inches_of(len(word) + 1, size * 1.15) + 0.06
            if at and at + wide > width - 0.2:
                at, line = 0.0, line + 1
            placed.append((at, line, word, colour_of(number / end)))
            at += wide
        line += 2
    height = 0.27 * line + 0.4
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for at, row, word, colour in placed:
        box = None if colour is None else {"facecolor": [c / 255 for c in colour], "edgecolor": "none", "pad": 2}
        axes.text(
            at + 0.1, 0.27 * row + 0.2, _plain(word), fontsize=size, va="center", bbox=box, family="DejaVu Sans Mono",
            weight="bold" if colour is None else "normal",
        )  # fmt: skip
    told = f"the end of the colours is {scales[0]:.2g}" if scale == "all" else "each text has its own scale"
    axes.text(0.1, height - 0.12, f"{SPEAKS}; {told}", fontsize=8, va="center", color="#555555")
    return figure


def _scales(texts: Sequence[_Text], scale: object, where: str) -> list[float]:
    """Return the attribution at the end of the colours, for each text."""
    own = [scale_of(numbers) for _, _, numbers in texts]
    if one_of(scale, ("text", "all"), "scale", where) == "text":
        return own
    return [scale_of(np.concatenate([numbers for _, _, numbers in texts]))] * len(own)


def _plain(word: str) -> str:
    return word.replace("$", r"\$").replace("\n", "⏎")  # no mathematics, no new lines


def _texts(tokens: object, attributions: Tensor, labels: Iterable[str] | None, where: str) -> Iterator[_Text]:
    """Yield the label, tokens and attributions of each text."""
    if isinstance(tokens, str) or not isinstance(tokens, Sequence) or not tokens:
        raise OptionTypeError(
            f"{where}: `tokens` must be a list of tokens, or one list for each text, but is {tokens!r}."
        )
    numbers = array_of(attributions, "attributions", where)
    single = all(isinstance(token, str) for token in tokens)
    texts = [list(tokens)] if single else [list(text) for text in tokens]
    of_a_batch = numbers.ndim == 3 or (numbers.ndim == 2 and len(numbers) == 1 < len(texts[0]))
    if single and not of_a_batch:
        numbers = numbers[None]
    if numbers.ndim == 3:
        numbers = numbers.sum(2)
    if numbers.ndim != 2 or len(numbers) != len(texts):
        raise InputError(
            f"{where}: `attributions` must have shape (L,) or (L, D) for one text, or (N, L) or (N, L, D) for N = "
            f"{len(texts)}, but has {tuple(np.shape(attributions))}."
        )
    heads = [""] * len(texts) if labels is None else checked_names(labels, len(texts), "labels", "text", where)
    for i, (head, text, row) in enumerate(zip(heads, texts, numbers, strict=True)):
        if len(text) > len(row):
            raise InputError(f"{where}: text {i} has {len(text)} tokens, but `attributions` has {len(row)} for each.")
        yield head, [str(token) for token in text], row[: len(text)]


def colour_of(share: float) -> tuple[int, int, int]:
    """Return red or blue mixed with white: ±1 is the end of the scale, 0 is white."""
    end = _RED if share > 0 else _BLUE
    strength = _STRONGEST * min(abs(share), 1.0)
    red, green, blue = (round(255 + strength * (channel - 255)) for channel in end)
    return red, green, blue
