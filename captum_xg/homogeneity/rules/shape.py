"""Shape: the result's elements are the argument's elements, or zeros, at places that only shapes and numbers decide."""

from __future__ import annotations

import torch

from captum_xg.homogeneity.degree import (
    ZERO,
    Reason,
    Scaling,
    mismatch,
    selection_of,
    sum_of,
)
from captum_xg.homogeneity.rules.common import converted, first_of, shaped_by
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule


@degree_rule(
    *("alias", "_conj", "_neg_view", "_reshape_alias", "as_strided", "detach", "diagonal", "expand"),
    *("imag", "lift", "lift_fresh", "narrow", "permute", "real", "reshape", "select", "slice", "slice_inverse"),
    *("split", "split_with_sizes", "squeeze", "swapaxes", "t", "transpose", "unbind", "unfold", "unsafe_split"),
    *("unsafe_chunk", "chunk", "unsafe_split_with_sizes", "unsqueeze", "view_as", "view_as_complex", "view_as_real"),
    *("_unsafe_view", "_mkldnn_reshape", "_mkldnn_transpose", "_values", "values"),
    *("resolve_conj", "resolve_neg"),
)
def view(call: OpCall) -> Scaling:
    """The same numbers, looked at in another shape."""
    return first_of(call)


@degree_rule("detach_", "squeeze_", "unsqueeze_", "t_", "transpose_", "swapaxes_", "swapdims_", moves=("self",))
def view_in_place(call: OpCall) -> Scaling:
    """The same numbers in another shape, which the tensor itself takes."""
    return call.scaling("self")


@degree_rule("view", "view_copy")
def view_as(call: OpCall) -> Scaling:
    """The same numbers in another shape, or the same bits read as other numbers."""
    scaling, dtype = call.scaling("self"), call.get("dtype")
    if dtype is None or dtype == call["self"].dtype or scaling.constant:
        return scaling
    reason = Reason("reads the bits of numbers as other numbers", "Convert them with .to(dtype)", kind="unknown")
    return Scaling(None, reasons=scaling.reasons | {reason})


@degree_rule(
    *("alias_copy", "detach_copy", "diagonal_copy", "expand_copy", "lift_fresh_copy", "narrow_copy", "permute_copy"),
    *("select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy", "transpose_copy"),
    *("unbind_copy", "unfold_copy", "unsqueeze_copy", "_pin_memory"),
    *("flip", "fliplr", "flipud", "roll", "rot90", "repeat", "tile", "pixel_shuffle", "pixel_unshuffle"),
    *("channel_shuffle", "native_channel_shuffle", "tril", "triu", "diag_embed", "im2col"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
    moves=("self",),
)
def rearranged(call: OpCall) -> Scaling:
    """Each element is one of the argument's, or zero."""
    return call.scaling("self")


@degree_rule("slice_backward", "select_backward", "diagonal_backward", moves=("grad_output",))
def put_into_zeros(call: OpCall) -> Scaling:
    """The argument's elements among zeros."""
    return call.scaling("grad_output")


@degree_rule("as_strided_copy", "_reshape_alias_copy", "_reshape_copy", "_neg_view_copy", "to_mkldnn", "_coalesce")
def copied(call: OpCall) -> Scaling:
    """The argument's elements, at places that depend on how it lies in memory."""
    return call.scaling("self")


@degree_rule("col2im", "unfold_backward", "_fw_primal", "trace_backward")
def summed_where_they_overlap(call: OpCall) -> Scaling:
    """Sums of the argument's elements."""
    return first_of(call)


@degree_rule("clone", "contiguous", "_conj_copy", "_conj_physical", "conj_physical", elementwise=True)
def clone(call: OpCall) -> Scaling:
    """The same numbers, or their complex conjugates."""
    return call.scaling("self")


@degree_rule("view_as_real_copy", "view_as_complex_copy")
def complex_as_pairs(call: OpCall) -> Scaling:
    """Real and imaginary parts side by side, or pairs of real numbers as complex ones."""
    return call.scaling("self")


@degree_rule("_to_copy", "_to_dense", "to_dense", elementwise=True)
def to_copy(call: OpCall) -> Scaling:
    """The same numbers in another dtype or place."""
    return converted(call.scaling("self"), call.get("dtype"))


@degree_rule("copy", "copy_", "_copy_from", elementwise=True)
def copy(call: OpCall) -> Scaling:
    """The numbers of another tensor, in this one's dtype."""
    source = call.get("src", call.get("other"))
    scaling = call.scaling_of(source)
    target = call["dst"] if "dst" in call.arguments else call["self"]
    if scaling.constant and scaling.proven and not call.scaling_of(target).constant and _all_zero(call, source):
        return ZERO
    return converted(scaling, target.dtype)


@degree_rule("cat", "concat", "concatenate", "stack", "_stack", "block_diag", moves=("tensors",))
def joined(call: OpCall) -> Scaling:
    """The elements of all tensors side by side."""
    parts = call.neutralised(*call["tensors"])
    terms = [part for part in parts if not part.zero]
    reason = mismatch(*terms, verb="joins", preposition="with") if len({part.degree for part in terms}) > 1 else None
    return sum_of(*parts, reason=reason) if parts else ZERO


@degree_rule("constant_pad_nd", moves=("self", "value"))
def padded(call: OpCall) -> Scaling:
    """The argument's elements, and one number around them."""
    value = call["value"]
    reason = Reason(f"pads with the constant {value:g}", "Pad with zeros") if isinstance(value, (int, float)) else None
    parts = call.neutralised(call["self"], value)
    return sum_of(*parts, reason=reason)


@degree_rule("repeat_interleave")
def repeat_interleave(call: OpCall) -> Scaling:
    """Indices, each as often as its number says."""
    return shaped_by(call.scaling("repeats"))


@degree_rule("_sparse_coo_tensor_with_dims_and_tensors", "sparse_coo_tensor", "_sparse_coo_tensor_unsafe")
def sparse(call: OpCall) -> Scaling:
    """Values at the places that indices say."""
    return selection_of(call.scaling("indices"), call.scaling("values"))


def _all_zero(call: OpCall, value: object) -> bool:
    if not isinstance(value, torch.Tensor):
        return value == 0
    return call.is_neutral(value) and not bool(value.any())
