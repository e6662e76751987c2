"""Forwards that torch.fx cannot record, and modules made inside of forwards: converted, or told of truthfully."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from captum_xg import XGradient, certify, to_xdnn
from captum_xg.errors import ConversionError

EDGES = torch.tensor([[0, 1, 2, 3, 4, 0, 5, 2], [1, 2, 3, 4, 5, 2, 0, 5]])


class GraphConvolution(nn.Module):
    """Sums messages along edges and adds a bias: as PyG's GCNConv, with a branch that torch.fx cannot record."""

    def __init__(self, i, o, bias=True):
        super().__init__()
        self.lin = nn.Linear(i, o, bias=False)
        self.bias = nn.Parameter(torch.zeros(o)) if bias else None

    def forward(self, x, edges):
        if not torch.is_tensor(edges) or edges.dim() != 2:
            raise ValueError("edges must be a tensor of shape (2, E)")
        h = self.lin(x)
        out = torch.zeros_like(h).index_add(0, edges[1], h[edges[0]]) + h
        if self.bias is not None:
            out = out + self.bias
        return out


class Graph(nn.Module):
    def __init__(self, between=torch.relu):
        super().__init__()
        self.a, self.b, self.between = GraphConvolution(3, 8), GraphConvolution(8, 4), between

    def forward(self, x, edges):
        return self.b(self.between(self.a(x, edges)), edges)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def filled(model):
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "shift")):
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def nodes():
    return torch.randn(6, 3)


def sizes_in(text):
    return [float(number) for number in re.findall(r"of up to ([0-9.e+-]+)", text)]


def test_a_bias_of_zero_in_a_forward_that_cannot_be_recorded_is_dropped_exactly():
    model, x = Graph().eval(), nodes()
    assert certify(model, x, additional_forward_args=EDGES).homogeneous
    xdnn, report = to_xdnn(model, x, additional_forward_args=EDGES)
    assert report.exact
    assert [change.module for change in report.changes] == ["a", "b"]
    assert "bias, zero so far" in str(report)
    assert not sizes_in(str(report))
    assert report.constants_share in (None, 0)
    assert torch.equal(xdnn(x, EDGES), model(x, EDGES))
    assert model.a.bias.requires_grad
    assert not any("bias" in name for name, _ in xdnn.named_parameters())


@pytest.mark.parametrize("between", [torch.relu, F.silu, lambda h: nn.SiLU()(h)], ids=["relu", "silu", "SiLU"])
def test_a_bias_in_a_forward_that_cannot_be_recorded_is_dropped_with_its_size(between):
    model, x = filled(Graph(between)), nodes()
    xdnn, report = to_xdnn(model, x, additional_forward_args=EDGES)
    assert certify(xdnn, x, additional_forward_args=EDGES).degree == 1
    told = sizes_in(" ".join(change.why for change in report.changes))
    assert told == pytest.approx([float(m.bias.detach().abs().max()) for m in (model.a, model.b)], rel=0.05)
    reference = Graph(torch.relu)
    reference.load_state_dict(model.state_dict())
    nn.init.zeros_(reference.a.bias)
    nn.init.zeros_(reference.b.bias)
    torch.testing.assert_close(xdnn(x, EDGES), reference(x, EDGES))
    assert report.constants_share is None  # nodes see each other, so no example's share can be told


