"""Text for people: aligned tables, one-line ``repr`` and HTML of results, errors in one line, long lists cut short."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from html import escape
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound="type[object]")

_MOST = 48
"""The most characters of one value in a repr."""
LONGEST = 300
"""The most characters of an error in one line."""
_LISTED = 10
"""The most entries of a list in a message."""


@dataclass(frozen=True)
class Table:
    """A table among the lines of a text; its ``str()`` has aligned columns.

    Attributes:
        rows: Cells, those of the header first.
        left: How many columns, from the first, are flush left; the others are flush right.
        headers: How many rows are header.
        indent: Spaces before each line of the text.
        rule: Whether the text has a line between header and body.
    """

    rows: Sequence[Sequence[str]]
    left: int = 1
    headers: int = 1
    indent: int = 0
    rule: bool = False

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        lines = []
        for row in self.rows:
            cells = [
                cell.ljust(width) if j < self.left else cell.rjust(width)
                for j, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        if self.rule:
            lines.insert(self.headers, "─" * (sum(widths) + 2 * (len(widths) - 1)))
        return "\n".join(" " * self.indent + line for line in lines)

    def html(self) -> str:
        """Return the table as HTML, without colours, which belong to the reader's theme."""
        rows = []
        for i, row in enumerate(self.rows):
            kind = "th" if i < self.headers else "td"
            cells = [
                f'<{kind} style="text-align:{"left" if j < self.left else "right"};{_width(cell)}'
                f'padding:0.15em 0.7em">{escape(cell)}</{kind}>'
                for j, cell in enumerate(row)
            ]
            rows.append(f"<tr>{''.join(cells)}</tr>")
        head, body = "".join(rows[: self.headers]), "".join(rows[self.headers :])
        return (
            '<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:0.4em 0;'
            f'font-variant-numeric:tabular-nums"><thead>{head}</thead><tbody>{body}</tbody></table></div>'
        )


def displayed(cls: _Class) -> _Class:
    """Let a dataclass or named tuple of results show itself: give it a short ``repr`` and HTML for notebooks.

    A class that defines ``_parts``, lines and :class:`Table` objects, gets its ``str()`` and its HTML from it; one that
    defines ``__str__`` gets its HTML from that; the HTML of others is a table of their values.
    """
    methods = {"__repr__": _repr, "_repr_html_": _html} | ({"__str__": _str} if hasattr(cls, "_parts") else {})
    for name, method in methods.items():
        setattr(cls, name, method)
    return cls


def _repr(result: object) -> str:
    shown = (f"{name}={short(value)}" for name, value, telling in _values(result) if telling)
    return f"{type(result).__name__}({', '.join(shown)})"


def _str(result: Any) -> str:
    return "\n".join(map(str, result._parts()))


def _html(result: Any) -> str:
    cls = type(result)
    if hasattr(cls, "_parts"):
        parts = list(result._parts())
    elif any("__str__" in vars(base) for base in cls.__mro__[:-1]):
        parts = [str(result)]
    else:
        parts = [cls.__name__, Table([(name, _full(value)) for name, value, _ in _values(result)], left=2, headers=0)]
    # One line each, so that every one has its own indentation.
    parts = [line for part in parts for line in ([part] if isinstance(part, Table) else part.split("\n"))]
    shown = [
        part.html() if isinstance(part, Table) else _line(part, title=i == 0 and len(parts) > 1)
        for i, part in enumerate(parts)
    ]
    return f'<div style="line-height:1.45">{"".join(shown)}</div>'


def _full(value: object) -> str:
    """Return a value as it stands in a table of values: texts and results that belong to it whole."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "; ".join(f"{_full(key)}: {_full(part)}" for key, part in value.items())
    return repr(value) if hasattr(type(value), "_repr_html_") else short(value)


def _width(cell: str) -> str:
    return "white-space:nowrap;" if len(cell) <= 40 else "min-width:24em;"


def _line(line: str, *, title: bool) -> str:
    """Return a line as a paragraph: as far to the right as it stands in the text, with its continuation below it."""
    text = line.strip()
    if not text:
        return '<div style="height:0.7em"></div>'
    shown = f"<b>{escape(text)}</b>" if title else escape(text)
    indent = 0.5 * (len(line) - len(line.lstrip()))
    return f'<div style="padding-left:{indent + 1.5:g}em;text-indent:-1.5em">{shown}</div>'


def _values(result: Any) -> Iterator[tuple[str, object, bool]]:
    """Return name and value of each field, and whether a short form should tell it."""
    if isinstance(result, tuple):
        for name in result._fields:  # type: ignore[attr-defined]
            yield name, getattr(result, name), True
        return
    for field in fields(result):
        if field.repr:
            value = getattr(result, field.name)
            default = field.default
            if default is MISSING and field.default_factory is not MISSING:
                default = field.default_factory()
            plain = isinstance(value, (type(None), bool, int, float, str, list, tuple, dict))
            yield field.name, value, not (plain and type(value) is type(default) and value == default)


def short(value: object) -> str:
    """Return a value in at most some 50 characters: numbers with six digits, tensors by dtype and shape."""
    try:
        return _short(value)
    except Exception:  # the repr of a user's class may fail; that of the result must not
        return f"{type(value).__name__}(…)"


def _short(value: Any) -> str:
    kind = type(value)  # and not the value: a user's class may answer hasattr with anything
    if hasattr(kind, "shape") and hasattr(kind, "dtype"):
        return _short_tensor(value)
    if isinstance(value, (float, str, Enum)):
        return _short_scalar(value.value if isinstance(value, Enum) else value)
    if isinstance(value, Mapping):
        return _collection(value, lambda: "{" + ", ".join(f"{short(k)}: {short(v)}" for k, v in value.items()) + "}")
    listed = isinstance(value, (list, tuple)) or (isinstance(value, (set, frozenset)) and value)
    if listed and not hasattr(kind, "_fields"):
        opening, closing = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
        comma = "," * (isinstance(value, tuple) and len(value) == 1)
        return _collection(value, lambda: opening + ", ".join(map(short, value)) + comma + closing)
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    text = f"{kind.__name__}(…)" if hasattr(kind, "_repr_html_") else " ".join(repr(value).split())
    return text if len(text) <= _MOST else f"{kind.__name__}(…)"


def _short_scalar(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= _MOST else f"{text[: _MOST - 2]}…{text[-1]}"


def _collection(values: Collection[object], whole: Callable[[], str]) -> str:
    """Return it whole if it is small, else how many of what there are."""
    if len(values) <= 12 and len(text := whole()) <= _MOST:
        return text
    parts = values.values() if isinstance(values, Mapping) else values
    kinds = sorted({type(part).__name__ for part in parts})
    return f"<{len(values)} {' or '.join(kinds)}>"


def _short_tensor(value: Any) -> str:
    if tuple(value.shape) == ():
        try:
            return _short(value.item())
        except Exception:  # without numbers, as on the meta device
            pass
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def first_ten(items: Sequence[str]) -> list[str]:
    """Return the first ten ``items``, and "and n more" in place of the rest."""
    rest = [f"and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return [*items[:_LISTED], *rest]


def in_one_line(error: BaseException) -> str:
    """Return type and text of an error, whatever it is: without line breaks, cut where it gets long."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).partition("Exception raised from ")[0].split())  # what follows is a stack of C++
    except Exception:  # the error of a user's class, whose text is made by the user's code
        return name
    if not text:
        return name
    return f"{name}: {text}" if len(text) <= LONGEST else f"{name}: {text[:LONGEST]}…"
