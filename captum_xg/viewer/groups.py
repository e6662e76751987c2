"""Clusters of examples as a page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.errors import OptionError, OptionTypeError


@dataclass(frozen=True)
class Clusters:
    """Which cluster each example is in, and what there is to say of each.

    Attributes:
        members: The number of its cluster, −1 for none, for each example that is shown.
        names: Of the clusters, by number.
        facts: Of each cluster: name → number or text.
        typical: Ids of typical examples of each.
    """

    members: NDArray[np.int32]
    names: tuple[str, ...]
    facts: tuple[tuple[tuple[str, object], ...], ...]
    typical: tuple[tuple[int, ...], ...]

    def told(self) -> list[dict[str, object]]:
        """Return what the page has to know."""
        rows = zip(self.names, self.facts, self.typical, strict=True)
        return [
            {"name": name, "facts": [list(fact) for fact in facts], "typical": list(ids)} for name, facts, ids in rows
        ]


def clusters_of(value: object, own: NDArray[np.int64], ids: NDArray[np.int64], where: str) -> Clusters | None:
    """Return clusters as a user gave them.

    Args:
        value: None; or a mapping with ``cluster``, one number for each of ``own`` (−1: none), and ``table``, for each
            cluster a mapping with ``name``, ``ids`` of typical examples and further numbers by name.
        own: The ids that the numbers are of.
        ids: Those that are shown.
        where: For messages.

    Raises:
        OptionTypeError: If it is something else.
        OptionError: If there are more or fewer numbers than examples, or a number without a row in the table.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or "cluster" not in value:
        raise OptionTypeError(f"{where}: `clusters` must be what captum_xg.analysis returns, but is {value!r}.")
    given: Any = value["cluster"]
    members = np.array(given.tolist() if isinstance(given, Tensor) else given, np.int32)
    if members.shape != own.shape:
        raise OptionError(
            f"{where}: `clusters` must have one number for each of {len(own)} examples, but has the shape "
            f"{members.shape}."
        )
    table: Sequence[Mapping[str, Any]] = value.get("table") or [{} for _ in range(int(members.max(initial=-1)) + 1)]
    if int(members.max(initial=-1)) >= len(table):
        raise OptionError(f"{where}: `clusters` names cluster {members.max()}, but its table has {len(table)} rows.")
    return Clusters(
        members[np.searchsorted(own, ids)],
        tuple(str(row.get("name", f"cluster {i}")) for i, row in enumerate(table)),
        tuple(tuple((str(k), v) for k, v in row.items() if k not in ("name", "ids")) for row in table),
        tuple(tuple(int(i) for i in row.get("ids", ())) for row in table),
    )
