"""Points on straight paths, in float64: F, its slope along the path, its gradient, and how far its piece reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.evaluation import autograd_refusals_explained
from captum_xg._core.function import ScalarFunction
from captum_xg._core.modules import named_modules_of
from captum_xg._core.recorder import Names, Recorder
from captum_xg._core.types import Tensors
from captum_xg.attr.adaptive.samples import Array, Indices
from captum_xg.attr.exact.errors import ADVICE, NotPiecewiseLinearError
from captum_xg.errors import ForwardOutputError, GradientError
from captum_xg.homogeneity.piecewise.analysis import Pieces
from captum_xg.homogeneity.piecewise.bounds import Bounds
from captum_xg.homogeneity.piecewise.call import NotAffineError
from captum_xg.homogeneity.piecewise.tangents import Tangents


@dataclass(frozen=True)
class Found:
    """What a pass finds at M points.

    Attributes:
        values: F, shape ``(M,)``.
        slopes: dF/dα by tangents, shape ``(M,)``.
        left: How far the piece reaches to the left, shape ``(M,)``.
        right: How far the piece reaches to the right, shape ``(M,)``.
        gradients: ∇F, rows of all inputs of an example together, shape ``(M, D)``; on the device.
        units: How many conditions decide the piece.
    """

    values: Array
    slopes: Array
    left: Array
    right: Array
    gradients: Tensor
    units: int


class PathPoints:
    """The points b + α·(x − b) of N examples.

    Args:
        function: F, which computes in float64.
        inputs: x, float64 tensors of shape ``(N, …)``.
        baselines: b, of the same shapes.
    """

    def __init__(self, function: ScalarFunction, inputs: Tensors, baselines: Tensors) -> None:
        self._function, self._inputs, self._baselines = function, inputs, baselines
        self._n = len(inputs[0])
        self._names: Names = named_modules_of(function.forward_func)
        self.displacement = torch.cat(
            [(x - b).reshape(len(x), -1).to(inputs[0].device) for x, b in zip(inputs, baselines, strict=True)], 1
        )

    def at(self, examples: Indices, alphas: Array) -> Found:
        """Return what is found at pairs of an example and an α, from one pass.

        Raises:
            NotPiecewiseLinearError: If an operation is not affine in pieces.
        """
        found, _ = self._pass(examples, alphas, only=None)
        return found

    def look(self, example: int) -> tuple[bool, int]:
        """Return whether points may share a pass, as all that depends on one lies in its row, and its conditions."""
        found, separate = self._pass(np.full(3, example), np.array([0.21, 0.53, 0.79]), only=1)
        return separate, found.units

    def _pass(self, examples: Indices, alphas: Array, only: int | None) -> tuple[Found, bool]:
        function, chosen = self._function, torch.from_numpy(np.asarray(examples))
        own = function if self._n == 1 and len(examples) == 1 else function.take(chosen, self._n)
        tangents, bounds = Tangents(), Bounds(len(examples), self._inputs[0].device, only)
        with autograd_refusals_explained(function.where), torch.enable_grad():
            leaves, handles = [], []
            for x, b in zip(self._inputs, self._baselines, strict=True):
                rows = chosen.to(x.device)
                start, direction = b[rows], x[rows] - b[rows]
                alpha = torch.from_numpy(alphas).to(x.device).view(-1, *[1] * (x.dim() - 1))
                leaf = (start + alpha * direction).requires_grad_()
                if only is not None:
                    direction = direction * (torch.arange(len(rows), device=x.device) == only).view(alpha.shape)
                leaves.append(leaf)
                handles.append(leaf.clone())  # which the first layer may overwrite
                tangents.put(handles[-1].detach(), direction.clone())
            values = self._run(own, tuple(handles), tangents, bounds)
            slopes = tangents.of(values.detach())
            gradients = self._gradients(values, leaves)
        left, right = bounds.distances()
        slopes = torch.zeros_like(values) if slopes is None else slopes
        rows = torch.cat([g.reshape(len(g), -1).to(gradients[0].device) for g in gradients], 1)
        self._require_finite(values.detach(), rows, examples)
        of_points = [_numbers(x) for x in (values, slopes, left, right)]
        found = Found(of_points[0], of_points[1], of_points[2], of_points[3], rows, bounds.units)
        return found, bounds.separate

    def _run(self, function: ScalarFunction, handles: Tensors, tangents: Tangents, bounds: Bounds) -> Tensor:
        pieces = Pieces(tangents, bounds)
        where = self._function.where
        try:
            with Recorder(pieces, names=self._names, outermost=PathPoints._run.__code__):
                values = function(handles)
        except NotAffineError:
            values = None
        if pieces.refusal is not None:
            raise NotPiecewiseLinearError(f"{where}: {pieces.refusal}. {ADVICE}")
        assert values is not None
        return values

    def _gradients(self, values: Tensor, leaves: list[Tensor]) -> Tensors:
        if not values.requires_grad:
            return tuple(map(torch.zeros_like, leaves))
        found = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
        for i, gradient in enumerate(found):
            if gradient is None:
                raise GradientError(
                    f"{self._function.where}: the output does not depend on inputs[{i}] through autograd: it is unused "
                    "or detached. Leave it out of `inputs`, or pass it as an additional forward argument."
                )
        return tuple(found)

    def _require_finite(self, values: Tensor, rows: Tensor, examples: Indices) -> None:
        bad = ~values.isfinite()
        where, first = self._function.where, self._function.first
        if bool(bad.any()):
            i = int(bad.nonzero()[0])
            raise ForwardOutputError(
                f"{where}: F is {values[i].item()} on the path of example {first + int(examples[i])}. Both of its ends "
                "are finite, so forward_func overflows or divides by zero; nothing can be explained about that value."
            )
        if not bool(rows.sum().isfinite()) and not bool(rows.isfinite().all()):
            i = int((~rows.isfinite()).any(1).nonzero()[0])
            raise GradientError(
                f"{where}: the gradient has NaN or infinity on the path of example {first + int(examples[i])}, "
                "although F is finite there."
            )


def _numbers(values: Tensor) -> Array:
    return values.detach().to("cpu", torch.float64).numpy()
