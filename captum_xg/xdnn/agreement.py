"""The comparison of the outputs of a converted model with those of the original."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_xg._core.text import displayed


@displayed
@dataclass(frozen=True)
class Agreement:
    """One output of the model after one stage of the conversion, compared with that of the original.

    Attributes:
        stage: What had been done.
        changes: How many modules it changed.
        difference: Σ|F − F₀| / Σ|F₀| over all examples and outputs.
        top1: Share of the predictions whose largest output is in the same place. A prediction is what lies along
            ``classes``: there is one for each example, pixel, token or node. None for fewer than two outputs.
        correlation: Pearson correlation of the outputs of one example (one row of the output), averaged over rows; over
            the rows where there is one output each; None where outputs do not vary.
        examples: Number of examples.
        output: Which of several tensors that the model returns, such as ``"['aux']"``; ``""`` if it is one.
        classes: The dimension along which the largest output is looked for; None if ``top1`` is.
        predictions: How many predictions were compared.
    """

    stage: str
    changes: int
    difference: float
    top1: float | None
    correlation: float | None
    examples: int
    output: str = ""
    classes: int | None = None
    predictions: int = 0


def compare(
    stage: str,
    changes: int,
    before: Tensor,
    after: Tensor,
    *,
    examples: int | None = None,
    output: str = "",
    classes: int | None = 1,
) -> Agreement:
    """Return how much two outputs of one shape have in common.

    Args:
        stage: What had been done.
        changes: How many modules it changed.
        before: The original's output.
        after: The converted model's.
        examples: Number of examples; by default that of rows.
        output: Which of several outputs it is.
        classes: The dimension of classes, see :func:`dimension_of_classes`.
    """
    reference, other = _real(before), _real(after)
    n = len(reference)
    top1, predictions = None, 0
    if classes is not None and not before.is_complex() and before.dim() > classes and before.shape[classes] > 1:
        same = before.double().argmax(classes) == after.double().argmax(classes)
        top1, predictions = (float(same.double().mean()) if same.numel() else None), same.numel()
    return Agreement(
        stage,
        changes,
        relative_difference(before, after),
        top1,
        _correlation(reference, other),
        n if examples is None else examples,
        output,
        classes if top1 is not None else None,
        predictions,
    )


def dimension_of_classes(
    shape: Sequence[int],
    inputs: Sequence[Sequence[int]] = (),
    returned: Sequence[nn.Module] = (),
    *,
    convolutional: bool = True,
) -> int | None:
    """Return the dimension of an output along which scores of classes lie, as far as can be told; None if it has none.

    It is dimension 1 where PyTorch's losses expect it, ``(N, C)`` or ``(N, C, …)``, unless something speaks for the
    last one, ``(N, …, C)``: the layer that the output comes from, the dimensions that are those of the input's
    positions, a model without convolutions, or, for lists of candidates ``(N, A, C)``, inputs of more dimensions.

    Args:
        shape: The output's.
        inputs: Shapes of the inputs.
        returned: The layers whose results the model returns.
        convolutional: Whether there are convolutions in the model.
    """
    last = len(shape) - 1
    if last < 1:
        return None
    if last == 1:
        return 1
    for layer in returned:
        at_last = isinstance(layer, nn.Linear) and layer.out_features == shape[last]
        if at_last != (isinstance(layer, _ConvNd) and layer.out_channels == shape[1]):
            return last if at_last else 1
    alike = [x for x in inputs if len(x) == len(shape)]
    positions = [tuple(p) for x in alike for p in (x[2:], x[1:-1])]
    first_kept, last_kept = tuple(shape[2:]) in positions, tuple(shape[1:-1]) in positions
    if first_kept != last_kept:
        return 1 if first_kept else last
    if first_kept:
        return 1 if convolutional else last
    return last if last == 2 and any(len(x) > len(shape) for x in inputs) else 1


def relative_difference(before: Tensor, after: Tensor) -> float:
    """Return Σ|after − before| / Σ|before|, 0 where both are zero, infinity where they have not one shape."""
    if before.shape != after.shape:
        return math.inf
    reference, other = _real(before), _real(after)
    change = (other - reference).abs().sum()
    return 0.0 if change == 0 else float(change / reference.abs().sum())


def largest_difference(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Return the largest relative difference among several outputs, infinity where they are not the same ones."""
    if before.keys() != after.keys():
        return math.inf
    differences = [relative_difference(y, after[name]) for name, y in before.items()]
    return math.nan if any(map(math.isnan, differences)) else max(differences, default=0.0)


def _real(output: Tensor) -> Tensor:
    """Return an output as rows of real numbers in double precision."""
    plain = output.detach()
    plain = torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain
    return plain.double().reshape(len(output) if output.dim() else 1, -1 if output.numel() else 0)


def _correlation(reference: Tensor, other: Tensor) -> float | None:
    if reference.shape[1] == 1:
        reference, other = reference.T, other.T
    centred = [y - y.mean(1, keepdim=True) for y in (reference, other)]
    lengths = [torch.linalg.vector_norm(y, dim=1) for y in centred]
    # Outputs that are equal but for rounding have no variation to correlate.
    floor = 1e-12 * torch.linalg.vector_norm(reference, dim=1)
    varied = (lengths[0] > floor) & (lengths[1] > 0)
    if not bool(varied.any()):
        return None
    products = (centred[0] * centred[1]).sum(1)[varied] / (lengths[0] * lengths[1])[varied]
    return float(products.mean())
