"""Every rule: between the bounds that it reports, results are affine in α with the tangent that it gives."""

import itertools

import pytest
import torch
from effort import tries
from torch import nn
from torch.nn import functional as F

from captum_xg._core.recorder import Observer, Recorder
from captum_xg.homogeneity.piecewise.analysis import Pieces
from captum_xg.homogeneity.piecewise.bounds import Bounds
from captum_xg.homogeneity.piecewise.call import NotAffineError
from captum_xg.homogeneity.piecewise.registry import operations, piece_rule
from captum_xg.homogeneity.piecewise.tangents import Tangents

POINTS = 3
G = torch.Generator().manual_seed(0)
W = torch.randn(6, 6, generator=G).double()
K = torch.randn(4, 2, 3, 3, generator=G).double()
V = torch.randn(6, generator=G).double()
GRID = torch.rand(1, 3, 3, 2, generator=G).double()


def inplace(change):
    def forward(x):
        y = x * 1.0
        change(y)
        return y

    return forward


def written(x):
    y = torch.zeros_like(x)
    y[:, 0] = x[:, 1]
    y[:, 1].relu_()
    y[:, :, 2] += x[:, :, 3]
    return y


def changed_apart(make):
    """Return a function whose result is overwritten after it was made, and used beside what it was made of."""

    def forward(x):
        y = x * 1.0
        z = make(y)
        z.mul_(3)
        y.add_(y.flip(2))
        return y - z

    return forward


def kept(value):
    """Return a function without the input's dtype: what is constant in pieces shows as a factor."""
    return lambda x: value(x).double() * x.sum((1, 2, 3), keepdim=True)


