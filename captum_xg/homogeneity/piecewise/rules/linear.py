"""Operations that are linear in all tensors they are given: they give the tangent of their result from tangents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_xg.homogeneity.piecewise.call import PieceCall
from captum_xg.homogeneity.piecewise.registry import Found, piece_rule


@piece_rule(
    *("clone", "alias", "_reshape_copy", "view", "_unsafe_view", "expand_copy", "view_copy", "neg", "sum", "mean"),
    *(
        "nansum",
        "cumsum",
        "trace",
        "tril",
        "triu",
        "diag_embed",
        "cat",
        "stack",
        "repeat",
    ),
    *("roll", "flip", "rot90", "index_select", "index", "_unsafe_index", "gather", "take", "masked_select"),
    *("select_copy", "slice_copy", "select_scatter", "slice_scatter", "diagonal_scatter", "scatter_add", "index_add"),
    *("index_copy", "index_put", "_unsafe_index_put", "_index_put_impl", "masked_scatter", "pixel_shuffle"),
    *("pixel_unshuffle", "channel_shuffle", "im2col", "col2im", "unfold_copy", "max_unpool2d", "max_unpool3d"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "reflection_pad1d", "reflection_pad2d"),
    *("reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "upsample_nearest1d"),
    *("upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d"),
    *("_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
    *("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "permute_copy", "squeeze_copy"),
    *("unsqueeze_copy", "lift_fresh_copy", "detach_copy", "t_copy", "transpose_copy"),
)
def linear(call: PieceCall) -> Found:
    """f(z)' = f(z')."""
    found: Tensor = call.on_tangents()
    return found


@piece_rule("constant_pad_nd", "masked_fill", "fill", "index_fill", "scatter", "scatter_reduce", "where")
def linear_beside_numbers(call: PieceCall) -> Found:
    """The same where numbers are put beside what is moved; in the derivative they are zero."""
    if call.name == "scatter" and call.get("reduce") is not None:
        call.refuse(f"it reduces by {call['reduce']!r}")
    if call.name == "scatter_reduce" and call["reduce"] not in ("sum", "mean"):
        call.refuse(f"it reduces by {call['reduce']!r}")
    if call.name == "where":
        call.fixed("condition")
    found: Tensor = call.on_tangents(zeroed=("value", "self", "other"))
    return found


@piece_rule("zero", "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full")
def constant(call: PieceCall) -> Found:
    """What has only the shape of what is given."""
    return None


@piece_rule("new_empty", "new_empty_strided", "rand_like", "randn_like", "is_same_size", "_has_same_storage_numel")
def constant_or_nothing(call: PieceCall) -> Found:
    """Random numbers are no matter of pieces: that F is a fixed function is looked at elsewhere."""
    return None


@piece_rule("isnan", "isinf", "isposinf", "isneginf")
def of_finite_numbers(call: PieceCall) -> Found:
    """Constant as long as all numbers are finite, which is what is differentiated here."""
    return None


@piece_rule("nan_to_num")
def of_finite_numbers_themselves(call: PieceCall) -> Found:
    """The number itself, if it is finite."""
    if not bool(call["self"].isfinite().all()):
        call.refuse("it replaces values that are not finite")
    return call.tangent("self")


@piece_rule("add", "sub", "rsub")
def added(call: PieceCall) -> Found:
    """(a + k·b)' = a' + k·b'."""
    a, b, factor = call.tangent("self"), call.tangent("other"), call.get("alpha", 1)
    sign = -1 if call.name == "sub" else 1
    if call.name == "rsub":
        a, b, sign, factor = b, a, -1, call.get("alpha", 1)
    if a is not None and b is not None:
        return torch.add(a, b, alpha=sign * factor)
    if b is not None:
        a = b * (sign * factor)
    assert a is not None
    tensors = [x for x in (call["self"], call["other"]) if isinstance(x, Tensor)]
    return a.expand(torch.broadcast_tensors(*tensors)[0].shape)  # type: ignore[no-untyped-call]


@piece_rule("copy")
def copied(call: PieceCall) -> Found:
    """What is copied, where it goes to."""
    tangent = call.tangent("src")
    if tangent is None:
        return None
    if call["self"].dtype != torch.float64:
        if call.moving("src") is not None:
            call.refuse(f"it is rounded to {call['self'].dtype}, in steps")
        return None
    return tangent.expand(call["self"].shape)


@piece_rule("_to_copy")
def moved(call: PieceCall) -> Found:
    """A copy elsewhere or laid out otherwise; a cast to integers or a coarser dtype is one in steps."""
    dtype: Any = call.get("dtype", torch.float64)
    if dtype == torch.bool:
        call.crosses(call["self"], call.tangent("self"))
        return None
    if dtype != torch.float64:
        if call.moving("self") is None:
            return None
        if dtype.is_floating_point:
            call.refuse(f"it is rounded to {dtype}, in steps")
        call.refuse(f"it is cast to {dtype}")
    found: Tensor = call.on_tangents()
    return found


@piece_rule("_local_scalar_dense", "equal", "allclose")
def number(call: PieceCall) -> Found:
    """A number for Python, where nobody can follow it."""
    if call.moves():
        call.refuse("Python is given a number that changes along the path, as by .item() or float()")
    return None
