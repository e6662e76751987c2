"""Attributions that average gradients along paths: Expected Gradients and Integrated Gradients.

Each example has k points, in a row: rows i·k to (i+1)·k − 1 of the batch that the model sees belong to example i, as
do the targets and additional arguments that are repeated for them. The average over the k is taken in at least float32.
Points between a reference and an example are not data: batch norms must not learn from them, so those in training mode
work by their running statistics while the points are run, and are put back afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from captum_xg._core.batches import inputs_of_example
from captum_xg._core.modules import evaluation_mode, named_modules_of
from captum_xg._core.options import positive_integer
from captum_xg._core.types import Tensors
from captum_xg.errors import BaselineError, OptionError, OptionTypeError
from captum_xg.priors.attribution.base import Attribution, Batch, register_attribution
from captum_xg.priors.supported import WHERE
from captum_xg.priors.target_selection import repeated_rows

References = Tensor | Tensors | Dataset[object] | Callable[[int], object] | None


@register_attribution("expected_gradients")
class ExpectedGradients(Attribution):
    r"""Expected Gradients: mean over references r of (x − r) ⊙ ∂F(r + α(x − r))/∂x, α uniform on [0, 1].

    Args:
        n_samples: References per example and call, each with an α of its own, drawn again at every call.
        references: Where they come from: a tensor (or tuple of tensors) of them, a dataset whose items begin with the
            inputs (or have them by names, as batches for :func:`~captum_xg.fine_tune`), or a function of n that returns
            n of them; None for the other examples of the batch and the example itself.
        generator: Of the random numbers.

    Source: Erion et al. 2021, Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients, Eq. 4.
    """

    one_pass = False

    def __init__(
        self, *, n_samples: int = 1, references: References = None, generator: torch.Generator | None = None
    ) -> None:
        self._n_samples = positive_integer(n_samples, "n_samples", WHERE)
        if not (
            references is None or (callable(references) and not isinstance(references, type)) or _has_items(references)
        ):
            raise OptionTypeError(
                f"{WHERE}: `references` must be a tensor, a tuple of tensors, a dataset or a function of their "
                f"number but is {type(references).__name__}."
            )
        if not isinstance(generator, (torch.Generator, type(None))):
            raise OptionTypeError(f"{WHERE}: `generator` must be a torch.Generator but is {generator!r}.")
        self._references = references
        self._generator = generator

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return the attributions for each score."""
        k, n = self._n_samples, len(batch.inputs[0])
        # First α, then the references: from a seeded generator come the same α whatever the references are.
        alpha = self._random(n * k, batch.passed.points[0])
        references = self._drawn(batch, n * k)
        if batch.forward.layer is None:
            starts = references
        else:
            # At a layer the path leads between what it gives for reference and example, not between these.
            with _no_statistics(batch):
                starts = batch.forward.points_of(references, repeated_rows(batch.additional, n, k))
        ends = tuple(p.repeat_interleave(k, 0) for p in batch.passed.points)
        steps = tuple(end - start for end, start in zip(ends, starts, strict=True))
        points = tuple(
            start + alpha.to(step.dtype).reshape(-1, *[1] * (step.dim() - 1)) * step
            for start, step in zip(starts, steps, strict=True)
        )
        weights = torch.full((k,), 1 / k, dtype=torch.float64)  # the estimate is the plain mean of its draws
        return _averaged(batch, points, steps, weights)

    def _random(self, n: int, like: Tensor) -> Tensor:
        device = like.device if self._generator is None else self._generator.device
        dtype = torch.promote_types(like.dtype, torch.float32)
        return torch.rand(n, generator=self._generator, device=device, dtype=dtype).to(like.device)

    def _drawn(self, batch: Batch, count: int) -> Tensors:
        source: Any = batch.inputs if self._references is None else self._references
        if isinstance(source, Tensor):
            source = (source,)
        rows: Any
        if isinstance(source, tuple):
            index = self._indices(len(source[0]), count, source[0].device)  # inputs that belong together are drawn so
            rows = tuple(x[index.to(x.device)] for x in source)
        elif _has_items(source):
            # Item by item, and drawn on the CPU: a dataset may be larger than memory.
            items = [source[int(i)] for i in self._indices(len(source), count, torch.device("cpu"))]
            rows = default_collate([inputs_of_example(item, len(batch.inputs), WHERE) for item in items])
        else:
            rows = source(count)
        # What follows the inputs in a reference, such as labels, is left out.
        rows = (rows,) if isinstance(rows, Tensor) else tuple(rows)[: len(batch.inputs)]
        return _fitting(rows, batch.inputs, count)

    def _indices(self, n: int, count: int, device: torch.device) -> Tensor:
        if n == 0:
            raise OptionError(f"{WHERE}: `references` is empty. Give at least one.")
        on = device if self._generator is None else self._generator.device
        return torch.randint(n, (count,), generator=self._generator, device=on).to(device)