# x is of shape (len(x), 2, 6, 6)
AFFINE = {
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.transpose(2, 3).contiguous(),
    "reshape": lambda x: x.transpose(2, 3).reshape(POINTS, -1),
    "neg": lambda x: -x,
    "sum": lambda x: x.sum((2, 3)),
    "mean": lambda x: x.mean(1, keepdim=True),
    "nansum": lambda x: x.nansum(3),
    "cumsum": lambda x: x.cumsum(2),
    "diff": lambda x: x.diff(dim=3),
    "tril": lambda x: x.tril() + x.triu(1),
    "diag_embed": lambda x: torch.diag_embed(x[:, 0]),
    "cat": lambda x: torch.cat([x, torch.ones_like(x), 2 * x], 1),
    "stack": lambda x: torch.stack([x, x.flip(3)], 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 3),
    "roll": lambda x: x.roll(1, 2),
    "index_select": lambda x: x.index_select(2, torch.tensor([0, 3, 3])),
    "index": lambda x: x[:, :, torch.tensor([0, 3, 3])],
    "gather": lambda x: x.gather(3, torch.zeros(len(x), 2, 6, 2, dtype=torch.long)),
    "take": lambda x: torch.take_along_dim(x, torch.zeros(len(x), 2, 6, 2, dtype=torch.long), 3),
    "select_scatter": lambda x: torch.select_scatter(x, x[:, :, 0] * 2, 2, 3)[:, :, :, :1],
    "slice_scatter": lambda x: torch.slice_scatter(x, 3 * x[:, :, :2], 2, 1, 3),
    "scatter": lambda x: x.scatter(3, torch.zeros(len(x), 2, 6, 1, dtype=torch.long), 7.0),
    "scatter_tensor": lambda x: x.scatter(3, torch.zeros(len(x), 2, 6, 1, dtype=torch.long), 2 * x),
    "scatter_add": lambda x: torch.ones_like(x).scatter_add(3, torch.zeros(len(x), 2, 6, 6, dtype=torch.long), x),
    "scatter_reduce": lambda x: x.scatter_reduce(3, torch.zeros(len(x), 2, 6, 6, dtype=torch.long), x, "sum"),
    "index_add": lambda x: x.index_add(2, torch.tensor([0, 0]), x[:, :, :2], alpha=2),
    "index_copy": lambda x: x.index_copy(2, torch.tensor([1]), x[:, :, :1]),
    "index_fill": lambda x: x.index_fill(2, torch.tensor([1]), 5.0),
    "index_put": lambda x: x.index_put((torch.arange(POINTS), torch.zeros(POINTS).long()), x[:, 1]),
    "masked_fill": lambda x: x.masked_fill(torch.eye(6, dtype=torch.bool), -3.0),
    "masked_scatter": lambda x: x.masked_scatter(torch.eye(6, dtype=torch.bool).expand_as(x), 2 * x),
    "where": lambda x: torch.where(torch.eye(6, dtype=torch.bool), x, 2.0) + torch.where(W > 0, 1.0, x),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x.repeat(1, 2, 1, 1), 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "im2col": lambda x: F.unfold(x, 3, padding=1),
    "col2im": lambda x: F.fold(F.unfold(x, 2), (6, 6), 2),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool1d": lambda x: F.avg_pool1d(x[:, 0], 2),
    "avg_pool3d": lambda x: F.avg_pool3d(x, 2),
    "adaptive_avg_pool": lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x[:, 0], 4),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=3.0),
    "reflect": lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect") + F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2) + F.interpolate(x, scale_factor=2, mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, (7, 9), mode="bilinear", align_corners=True),
    "bicubic": lambda x: (
        F.interpolate(x, (7, 9), mode="bicubic") + F.interpolate(x, (7, 9), mode="bilinear", antialias=True)
    ),
    "linear": lambda x: F.interpolate(x[:, 0], 9, mode="linear"),
    "add": lambda x: x + 3 + torch.add(W, x, alpha=2) + (1 - x) + torch.rsub(x, W, alpha=3) + (W - x) - (x - 2 * x),
    "broadcast": lambda x: x[:, :1] + W.expand(POINTS, 5, 6, 6),
    "copy": inplace(lambda y: y[:, 0].copy_(y[:, 1] * 2)),
    "constant written": inplace(lambda y: (y[:, 0].fill_(2.0), y[:, 1, 0].zero_(), y[:, 1, 1].copy_(V))),
    "in place": inplace(lambda y: y.add_(1).mul_(2).sub_(W).div_(3).neg_().add_(y.flip(2), alpha=2)),
    "written": written,
    "set": inplace(lambda y: y.__setitem__((slice(None), 0, 1), 3 * y[:, 1, 2])),
    "to": lambda x: x.to(torch.float64, copy=True).to(memory_format=torch.channels_last),
    "mul": lambda x: x * 2 * W * x.new_ones(()),
    "div": lambda x: x / 3 / W,
    "mm": lambda x: x @ W + W @ x + (x.flatten(1) @ W.repeat(12, 1))[:, None, None],
    "bmm": lambda x: (
        torch.bmm(x[:, 0], W.expand(POINTS, 6, 6)) + torch.baddbmm(x[:, 1], x[:, 0], W.expand(POINTS, 6, 6))
    ),
    "addmm": lambda x: (
        torch.addmm(x[:, 0, 0], x[:, 1, 0], W, beta=2, alpha=3) + torch.addmm(W[:1], x[:, 1, 0], W, beta=2)
    ),
    "linear layer": lambda x: F.linear(x, W, V) + F.linear(x, W),
    "mv": lambda x: torch.stack([torch.mv(W, row) + row.dot(V) for row in x[:, 0, 0]]),
    "addcmul": lambda x: torch.addcmul(x, x, W, value=2) + torch.addcmul(W, x, W) + torch.addcdiv(x, x, W, value=2),
    "lerp": lambda x: torch.lerp(x, W, 0.3) + torch.lerp(W, x, W),
    "einsum": lambda x: torch.einsum("ncij,jk,nkc->ni", x, W, torch.ones(POINTS, 6, 2).double()),
    "conv": lambda x: F.conv2d(x, K, V[:4], padding=1) + F.conv2d(x, K, padding=1),
    "conv weight": lambda x: torch.cat([F.conv2d(K[:1].reshape(1, 2, 3, 3), row[None, :, :2, :2]) for row in x]),
    "conv variants": lambda x: F.conv2d(x.repeat(1, 2, 1, 1), K, stride=2, dilation=2, padding=2, groups=2),
    "conv transposed": lambda x: F.conv_transpose2d(x, K.transpose(0, 1), V[:4], stride=2),
    "conv1d": lambda x: F.conv1d(x[:, 0], W[:, :, None], V),
    "batch norm": nn.BatchNorm2d(2).double().eval(),
    "batch norm without": nn.BatchNorm2d(2, affine=False).double().eval(),
    "grid": lambda x: F.grid_sample(x, GRID.expand(len(x), 3, 3, 2), align_corners=False),
    "finite": lambda x: x.nan_to_num(),
    "pads": lambda x: F.pad(x[:, 0], (1, 2), "reflect") + F.pad(x[:, 0], (1, 2), "replicate"),
    "pads 3d": lambda x: F.pad(x, (1, 2, 0, 1, 1, 0), "reflect") + F.pad(x, (1, 2, 0, 1, 1, 0), "replicate"),
    "upsampled": lambda x: F.interpolate(x[:, 0], 9) + F.interpolate(x[:, 0], 9, mode="nearest-exact"),
    "upsampled 3d": lambda x: sum(
        F.interpolate(x[:, None], 8, mode=mode) for mode in ("nearest", "nearest-exact", "trilinear")
    ),
    "antialiased": lambda x: F.interpolate(x, (4, 4), mode="bicubic", antialias=True),
    "adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x, (2, 4, 4)),
    "unshuffled": lambda x: F.pixel_unshuffle(x, 2).rot90(1, (2, 3)),
    "by rows": lambda x: x[:, 0] @ V + torch.stack([torch.addmv(V, W, row) for row in x[:, 0, 0]]),
    "outer": lambda x: torch.stack([torch.addr(W, row, V) for row in x[:, 0, 0]]),
    "added products": lambda x: torch.addbmm(W[:2, :2], x[:, 0, :2], W.expand(len(x), 6, 6)[:, :, :2]).expand(1, 2, 2),
    "taken": lambda x: torch.stack([row.take(torch.tensor([3, 5])) + row.trace() for row in x[:, 0]]),
    "chosen": lambda x: torch.stack([row.masked_select(W > 0) for row in x[:, 0]]),
    "diagonal": lambda x: torch.diagonal_scatter(x, x[:, :, 0], 0, 2, 3),
    "grid 3d": lambda x: F.grid_sample(x[:, :, None], GRID[..., None, [0, 0, 1]].expand(len(x), 3, 3, 1, 3)),
    "unpooled 3d": lambda x: F.max_unpool3d(
        x[:, :, None], torch.arange(36).reshape(1, 6, 6).expand(len(x), 2, 1, 6, 6), 1
    ),
    "changed apart": changed_apart(lambda y: y + 1),
    "changed apart without": changed_apart(lambda y: y.nan_to_num()),
    "changed apart by copy": changed_apart(lambda y: torch.empty_like(y).copy_(y)),
    "like": lambda x: (
        x
        + torch.ones_like(x)
        + x.new_full((6,), 2.0)
        + x.new_zeros(6)
        + torch.full_like(x, 2.0)
        + x.new_empty_strided((1,), (1,)).zero_()
        + 0 * torch.rand_like(x)
        + 0 * torch.randn_like(x)
    ),
}
PIECEWISE = {
    "relu": lambda x: x.relu(),
    "relu in place": inplace(lambda y: F.relu_(y)),
    "relu of a view": inplace(lambda y: y[:, :, 1:3].relu_()),
    "leaky": lambda x: F.leaky_relu(x, 0.2) + F.rrelu(x, 0.1, 0.3),
    "leaky in place": inplace(lambda y: F.leaky_relu_(y, -0.5)),
    "prelu": nn.PReLU(2, 0.3).double(),
    "abs": lambda x: x.abs(),
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.4) + F.relu6(3 * x),
    "hardtanh in place": inplace(lambda y: F.hardtanh_(y)),
    "clamp one": lambda x: torch.clamp_min(x, 0.1) + torch.clamp_max(x, 0.3),
    "clamp": lambda x: x.clamp(-0.2, 0.5) + x.clamp(min=0.1) + x.clamp(max=0.1) + x.clamp(W.min(), V),
    "clamp by itself": lambda x: x.clamp(min=x.flip(3)) + torch.clamp_max(x, 0.2 * x.flip(2)),
    "clamp in place": inplace(lambda y: y.clamp_(-0.1, 0.3)),
    "threshold": lambda x: F.threshold(x, 0.1, 0.1),
    "shrink": lambda x: F.softshrink(x, 0.3),
    "hardshrink": lambda x: F.hardshrink(x, 0.3),
    "maximum": lambda x: torch.maximum(x, W) + torch.minimum(x, x.flip(3)) + torch.fmax(x, W) + torch.fmin(W, x),
    "gate": lambda x: (x > 0.1) * (x - 0.1) + torch.where(x.flip(2) >= x, x.flip(2), x),
    "amax": lambda x: x.amax((1, 3)) + x.amin((1, 2)),
    "max": lambda x: x.max(3).values + x.min(2, keepdim=True).values.flatten(2).repeat(1, 1, 1),
    "aminmax": lambda x: torch.aminmax(x, dim=3).max + torch.aminmax(x, dim=3).min,
    "argmax": lambda x: x.gather(3, x.argmax(3, keepdim=True)) + x.gather(3, x.argmin(3, keepdim=True)),
    "sort": lambda x: x.sort(3).values @ V + x.sort(2, descending=True).values[:, :, 0] @ W,
    "argsort": lambda x: x.gather(3, x.argsort(3)),
    "msort": lambda x: torch.stack([row.msort() for row in x]),
    "topk": lambda x: x.topk(3, 3).values + x.topk(3, 3, largest=False, sorted=False).values.sort(3).values,
    "kthvalue": lambda x: x.kthvalue(2, 3).values + x.median(2, keepdim=True).values.squeeze(2) + x.nanmedian(3).values,
    "median": lambda x: torch.stack([row.median() for row in x]),
    "cummax": lambda x: x.cummax(3).values + x.cummin(2).values,
    "norm": lambda x: x.norm(1, 3).sum(1) + torch.linalg.vector_norm(x, 1, (1, 2)),
    "max_pool": lambda x: F.max_pool2d(x, 2),
    "max_pool rest": lambda x: F.max_pool2d(x[:, :, :5, :5], 2),
    "max_pool overlapping": lambda x: F.max_pool2d(x, 3, 2, 1) + F.max_pool2d(x, 3, 2, ceil_mode=True),
    "max_pool dilated": lambda x: F.max_pool2d(x, 2, 1, 1, 2),
    "max_pool1d": lambda x: F.max_pool1d(x[:, 0], 3, 2, 1) + F.max_pool1d(x[:, 0], 2),
    "max_pool1d as a whole": lambda x: torch.inference_mode()(F.max_pool1d)(x[:, 0], 3, 2, 1) * 1.0,
    "max_pool3d": lambda x: F.max_pool3d(x, 2) + F.max_pool3d(x[:, :1], (1, 2, 2)),
    "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x, (4, 5)),
    "adaptive_max_pool3d": lambda x: F.adaptive_max_pool3d(x, (2, 4, 5)),
    "adaptive_max_pool1d": lambda x: F.adaptive_max_pool1d(x[:, 0], 4),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "frac": lambda x: (3 * x).frac(),
}
CONSTANT = {
    "comparisons": kept(
        lambda x: (
            (x > 0.1).double()
            + (x <= W).double()
            + (x != 0).double()
            + (x == 0.5).double()
            + (x.gt(x.flip(2))).double()
            + (x > 0.1).double()
        )
    ),
    "infinity": kept(lambda x: (x < float("inf")).double()),
    "sign": kept(lambda x: x.sign() + x.sgn() + x.logical_not() + x.bool() + torch.heaviside(x, V)),
    "logic": kept(
        lambda x: (
            x.logical_and(W).double()
            + x.logical_or(W)
            + x.logical_xor(x.flip(2))
            + (x > 0).any(3, keepdim=True)
            + x.relu().all(3, keepdim=True)
        )
    ),
    "nonzero": kept(lambda x: torch.tensor([float(len(x.relu().nonzero()))]).view(1, 1, 1, 1)),
    "infinite": kept(lambda x: x.isinf().double() + x.isnan() + x.isposinf() + x.isneginf()),
    "count": kept(lambda x: x.relu().count_nonzero(3)[..., None]),
    "rounding": kept(lambda x: (5 * x).floor() + (5 * x).ceil() + (5 * x).trunc() + (5 * x).round()),
    "signbit": kept(lambda x: x.signbit()),
}
ELSEWHERE = {
    *("alias", "detach", "_reshape_copy", "view", "expand_copy", "view_copy", "permute_copy", "squeeze_copy", "t_copy"),
    *("unsqueeze_copy", "transpose_copy", "select_copy", "slice_copy", "unfold_copy", "detach_copy", "lift_fresh_copy"),
    *("_adaptive_avg_pool3d", "cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_no_update", "linear"),
    *("hardsigmoid", "_batch_norm_with_update", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("_index_put_impl", "_unsafe_index", "_unsafe_index_put", "equal", "allclose", "_local_scalar_dense"),
    *("avg_pool1d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "_has_same_storage_numel", "is_same_size"),
}
"""What runs on other devices and in other modes of PyTorch, or only if something is compiled."""
ALONE = {"nonzero", "by rows", "outer", "added products", "taken", "chosen", "mv", "conv weight", "msort", "median"}
"""Which take rows one by one, so that conditions have no row of their own."""
REFUSED = {
    "equal": lambda x: x * torch.equal(x, W),
    "allclose": lambda x: x * torch.allclose(x, W),
    "gelu": F.gelu,
    "softmax": lambda x: x.softmax(3),
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "exp": torch.exp,
    "square": lambda x: x**2,
    "product": lambda x: x * x.flip(3),
    "attention": lambda x: x @ x,
    "quotient": lambda x: 1 / x,
    "norm": lambda x: x.norm(2, 3),
    "batch norm": nn.BatchNorm2d(2).double().train(),
    "item": lambda x: x * x.sum().item(),
    "float": lambda x: x * float(x[0, 0, 0, 0]),
    "cast": lambda x: x.float().double(),
    "int": lambda x: x * x.int(),
    "into float32": lambda x: torch.zeros(x.shape).copy_(x).double(),
    "bits": lambda x: x.view(torch.int64).view(torch.float64) * 1.0,
    "weight": lambda x: F.conv2d(x[:1], x[:, :, :2, :2]),
    "grid": lambda x: F.grid_sample(x, x.permute(0, 2, 3, 1)[..., :2], align_corners=False),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "std": lambda x: x.std(3),
    "rounded quotient": lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    "out": lambda x: torch.add(x, 1, out=torch.empty(0).double()),
    "product in place": inplace(lambda y: y.mul_(y.flip(3))),
}


class Names(Observer):
    def __init__(self, seen):
        self.seen = seen

    def after(self, event):
        self.seen.add(event.name.partition("::")[2])


def found(forward, x, direction, only=None):
    """Return a function's result, its tangent, and the distances to the left and right."""
    tangents, bounds = Tangents(), Bounds(len(x), x.device, only)
    handle = x.clone()
    tangents.put(handle, direction.clone())
    pieces = Pieces(tangents, bounds)
    with Recorder(pieces), torch.no_grad():
        y = forward(handle)
    assert pieces.refusal is None
    tangent = tangents.of(y)
    return y, torch.zeros_like(y) if tangent is None else tangent, *bounds.distances()


def case(seed):
    g = torch.Generator().manual_seed(100 + seed)
    return torch.randn(POINTS, 2, 6, 6, generator=g).double(), torch.randn(POINTS, 2, 6, 6, generator=g).double()


def at(forward, x, direction, alphas):
    with torch.no_grad():
        return forward(x + alphas.view(-1, 1, 1, 1) * direction)


@pytest.mark.parametrize("name", [*AFFINE, *PIECEWISE, *CONSTANT])
def test_results_are_affine_between_the_bounds_and_have_the_tangent(name):
    forward = {**AFFINE, **PIECEWISE, **CONSTANT}[name]
    for seed in range(tries(2, 4)):
        x, direction = (z[: 1 if name in ALONE else POINTS] for z in case(seed))
        y, tangent, left, right = found(forward, x, direction)
        assert bool((left > 0).all() & (right > 0).all())
        for share in (-0.999, -0.5, 0.3, 0.999):
            alphas = (left.clamp(max=2) if share < 0 else right.clamp(max=2)) * share
            there = at(forward, x, direction, alphas)
            torch.testing.assert_close(there, y + alphas.view(-1, *[1] * (y.dim() - 1)) * tangent, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", AFFINE)
def test_what_is_affine_has_no_bounds(name):
    _, _, left, right = found(AFFINE[name], *(z[: 1 if name in ALONE else POINTS] for z in case(0)))
    assert bool(left.isinf().all() & right.isinf().all())


@pytest.mark.parametrize("name", PIECEWISE)
def test_bounds_are_no_narrower_than_the_piece(name):
    """Just behind a bound the tangent is another one, for most points: bounds that are too narrow cost time."""
    if name in ALONE | {"sort", "argsort", "topk", "kthvalue", "frac"}:
        return  # what changes places need not change what is made of it, or jumps
    kinks = []
    for seed in range(tries(3, 6)):
        x, direction = case(seed)
        _, tangent, _, right = found(PIECEWISE[name], x, direction)
        _, behind, _, _ = found(PIECEWISE[name], x + (right + 1e-9).view(-1, 1, 1, 1) * direction, direction)
        kinks += ((behind - tangent).flatten(1).abs().amax(1) > 1e-9).tolist()
    assert sum(kinks) >= 0.5 * len(kinks)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_curved_is_refused(name):
    with pytest.raises((NotAffineError, AssertionError)):
        found(REFUSED[name], *case(0))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_curved_may_work_on_what_stands_still(name):
    if name in ("out", "bits", "batch norm"):
        return
    still = torch.linspace(0.1, 0.9, 72).double().reshape(1, 2, 6, 6)

    def forward(x):
        gate = (x.sum((1, 2, 3), keepdim=True) > -1e9) * still  # constant, but with a past
        return x + REFUSED[name](gate + 0.0 * x)[..., :1].sum() if name != "weight" else x

    _y, tangent, _, right = found(forward, *(z[:1] for z in case(0)))
    assert bool(right > 0)
    torch.testing.assert_close(tangent, case(0)[1][:1])


def test_every_rule_is_tried():
    seen = set()
    for _name, forward in itertools.chain(AFFINE.items(), PIECEWISE.items(), CONSTANT.items()):
        with Recorder(Names(seen)), torch.no_grad():
            forward(case(0)[0])
    called = {name.rstrip("_") if not name.startswith("_") else "_" + name[1:].rstrip("_") for name in seen}
    assert sorted(set(operations()) - called - ELSEWHERE) == []


def test_two_rules_for_one_operation_are_refused():
    with pytest.raises(ValueError, match="has a rule already"):
        piece_rule("relu")(lambda call: None)


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: (x - x.mean(0)).relu(),
        lambda x: x.transpose(0, 1).relu().transpose(0, 1),
        lambda x: x.flatten(0, 1).repeat(2, 1, 1).relu(),
        lambda x: x.relu() + x.sum().relu(),
        lambda x: x.roll(1, 0).abs(),
    ],
)
def test_points_that_share_rows_are_seen(forward):
    x, direction = case(0)
    only = direction * torch.tensor([0.0, 1.0, 0.0]).view(-1, 1, 1, 1)
    for move, seen in ((only, 1), (None, None)):
        tangents, bounds = Tangents(), Bounds(POINTS, x.device, seen)
        handle = x.clone()
        tangents.put(handle, (direction if move is None else move).clone())
        with Recorder(Pieces(tangents, bounds)), torch.no_grad():
            forward(handle)
        if seen is not None:
            assert not bounds.separate


@pytest.mark.parametrize(
    "forward", [lambda x: x.relu(), lambda x: x.flatten(0, 1).relu(), lambda x: F.max_pool2d(x, 2)]
)
def test_points_with_rows_of_their_own_are_separate(forward):
    x, direction = case(0)
    tangents, bounds = Tangents(), Bounds(POINTS, x.device, 1)
    handle = x.clone()
    tangents.put(handle, direction * torch.tensor([0.0, 1.0, 0.0]).view(-1, 1, 1, 1))
    with Recorder(Pieces(tangents, bounds)), torch.no_grad():
        forward(handle)
    assert bounds.separate
