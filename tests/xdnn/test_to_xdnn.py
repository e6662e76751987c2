"""to_xdnn: a certified copy, and nothing else is touched; or an error that names what stands in the way."""

import contextlib
import copy
import io
import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from captum_xg import HomogeneousExtension, certify, to_xdnn
from captum_xg.errors import CaptumXGError, ConversionError, InputError, TrainingModeError


class Module(nn.Module):
    """Named layers and a forward."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            self.register_buffer(name, part) if isinstance(part, torch.Tensor) else setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


class Three(Module):
    """The same with three arguments."""

    def forward(self, a, b, k):
        return self.run(self, a, b, k)


class Gate(nn.Module):
    """Squeeze-and-excitation by functions."""

    def __init__(self, channels):
        super().__init__()
        self.down, self.up = nn.Linear(channels, 2), nn.Linear(2, channels)

    def forward(self, x):
        gates = torch.sigmoid(self.up(F.relu(self.down(x))))
        return x * gates


class Functional(nn.Module):
    """One functional call between two layers."""

    def __init__(self, name, width):
        super().__init__()
        self.name = name
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)
        self.register_buffer("mean", torch.linspace(-1, 1, width))
        self.register_buffer("var", torch.linspace(0.5, 2, width))
        self.norm = nn.Parameter(torch.linspace(0.5, 1.5, width))

    def forward(self, x):
        return self.b(CALLS[self.name](self, self.a(x)))


CALLS = {
    "relu6": lambda s, h: F.relu6(h),
    "gelu": lambda s, h: F.gelu(h),
    "silu": lambda s, h: F.silu(h, inplace=False),
    "hardtanh": lambda s, h: F.hardtanh(h, -2.0, 2.0),
    "softplus": lambda s, h: F.softplus(h, beta=2.0),
    "elu": lambda s, h: F.elu(h, 0.5),
    "tanh": lambda s, h: torch.tanh(h),
    "method tanh": lambda s, h: h.tanh(),
    "clamp": lambda s, h: torch.clamp(h, 0.0, 3.0),
    "method clamp": lambda s, h: h.clamp(min=-1.0, max=1.0),
    "gate": lambda s, h: h * torch.sigmoid(h),
    "gate by method": lambda s, h: h.sigmoid() * h,
    "hard gate": lambda s, h: h * F.hardsigmoid(h),
    "add constant": lambda s, h: h + 0.5,
    "constant first": lambda s, h: 0.5 + h,
    "subtract buffer": lambda s, h: h - s.mean,
    "subtract from": lambda s, h: 1.0 - h,
    "standardise": lambda s, h: (h - s.mean) / s.var,
    "add function": lambda s, h: torch.add(h, s.mean),
    "add method": lambda s, h: h.add(s.mean),
    "rsub": lambda s, h: torch.rsub(h, 1.0),
    "linear": lambda s, h: F.linear(h, s.b.weight, s.mean),
    "linear by name": lambda s, h: F.linear(h, s.b.weight, bias=s.mean),
    "batch_norm": lambda s, h: F.batch_norm(h, s.mean, s.var, s.norm, s.mean),
    "batch_norm by names": lambda s, h: F.batch_norm(
        h, running_mean=s.mean, running_var=s.var, weight=s.norm, bias=s.mean, training=False, eps=0.1
    ),
    "torch.batch_norm": lambda s, h: torch.batch_norm(h, s.norm, s.mean, s.mean, s.var, False, 0.1, 1e-5, False),
    "layer_norm": lambda s, h: F.layer_norm(h, h.shape[1:], s.norm, s.mean),
    "pad": lambda s, h: F.pad(h, (1, -1), value=0.7),
    "pad by position": lambda s, h: F.pad(h, (1, -1), "constant", 0.7),
    "residual": lambda s, h: h + F.gelu(h) + s.mean,
    "concatenation": lambda s, h: torch.cat([h, h + 1.0], 1)[:, 2 : h.shape[1] + 2],
    "in place": lambda s, h: h.add_(1.0).sub_(s.mean),
    "augmented": lambda s, h: operator.isub(operator.iadd(h, 1.0), s.mean),
}
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.Softplus, nn.ELU, nn.CELU, nn.SELU,
    nn.Tanh, nn.Softsign, nn.LeakyReLU, nn.PReLU, nn.Sigmoid, nn.Hardsigmoid, lambda: nn.ReLU6(inplace=True),
    lambda: nn.Threshold(0.1, 0.0), lambda: nn.GELU("tanh"), lambda: nn.SiLU(inplace=True),
)  # fmt: skip


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Both(nn.Module):
    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x):
        return torch.cat([self.one(x), self.other(x)], 1)


def not_in_place(activation):
    """Two in a row, the second in place, cannot be differentiated, converted or not."""
    if hasattr(activation, "inplace"):
        activation.inplace = False
    return activation


def layer(draw, width):
    kind = draw(st.sampled_from(("linear", "activation", "norm", "gate", "call", "residual", "both", "dropout")))
    if kind == "linear":
        return nn.Linear(width, width, bias=draw(st.booleans()))
    if kind == "activation":
        return not_in_place(draw(st.sampled_from(ACTIVATIONS))())
    if kind == "norm":
        return draw(st.sampled_from((nn.BatchNorm1d, nn.LayerNorm, lambda w: nn.GroupNorm(2, w), nn.RMSNorm)))(width)
    if kind == "gate":
        return Gate(width)
    if kind == "call":
        return Functional(draw(st.sampled_from(sorted(set(CALLS) - {"torch.batch_norm"}))), width)
    if kind == "dropout":
        return nn.Dropout(0.4)
    if kind == "residual":
        return Residual(nn.Sequential(nn.Linear(width, width), not_in_place(draw(st.sampled_from(ACTIVATIONS))())))
    return nn.Sequential(Both(nn.Linear(width, 2), nn.Linear(width, width - 2)), nn.GELU())


@st.composite
def networks(draw):
    width = draw(st.sampled_from((4, 6)))
    seed = draw(st.integers(0, 1000))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = [layer(draw, width) for _ in range(draw(st.integers(1, 4)))]
        return trained(nn.Sequential(nn.Linear(width, width), *parts, nn.Linear(width, 3)), seed), width, seed


def trained(model, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.double().eval()


def made(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return trained(build(), seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def snapshot(model):
    return {
        "state": {k: (v.data_ptr(), v.clone()) for k, v in model.state_dict(keep_vars=True).items()},
        "grads": {k: (p.requires_grad, p.grad) for k, p in model.named_parameters()},
        "modes": {k: m.training for k, m in model.named_modules()},
        "classes": {k: type(m) for k, m in model.named_modules()},
        "ids": {k: id(m) for k, m in model.named_modules()},
        "hooks": {
            k: [len(getattr(m, h)) for h in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]
            for k, m in model.named_modules()
        },
        "attributes": {k: sorted(vars(m)) for k, m in model.named_modules()},
        "inplace": {k: getattr(m, "inplace", None) for k, m in model.named_modules()},
        "value": {k: getattr(m, "value", None) for k, m in model.named_modules()},
    }


def assert_same_snapshot(one, other):
    for key in one:
        if key == "state":
            assert one[key].keys() == other[key].keys()
            for name, (pointer, value) in one[key].items():
                assert pointer == other[key][name][0], name
                assert torch.equal(value, other[key][name][1]), name
        else:
            assert one[key] == other[key], key


# --- the law ---------------------------------------------------------------------------------------------------------


@given(networks())
def test_every_network_of_these_parts_becomes_a_certified_one_of_degree_one_and_stays_as_it_was(drawn):
    model, width, seed = drawn
    x = normal(5, width, seed=seed)
    before, copied, rng = snapshot(model), x.clone(), torch.get_rng_state()
    with torch.no_grad():
        y = model(x.clone())
    xdnn, report = to_xdnn(model, x)
    assert_same_snapshot(before, snapshot(model))
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(x, copied)
    assert not x.requires_grad
    with torch.no_grad():
        assert torch.equal(model(x.clone()), y)
    assert report.homogeneous
    assert report.certificate.degree == 1
    assert certify(xdnn, x).degree == 1
    assert report.exact_difference <= 1e-12
    assert not any(m.training for m in xdnn.modules())
    with torch.no_grad():
        assert torch.allclose(xdnn(16 * x) / 16, xdnn(x.clone()), rtol=1e-10, atol=1e-12)
    shared = {id(p) for p in model.parameters()} & {id(p) for p in xdnn.parameters()}
    assert not shared
    again, unchanged = to_xdnn(xdnn, x)
    assert unchanged.changes == ()
    assert unchanged.homogeneous
    with torch.no_grad():
        assert torch.equal(again(x.clone()), xdnn(x.clone()))


@given(networks())
@settings(max_examples=12)
def test_a_converted_network_trains_copies_pickles_and_takes_its_state_back(drawn):
    model, width, seed = drawn
    x = normal(5, width, seed=seed)
    xdnn, _ = to_xdnn(model, x)
    with torch.no_grad():
        y = xdnn(x.clone())
        assert torch.equal(copy.deepcopy(xdnn)(x.clone()), y)
        file = io.BytesIO()
        torch.save(xdnn, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=False)(x.clone()), y)
        second, _ = to_xdnn(model, x)
        for p in second.parameters():
            p.zero_()
        second.load_state_dict(xdnn.state_dict())
        assert torch.equal(second(x.clone()), y)
    xdnn.train()
    xdnn(normal(8, width, seed=seed + 1)).square().sum().backward()
    used = {id(p) for p in xdnn.parameters()}
    reached = {id(p) for p in xdnn.parameters() if p.grad is not None}
    assert reached == used


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_functional_call_is_converted(name):
    model = made(lambda: Functional(name, 6))
    x = normal(5, 6)
    before = snapshot(model)
    xdnn, report = to_xdnn(model, x)
    assert_same_snapshot(before, snapshot(model))
    assert report.homogeneous
    assert report.certificate.degree == 1
    assert torch.equal(xdnn.a.weight, model.a.weight)
    assert torch.equal(xdnn.b.weight, model.b.weight)
    assert type(xdnn.a) is nn.Linear


@pytest.mark.parametrize(
    "call",
    [lambda h: h.clamp_(0.0, 6.0), torch.sigmoid_, torch.tanh_, F.relu6],
    ids=["clamp_", "sigmoid_", "tanh_", "relu6"],
)
def test_activations_in_place_are_converted_or_refused_by_name(call):
    model = made(lambda: Module(lambda s, x: s.b(call(s.a(x))), a=nn.Linear(4, 6), b=nn.Linear(6, 3)))
    try:
        xdnn, report = to_xdnn(model, normal(3, 4))
    except ConversionError as error:
        assert "Module" in str(error)  # noqa: PT017
        assert error.report.unconverted  # noqa: PT017
    else:
        assert report.certificate.degree == 1
        assert certify(xdnn, normal(3, 4)).degree == 1


AFFINE = (
    "add constant", "constant first", "subtract buffer", "subtract from", "standardise", "add function", "add method",
    "rsub", "in place", "augmented", "linear", "linear by name", "batch_norm",
    "batch_norm by names", "torch.batch_norm", "pad", "pad by position",
)  # fmt: skip


@pytest.mark.parametrize("name", AFFINE)
def test_what_is_affine_becomes_its_linear_part(name):
    model = made(lambda: Functional(name, 6))
    x = normal(5, 6)
    xdnn, _ = to_xdnn(model, x)
    with torch.no_grad():
        assert torch.allclose(xdnn(x), model(x) - model(0 * x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [nn.Linear, nn.Bilinear])
def test_affine_layers_become_their_linear_part(kind):
    model = made(lambda: nn.Linear(4, 3)) if kind is nn.Linear else made(
        lambda: Module(lambda s, x: s.a(x, x), a=nn.Bilinear(4, 4, 3))
    )  # fmt: skip
    x = normal(5, 4)
    xdnn, report = to_xdnn(model, x, strict=False)
    assert report.certificate.homogeneous
    with torch.no_grad():
        assert torch.allclose(xdnn(x), model(x) - model(0 * x), atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_becomes_a_function_that_scales(activation):
    model = made(lambda: nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 3)))
    xdnn, report = to_xdnn(model, normal(5, 4))
    assert report.certificate.degree == 1
    if isinstance(model[1], (nn.ReLU, nn.LeakyReLU, nn.PReLU)):
        assert type(xdnn[1]) is type(model[1])
    elif (
        isinstance(model[1], (nn.Tanh, nn.Hardtanh, nn.Softsign, nn.ELU, nn.SELU, nn.CELU))
        and type(model[1]) is not nn.ReLU6
    ):
        assert isinstance(xdnn[1], nn.LeakyReLU)
        assert xdnn[1].negative_slope == 0.25
    else:
        assert isinstance(xdnn[1], nn.ReLU)
    assert getattr(xdnn[1], "inplace", False) == getattr(model[1], "inplace", False)


# --- what stays ------------------------------------------------------------------------------------------------------


def test_hooks_requires_grad_gradients_buffers_and_modes_of_the_original_stay():
    model = made(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 3)))
    calls = []
    model[2].register_forward_hook(lambda m, a, y: calls.append(1))
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    before = snapshot(model)
    xdnn, _ = to_xdnn(model, normal(3, 4), strict=False)
    assert_same_snapshot(before, snapshot(model))
    assert not xdnn[0].weight.requires_grad
    with pytest.raises(ConversionError):
        to_xdnn(nn.Sequential(model, nn.Softmax(1)), normal(3, 4))
    assert_same_snapshot(before, snapshot(model))


def test_tied_parameters_stay_one_and_other_weights_stay_bit_for_bit():
    model = made(
        lambda: Module(lambda s, x: s.c(s.b(F.gelu(s.a(x)))), a=nn.Linear(4, 4), b=nn.Linear(4, 4), c=nn.Linear(4, 4))
    )
    model.b.weight = model.a.weight
    xdnn, report = to_xdnn(model, normal(3, 4))
    assert xdnn.a.weight is xdnn.b.weight
    assert xdnn.a.weight is not model.a.weight
    for name in "abc":
        assert torch.equal(getattr(xdnn, name).weight, getattr(model, name).weight)
    assert report.homogeneous


def test_a_module_that_stands_in_two_places_stands_in_both_afterwards():
    act = nn.GELU()
    model = made(lambda: nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 3)))
    xdnn, report = to_xdnn(model, normal(3, 4))
    assert xdnn[1] is xdnn[3]
    assert isinstance(xdnn[1], nn.ReLU)
    assert report.homogeneous


def test_dropout_is_kept_also_as_a_function():
    model = made(lambda: nn.Sequential(nn.Linear(4, 50), nn.GELU(), nn.Dropout(0.5), nn.Linear(50, 3)))
    xdnn, _ = to_xdnn(model, normal(3, 4))
    assert isinstance(xdnn[2], nn.Dropout)
    assert xdnn[2].p == 0.5
    called = made(
        lambda: Module(
            lambda s, x: s.b(F.dropout(F.gelu(s.a(x)), 0.5, s.training)), a=nn.Linear(4, 50), b=nn.Linear(50, 3)
        )
    )
    xdnn, report = to_xdnn(called, normal(3, 4))
    xdnn.train()
    x = normal(3, 4)
    assert not torch.equal(xdnn(x), xdnn(x)) or any("dropout" in note for note in report.notes)


HOMOGENEOUS = {
    "linear": lambda: nn.Linear(4, 3, bias=False),
    "relu network": lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)),
    "of degree 2": lambda: Module(lambda s, x: s.a(x) ** 2, a=nn.Linear(4, 3, bias=False)),
    "clamped below": lambda: Module(lambda s, x: s.a(x).clamp(min=0), a=nn.Linear(4, 3, bias=False)),
    "extension": lambda: HomogeneousExtension(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))),
    "zero": lambda: Module(lambda s, x: 0 * x),
}


@pytest.mark.parametrize("name", sorted(HOMOGENEOUS))
def test_what_is_homogeneous_comes_back_as_a_copy_without_changes(name):
    model = made(HOMOGENEOUS[name])
    x = normal(3, 4)
    xdnn, report = to_xdnn(model, x)
    assert xdnn is not model
    assert type(xdnn) is type(model)
    assert report.changes == ()
    assert report.homogeneous
    assert report.exact
    assert report.exact_difference == 0
    assert torch.equal(xdnn(x), model(x))


def test_functional_calls_that_need_no_conversion_leave_their_module_as_it_was():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x):
            return F.relu(self.a(x)).clamp(min=0) + x - 0.5 * x

    model = made(lambda: nn.Sequential(Plain(), nn.GELU(), nn.Linear(4, 3)))
    xdnn, report = to_xdnn(model, normal(3, 4))
    assert type(xdnn[0]) is Plain
    assert {c.module for c in report.changes} == {"0.a", "1", "2"}


# --- gates and norms -------------------------------------------------------------------------------------------------


def gated():
    return made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), SqueezeExcitation(4, 2), nn.Conv2d(4, 3, 3)), seed=3)


@pytest.mark.parametrize(
    "build",
    [
        gated,
        lambda: made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(98, 6), Gate(6), nn.Linear(6, 3))),
        lambda: made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(98, 6), nn.GLU(), nn.Linear(3, 3))),
        lambda: made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(98, 6), nn.LayerNorm(6), nn.Linear(6, 3))),
        lambda: made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 3))),
        lambda: made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 3, 3))),
        lambda: made(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.LocalResponseNorm(2, 1.0), nn.Conv2d(4, 3, 3))),
    ],
    ids=["squeeze and excitation", "gate by functions", "glu", "layer norm", "group norm", "instance norm", "lrn"],
)
def test_gates_and_norms_are_defined_at_zero_with_their_gradients_and_second_ones(build):
    xdnn, report = to_xdnn(build(), normal(4, 2, 7, 7))
    assert report.certificate.degree == 1
    x = normal(3, 2, 7, 7)
    x[1] = 0
    x.requires_grad_()
    y = xdnn(x)
    assert torch.isfinite(y).all()
    assert not y[1].any()
    gradients = torch.autograd.grad(y.flatten(1)[:, 0].sum(), [x, *xdnn.parameters()], create_graph=True)
    assert all(torch.isfinite(g).all() for g in gradients)
    second = torch.autograd.grad((x * gradients[0]).square().sum(), [x, *xdnn.parameters()], allow_unused=True)
    assert all(torch.isfinite(g).all() for g in second if g is not None)


@pytest.mark.parametrize("norm", [lambda: nn.LayerNorm(6), lambda: nn.GroupNorm(2, 6), lambda: nn.RMSNorm(6)])
def test_a_norm_is_what_it_was_where_its_input_has_the_typical_size(norm):
    model = made(lambda: nn.Sequential(nn.Linear(4, 6, bias=False), norm(), nn.Linear(6, 3, bias=False)))
    nn.init.normal_(model[1].weight)
    if getattr(model[1], "bias", None) is not None:
        nn.init.normal_(model[1].bias)
    x = normal(5, 4)
    xdnn, _ = to_xdnn(model, x)
    with torch.no_grad():
        hidden = model[0](x)
        sizes = hidden.square().mean(1).sqrt()
        there = x * (sizes.mean() / sizes)[:, None]
        assert torch.allclose(xdnn(there), model(there), rtol=1e-6)  # the radius is kept in single precision
        assert not torch.allclose(xdnn(3 * there), model(3 * there), rtol=1e-2)


def test_gates_do_not_change_with_scale_and_are_what_they_were_at_the_typical_size():
    model = gated()
    x = normal(4, 2, 7, 7)
    xdnn, _ = to_xdnn(model, x)
    seen = {}
    xdnn[1].gate.register_forward_hook(lambda m, a, y: seen.setdefault("gates", []).append(y))
    for scale in (1.0, 2.0**-20, 2.0**20):
        xdnn(scale * x)
    first, *others = seen["gates"]
    assert all(torch.allclose(first, g, rtol=1e-12) for g in others)
    assert bool((first > 0).all())
    assert bool((first < 1).all())
    with torch.no_grad():
        means = model[0](x).mean((2, 3), keepdim=True)
        sizes = means.flatten(1).square().mean(1).sqrt()
        at = means * (sizes.mean() / sizes).reshape(-1, 1, 1, 1)
        assert torch.allclose(xdnn[1].gate(at), model[1]._scale(at), rtol=1e-6)


def test_a_gate_that_comes_to_light_late_is_still_a_gate():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 6)

        def forward(self, x):
            return x * torch.sigmoid(self.a(x) + 0.5)

    for first in (nn.Softplus(), nn.Tanh(), nn.LayerNorm(6)):
        model = made(lambda first=first: nn.Sequential(nn.Linear(4, 6), first, Late(), nn.Linear(6, 3)))
        _xdnn, report = to_xdnn(model, normal(5, 4))
        assert report.homogeneous
        (change,) = (c for c in report.changes if c.before == "Sigmoid")
        assert change.after == "HomogeneousExtension", change


# --- refusals --------------------------------------------------------------------------------------------------------


class ClassToken(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        tokens = torch.cat([self.token.expand(len(x), -1, -1), x.unflatten(1, (1, 4))], 1)
        return self.head(tokens.amax(1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        y = x.unflatten(1, (1, 4)).expand(-1, 3, -1)
        return self.attention(y, y, y, need_weights=False)[0].mean(1)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x):
        return self.a(x) if x.sum().item() > 0 else -self.a(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        return self.layer(x.unflatten(1, (2, 2)).flatten(1).unsqueeze(1).expand(-1, 3, -1)).mean(1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.cell(x[:, None])[0][:, 0]


REFUSED = {
    "attention": (Attention, "attention"),
    "transformer": (Encoder, "layer"),
    "class token": (ClassToken, "ClassToken"),
    "softmax": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), "1 (Softmax)"),
    "log softmax": (lambda: nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)), "1 (LogSoftmax)"),
    "probabilities": (lambda: nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), "1 (Sigmoid)"),
    "recurrent": (Recurrent, "cell (LSTM)"),
    "branches on values": (Branches, "Branches"),
    "statistics of the batch": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)), "1 (BatchNorm1d)"
    ),
    "statistics of the batch by a function": (
        lambda: Module(lambda s, x: F.batch_norm(s.a(x), None, None, training=True), a=nn.Linear(4, 3)), "batch"
    ),
    "statistics of the batch by a function with running ones": (
        lambda: Module(
            lambda s, x: F.batch_norm(s.a(x), s.mean, s.var, training=True), a=nn.Linear(4, 3), mean=torch.zeros(3),
            var=torch.ones(3),
        ),
        "batch",
    ),
    "degree 0": (lambda: Module(lambda s, x: s.a(x) / s.a(x).norm(dim=1, keepdim=True), a=nn.Linear(4, 3)), "degree 0"),
    "compiled": (lambda: torch.compile(nn.Sequential(nn.Linear(4, 3))), "compiled"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_converted_is_named_with_what_to_do_instead_and_the_original_stays(name):
    build, words = REFUSED[name]
    model = made(build)
    before = snapshot(model)
    with pytest.raises(ConversionError) as error:
        to_xdnn(model, normal(4, 4))
    text = str(error.value)
    assert words in text
    assert "HomogeneousExtension" in text
    report = error.value.report
    assert report is not None
    assert not report.homogeneous
    assert report.unconverted
    assert_same_snapshot(before, snapshot(model))
    returned, same = to_xdnn(model, normal(4, 4), strict=False)
    assert isinstance(returned, nn.Module)
    assert [u.module for u in same.unconverted] == [u.module for u in report.unconverted]
    assert not certify(returned, normal(4, 4)).homogeneous or same.certificate.degree == 0


def test_what_can_be_done_is_done_without_strictness():
    model = made(lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3), nn.Softmax(1)))
    xdnn, report = to_xdnn(model, normal(4, 4), strict=False)
    assert isinstance(xdnn[1], nn.ReLU)
    assert xdnn[0].bias is None
    assert isinstance(xdnn[3], nn.Softmax)
    assert {c.module for c in report.changes} == {"0", "1", "2"}


def test_models_that_are_scripted_are_refused_with_an_error_of_the_packages_own():
    model = torch.jit.script(made(lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU())))
    with pytest.raises(ConversionError, match="HomogeneousExtension"):
        to_xdnn(model, normal(4, 4))
    outer = nn.Sequential(model, nn.Linear(3, 2).double()).eval()
    with pytest.raises(ConversionError, match="0"):
        to_xdnn(outer, normal(4, 4))


def test_data_parallel_is_refused_or_certified():
    model = nn.DataParallel(made(lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU())))
    try:
        xdnn, _ = to_xdnn(model, normal(4, 4))
    except CaptumXGError as error:
        assert "DataParallel" in str(error)  # noqa: PT017
    else:
        assert certify(xdnn, normal(4, 4)).degree == 1


def test_training_mode_is_refused():
    for model in (nn.Sequential(nn.Linear(4, 3), nn.Dropout()), nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))):
        with pytest.raises(TrainingModeError):
            to_xdnn(model.double().train(), normal(4, 4))


@pytest.mark.parametrize("function", [torch.relu, lambda x: x + 1, "model", None])
def test_what_is_no_module_is_refused_with_the_extension_named(function):
    with pytest.raises(ConversionError, match="HomogeneousExtension"):
        to_xdnn(function, normal(4, 4))


@pytest.mark.parametrize(
    "inputs",
    [(), (torch.full((2, 4), torch.nan, dtype=torch.float64),), (torch.full((2, 4), torch.inf, dtype=torch.float64),),
     ("text",)],
    ids=["none", "nan", "infinity", "text"],
)  # fmt: skip
def test_inputs_that_nothing_can_be_attributed_to_are_refused(inputs):
    with pytest.raises(InputError):
        to_xdnn(made(lambda: nn.Linear(4, 3)), *inputs)


def test_a_model_that_does_not_run_or_cannot_be_copied_is_an_error_with_the_cause():
    with pytest.raises(ConversionError, match="fails on the example inputs"):
        to_xdnn(made(lambda: nn.Linear(4, 3)), normal(4, 5))
    model = made(lambda: nn.Linear(4, 3))
    model.kept = model(normal(1, 4))
    with pytest.raises(ConversionError, match="cannot be copied"):
        to_xdnn(model, normal(4, 4))


def test_models_written_for_one_batch_size_are_converted_or_refused_in_the_packages_own_words():
    model = made(lambda: Module(lambda s, x: F.gelu(s.a(x)).view(4, 3), a=nn.Linear(4, 3)))
    with contextlib.suppress(CaptumXGError):
        assert to_xdnn(model, normal(4, 4))[1].homogeneous


def test_inputs_in_a_tuple_further_arguments_and_parts_of_outputs_are_understood():
    model = made(
        lambda: Three(
            lambda s, a, b, k: {"y": s.a(a) + F.gelu(s.b(b)) * k, "p": s.a(a).softmax(1)},
            a=nn.Linear(4, 3),
            b=nn.Linear(4, 3),
        )
    )
    a, b = normal(3, 4), normal(3, 4, seed=2)
    for inputs in ((a, b), ((a, b),)):
        xdnn, report = to_xdnn(model, *inputs, additional_forward_args=2.0, output="y")
        assert report.homogeneous
        assert torch.allclose(xdnn(4 * a, 4 * b, 2.0)["y"], 4 * xdnn(a, b, 2.0)["y"])
    with pytest.raises(ConversionError):
        to_xdnn(model, a, b, additional_forward_args=2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_dtypes_are_converted_with_exact_changes_that_are_rounding(dtype):
    model = made(lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 3))).to(dtype)
    xdnn, report = to_xdnn(model, normal(5, 4).to(dtype))
    assert report.exact_difference <= (1e-5 if dtype == torch.float32 else 0.1)
    assert all(p.dtype == dtype for p in xdnn.parameters())
