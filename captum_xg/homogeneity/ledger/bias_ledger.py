"""The split of each prediction into what inputs carry and what each added constant carries, by one backward pass."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import named_modules_of, require_evaluation_mode
from captum_xg._core.options import forward_function
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.homogeneity.certificate.untraceable import unfollowed
from captum_xg.homogeneity.ledger.added_constants import ConstantWatch, Found
from captum_xg.homogeneity.ledger.result import BiasLedger, LedgerRow
from captum_xg.homogeneity.scaling.precision import Precision

__all__ = ["BiasLedger", "bias_ledger"]

_WHERE = "bias_ledger"


def bias_ledger(
    model: ForwardFunction,
    inputs: Tensor | tuple[Tensor, ...],
    target: Target = None,
    additional_forward_args: object = None,
) -> BiasLedger:
    r"""Split each F(x) exactly into what the inputs carry and what each constant that is added in the model carries.

    A network of linear layers, ReLU, pooling and the like is homogeneous of degree 1 in its inputs and its biases
    jointly, so that by Euler's identity

    .. math:: F(x) = \sum_i x_i \frac{\partial F}{\partial x_i} + \sum_t \sum_p t_p \frac{\partial F}{\partial y_p},

    where y = A·h + t runs over the calls that add a constant t, at the positions p of their output: biases; the shift
    bias − running_mean·weight/√(running_var + eps) of a batch norm in evaluation mode; and what is added, subtracted,
    concatenated, stacked, filled or padded in. A constant is what does not depend on the inputs; of several that are
    added up before they meet the input's values, the sum counts.

    It takes one forward and one backward pass. Only where constants enter tensors whose dimension 0 does not count the
    examples (batches that are folded or transposed) each example takes a pass of its own.

    Args:
        model: A module or any callable, in evaluation mode.
        inputs: Tensor, or tuple of tensors, of shape ``(N, …)``.
        target: Which output F is: int, tuple, integer tensor, or list of ints or tuples, as in Captum.
        additional_forward_args: What follows the inputs in a call; constants, where they are added.

    Returns:
        A :class:`BiasLedger` with tensors of shape ``(N,)``. Models of other kinds are not refused: what inputs and
        constants do not explain is its ``remainder``.

    Raises:
        OptionTypeError: If ``model`` is no model or function, such as the class of one.
        InputError, TargetError: If an argument is unsuitable.
        ForwardOutputError, GradientError: If F or ∇F is not one finite real number per example, or per feature.
        TrainingModeError, ModelStateError: If dropout or the like is on, or the model holds no finite numbers.

    Source: Hesse et al. 2021, Section 3.2, on biases; Euler's identity for F as a function of inputs and constants.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1, bias=False))
        >>> ledger = bias_ledger(model, torch.rand(8, 3))
        >>> ledger.exact, [row.name for row in ledger.rows]
        (True, ['0.bias'])
    """
    forward_function(model, "model", _WHERE)
    formatted = format_inputs(inputs, _WHERE)
    function = ScalarFunction(model, additional_forward_args, target, _WHERE)
    require_usable_state(model, _WHERE)
    require_evaluation_mode(model, _WHERE)
    names, n = named_modules_of(model), len(formatted[0])
    with (
        ids_refused(model, inputs, additional_forward_args, _WHERE),
        torch.inference_mode(False),
        preserve_state(model, formatted[0].device),
    ):
        ledger, found = _measured(function, formatted, names)
        if n > 1 and (found.unassigned or _misassigned(ledger)):
            ledger = _one_by_one(ledger, function, formatted, names)
    return ledger


def _one_by_one(
    ledger: BiasLedger,
    function: ScalarFunction,
    inputs: tuple[Tensor, ...],
    names: Mapping[int, tuple[str, nn.Module]],
) -> BiasLedger:
    """Return the ledger of the batch with every example measured alone."""
    n = len(inputs[0])
    try:
        return _joined(
            [_measured(function.examples(i, i + 1, n), tuple(x[i : i + 1] for x in inputs), names)[0] for i in range(n)]
        )
    except Exception as error:
        # The batch ran, so the ledger stands; any model may refuse a single example in its own way.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        note = f"Constants enter where dimension 0 does not count the examples, and one example alone fails ({reason})."
        return replace(ledger, notes=(*ledger.notes, note))


def _measured(
    function: ScalarFunction, inputs: tuple[Tensor, ...], names: Mapping[int, tuple[str, nn.Module]]
) -> tuple[BiasLedger, Found]:
    watches: list[ConstantWatch] = []

    def run(*args: Any) -> Any:
        watches.append(ConstantWatch(args[: len(inputs)], names, run.__code__))
        with watches[-1]:
            return function.forward_func(*args)

    watched = ScalarFunction(run, function.additional, function.target, function.where, first=function.first)
    try:
        with _without_compilation():
            evaluation = watched.evaluate(inputs)
        found = watches[-1].found  # evaluate runs F a second time if a first layer wants to overwrite its input
    except Exception as error:
        evaluation = function.evaluate(inputs)  # where F itself fails, that error is raised
        found = Found(unfollowed=unfollowed(error).reason)
    finally:
        for watch in watches:
            watch.release()
    values = _wide(evaluation.values)
    products = [
        (_wide(x) * _wide(g)).reshape(len(x), -1) for x, g in zip(evaluation.inputs, evaluation.gradients, strict=True)
    ]
    input_part = sum((p.sum(1) for p in products), torch.zeros_like(values))
    size = sum((p.abs().sum(1) for p in products), torch.zeros_like(values))
    rows, remainder = [], values - input_part
    for added in found.added.values():
        if added.total is not None and added.size is not None:
            contributions = added.total.to(values)
            rows.append(LedgerRow(added.module, added.type, added.constant, added.location, contributions))
            remainder, size = remainder - contributions, size + added.size.to(values)
    rtol, dtype = _rounding(Precision.of(*inputs, evaluation.values, inner=found.dtypes))
    rounding = rtol * torch.maximum(values.abs(), size)
    return BiasLedger(values, input_part, tuple(rows), remainder, rounding, dtype, _notes(found)), found


def _without_compilation() -> AbstractContextManager[Any]:
    """Let compiled modules run as they were written, where their calls can be seen."""
    if "torch._dynamo" in sys.modules:  # else nothing was compiled, and importing it takes seconds
        eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return eager
    return nullcontext()


def _misassigned(ledger: BiasLedger) -> bool:
    """Return whether remainders cancel over the batch: then contributions belong to other examples than assumed."""
    return not ledger.exact and bool(ledger.remainder.sum().abs() <= ledger.rounding.sum())


def _joined(ledgers: list[BiasLedger]) -> BiasLedger:
    """Return one ledger of several, which hold one example each."""
    keys = {(row.module, row.constant): row for ledger in ledgers for row in ledger.rows}
    tables = [{(row.module, row.constant): row.contributions for row in ledger.rows} for ledger in ledgers]
    zero = torch.zeros_like(ledgers[0].values)
    rows = [
        LedgerRow(row.module, row.type, row.constant, row.location, torch.cat([t.get(key, zero) for t in tables]))
        for key, row in keys.items()
    ]
    values, input_part, remainder, rounding = (
        torch.cat(parts)
        for parts in zip(*((p.values, p.input_part, p.remainder, p.rounding) for p in ledgers), strict=True)
    )
    notes = tuple(dict.fromkeys(note for ledger in ledgers for note in ledger.notes))
    return BiasLedger(values, input_part, tuple(rows), remainder, rounding, ledgers[0].dtype, notes)


def _notes(found: Found) -> tuple[str, ...]:
    if found.unfollowed:
        return (f"The model {found.unfollowed}, so that all that constants carry is in the remainder.",)
    if not found.left:
        return ()
    return (
        f"Values that depend on the inputs leave PyTorch ({', '.join(found.left)}); where they are added again, they "
        "count as constants.",
    )


def _rounding(precision: Precision) -> tuple[float, str]:
    """Return the remainder that counts as rounding, relative to the sum of all absolute terms, and the dtype's name.

    Measured on torchvision's networks: 0.5 eps at most. But what cancels within the network is not among these terms:
    of 500 small random ones 1 in 100 exceeds 8 eps, and single ones 200 eps.
    """
    name = str(precision.dtype).removeprefix("torch.")
    return precision.euler_rtol, f"{name} by TF32" if precision.tf32 else name


def _wide(x: Tensor) -> Tensor:
    """Return x in a precision in which its own rounding is all that matters."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
