"""The straight path from a baseline to an input: F and its gradient there, for pairs of an example and an α."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.types import Tensors
from captum_xg.attr.adaptive.samples import Array
from captum_xg.errors import CrossExampleError, ForwardOutputError, GradientError, NondeterministicForwardError


class StraightPath:
    """Gradients of F at b + α·(x − b), one row for all inputs of an example together.

    Args:
        function: F.
        inputs: x, floating-point tensors of shape ``(N, …)``.
        baselines: b, of the same shapes and dtypes.
        size: The most points in one forward pass.
    """

    def __init__(self, function: ScalarFunction, inputs: Tensors, baselines: Tensors, size: int) -> None:
        self._function, self._size = function, size
        self._inputs = tuple(x.detach() for x in inputs)
        self._baselines = tuple(b.detach() for b in baselines)
        self._n = len(inputs[0])
        self.precision = max(torch.finfo(x.dtype).eps for x in inputs)
        if self._n == 1 and self._has_rows():
            self._size = 1  # rows of several versions of the one example could not be told apart
        self._ends = np.stack([self._values(self._baselines), self._values(self._inputs)], axis=1)
        self._require_one_function()

    @property
    def points_at_once(self) -> int:
        """The most points in one forward pass: 1 where a single example has several rows of output."""
        return self._size

    def ends(self, examples: Sequence[int]) -> Array:
        """Return F(b) and F(x) of some examples."""
        return self._ends[list(examples)]

    def displacements(self, examples: Sequence[int]) -> Tensor:
        """Return x − b of some examples, shape ``(M, D)``."""
        chosen = torch.tensor(list(examples))
        differences = [
            (_wide(x[rows]) - _wide(b[rows])).reshape(len(chosen), -1)
            for x, b in zip(self._inputs, self._baselines, strict=True)
            for rows in (chosen.to(x.device),)
        ]
        return _joined(differences)

    def rows(self, examples: Sequence[int], points: Sequence[float]) -> tuple[Tensor, Array]:
        """Return gradients and values at pairs of an example and an α."""
        rows, values = [], []
        for start in range(0, len(examples), self._size):
            part = slice(start, start + self._size)
            found = self._evaluated(examples[part], points[part])
            rows.append(_joined([_wide(g).reshape(len(g), -1) for g in found.gradients]))
            values.append(_numbers(found.values))
        return torch.cat(rows), np.concatenate(values)

    def split(self, rows: Tensor, dtypes: Sequence[torch.dtype]) -> Tensors:
        """Return rows, one for each of some examples, as one tensor for each input."""
        sizes = [x[0].numel() for x in self._inputs]
        return tuple(
            part.reshape(len(rows), *x.shape[1:]).to(dtype).to(x.device)
            for part, x, dtype in zip(torch.split(rows, sizes, dim=1), self._inputs, dtypes, strict=True)
        )

    def _evaluated(self, examples: Sequence[int], points: Sequence[float]) -> Evaluation:
        function, alone = self._function, self._n == 1 and len(examples) == 1
        chosen = torch.tensor(list(examples))
        own = function if alone else function.take(chosen, self._n)
        inputs = []
        for x, b in zip(self._inputs, self._baselines, strict=True):
            rows = chosen.to(x.device)
            start, end = _wide(b[rows]), _wide(x[rows])
            alpha = torch.tensor(list(points), dtype=start.dtype, device=x.device).view(-1, *[1] * (x.dim() - 1))
            inputs.append((start + alpha * (end - start)).to(x.dtype))
        try:
            return own.evaluate(tuple(inputs))
        except (ForwardOutputError, GradientError):
            # Messages count the points of this pass. Those who read them know the examples of their batch.
            for i, example in enumerate(examples):
                own = function if alone else function.take(chosen[i : i + 1], self._n)
                own.first = function.first + example
                own.evaluate(tuple(x[i : i + 1] for x in inputs))
            raise

    def _values(self, inputs: Tensors) -> Array:
        parts = self._function.parts(inputs, self._size)
        # Copies, as the first layer may work in place.
        return np.concatenate([_numbers(own.values(tuple(x.clone() for x in some))) for some, own in parts])

    def _has_rows(self) -> bool:
        with torch.enable_grad():  # the forward function may differentiate by its inputs itself
            output = self._function.output(tuple(x.clone() for x in self._inputs))
        return len(output) > 1

    def _require_one_function(self) -> None:
        """Look whether F gives the same values again, and in other company.

        Raises:
            ForwardOutputError: If a value is not finite.
            NondeterministicForwardError, CrossExampleError: If it does not.
        """
        where, first = self._function.where, self._function.first
        bad = np.argwhere(~np.isfinite(self._ends))
        if len(bad):
            example, end = bad[0]
            raise ForwardOutputError(
                f"{where}: F is {self._ends[example, end]} at the {('baseline', 'input')[end]} of example "
                f"{first + example}. The inputs are finite, so forward_func overflows or divides by zero; nothing can "
                "be explained about that value."
            )
        values = self._ends[:, 1]
        sizes = np.abs(self._ends).max(1) + np.abs(values).mean()
        tolerance = self.precision**0.5 * sizes
        half = (self._n + 1) // 2
        again = np.concatenate([self._part_values(0, half), self._part_values(half, self._n)])
        different = np.abs(again - values) > tolerance
        if not different.any():
            return
        i = int(np.argmax(different))
        changes = f"F(x) of example {first + i} from {values[i]:.6g}"
        repeated = self._values(self._inputs)
        if self._n == 1 or (np.abs(repeated - values) > tolerance).any():
            raise NondeterministicForwardError(
                f"{where}: the forward function is not deterministic: calling it again on the same inputs changes "
                f"{changes}. Dropout or noise that ignores model.eval() is a frequent cause. Make F a fixed function "
                "of its inputs."
            )
        raise CrossExampleError(
            f"{where}: the value for one example depends on the others: leaving out half of them changes {changes} to "
            f"{again[i]:.6g}. Let the forward function treat examples separately, or explain one at a time."
        )

    def _part_values(self, start: int, stop: int) -> Array:
        if start == stop:
            return np.zeros(0)
        own = StraightPath.__new__(StraightPath)
        own._function, own._size = self._function.examples(start, stop, self._n), self._size
        return own._values(tuple(x[start:stop] for x in self._inputs))


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _numbers(values: Tensor) -> Array:
    return values.detach().to("cpu", torch.float64).numpy()


def _joined(rows: list[Tensor]) -> Tensor:
    """Return the rows of several inputs side by side, on the device of the first and in the finest dtype."""
    if len(rows) == 1:
        return rows[0]
    finest = max((row.dtype for row in rows), key=lambda dtype: dtype.itemsize)
    return torch.cat([row.to(rows[0].device, finest) for row in rows], dim=1)