@register_attribution("integrated_gradients")
class IntegratedGradients(Attribution):
    r"""Integrated Gradients: (x − b) ⊙ ∫₀¹ ∂F(b + α(x − b))/∂x dα, by Gauss–Legendre quadrature.

    Args:
        n_steps: Points of the quadrature.
        baselines: b: a number, a tensor that broadcasts to the inputs, or a tuple of these.

    Source: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks, Eq. 1.
    """

    one_pass = False

    def __init__(self, *, n_steps: int = 20, baselines: float | Tensor | tuple[float | Tensor, ...] = 0) -> None:
        self._n_steps = positive_integer(n_steps, "n_steps", WHERE)
        for baseline in baselines if isinstance(baselines, tuple) else (baselines,):
            try:
                torch.as_tensor(baseline)
            except (RuntimeError, TypeError, ValueError):
                raise BaselineError(
                    f"{WHERE}: `baselines` must be a number, a tensor, or a tuple of these, one for each input, but "
                    f"is {baselines!r}."
                ) from None
        self._baselines = baselines
        nodes, weights = np.polynomial.legendre.leggauss(self._n_steps)
        self._alphas, self._weights = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)

    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return the attributions for each score."""
        m, n = self._n_steps, len(batch.inputs[0])
        starts = self._starts(batch)
        steps = tuple((x - b).repeat_interleave(m, 0) for x, b in zip(batch.passed.points, starts, strict=True))
        points = tuple(
            b.repeat_interleave(m, 0)
            + self._alphas.to(step.device, step.dtype).repeat(n).reshape(-1, *[1] * (step.dim() - 1)) * step
            for b, step in zip(starts, steps, strict=True)
        )
        return _averaged(batch, points, steps, self._weights)

    def _starts(self, batch: Batch) -> Tensors:
        given = self._baselines if isinstance(self._baselines, tuple) else (self._baselines,) * len(batch.inputs)
        if len(given) != len(batch.inputs):
            raise BaselineError(f"{WHERE}: {len(given)} baselines for {len(batch.inputs)} inputs. Pass one for each.")
        try:
            baselines = tuple(
                torch.as_tensor(b, dtype=x.dtype, device=x.device).expand(x.shape)
                for b, x in zip(given, batch.inputs, strict=True)
            )
        except (RuntimeError, TypeError, ValueError) as error:
            raise BaselineError(f"{WHERE}: `baselines` does not fit the inputs: {error}") from None
        if batch.forward.layer is None:
            return baselines
        with _no_statistics(batch):
            return batch.forward.points_of(baselines, batch.additional)


def _averaged(batch: Batch, points: Tensors, steps: Tensors, weights: Tensor) -> list[Tensors]:
    """Return Σ_j w_j · step_j ⊙ ∂F(point_j)/∂point_j, where each example has len(weights) points in a row."""
    k, n = len(weights), len(batch.inputs[0])
    # At a layer the points hang in the graph of the parameters before it; inputs are new leaves.
    if batch.forward.layer is None:
        points = tuple(p if p.requires_grad else p.requires_grad_() for p in points)
    inputs = tuple(x.repeat_interleave(k, 0) for x in batch.inputs)
    with _no_statistics(batch):
        explained = batch.forward.at(points, inputs, repeated_rows(batch.additional, n, k))
    results = []
    for scores in batch.selection.repeated(n, k).scores(explained):
        terms = (step * g for step, g in zip(steps, batch.gradients(scores, points), strict=True))
        with torch.autocast(explained.device.type, enabled=False):  # it would average in its coarse dtype
            results.append(
                tuple(
                    torch.einsum("nk...,k->n...", t.reshape(n, k, *t.shape[1:]), weights.to(t.device, t.dtype))
                    for t in terms
                )
            )
    return results


def _no_statistics(batch: Batch) -> AbstractContextManager[None]:
    """Let batch norms work by their running statistics: points between references and examples are not data."""
    # By the attribute and not the class, for batch norms of other libraries have it, too.
    modules = (module for _, module in named_modules_of(batch.forward.model).values())
    return evaluation_mode(module for module in modules if getattr(module, "track_running_stats", False))


def _fitting(rows: tuple[object, ...], inputs: Tensors, count: int) -> Tensors:
    shapes = [tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__ for r in rows]
    expected = [(count, *x.shape[1:]) for x in inputs]
    if shapes != expected:
        raise OptionError(
            f"{WHERE}: references have shapes {shapes}, but {count} of them for these inputs need {expected}."
        )
    tensors = cast(Tensors, rows)
    return tuple(r.detach().to(x.device, x.dtype) for r, x in zip(tensors, inputs, strict=True))


def _has_items(source: object) -> bool:
    return hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, type)
