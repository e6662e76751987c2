"""The paths of a call: its arguments checked, its function and inputs in float64, and all pieces of each path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_baselines, format_inputs
from captum_xg._core.model_state import require_memory
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Baselines, Tensors
from captum_xg.attr.adaptive.samples import Array, Indices
from captum_xg.attr.adaptive.straight_path import StraightPath
from captum_xg.attr.call_options import batch_size
from captum_xg.attr.exact.double import in_float64
from captum_xg.attr.exact.errors import ADVICE, RegionLimitError
from captum_xg.attr.exact.points import PathPoints
from captum_xg.attr.exact.verification import require_agreement
from captum_xg.attr.exact.walk import Collect, Pieces, walk


@dataclass(frozen=True)
class Call:
    """The arguments of a call, checked.

    Attributes:
        function: F, in the caller's dtypes.
        given: The inputs as they were given.
        inputs: The same as tensors.
        baselines: Tensors of their shapes, or with 1 in place of N.
        size: The most points in one pass; None to choose.
    """

    function: ScalarFunction
    given: object
    inputs: Tensors
    baselines: Tensors
    size: int | None


def checked(function: ScalarFunction, inputs: object, baselines: Baselines, size: int | None) -> Call:
    """Return the arguments of a call.

    Raises:
        CaptumXGError: If one has no meaning.
    """
    where = function.where
    formatted = format_inputs(inputs, where)
    ends = format_baselines(baselines, formatted, where)
    if size is not None:
        batch_size(size, 1, where)
    return Call(function, inputs, formatted, ends, size)


@dataclass(frozen=True)
class Paths:
    """The paths of a call in float64.

    Attributes:
        points: Points on them.
        ends: F at their ends, shape ``(N, 2)``.
        size: The most points in one pass; None to choose.
        where: What messages begin with.
    """

    points: PathPoints
    ends: Array
    size: int | None
    where: str

    def walked(self, examples: range, most: int, collect: Collect) -> Pieces:
        """Return all pieces of some paths, which agree with each other.

        Args:
            examples: Which paths.
            most: The most pieces of one path.
            collect: Gets every piece with its gradient, once.

        Raises:
            RegionLimitError: If a path has more.
            NotPiecewiseLinearError: If F is not piecewise linear there, or pieces do not agree.
        """

        def limit(counts: Indices) -> RegionLimitError:
            many = int(np.argmax(counts))
            return RegionLimitError(
                f"{self.where}: the path of example {examples.start + many} has more than max_regions={most} linear "
                f"regions; {int(counts[many])} were found, and not all of the path is covered. Raise max_regions. "
                f"{ADVICE}"
            )

        pieces = walk(self.points, examples, self.size, most, collect, limit)
        for i in examples:
            require_agreement(pieces.of(i), self.ends[i], self.where, i)
        return pieces

    def split(self, rows: Tensor, like: Tensors) -> Tensors:
        """Return rows as one tensor for each input, of its shape and dtype (float32 for coarser ones)."""
        parts = torch.split(rows, [x[0].numel() for x in like], dim=1)
        return tuple(
            part.reshape(x.shape).to(x.device, torch.promote_types(x.dtype, torch.float32))
            for part, x in zip(parts, like, strict=True)
        )


@contextmanager
def prepared(call: Call) -> Iterator[Paths]:
    """Return the paths of a call, in a context in which they can be walked and that leaves nothing behind.

    Raises:
        CaptumXGError: If there is no fixed function of each example to be explained, or none in float64.
    """
    own, where = call.function, call.function.where
    require_memory(own.forward_func, where)
    require_evaluation_mode(own.forward_func, where)
    with (
        ids_refused(own.forward_func, call.given, own.additional, where),
        torch.inference_mode(False),
        torch.no_grad(),
        preserve_state(own.forward_func, call.inputs[0].device),
    ):
        function = in_float64(own, call.inputs)
        inputs = tuple(x.detach().to(torch.float64, copy=True) for x in call.inputs)
        baselines = tuple(b.detach().to(torch.float64) for b in call.baselines)
        path = StraightPath(function, inputs, baselines, call.size or max(64, len(inputs[0])))
        size = 1 if path.points_at_once == 1 else call.size
        yield Paths(PathPoints(function, inputs, baselines), path.ends(range(len(inputs[0]))), size, where)
