"""Types of arguments, spelled out here because Captum comes without type information."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from torch import Tensor

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])
"""One tensor or a tuple of them; what goes in as one comes out as one."""

ForwardFunction: TypeAlias = Callable[..., Any]
"""A module or any callable. What it takes and returns is the caller's: the one `Any` that a model needs."""

Baselines: TypeAlias = int | float | Tensor | tuple[int | float | Tensor, ...] | None

Index: TypeAlias = int | tuple[int | slice, ...]

Target: TypeAlias = Index | Tensor | Sequence[int] | Sequence[tuple[int | slice, ...]] | None
"""Which number of each example's output: the forms that Captum takes; sequences must be lists."""