class Unrecordable(nn.Module):
    """Something is added where a branch on values keeps torch.fx out."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.l, self.o, self._run = nn.Linear(5, 6, bias=False), nn.Linear(6, 3, bias=False), forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args, **kwargs):
        return self._run(self, *args, **kwargs)


def by_arguments(s, *args, **kwargs):
    h = s.l(args[0])
    for scale in kwargs.get("scales", [2.0]):
        h = h * scale
    return s.o(torch.relu(h + s.shift))


def by_control_flow(s, x):
    h = s.l(x)
    if x.shape[0] > 100:
        h = 2 * h
    return s.o(torch.relu(h + s.shift))


def by_scatter(s, x):
    h = s.l(x)
    index = torch.arange(h.shape[1]).flip(0).expand_as(h)
    sums = [torch.zeros_like(h).scatter_add(1, index, h) for _ in range(len(x.shape))]
    return s.o(torch.relu(sum(sums) + s.shift))


def by_linear(s, *args):
    return F.linear(F.linear(args[0], s.l.weight, s.shift), s.o.weight, None)


def by_subtraction(s, *args):
    h = s.l(args[0])
    h -= s.shift
    return s.o(h.relu())


ADDING = {f.__name__: f for f in (by_arguments, by_control_flow, by_scatter, by_linear, by_subtraction)}


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("name", ADDING)
def test_a_parameter_that_is_added_is_dropped_whatever_it_is_called(name, zero):
    model = Unrecordable(ADDING[name], shift=nn.Parameter(torch.zeros(6))).eval()
    model = model if zero else filled(model)
    x = torch.randn(7, 5)
    xdnn, report = to_xdnn(model, x)
    assert report.exact == zero
    assert certify(xdnn, x).degree == 1
    told = sizes_in(" ".join(change.why for change in report.changes))
    assert told == ([] if zero else pytest.approx([float(model.shift.detach().abs().max())], rel=0.05))
    if zero:
        assert torch.equal(xdnn(x), model(x))
        assert (report.constants_share or 0) < 1e-5
    attributions = XGradient(xdnn).attribute(x, target=1)
    torch.testing.assert_close(attributions.sum(1), xdnn(x)[:, 1].detach(), rtol=1e-4, atol=1e-6)


NOT_AS_IT_IS = {
    # what is added is computed from a parameter, so nothing as it stands can be dropped
    "half of it": lambda s, x: s.o(torch.relu(s.l(x) + 0.5 * s.shift)) if x.shape[0] < 99 else x,
    "its exponential less one": lambda s, x: s.o(torch.relu(s.l(x) + s.shift.expm1())) if x.shape[0] < 99 else x,
    "shared": lambda s, x: s.o(torch.relu(s.l(x) + s.shift)) if x.shape[0] < 99 else x,
}


@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("name", NOT_AS_IT_IS)
def test_what_is_said_of_a_constant_is_true_of_the_model_as_it_is(name, zero):
    model = Unrecordable(NOT_AS_IT_IS[name], shift=nn.Parameter(torch.zeros(6))).eval()
    if name == "shared":
        model.other = nn.Module()
        model.other.shift = model.shift
    model = model if zero else filled(model)
    x = torch.randn(7, 5)
    assert certify(model, x).homogeneous == zero
    with pytest.raises(ConversionError) as error:
        to_xdnn(model, x)
    text = str(error.value)
    size = float({"half of it": 0.5 * model.shift}.get(name, model.shift.expm1()).detach().abs().max())
    if name == "shared":
        assert "shift, which other modules use" in text
    elif zero:
        assert "zero so far (shift)" in text
        assert not sizes_in(text)
        assert "set it to zero" not in text
    else:
        assert sizes_in(text) == pytest.approx([size], rel=0.05)
        assert "cannot be replaced there, as torch.fx cannot record it (TraceError: " in text


def test_a_size_that_is_told_is_that_of_the_numbers_that_are_there_with_zeros_beside_them():
    def forward(s, x):
        return s.o(torch.relu(s.l(x) + (s.shift + s.zero))) if x.shape[0] < 99 else x

    parts = {"shift": nn.Parameter(torch.zeros(6)), "zero": nn.Parameter(torch.zeros(6))}
    model = filled(Unrecordable(forward, **parts))
    with pytest.raises(ConversionError) as error:
        to_xdnn(model, torch.randn(7, 5))
    assert sizes_in(str(error.value)) == [float(f"{float(model.shift.detach().abs().max()):.2g}")]


def test_a_token_beside_the_input_is_no_bias_and_stays():
    def forward(s, x):
        if x.shape[0] > 99:
            return x
        h = s.l(x) + s.shift
        return s.o(torch.relu(torch.stack([h, s.token.expand_as(h)], 1)))

    model = filled(Unrecordable(forward, shift=nn.Parameter(torch.zeros(6)), token=nn.Parameter(torch.ones(6))))
    converted, report = to_xdnn(model, torch.randn(7, 5), strict=False)
    assert not report.homogeneous
    assert torch.equal(converted.token, model.token)
    assert not converted.shift.any()
    with pytest.raises(ConversionError, match="the model itself"):
        to_xdnn(model, torch.randn(7, 5))


@given(st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 100))
@settings(max_examples=10)
def test_every_size_that_is_told_is_that_of_a_bias(zeros, seed):
    torch.manual_seed(seed)
    layers = [GraphConvolution(3, 3) for _ in zeros]
    for layer, zero in zip(layers, zeros, strict=True):
        if not zero:
            nn.init.normal_(layer.bias)

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x, edges):
            for layer in self.layers:
                x = torch.relu(layer(x, edges))
            return x

    model = Deep().eval()
    _, report = to_xdnn(model, nodes(), additional_forward_args=EDGES, strict=False)
    for change in report.changes:
        layer = layers[int(change.module.split(".")[-1])]
        assert change.exact == (not layer.bias.any())
        assert sizes_in(change.why) == pytest.approx(
            [float(layer.bias.detach().abs().max())] if layer.bias.any() else [], rel=0.05
        )


# --- modules made inside of forwards ---------------------------------------------------------------------------------


class Inside(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.l, self.o, self.act = nn.Linear(12, 8), nn.Linear(8, 3), act

    def forward(self, x):
        return self.o(self.act(self.l(x)))


KEPT = [nn.GELU()]
PAIRS = {
    "SiLU": (lambda h: nn.SiLU()(h), F.silu),
    "GELU": (lambda h: nn.GELU("tanh")(h), lambda h: F.gelu(h, approximate="tanh")),
    "Softplus": (lambda h: nn.Softplus()(h), F.softplus),
    "Hardswish in place": (lambda h: nn.Hardswish(inplace=True)(h), F.hardswish),
    "ELU": (lambda h: nn.ELU(0.5)(h), lambda h: F.elu(h, 0.5)),
    "Tanh": (lambda h: nn.Tanh()(h), torch.tanh),
    "Sigmoid as a gate": (lambda h: h * nn.Sigmoid()(h), lambda h: h * torch.sigmoid(h)),
    "hard sigmoid by hand": (lambda h: h * nn.ReLU6()(h + 3) / 6, lambda h: h * F.relu6(h + 3) / 6),
    "LayerNorm": (lambda h: nn.LayerNorm(8)(h), lambda h: F.layer_norm(h, (8,))),
    "two of them": (lambda h: nn.SiLU()(nn.SiLU()(h)), lambda h: F.silu(F.silu(h))),
    "a sequence": (lambda h: nn.Sequential(nn.GELU(), nn.ELU())(h), lambda h: F.elu(F.gelu(h))),
    "in a plain list": (lambda h: KEPT[0](h), F.gelu),
    "GLU": (lambda h: nn.GLU()(torch.cat([h, h], 1)), lambda h: F.glu(torch.cat([h, h], 1))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_module_made_in_a_forward_converts_as_the_function_does(name):
    x, results, models = torch.randn(6, 12), [], []
    for act in PAIRS[name]:
        torch.manual_seed(0)
        model = filled(Inside(act))
        xdnn, report = to_xdnn(model, x)
        assert certify(xdnn, x).degree == 1
        assert report.exact_difference == 0
        assert [path for path, _ in model.named_modules()] == ["", "l", "o"]
        models.append(model)
        results.append(xdnn(x))
        assert all(p.requires_grad for n, p in xdnn.named_parameters() if n in dict(model.named_parameters()))
    torch.testing.assert_close(*(model(x) for model in models))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_a_module_made_in_a_block_is_named_and_so_is_the_block():
    model = nn.Sequential(nn.Linear(12, 12), Inside(lambda h: nn.SiLU()(h))).eval()
    (found,) = [v for v in certify(model, torch.randn(2, 12)).violations if "SiLU" in v.type]
    assert found.module == "1"
    assert found.type == "SiLU, not registered in Inside"
    _, report = to_xdnn(model, torch.randn(6, 12))
    assert any(change.module == "1.silu_1" for change in report.changes)


def test_a_module_made_in_a_forward_that_is_random_is_refused():
    with pytest.raises(ConversionError, match="Linear, not registered in Inside"):
        to_xdnn(Inside(lambda h: nn.Linear(8, 8)(h)).eval(), torch.randn(6, 12))


def test_harmless_modules_made_in_a_forward_leave_it_as_it_was():
    xdnn, report = to_xdnn(Inside(lambda h: nn.ReLU()(h)).eval(), torch.randn(6, 12))
    assert type(xdnn) is Inside
    assert {change.stage for change in report.changes} == {"constants"}
