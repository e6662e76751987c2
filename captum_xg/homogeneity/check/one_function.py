"""F as one fixed function of each example alone: it gives the same again, whatever the other examples are.

Neither Euler's identity nor other scales see that a value depends on how *large* or of which direction the others are
where their size cancels: so some rows are replaced, and the value and the gradient of those that stay must stay. Rows
are replaced in place, as a constant that a forward function keeps for each row must still meet its own row.

Example: ``x / x.norm() * model(x / x.norm(dim=1, keepdim=True)).mean(0)``: other rows enter with degree 0.

What must never happen: a function that treats its examples separately is refused. So a difference counts only if it is
more than rounding and does not come by repeating the call, and rows that F cannot be run at say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.modules import named_modules_of
from captum_xg._core.target import PARTS_ADVICE
from captum_xg.errors import CrossExampleError, NondeterministicForwardError
from captum_xg.homogeneity.scaling.judgement import euler_terms
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import scale_inputs, to_vector

Result = TypeVar("Result")
Differ: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""For two vectors of values: where they differ by more than rounding."""


def differ_for(evaluation: Evaluation, precision: Precision) -> Differ:
    """Return what tells whether values of F differ by more than rounding."""
    # Rounding is relative to the terms that F is a sum of, which may nearly cancel.
    return partial(_differ, size=euler_terms(evaluation)[1], tolerance=precision.inexact_rtol)


def require_repeatable(function: ScalarFunction, evaluation: Evaluation, differ: Differ) -> None:
    """Run F twice more.

    Raises:
        NondeterministicForwardError: If that changes F(x).
    """
    recorded, first, second = to_vector(evaluation.values), _values(function, evaluation), _values(function, evaluation)
    for one, other, what in (
        (first, second, "calling it again on the same inputs"),
        (recorded, first, "calling it without recording gradients, which X-Gradient's check does,"),
    ):
        different = differ(one, other)
        if different.any():
            i = int(different.nonzero()[0])
            raise NondeterministicForwardError(
                f"{function.where}: the forward function is not deterministic: {what} changes F(x) of example "
                f"{function.first + i} from {float(one[i]):.6g} to {float(other[i]):.6g}. Dropout or noise that "
                "ignores model.eval(), or a branch on torch.is_grad_enabled() are frequent causes. Make F a fixed "
                "function of its inputs."
            )


def require_separate_from(function: ScalarFunction, evaluation: Evaluation, failing: int, differ: Differ) -> None:
    """Change all examples but one that deviates, in several ways, and see whether its value changes.

    Raises:
        CrossExampleError: If it does.
    """
    if len(evaluation.values) == 1:
        return
    before = to_vector(evaluation.values)
    # Larger, smaller and negative: a maximum over the batch, or a ReLU of a mean, may not show for one of them.
    for factor in (0.5, 8.0, -8.0):
        scales = torch.full_like(before, factor)
        scales[failing] = 1.0
        try:
            after = to_vector(function.values(scale_inputs(evaluation.inputs, scales)))
        except Exception:  # whatever F raises at rows that are not its user's
            continue
        if bool(differ(before, after)[failing]):
            changes = _change("F(x)", function.first + failing, before[failing], after[failing])
            raise _mixes(function, f"multiplying the others by {factor:g} {changes}")


def require_separate(function: ScalarFunction, evaluation: Evaluation, precision: Precision) -> None:
    """Replace half of the examples and see whether values and gradients of the others stay, and values the other way.

    Raises:
        CrossExampleError: If one does not.
        NondeterministicForwardError: If it does not stay on repetition either.
    """
    n = len(evaluation.values)
    if n == 1:
        return
    # Neither in blocks nor in turn: neighbours at any fixed distance are parted for some example.
    moved = torch.tensor([i.bit_count() % 2 == 1 for i in range(n)])
    differ = differ_for(evaluation, precision)
    # The other half by values alone: a value may depend on a row that was not replaced, such as the first one.
    other = next(_replaced(evaluation, ~moved, function.values), None)
    if other is not None:
        _require_same(function, evaluation, other, moved, differ)
    # With these no two rows are always replaced together, so that no pairing of rows goes unseen.
    for bit in range((n - 1).bit_length() - 1):
        some = torch.tensor([bool(i >> bit & 1) for i in range(n)])
        there_too = next(_replaced(evaluation, some, function.values), None)
        if there_too is not None:
            _require_same(function, evaluation, there_too, ~some, differ)
    there = next(_replaced(evaluation, moved, function.evaluate), None)
    if there is None:
        return
    _require_same(function, evaluation, there.values, ~moved, differ)
    size, difference = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for x, g, h in zip(evaluation.inputs, evaluation.gradients, there.gradients, strict=True):
        size += _weighted(x, g)
        difference += _weighted(x, h - g)
    # A gradient may jump where an accelerator adds in another order, so that only what is far more than that counts.
    tolerance = torch.finfo(precision.dtype).eps ** 0.25
    different = ~(difference <= tolerance * size) & ~moved
    if different.any():
        require_repeatable(function, evaluation, differ)
        i = int((torch.where(moved, 0.0, difference / size.clamp(min=1e-300))).argmax())
        raise _mixes(
            function,
            f"replacing others changes the gradient at example {function.first + i}, by {float(difference[i]):.3g} "
            f"beside Σ|x·∂F| = {float(size[i]):.3g}",
        )


