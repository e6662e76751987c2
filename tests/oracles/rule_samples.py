"""Calls of operations that PyTorch's own samples do not reach, or reach in one form only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from op_samples import Sample
from torch import nn

aten = torch.ops.aten


def own_samples() -> list[Sample]:
    """Return all of them; the tensors in them are the same at every call."""
    torch.manual_seed(0)
    return [_sample(name, function, *shapes) for name, function, shapes in (*_LINEAR, *_SHAPE, *_INDEXING, *_REST)]


def _sample(name: str, function: Callable[..., Any], *shapes: Any) -> Sample:
    inputs = [s if isinstance(s, torch.Tensor) else torch.randn(s, dtype=torch.float64) for s in shapes]
    return Sample(name, function, tuple(inputs))


def _out(function: Callable[..., Any]) -> Callable[..., Any]:
    """Write to a tensor that depends on the input before, and is overwritten."""

    def run(first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        result = function(first, *others)
        with torch.no_grad():
            return function(first.detach(), *(o.detach() for o in others), out=torch.empty_like(result))

    return run


def _complex(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))


def _sparse(dense: torch.Tensor) -> torch.Tensor:
    return dense.relu().to_sparse()


def _half(x: torch.Tensor) -> torch.Tensor:
    buffer = torch.empty(4, 4, dtype=x.dtype)
    buffer[:2] = x[:2]
    buffer[2:] = x[:2] * 2
    return buffer


def _assign(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    result = torch.zeros_like(x)
    result[_DISTINCT[0], 1] = v
    return result + x


_DISTINCT = torch.tensor([[2, 0, 1], [1, 2, 0]])
_REPEATED = torch.tensor([[2, 0, 2], [1, 1, 1]])
_MASK = torch.tensor([[True, False, True, True], [False, True, False, True], [True, True, False, False]])

_LINEAR = [
    ("addmm beta 0", lambda b, x, w: torch.addmm(b, x, w, beta=0), ((3,), (2, 4), (4, 3))),
    ("addmm alpha 0", lambda b, x, w: torch.addmm(b, x, w, alpha=0), ((2, 3), (2, 4), (4, 3))),
    ("addmm_", lambda b, x, w: b.clone().addmm_(x, w), ((2, 3), (2, 4), (4, 3))),
    ("mm out", _out(torch.mm), ((2, 4), (4, 3))),
    ("addmm out", _out(torch.addmm), ((2, 3), (2, 4), (4, 3))),
    ("_addmm_activation", lambda b, x, w: aten._addmm_activation(b, x, w, use_gelu=False), ((3,), (2, 4), (4, 3))),
    ("_addmm_activation gelu", lambda b, x, w: aten._addmm_activation(b, x, w, use_gelu=True), ((3,), (2, 4), (4, 3))),
    ("ger", torch.ger, ((3,), (4,))),
    ("linalg.cross", torch.linalg.cross, ((2, 3), (2, 3))),
    ("bilinear", F.bilinear, ((2, 3), (2, 4), (5, 3, 4), (5,))),
    ("conv1d", F.conv1d, ((2, 3, 7), (4, 3, 3), (4,))),
    ("conv2d groups", lambda x, w: F.conv2d(x, w, groups=2, stride=2, padding=1), ((2, 4, 6, 6), (4, 2, 3, 3))),
    ("conv3d", F.conv3d, ((1, 2, 4, 4, 4), (2, 2, 3, 3, 3), (2,))),
    ("conv_transpose2d", F.conv_transpose2d, ((2, 3, 4, 4), (3, 2, 3, 3), (2,))),
    ("_convolution", lambda x, w, b: torch._convolution(
        x, w, b, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, False, False
    ), ((2, 3, 4, 4), (2, 3, 3, 3), (2,))),
    ("conv_tbc", torch.conv_tbc, ((5, 2, 3), (2, 3, 4), (4,))),
    ("thnn_conv2d", lambda x, w, b: aten.thnn_conv2d(x, w, [3, 3], b), ((2, 3, 5, 5), (4, 3, 3, 3), (4,))),
    ("_slow_conv2d_forward", lambda x, w, b: aten._slow_conv2d_forward(x, w, [3, 3], b, [1, 1], [0, 0]),
        ((2, 3, 5, 5), (4, 3, 3, 3), (4,))),
    ("slow_conv_dilated2d", lambda x, w, b: aten.slow_conv_dilated2d(x, w, [2, 2], b, [1, 1], [0, 0], [2, 2]),
        ((2, 3, 5, 5), (4, 3, 2, 2), (4,))),
    ("slow_conv_dilated3d",
        lambda x, w, b: aten.slow_conv_dilated3d(x, w, [2, 2, 2], b, [1, 1, 1], [0, 0, 0], [2, 2, 2]),
        ((1, 2, 4, 4, 4), (2, 2, 2, 2, 2), (2,))),
    ("slow_conv_transpose2d", lambda x, w, b: aten.slow_conv_transpose2d(x, w, [2, 2], b),
        ((2, 3, 4, 4), (3, 2, 2, 2), (2,))),
    ("slow_conv_transpose3d", lambda x, w, b: aten.slow_conv_transpose3d(x, w, [2, 2, 2], b),
        ((1, 2, 3, 3, 3), (2, 2, 2, 2, 2), (2,))),
    ("slow_conv3d_forward", lambda x, w, b: aten.slow_conv3d_forward(x, w, [2, 2, 2], b, [1, 1, 1], [0, 0, 0]),
        ((1, 2, 4, 4, 4), (2, 2, 2, 2, 2), (2,))),
    ("convolution_backward", lambda g, x, w: aten.convolution_backward(
        g, x, w, [2], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True]
    ), ((2, 2, 3, 3), (2, 3, 5, 5), (2, 3, 3, 3))),
    ("sparse times dense", lambda x: torch.sparse.mm(_sparse(torch.ones(3, 4, dtype=x.dtype)), x), ((4, 2),)),
    ("sparse addmm", lambda b, x: torch.sparse.addmm(b, _sparse(torch.ones(3, 4, dtype=x.dtype)), x), ((3, 2), (4, 2))),
    ("embedding", lambda w: F.embedding(_DISTINCT, w), ((4, 3),)),
    ("embedding with padding", lambda w: F.embedding(_DISTINCT, w, padding_idx=0), ((4, 3),)),
    ("embedding by frequency", lambda w: F.embedding(_REPEATED, w, scale_grad_by_freq=True), ((4, 3),)),
    ("embedding_bag sum",
        lambda w, f: F.embedding_bag(_DISTINCT, w, mode="sum", per_sample_weights=f), ((4, 3), (2, 3))),
    ("embedding_bag mean", lambda w: F.embedding_bag(_DISTINCT, w, mode="mean"), ((4, 3),)),
    ("embedding_bag max", lambda w: F.embedding_bag(_DISTINCT, w, mode="max"), ((4, 3),)),
    ("einsum", lambda x, w: torch.einsum("bij,jk->bik", x, w), ((2, 3, 4), (4, 5))),
    ("kron", torch.kron, ((2, 3), (3, 2))),
    ("tensordot", lambda x, w: torch.tensordot(x, w, dims=([1], [0])), ((2, 3), (3, 2))),
    ("multi_dot", lambda *m: torch.linalg.multi_dot(m), ((2, 3), (3, 4), (4, 2))),
    ("RNN with ReLU", lambda x: _RNN(x)[0], ((4, 2, 3),)),
    ("LSTM", lambda x: _LSTM(x.float())[0], ((4, 2, 3),)),
    ("GRU", lambda x: _GRU(x)[0], ((4, 2, 3),)),
    ("LSTM of directions", lambda x: _LSTM((x / x.norm()).float())[0], ((4, 2, 3),)),
]  # fmt: skip

_RNN = nn.RNN(3, 4, nonlinearity="relu", bias=False, num_layers=2, bidirectional=True).double()
_LSTM = nn.LSTM(3, 4)
_GRU = nn.GRU(3, 4).double()

_SHAPE = [
    ("view as integers", lambda x: x.view(torch.int64), ((3, 4),)),
    ("view as complex", torch.view_as_complex, ((3, 2),)),
    ("complex in and out", lambda x: torch.view_as_real(x.conj() * 2).flatten(), (_complex(3),)),
    ("transpose in place", lambda x: x.clone().t_().clone(), ((3, 4),)),
    ("unsqueeze in place", lambda x: x.clone().unsqueeze_(0).squeeze_(0) * 2, ((3, 4),)),
    ("mixed transposed in place", lambda x: F.pad(x, (0, 1), value=3.0).t_()[:-1].clone(), ((3, 4),)),
    ("to integers", lambda x: x.to(torch.int64), ((3, 4),)),
    ("to booleans", lambda x: x.to(torch.bool), ((3, 4),)),
    ("to float32", lambda x: x.float(), ((3, 4),)),
    ("directions to integers", lambda x: (10 * x / x.norm()).to(torch.int64), ((3, 4),)),
    ("copied to integers", lambda x: torch.zeros(3, 4, dtype=torch.int32).copy_(x), ((3, 4),)),
    ("copied to zeros", lambda x: torch.zeros(2, 3, 4, dtype=x.dtype).copy_(x), ((3, 4),)),
    ("copied over", lambda x, y: x.clone().copy_(y), ((3, 4), (4,))),
    ("copy", aten.copy, ((3, 4), (4,))),
    ("half of it copied", _half, ((3, 4),)),
    ("cat of different degrees", lambda x, y: torch.cat([x, x * x, y]), ((3, 4), (3, 4))),
    ("stack with constants of zero", lambda x: torch.stack([x, torch.zeros_like(x)]), ((3, 4),)),
    ("stack with ones", lambda x: torch.stack([x, torch.ones_like(x)]), ((3, 4),)),
    ("block_diag", torch.block_diag, ((2, 2), (3,), ())),
    ("pad with a constant", lambda x: F.pad(x, (1, 1), value=2.0), ((3, 4),)),
    ("pad with zeros", lambda x: F.pad(x, (1, 1)), ((3, 4),)),
    ("pad with a constant, cropped", lambda x: F.pad(x, (1, 1), value=2.0)[:, 1:-1], ((3, 4),)),
    ("reflection", lambda x: F.pad(x, (1, 1, 2, 1), mode="reflect"), ((1, 3, 4),)),
    ("replication", lambda x: F.pad(x, (1, 1, 2, 1, 1, 1), mode="replicate"), ((1, 1, 3, 4, 2),)),
    ("circular", lambda x: F.pad(x, (1, 1), mode="circular"), ((1, 3, 4),)),
    ("fold", lambda x: F.fold(x, (4, 4), 2), ((1, 4, 9),)),
    ("unfold", lambda x: F.unfold(x, 2), ((1, 2, 4, 4),)),
    ("repeat_interleave", lambda x: x.repeat_interleave(torch.tensor([1, 2, 0]), 0), ((3, 4),)),
    ("repeated as often as the input says", lambda x: torch.arange(3).repeat_interleave((x > 0).long()), ((3,),)),
    ("channel_shuffle", lambda x: torch.channel_shuffle(x, 2), ((1, 4, 2, 2),)),
    ("native_channel_shuffle", lambda x: torch.native_channel_shuffle(x, 2), ((1, 4, 2, 2),)),
    ("slice_backward", lambda g: aten.slice_backward(g, [4, 3], 0, 1, 3, 1), ((2, 3),)),
    ("select_backward", lambda g: aten.select_backward(g, [4, 3], 0, 1), ((3,),)),
    ("diagonal_backward", lambda g: aten.diagonal_backward(g, [3, 3], 0, 0, 1), ((3,),)),
    ("unfold_backward", lambda g: aten.unfold_backward(g, [5], 0, 3, 1), ((3, 3),)),
    *((name, getattr(torch, name), ((3, 4),)) for name in ("alias_copy", "t_copy", "detach_copy", "_neg_view_copy")),
    ("unbind_copy", torch.unbind_copy, ((3, 4),)),
    ("split_copy", lambda x: torch.split_copy(x, 2), ((3, 4),)),
    ("as_strided_copy", lambda x: torch.as_strided_copy(x, (2, 2), (4, 1)), ((3, 4),)),
    ("view_copy", lambda x: torch.view_copy(x, (4, 3)), ((3, 4),)),
    ("_reshape_copy", lambda x: aten._reshape_copy(x, (4, 3)), ((3, 4),)),
    ("view_as_real_copy", torch.view_as_real_copy, (_complex(3),)),
    ("view_as_complex_copy", torch.view_as_complex_copy, ((3, 2),)),
    ("_conj_copy", torch._conj_copy, (_complex(3),)),
    ("conj_physical", torch.conj_physical, (_complex(3),)),
    ("sparse matrix of values",
        lambda v, x: torch.sparse_coo_tensor(_DISTINCT[:, :2], v, (4, 4)).to_dense() @ x, ((2,), (4, 2))),
    ("stft", lambda x: torch.stft(x, 16, window=torch.ones(16, dtype=x.dtype), return_complex=True), ((1, 64),)),
    ("istft",
        lambda x: torch.istft(torch.view_as_complex(x), 16, window=torch.ones(16, dtype=x.dtype)), ((1, 9, 8, 2),)),
]  # fmt: skip


_INDEXING = [
    ("scatter", lambda x, y: x.scatter(1, _DISTINCT, y), ((2, 3), (2, 3))),
    ("scatter twice to a place", lambda x, y: x.scatter(1, _REPEATED, y), ((2, 3), (2, 3))),
    ("scatter a number", lambda x: x.scatter(1, _DISTINCT[:, :1], 2.0), ((2, 3),)),
    ("scatter zero", lambda x: x.scatter(1, _DISTINCT[:, :1], 0.0), ((2, 3),)),
    ("scatter where the input says", lambda x, y: x.scatter(1, x.argsort(1), y), ((2, 3), (2, 3))),
    ("scatter and multiply", lambda x, y: x.scatter(1, _DISTINCT, y, reduce="multiply"), ((2, 3), (2, 3))),
    ("scatter and add", lambda x, y: x.scatter(1, _DISTINCT, y, reduce="add"), ((2, 3), (2, 3))),
    ("scatter_add", lambda x, y: x.scatter_add(1, _REPEATED, y), ((2, 3), (2, 3))),
    ("largest two kept", lambda x: torch.zeros_like(x).scatter_add(1, *reversed(x.topk(2, 1))), ((2, 3),)),
    *(
        (f"scatter_reduce {how} {own}",
            lambda x, y, how=how, own=own: x.scatter_reduce(1, _REPEATED, y, how, include_self=own), ((2, 3), (2, 3)))
        for how in ("sum", "prod", "mean", "amax", "amin") for own in (True, False)
    ),
    *(
        (f"index_reduce {how} {own}",
            lambda x, y, how=how, own=own: x.index_reduce(0, _REPEATED[0], y, how, include_self=own), ((3, 2), (3, 2)))
        for how in ("prod", "mean", "amax", "amin") for own in (True, False)
    ),
    *(
        (f"segment_reduce {how} {initial}",
            lambda x, how=how, initial=initial: torch.segment_reduce(
                x, how, lengths=torch.tensor([2, 1]), initial=initial), ((3, 2),))
        for how in ("sum", "mean", "max", "min") for initial in (None, 0.0, 1.0)
    ),
    ("multiply by signs", lambda x, y: x.scatter_reduce(1, _REPEATED, y.sign(), "prod"), ((2, 3), (2, 3))),
    ("index_add", lambda x, y: x.index_add(0, _REPEATED[0], y, alpha=2), ((3, 2), (3, 2))),
    ("index_add of nothing", lambda x, y: x.index_add(0, _REPEATED[0], y, alpha=0), ((3, 2), (3, 2))),
    ("index_copy", lambda x, y: x.index_copy(0, _DISTINCT[0], y), ((3, 2), (3, 2))),
    ("index_copy twice", lambda x, y: x.index_copy(0, _REPEATED[0], y), ((3, 2), (3, 2))),
    ("index_fill", lambda x, v: x.index_fill(0, _DISTINCT[0, :2], v), ((3, 2), ())),
    ("index_fill twice", lambda x, v: x.index_fill(0, _REPEATED[0], v), ((3, 2), ())),
    ("index_fill zero", lambda x: x.index_fill(0, _DISTINCT[0, :2], 0.0), ((3, 2),)),
    ("index_put", lambda x, v: x.index_put((_DISTINCT[0], _DISTINCT[1]), v), ((3, 4), (3,))),
    ("index_put twice", lambda x, v: x.index_put((_REPEATED[0], _REPEATED[0]), v), ((3, 4), (3,))),
    ("index_put a number twice", lambda x, v: x.index_put((_REPEATED[0],), v), ((3, 4), ())),
    ("index_put and add", lambda x, v: x.index_put((_REPEATED[0],), v, accumulate=True), ((3, 4), (4,))),
    ("index_put by mask", lambda x, v: x.index_put((_MASK,), v), ((3, 4), ())),
    ("index_put by the input's mask", lambda x: x.index_put((x > 0,), torch.tensor(0.0, dtype=x.dtype)), ((3, 4),)),
    ("index_put mask and number", lambda x, v: x.index_put((_MASK[:, 0], _DISTINCT[0, :2]), v), ((3, 4), (2,))),
    ("assigned by index", _assign, ((3, 4), (3,))),
    ("index by mask", lambda x: x[_MASK], ((3, 4),)),
    ("index by the input's mask", lambda x: x[x > 0], ((3, 4),)),
    ("index by the input's order", lambda x, y: y[x.argsort()], ((3,), (3, 2))),
    ("index by the input's size", lambda x, y: y[x.abs().clamp(max=2).long()], ((3,), (3, 2))),
    ("masked_select", lambda x: x.masked_select(_MASK), ((3, 4),)),
    ("masked_fill", lambda x, v: x.masked_fill(_MASK, v), ((3, 4), ())),
    ("masked_fill a number", lambda x: x.masked_fill(_MASK, 2.0), ((3, 4),)),
    ("masked_fill a number, and the rest", lambda x: x.masked_fill(_MASK, 2.0)[~_MASK], ((3, 4),)),
    ("masked_fill by sign", lambda x: x.masked_fill(x < 0, 0.0), ((3, 4),)),
    ("masked_fill by size", lambda x: x.masked_fill(x < 1, 0.0), ((3, 4),)),
    ("masked_scatter", lambda x, y: x.masked_scatter(_MASK, y), ((3, 4), (3, 4))),
    ("masked_scatter by sign", lambda x, y: x.masked_scatter(x > 0, y), ((3, 4), (3, 4))),
    ("put", lambda x, y: x.put(_DISTINCT, y), ((3, 4), (2, 3))),
    ("put and add", lambda x, y: x.put(_REPEATED, y, accumulate=True), ((3, 4), (2, 3))),
    ("put at distinct places", lambda x, y: x.put(_DISTINCT[0], y), ((3, 4), (3,))),
    ("take", lambda x: x.take(_REPEATED), ((3, 4),)),
    ("select_scatter", lambda x, y: x.select_scatter(y, 0, 1), ((3, 4), (4,))),
    ("slice_scatter", lambda x, y: x.slice_scatter(y, 0, 1, 3), ((3, 4), (2, 4))),
    ("diagonal_scatter", lambda x, y: x.diagonal_scatter(y), ((3, 4), (3,))),
    ("sort", lambda x: x.sort(0), ((3, 4),)),
    ("topk", lambda x: x.topk(2), ((3, 4),)),
    ("order of orders", lambda x: x.sort(0).indices.double() * x, ((3, 4),)),
    ("nonzero_static", lambda x: torch.nonzero_static(x.relu(), size=5), ((3, 4),)),
    ("nonzero", lambda x: x.relu().nonzero(), ((3, 4),)),
    ("unique", lambda x: x.unique(return_inverse=True), ((3, 4),)),
    ("unique along", lambda x: x.unique(dim=0), ((3, 4),)),
]  # fmt: skip


_GRID = torch.rand(1, 3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
_BOXES = torch.tensor([[0.3, 0.4, 3.2, 3.7], [1.1, 0.2, 2.8, 2.9]], dtype=torch.float64)
_SCORES = torch.tensor([0.4, 0.9], dtype=torch.float64)
_POOLED = torch.tensor([[[[0, 3], [8, 11]]]])

_REST = [
    *((f"{name} pooling", function, (shape,)) for name, function, shape in (
        ("average", lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 2, 5, 5)),
        ("divided average", lambda x: F.avg_pool2d(x, 2, divisor_override=3), (1, 2, 4, 4)),
        ("average 1d", lambda x: F.avg_pool1d(x, 2), (1, 2, 4)),
        ("average 3d", lambda x: F.avg_pool3d(x, 2), (1, 2, 4, 4, 4)),
        ("adaptive average", lambda x: F.adaptive_avg_pool2d(x, 3), (1, 2, 5, 5)),
        ("adaptive average 3d", lambda x: F.adaptive_avg_pool3d(x, 2), (1, 2, 5, 5, 4)),
        ("largest", lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True), (1, 2, 5, 5)),
        ("largest 3d", lambda x: F.max_pool3d(x, 2, return_indices=True), (1, 2, 4, 4, 4)),
        ("adaptive largest", lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True), (1, 2, 5, 5)),
        ("adaptive largest 3d", lambda x: F.adaptive_max_pool3d(x, 2, return_indices=True), (1, 2, 5, 5, 4)),
        ("fractional", lambda x: F.fractional_max_pool2d(x, 2, 3, return_indices=True,
            _random_samples=torch.full((1, 2, 2), 0.3, dtype=x.dtype)), (1, 2, 6, 6)),
        ("fractional 3d", lambda x: F.fractional_max_pool3d(x, 2, 3, return_indices=True,
            _random_samples=torch.full((1, 2, 3), 0.3, dtype=x.dtype)), (1, 2, 6, 6, 6)),
        ("square", lambda x: F.lp_pool2d(x, 2, 2), (1, 2, 4, 4)),
        ("undone by fixed places", lambda x: F.max_unpool2d(x, _POOLED, 2), (1, 1, 2, 2)),
        ("undone by its own places",
            lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), (1, 1, 4, 4)),
        ("undone where places coincide",
            lambda x: F.max_unpool2d(x, torch.zeros_like(_POOLED), 2), (1, 1, 2, 2)),
    )),
    *((f"resized {mode}", lambda x, mode=mode: F.interpolate(x, scale_factor=1.7, mode=mode), ((1, 2, *[3] * n),))
        for mode, n in (("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2),
            ("nearest-exact", 3), ("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3))),
    *((f"resized smoothly {mode}", lambda x, mode=mode: F.interpolate(x, size=(3, 2), mode=mode, antialias=True),
        ((1, 2, 5, 5),)) for mode in ("bilinear", "bicubic")),
    *((f"sampled {mode} {padding}", lambda x, g, mode=mode, padding=padding:
        F.grid_sample(x, g, mode=mode, padding_mode=padding, align_corners=False), ((1, 2, 4, 4), _GRID))
        for mode in ("bilinear", "nearest", "bicubic") for padding in ("zeros", "border", "reflection")),
    ("sampled in 3d", lambda x, g: F.grid_sample(x, g, align_corners=True), ((1, 1, 3, 3, 3), (1, 2, 2, 2, 3))),
    ("sampled at directions", lambda x, g: F.grid_sample(x, g / g.norm(), align_corners=True), ((1, 2, 4, 4), _GRID)),
    ("affine grid", lambda t: F.affine_grid(t, [1, 2, 3, 3], align_corners=False), ((1, 2, 3),)),
    ("spatial transformer", lambda x, t: F.grid_sample(
        x, F.affine_grid(t / t.norm(), [1, 2, 3, 3], align_corners=False), align_corners=False
    ), ((1, 2, 4, 4), (1, 2, 3))),
    ("full", lambda x: x + torch.full_like(x, 2.0), ((3,),)),
    ("full of zero", lambda x: x + x.new_full((3,), 0.0), ((3,),)),
    ("filled", lambda x, y: x.clone().fill_(y), ((3,), ())),
    ("filled with integers", lambda y: torch.zeros(3, dtype=torch.int64).fill_(y), ((),)),
    ("fill", lambda x, y: torch.fill(x, y) + torch.fill(x, 0.0), ((3,), ())),
    ("zeroed", lambda x: x.clone().zero_() + x, ((3,),)),
    ("empty", lambda x: x + torch.empty_like(x), ((3,),)),
    ("linspace", lambda a, b: torch.linspace(a, b, 5, dtype=a.dtype), ((), ())),
    ("linspace from zero", lambda b: torch.linspace(0, b, 5, dtype=b.dtype), ((),)),
    ("linspace of integers", lambda b: torch.linspace(0, b, 5, dtype=torch.int64), ((),)),
    ("logspace", lambda a, b: torch.logspace(a, b, 5, dtype=a.dtype), ((), ())),
    ("complex", torch.complex, ((3,), (3,))),
    ("spectrum", torch.fft.rfft2, ((3, 4),)),
    ("signal", lambda x: torch.fft.irfft(torch.view_as_complex(x), n=6), ((4, 2),)),
    ("complex spectrum", lambda x: torch.fft.fftn(x, norm="ortho"), (_complex(3, 4),)),
    ("matrix of full rank", lambda a, b: torch.linalg.lstsq(a, b).solution, ((4, 3), (4, 2))),
    ("singular values", lambda a: torch.linalg.svd(a, full_matrices=False), ((4, 3),)),
    ("eigenvalues of one triangle", torch.linalg.eigvalsh, ((3, 3),)),
    ("eigenvalues", lambda a: torch.linalg.eigvals(a).abs(), ((3, 3),)),
    ("factors", torch.linalg.lu, ((3, 3),)),
    ("packed factors", lambda a, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), b), ((3, 3), (3, 2))),
    ("fixed packed factors",
        lambda b: torch.linalg.lu_solve(*torch.linalg.lu_factor(torch.eye(3, dtype=b.dtype) + 1), b), ((3, 2),)),
    *((f"triangular {unit}",
        lambda a, b, unit=unit: torch.linalg.solve_triangular(a, b, upper=True, unitriangular=unit),
        ((3, 3), (3, 2))) for unit in (False, True)),
    *((f"triangular_solve {unit}", lambda b, a, unit=unit: torch.triangular_solve(b, a, unitriangular=unit),
        ((3, 2), (3, 3))) for unit in (False, True)),
    ("cholesky", lambda a: torch.linalg.cholesky(a @ a.T), ((3, 3),)),
    ("cholesky_solve", torch.cholesky_solve, ((3, 2), (3, 3))),
    ("cholesky_inverse", torch.cholesky_inverse, ((3, 3),)),
    ("pinv with atol", lambda a: torch.linalg.pinv(a, atol=0.1), ((4, 3),)),
    ("pinv with rtol", lambda a: torch.linalg.pinv(a, rtol=0.1), ((4, 3),)),
    ("pinv of symmetric", lambda a: torch.linalg.pinv(a, hermitian=True), ((3, 3),)),
    ("powers", lambda a: torch.linalg.matrix_power(a, -3), ((3, 3),)),
    ("determinant", torch.linalg.det, ((2, 3, 3),)),
    ("its logarithm", torch.linalg.slogdet, ((3, 3),)),
    ("exponential", torch.matrix_exp, ((3, 3),)),
]  # fmt: skip


def vision_samples() -> list[Sample]:
    """Return calls of torchvision's operations."""
    from torchvision import ops

    torch.manual_seed(0)
    boxed = ((1, 4, 5, 5), _BOXES)
    listed = (
        ("roi_align", lambda x, b: ops.roi_align(x, [b], 2, sampling_ratio=2), boxed),
        ("roi_align in directions", lambda x, b: ops.roi_align(x, [5 * b / b.norm()], 2, sampling_ratio=2), boxed),
        ("roi_pool", lambda x, b: ops.roi_pool(x, [b], 2), boxed),
        ("ps_roi_align", lambda x, b: ops.ps_roi_align(x, [b], 2, sampling_ratio=2), boxed),
        ("ps_roi_pool", lambda x, b: ops.ps_roi_pool(x, [b], 2), boxed),
        ("nms", lambda b, s: ops.nms(b, s, 0.3), (_BOXES, _SCORES)),
        ("deform_conv2d", ops.deform_conv2d, ((1, 2, 4, 4), (1, 8, 3, 3), (3, 2, 2, 2), (3,))),
        ("masked deform_conv2d", lambda x, o, w, m: ops.deform_conv2d(x, o / o.norm(), w, mask=m),
            ((1, 2, 4, 4), (1, 8, 3, 3), (3, 2, 2, 2), (1, 4, 3, 3))),
    )  # fmt: skip
    return [_sample(name, function, *shapes) for name, function, shapes in listed]
