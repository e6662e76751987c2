"""Conversions of products, of norms that people write, of fused norms, softmaxes and fused sums."""

import pytest
import torch
import torch.nn.functional as F
from effort import thorough
from references import integrated_gradients
from torch import nn

from captum_xg import XGradient, certify, to_xdnn
from captum_xg.errors import ConversionError


def images(count=3):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def net(*middle, channels=8):
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))
    return nn.Sequential(nn.Conv2d(3, channels, 3), *middle, nn.Conv2d(channels, channels, 1), *head).eval()


def assert_converted(model, x):
    """Convert; the original stays, and the result is proven, alive, finite at 0, and explained by X-Gradient."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    xdnn, report = to_xdnn(model, x)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert report.certificate.degree == 1
    assert report.exact_difference <= 1e-5
    xdnn, x = xdnn.double(), x.double()
    with torch.no_grad():
        y = xdnn(x)
        assert not torch.allclose(y[:1], y[1:], rtol=1e-3)
        assert not xdnn(torch.zeros_like(x)).any()
        for alpha in (2.0**-20, 3.0, 2.0**20):
            torch.testing.assert_close(xdnn(alpha * x), alpha * y)
    assert certify(xdnn, x).degree == 1
    (reference,) = integrated_gradients(xdnn, (x,), 1, nodes=4)
    torch.testing.assert_close(XGradient(xdnn).attribute(x, target=1), reference, rtol=1e-6, atol=1e-9)
    return xdnn, report


class NormAct(nn.BatchNorm2d):
    """A batch norm that holds what follows it."""

    def __init__(self, channels, act, scale=1.0):
        super().__init__(channels)
        self.scale = scale
        self.drop, self.act = nn.Dropout(), act
        nn.init.uniform_(self.running_mean, -1, 1)
        nn.init.uniform_(self.running_var, 0.5, 1.5)
        nn.init.normal_(self.bias)

    def forward(self, x):
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.1, self.eps)
        return self.act(self.drop(self.scale * x))


@pytest.mark.parametrize("act", [nn.SiLU(inplace=True), *thorough([nn.ReLU(), nn.Identity(), nn.PReLU(8)])], ids=str)
def test_a_fused_norm_is_folded_and_its_activation_converted(act):
    model = net(NormAct(8, act))
    xdnn, report = assert_converted(model, images())
    assert type(xdnn[1].norm) is nn.Identity
    assert [change.stage for change in report.changes if change.exact][:2] == ["fused norms", "batch norms"]
    assert isinstance(xdnn[1].drop, nn.Dropout)


def test_a_fused_norm_that_does_more_than_its_parts_is_not_taken_apart():
    with pytest.raises(ConversionError, match="forward of its own"):
        to_xdnn(net(NormAct(8, nn.ReLU(), scale=1.5)), images())


def test_a_fused_norm_keeps_its_hooks_by_staying_what_it_is():
    model = net(NormAct(8, nn.ReLU()))
    model[1].register_forward_hook(lambda module, arguments, output: 2 * output)
    with pytest.raises(ConversionError):
        to_xdnn(model, images())


class ChannelNorm(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form
        self.weight, self.bias = nn.Parameter(torch.rand(8, 1, 1) + 0.5), nn.Parameter(torch.randn(8, 1, 1))

    def forward(self, x):
        return self.form(x) * self.weight + self.bias


def rms(x):
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def power(x):
    return x * (x.square().mean((1, 2, 3), keepdim=True) + 1e-6) ** -0.5


def standardised(x):
    mean = x.mean(1, keepdim=True)
    return (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)


def evolved(x):
    return x * torch.sigmoid(x) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize("form", [rms, *thorough([power, standardised, evolved])], ids=lambda f: f.__name__)
def test_a_norm_of_ones_own_is_extended_as_a_whole(form):
    xdnn, report = assert_converted(net(ChannelNorm(form)), images())
    (change,) = [change for change in report.changes if change.module == "1"]
    assert change.after == "HomogeneousExtension"
    assert change.stage == "normalisation and gates"
    assert xdnn[1].model.bias.any()


class Star(nn.Module):
    def __init__(self, product, channels=8):
        super().__init__()
        self.f, self.g = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.product = product

    def forward(self, x):
        return x + self.product(F.relu6(self.f(x)), self.g(x))


PRODUCTS = {
    "operator": lambda a, b: a * b,
    "function": torch.mul,
    "method": lambda a, b: a.mul(b),
    "twice": lambda a, b: a * b * b,
    "square": lambda a, b: torch.square(a) + b,
    "power": lambda a, b: a**3 - b.pow(2),
    "beside a gate": lambda a, b: a * b * torch.sigmoid(a),
}


@pytest.mark.parametrize("name", ["operator", "square", *thorough(sorted(PRODUCTS.keys() - {"operator", "square"}))])
def test_a_product_of_two_values_that_scale_gets_degree_1(name):
    _, report = assert_converted(net(Star(PRODUCTS[name]), Star(PRODUCTS[name])), images())
    assert {change.module.split(".")[0] for change in report.changes if change.stage == "products"} == {"1", "2"}


def test_a_product_is_kept_where_its_factors_have_their_typical_size():
    model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), Star(lambda a, b: a * b))
    model[1].f.bias, model[1].g.bias = None, None
    x = images(1)
    with torch.no_grad():
        xdnn, _ = to_xdnn(model.eval(), x)
        torch.testing.assert_close(xdnn(x), model(x))


class Weighted(nn.Module):
    """A softmax over positions or branches, as of global context and split attention."""

    def __init__(self, softmax):
        super().__init__()
        self.score, self.softmax = nn.Conv2d(8, 8, 1), softmax

    def forward(self, x):
        return x * self.softmax(self.score(x).flatten(2)).reshape(x.shape)


@pytest.mark.parametrize(
    "softmax",
    [
        lambda s: F.softmax(s, dim=2),
        *thorough([nn.Softmax(2), lambda s: torch.softmax(s, 1), lambda s: s.softmax(dim=-1)]),
    ],
    ids=["functional", "module", "function", "method"],
)
def test_a_softmax_that_weighs_values_is_a_gate(softmax):
    _, report = assert_converted(net(Weighted(softmax)), images())
    assert any(change.before == "Softmax" and "sharper" in change.why for change in report.changes)


SCORES = [
    lambda s: s,
    lambda s: s / 8**0.5 + 1,
    lambda s: (s * 2)[:, :, :].clone(),
    lambda s: s.masked_fill(torch.ones(36, 36).triu(1).bool(), -1e9),
]


class Attention(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.scale = scale

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        weights = self.scale(self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return (weights @ self.v(x)).transpose(1, 2).reshape(-1, 8, 6, 6)


@pytest.mark.parametrize("scale", [SCORES[0], *thorough(SCORES[1:])])
def test_attention_is_refused(scale):
    with pytest.raises(ConversionError, match=r"as attention does(.|\n)*HomogeneousExtension"):
        to_xdnn(net(Attention(scale)), images())


def mixed(form):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.b = nn.Parameter(torch.randn(8, 1, 1)), nn.Parameter(torch.randn(8, 1, 1))
            self.m = nn.Parameter(torch.randn(36, 36))

        def forward(self, x):
            return form(self, x)

    return Mixed()


SUMS = {
    "addcmul": lambda s, x: torch.addcmul(s.b, s.w, x),
    "method": lambda s, x: s.b.addcmul(x, s.w, value=2),
    "names": lambda s, x: torch.addcmul(input=s.b, tensor1=s.w, tensor2=x),
    "a constant product": lambda s, x: torch.addcmul(x, s.w, s.b),
    "addcdiv": lambda s, x: torch.addcdiv(s.b, x, s.w),
    "addmm": lambda s, x: torch.addmm(s.b.flatten()[:1], x.reshape(-1, 36), s.m).reshape(x.shape),
    "baddbmm": lambda s, x: torch.baddbmm(s.b[:1], x.flatten(2), s.m.expand(x.shape[0], 36, 36)).reshape(x.shape),
}


@pytest.mark.parametrize("name", ["addcmul", "addmm", *thorough(sorted(SUMS.keys() - {"addcmul", "addmm"}))])
def test_the_constant_goes_from_a_fused_sum(name):
    model = net(mixed(SUMS[name]))
    xdnn, report = assert_converted(model, images())
    (change,) = [change for change in report.changes if change.module.startswith("1.")]
    assert change.why == "drops a constant"
    for module in (model[0], model[2], model[5]):
        nn.init.zeros_(module.bias)
    nn.init.zeros_(model[1].b)
    torch.testing.assert_close(xdnn.float()(images()), model(images()))