def _require_same(
    function: ScalarFunction, evaluation: Evaluation, values: Tensor, stays: Tensor, differ: Differ
) -> None:
    """Refuse values that have changed for rows that stayed, unless they change by repetition."""
    before, after = to_vector(evaluation.values), to_vector(values)
    different = differ(before, after) & stays
    if different.any():
        require_repeatable(function, evaluation, differ)
        i = int(different.nonzero()[0])
        raise _mixes(function, f"replacing others {_change('F(x)', function.first + i, before[i], after[i])}")


def _replaced(evaluation: Evaluation, moved: Tensor, run: Callable[[tuple[Tensor, ...]], Result]) -> Iterator[Result]:
    """Yield what F gives with the moved rows replaced, where it can be run at what they are replaced by."""
    # Numbers like those of the example come first, as F may take no negative ones; but their direction changes and not
    # only their size, even if all rows are alike.
    for factor, backwards in ((0.75, True), (-0.75, True), (0.75, False)):
        inputs = []
        turned = False
        for x in evaluation.inputs:
            rows = x.detach().roll(1, 0)
            if backwards:
                rows = rows.reshape(len(x), -1).flip(1).reshape(x.shape)
            turned = turned or factor < 0 or not backwards or _turns(x.detach(), rows)
            chosen = moved.to(x.device).view(-1, *[1] * (x.dim() - 1))
            inputs.append(torch.where(chosen, factor * rows, x.detach()))
        if not turned:
            continue
        try:
            result = run(tuple(inputs))
        except Exception:  # whatever F raises at rows that are not its user's
            continue
        yield result


def _turns(x: Tensor, rows: Tensor) -> bool:
    """Return whether some rows point elsewhere than those that they replace."""
    one, other = (each.reshape(len(x), -1) for each in (x, rows))
    scaled = [each / each.abs().amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) for each in (one, other)]
    return bool(((scaled[0] - scaled[1]).abs() > 0.01).any())


def _mixes(function: ScalarFunction, what: str) -> CrossExampleError:
    norms = [
        f"{path} ({type(m).__name__})"
        for path, m in named_modules_of(function.forward_func).values()
        if isinstance(m, _BatchNorm) and m.running_mean is None
    ]
    hint = f" Layers that normalise by batch statistics even in eval mode: {', '.join(norms)}." if norms else ""
    return CrossExampleError(
        f"{function.where}: the value for one example depends on the others: {what}, so no attribution to one "
        f"example's input is complete.{hint} Let the forward function treat examples separately, or explain one at a "
        f"time.{PARTS_ADVICE}"
    )


def _change(what: str, example: int, before: Tensor, after: Tensor) -> str:
    return f"changes {what} of example {example} from {float(before):.6g} to {float(after):.6g}"


def _weighted(x: Tensor, gradient: Tensor) -> Tensor:
    """Return Σ|x·g| for each example."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return to_vector((x.detach().to(wide) * gradient.detach()).reshape(len(x), -1).abs_().sum(1))


def _values(function: ScalarFunction, evaluation: Evaluation) -> Tensor:
    # A copy: the first layer may work in place.
    return to_vector(function.values(tuple(x.detach().clone() for x in evaluation.inputs)))


def _differ(one: Tensor, other: Tensor, *, size: Tensor, tolerance: float) -> Tensor:
    # Kernels may differ with gradient recording, by rounding; randomness and mixing change more than that.
    size = torch.maximum(torch.maximum(one.abs(), other.abs()), size)
    return ~((one - other).abs() <= tolerance * size)
