"""Forwards as they are found in the wild: converted rightly, or refused with a reason; never certified wrongly."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import Normalize

from captum_xg import HomogeneousExtension, XGradient, certify, to_xdnn
from captum_xg.errors import CaptumXGError, ConversionError


class Net(nn.Module):
    """Modules by name, and a forward as a function of self and input."""

    def __init__(self, forward, **modules):
        super().__init__()
        self._run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self._run(self, x)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def vectors(n=6, width=12):
    return torch.randn(n, width)


def images():
    return torch.randn(4, 3, 16, 16)


def assert_converted(model, x):
    """Convert, and compare exact steps, homogeneity, independence of examples, and the value at zero with numbers."""
    model = model.eval()
    xdnn, report = to_xdnn(model, x)
    assert report.homogeneous
    assert report.certificate.degree == 1
    assert report.exact_difference <= 1e-5
    with torch.no_grad():
        y = xdnn(x)
        assert torch.isfinite(y).all()
        for scale in (2.0**-10, 2.0**10):
            torch.testing.assert_close(xdnn(scale * x), scale * y, rtol=1e-4, atol=1e-4 * scale * float(y.abs().max()))
        torch.testing.assert_close(xdnn(x[:1]), y[:1], rtol=1e-4, atol=1e-5 * float(y.abs().max()) + 1e-7)
        assert not xdnn(torch.zeros_like(x)).any()
    return xdnn, report


def refusal(model, x, *words, **options):
    with pytest.raises(ConversionError) as error:
        to_xdnn(model.eval(), x, **options)
    for word in ("HomogeneousExtension", *words):
        assert word in str(error.value)
    return error.value.report


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.o = nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x, bias=None, mask=None, features=False):
        h = F.silu(self.l(x))
        if bias is None:
            h = h * 2
        if mask is not None:
            h = h * mask
        if features:
            return h
        return F.linear(h, self.o.weight, bias)


def test_arguments_that_are_not_passed_keep_their_defaults_in_a_recorded_forward():
    _, report = assert_converted(Optional(), vectors())
    assert any("recording" in note for note in report.notes)


def test_arguments_that_are_passed_are_arguments_of_the_recorded_forward():
    inner = Optional()
    model = Net(lambda s, x: s.inner(x, None, (x > 0).to(x.dtype)), inner=inner)
    assert_converted(model, vectors())


class HardSwish(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate, self.relu6 = gate, nn.ReLU6(inplace=True)

    def forward(self, x):
        return self.gate(self, x)


BY_HAND = {
    "relu6 function": lambda s, x: x * F.relu6(x + 3) / 6,
    "relu6 function first": lambda s, x: F.relu6(3 + x) / 6 * x,
    "relu6 module": lambda s, x: x * (s.relu6(x + 3) / 6),
    "clamp": lambda s, x: x * torch.clamp(x + 3, 0, 6) / 6,
    "clamp method": lambda s, x: x * (x + 3.0).clamp(0, 6) * (1 / 6),
    "hardtanh": lambda s, x: x * F.hardtanh(x + 3, 0.0, 6.0) / 6,
    "hardsigmoid": lambda s, x: x * F.hardsigmoid(x),
    "sigmoid": lambda s, x: x * torch.sigmoid(1.702 * x),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_hand_written_gates_become_gates_of_degree_zero(name):
    layers = [nn.Linear(12, 8), HardSwish(BY_HAND[name]), nn.Linear(8, 8), HardSwish(BY_HAND[name]), nn.Linear(8, 3)]
    assert_converted(nn.Sequential(*layers), vectors())


def test_gates_that_are_not_recognised_are_refused_and_not_certified_with_another_degree():
    def forward(s, x):
        gates = (1 + torch.tanh(s.g(x))).reshape(-1, 1, 4)
        return torch.bmm(gates, s.l(x).reshape(-1, 4, 3)).flatten(1)

    gated = Net(forward, g=nn.Linear(12, 4), l=nn.Linear(12, 12))
    refusal(gated, vectors(), "degree 2", "register_conversion")


def test_gates_that_are_used_by_a_matrix_product_are_gates():
    attention = Net(
        lambda s, x: torch.bmm(torch.sigmoid(s.g(x)).reshape(-1, 1, 4), s.l(x).reshape(-1, 4, 3)).flatten(1),
        g=nn.Linear(12, 4), l=nn.Linear(12, 12),
    )  # fmt: skip
    assert_converted(attention, vectors())


class GlobalResponseNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.g, self.b = nn.Parameter(torch.ones(1, channels, 1, 1)), nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x):
        size = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
        return self.g * (x * (size / (size.mean(1, keepdim=True) + 1e-6))) + self.b + x


class PixelNorm(nn.Module):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean((1, 2, 3), keepdim=True) + 1e-8) * x.abs().mean((1, 2, 3), keepdim=True)


class RootNorm(nn.Module):
    def forward(self, x):
        return x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + 1e-8) * x.abs().mean((1, 2, 3), keepdim=True)


@pytest.mark.parametrize("norm", [GlobalResponseNorm(8), PixelNorm(), RootNorm()], ids=lambda n: type(n).__name__)
def test_an_eps_that_is_dropped_from_a_denominator_leaves_no_division_by_zero(norm):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    x = images()
    xdnn, _ = assert_converted(model, x)
    x[1] = 0
    x[2, :, :8] = 0
    x.requires_grad_()
    y = xdnn(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.isfinite(y).all()
    assert torch.isfinite(gradient).all()


def test_a_result_that_is_not_finite_where_the_original_is_is_refused():
    logarithm = Net(lambda s, x: s.o(torch.exp(torch.log(s.l(x).abs() + 1e-3))), l=nn.Linear(12, 8), o=nn.Linear(8, 3))
    with pytest.raises(CaptumXGError):
        to_xdnn(logarithm.eval(), vectors())
    cosine = Net(lambda s, x: s.l(x) * s.l(x) / s.l(x).abs().sum(1, keepdim=True), l=nn.Linear(12, 8))
    refusal(cosine, vectors(), "not finite where its input is zero")


@pytest.mark.parametrize("where", ["root", "activation"])
def test_hooks_are_not_lost_without_a_word(where):
    model = Net(lambda s, x: s.o(F.silu(s.l(x))), l=nn.Linear(12, 12, bias=False), o=nn.Linear(12, 3, bias=False))
    if where == "activation":
        model = nn.Sequential(nn.Linear(12, 8), nn.SiLU(), nn.Linear(8, 3))
        model[1].register_forward_hook(lambda module, inputs, output: 3.0 * output)
    else:
        model.register_forward_hook(lambda module, inputs, output: 3.0 * output)
    refusal(model, vectors(), "hooks")


@pytest.mark.parametrize("part", [nn.LayerNorm(12), nn.Sigmoid()], ids=str)
def test_norms_and_gates_that_take_another_dimension_for_the_batch_are_refused(part):
    def forward(s, x):
        h = s.l(x.transpose(0, 1))
        h = s.part(h) if isinstance(part, nn.LayerNorm) else h * s.part(h)
        return s.o(h.mean(0))

    model = Net(forward, l=nn.Linear(12, 12), part=part, o=nn.Linear(12, 3))
    refusal(model, torch.randn(4, 6, 12), "influence each other")


def test_a_result_that_is_returned_in_an_object_is_not_folded_into():
    @dataclasses.dataclass
    class Output:
        features: torch.Tensor

    def forward(s, x):
        h = s.conv(x)
        return {"logits": s.o(F.relu(s.norm(h)).mean((2, 3))), "other": Output(h)}

    model = Net(forward, conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), o=nn.Linear(8, 2)).eval()
    nn.init.normal_(model.norm.running_mean)
    nn.init.normal_(model.norm.weight)
    xdnn, _ = to_xdnn(model, images(), output="logits")
    bias = model.conv.bias[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(
            xdnn(images() * 0 + 1)["other"].features, model(images() * 0 + 1)["other"].features - bias
        )


OUTPUTS = {
    "two probabilities": lambda s, x: torch.cat([1 - torch.sigmoid(s.l(x)), torch.sigmoid(s.l(x))], 1),
    "clamped": lambda s, x: torch.sigmoid(s.l(x)).clamp(1e-6, 1 - 1e-6),
    "scaled": lambda s, x: torch.sigmoid(s.l(x)) * 255,
    "as they are": lambda s, x: torch.sigmoid(s.l(x)),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_probabilities_in_the_output_are_not_rewritten(name):
    refusal(Net(OUTPUTS[name], l=nn.Linear(12, 2)), vectors(), "probabilities")


def test_attributes_of_a_recorded_module_can_still_be_read():
    class Child(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.l = 2.5, nn.Linear(12, 12)

        def forward(self, x):
            return F.gelu(self.l(x))

    assert_converted(Net(lambda s, x: s.o(s.child(x) * s.child.scale), child=Child(), o=nn.Linear(12, 3)), vectors())


def test_a_linear_layer_with_a_forward_that_computes_with_its_bias_is_converted():
    class Halved(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight * 0.5, self.bias * 0.5)

    assert_converted(nn.Sequential(Halved(12, 8), nn.ReLU(), nn.Linear(8, 3)), vectors())


def test_normalisation_of_the_input_keeps_its_scale():
    model = nn.Sequential(
        Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 2)
    )
    assert_converted(model, images())


def test_a_gate_of_one_number_per_example_is_refused_as_such():
    model = Net(lambda s, x: torch.sigmoid(s.g(x).squeeze(1))[:, None] * s.l(x), g=nn.Linear(12, 1), l=nn.Linear(12, 3))
    refusal(model, vectors(), "one number per example")


def test_what_is_overwritten_behind_an_activation_has_a_gradient():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.a = nn.Conv2d(3, 3, 3, padding=1), nn.SiLU()

        def forward(self, x):
            y = self.a(self.c(x))
            y += x
            return y.mean((2, 3))

    xdnn, _ = assert_converted(Block(), images())
    assert XGradient(xdnn).attribute(images(), target=0).isfinite().all()


def test_whole_numbers_are_refused_as_inputs_with_a_way_out():
    model = nn.Sequential(nn.Embedding(9, 12), nn.Flatten(), nn.Linear(36, 3)).eval()
    with pytest.raises(CaptumXGError, match="additional_forward_args"):
        to_xdnn(model, torch.zeros(2, 3, dtype=torch.long))


def test_a_refused_model_has_an_extension_that_is_certified():
    model = nn.Sequential(nn.TransformerEncoderLayer(12, 2, batch_first=True), nn.Linear(12, 3)).eval()
    x = torch.randn(4, 5, 12)
    refusal(model, x, "0 (TransformerEncoderLayer)")
    assert certify(HomogeneousExtension(model), x).degree == 1


def test_a_sigmoid_that_feeds_layers_as_well_is_an_activation_and_no_gate():
    gate = Net(lambda s, x: x * torch.sigmoid(s.up(F.relu(s.down(x)))), down=nn.Linear(8, 2), up=nn.Linear(2, 8))
    assert_converted(nn.Sequential(nn.Linear(12, 8), nn.Sigmoid(), gate, nn.Linear(8, 3)), vectors())


@pytest.mark.parametrize("after", [nn.RMSNorm(8), nn.SiLU(), nn.Identity()], ids=str)
def test_a_sigmoid_that_is_multiplied_with_what_came_from_it_is_an_activation(after):
    residual = Net(lambda s, x: x + s.inner(x), inner=nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()))
    gate = Net(lambda s, x: x * torch.sigmoid(s.up(F.relu(s.down(x)))), down=nn.Linear(8, 2), up=nn.Linear(2, 8))
    assert_converted(nn.Sequential(nn.Linear(12, 8), nn.Sigmoid(), after, nn.Linear(8, 3)), vectors())
    assert_converted(nn.Sequential(nn.Linear(12, 8), residual, gate, nn.Linear(8, 3)), vectors())


class Highway(nn.Module):
    def __init__(self, sigmoid=None):
        super().__init__()
        self.g, self.h, self.sigmoid = nn.Linear(12, 12), nn.Linear(12, 12), sigmoid

    def forward(self, x):
        g = torch.sigmoid(self.g(x)) if self.sigmoid is None else self.sigmoid(self.g(x))
        return g * F.relu(self.h(x)) + (1 - g) * x


def test_the_carry_gate_of_a_highway_stays_one_minus_the_gate():
    highway = Highway()
    nn.init.zeros_(highway.g.bias)
    nn.init.zeros_(highway.h.bias)
    x = vectors(64)
    _, report = assert_converted(nn.Sequential(highway, nn.Linear(12, 3, bias=False)), x)
    assert not any("sub" in change.module for change in report.changes)
    assert report.agreement[-1].correlation > 0.9


def test_a_sigmoid_in_two_places_is_a_gate_in_both():
    shared = nn.Sigmoid()
    assert_converted(nn.Sequential(Highway(shared), Highway(shared), nn.Linear(12, 3)), vectors())


@pytest.mark.parametrize("by", ["1 + g", "1 - g", "1 - g, negated", "clamped"])
def test_gates_that_constants_were_added_to_are_gates(by):
    def forward(s, x):
        h, g = s.l(x), torch.sigmoid(s.g(x))
        return s.o(h * {"1 + g": 1 + g, "1 - g": 1 - g, "1 - g, negated": -g + 1, "clamped": g.clamp(0.1, 0.9)}[by])

    assert_converted(Net(forward, l=nn.Linear(12, 8), g=nn.Linear(12, 8), o=nn.Linear(8, 3)), vectors())


def test_a_recorded_forward_may_contain_a_recorded_one():
    inner = Net(lambda s, x: x * torch.sigmoid(x) + 0.1)
    outer = Net(
        lambda s, x: s.o(s.h(s.l(x)) * torch.sigmoid(s.l(x)) + 1), l=nn.Linear(12, 8), h=inner, o=nn.Linear(8, 3)
    )
    to_xdnn(outer.eval(), vectors(), strict=False)
    gated = Net(lambda s, x: s.o(s.h(s.l(x)) + 1), l=nn.Linear(12, 8), h=inner, o=nn.Linear(8, 3))
    assert_converted(gated, vectors())


def test_examples_that_influence_each_other_are_noticed_with_further_arguments_too():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.n, self.o = nn.Linear(6, 8, bias=False), nn.LayerNorm(8), nn.Linear(8, 5, bias=False)

        def forward(self, x, mask):
            return self.o((self.n(self.i(x).transpose(0, 1)) * mask.T[:, :, None]).sum(0))

    with pytest.raises(ConversionError, match="influence each other"):
        to_xdnn(Masked().eval(), torch.randn(6, 4, 6), additional_forward_args=torch.ones(6, 4))


def test_a_constant_that_is_dropped_keeps_the_shape_of_the_sum():
    c = torch.randn(4, 8)
    model = Net(
        lambda s, x: s.o((s.l(x)[:, None] + c).sum(1)), l=nn.Linear(12, 8, bias=False), o=nn.Linear(8, 3, bias=False)
    )
    xdnn, _ = assert_converted(model, vectors())
    x = vectors()
    with torch.no_grad():
        torch.testing.assert_close(xdnn(x), model.o(4 * model.l(x)))
    scaled = Net(lambda s, x: s.o(torch.add(s.l(x), 1, alpha=2)), l=nn.Linear(12, 8), o=nn.Linear(8, 3))
    assert_converted(scaled, vectors())


def test_dropout_by_a_function_still_drops_in_training():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.l, self.o = nn.Linear(12, 64), nn.Linear(64, 3)

        def forward(self, x):
            h = F.dropout1d(F.gelu(self.l(x))[:, :, None], 0.5, self.training)
            return self.o(h[:, :, 0])

    xdnn, _ = assert_converted(Dropping(), vectors())
    xdnn.train()
    assert not torch.equal(xdnn(torch.ones(1, 12)), xdnn(torch.ones(1, 12)))


def test_a_recording_that_does_something_else_is_not_used():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(12, 3)

        def forward(self, x):
            h = F.gelu(self.l(x))
            return 2 * h if isinstance(x, torch.Tensor) else h  # which no symbol of torch.fx is

    refusal(Asking(), vectors(), "a recording of its forward by torch.fx does something else")


def test_norms_whose_folding_would_change_the_outputs_are_left_and_everything_is_put_back(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2)).eval()
    nn.init.normal_(model[1].running_mean)
    nn.init.normal_(model[1].weight)
    monkeypatch.setattr("captum_xg.xdnn.stages._ROUNDING", -1.0)
    xdnn, report = to_xdnn(model, images())
    assert any("were not folded" in note for note in report.notes)
    assert torch.equal(xdnn[0].weight, model[0].weight)
    assert not any(change.stage == "batch norms" for change in report.changes)


def test_a_gradient_that_is_not_finite_on_the_examples_is_said():
    smooth = Net(
        lambda s, x: s.o((s.l(x) + torch.sqrt(s.l(x) * s.l(x) + 0.1)) / 2), l=nn.Linear(12, 8), o=nn.Linear(8, 3)
    )
    x = vectors()
    x[2] = 0
    _, report = to_xdnn(smooth.eval(), x)
    assert any("gradient is not finite" in note for note in report.notes)
