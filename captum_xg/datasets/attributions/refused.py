"""Examples that there are no attributions of, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from captum_xg._core.reading import Check, is_count, is_text, require_fields
from captum_xg._core.text import displayed

_CHECKS: dict[str, Check] = {"id": is_count, "kind": is_text, "reason": is_text}


@displayed
@dataclass(frozen=True)
class RefusedExample:
    """An example of a data set that there are no attributions of.

    Attributes:
        id: Its position in the data set.
        kind: The class of error, such as ``"HomogeneityError"``.
        reason: What was said.
    """

    id: int
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"example {self.id}: {self.kind}: {self.reason}"


def as_text(refused: Iterable[RefusedExample]) -> str:
    """Return refused examples as the JSON that a shard keeps."""
    return json.dumps([asdict(each) for each in refused], ensure_ascii=False)


def from_text(text: str) -> tuple[RefusedExample, ...]:
    """Return refused examples from the JSON of a shard.

    Raises:
        ValueError: If it is something else.
    """
    listed = json.loads(text)
    if not isinstance(listed, list):
        raise ValueError("its refused examples are no list")
    for each in listed:
        require_fields(each, _CHECKS)
    return tuple(RefusedExample(**each) for each in listed)
