"""Batch norms go into the linear layer beside them: exactly, and only where that is exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision.ops import FrozenBatchNorm2d

from captum_xg import certify, to_xdnn
from captum_xg.xdnn.dataflow_observer import observe
from captum_xg.xdnn.folding import fold_batch_norms

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def trained(model, seed=0):
    """Give batch norms what training leaves in them, in float64 and evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d)):
                if module.running_mean is not None:
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.1, 3)
                if module.weight is not None:
                    module.weight.data.normal_()
                    module.bias.data.normal_()
    return model.double().eval()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def folded(model, x):
    """Fold in a model, and return outputs before and after, and what was folded."""
    with torch.no_grad():
        before = model(x.clone())
        result = fold_batch_norms(model, observe(model, (x,), lambda: model(x.clone())))
        return before, model(x.clone()), result


def assert_exactly_folded(model, x, names):
    before, after, result = folded(model, x)
    assert [each.norm for each in result] == names
    assert (after - before).abs().max() <= 1e-12 * max(1.0, float(before.abs().max()))
    for name in names:
        assert type(model.get_submodule(name)) is nn.Identity


def assert_left_alone(model, x, convertible=True):
    kinds = [type(m) for m in model.modules()]
    before, after, result = folded(model, x)
    assert result == []
    assert [type(m) for m in model.modules()] == kinds
    assert torch.equal(before, after)
    if convertible:
        xdnn, report = to_xdnn(model, x)
        assert report.homogeneous
        assert certify(xdnn, x).degree == 1
        assert report.exact_difference <= 1e-12


layers = st.fixed_dictionaries(
    {
        "dims": st.integers(1, 3),
        "kernel": st.integers(1, 3),
        "stride": st.integers(1, 2),
        "dilation": st.integers(1, 2),
        "padding": st.integers(0, 2),
        "groups": st.sampled_from((1, 2)),
        "per_group": st.tuples(st.integers(1, 2), st.integers(1, 3)),
        "bias": st.booleans(),
        "mode": st.sampled_from(("zeros", "reflect", "replicate", "circular")),
    }
)


def convolution(of, transposed=False):
    (a, b), groups = of["per_group"], of["groups"]
    options = {k: of[k] for k in ("stride", "dilation", "padding", "groups", "bias")}
    if transposed:
        return TRANSPOSED[of["dims"]](a * groups, b * groups, of["kernel"], **options)
    mode = "replicate" if of["mode"] == "reflect" and of["dims"] == 3 else of["mode"]
    return CONVOLUTIONS[of["dims"]](a * groups, b * groups, of["kernel"], padding_mode=mode, **options)


def norm_for(dims, channels, affine, frozen, eps):
    if frozen and dims == 2:
        return FrozenBatchNorm2d(channels, eps=eps)
    return NORMS[dims](channels, affine=affine, eps=eps)


norms = st.tuples(st.booleans(), st.booleans(), st.sampled_from((1e-5, 1e-3, 0.5)))
seeds = st.integers(0, 1000)


@given(layers, norms, seeds, st.booleans())
def test_a_norm_after_any_convolution_is_folded_exactly(of, norm, seed, transposed):
    layer = convolution(of, transposed)
    layers_ = [layer, norm_for(of["dims"], layer.out_channels, *norm), nn.ReLU()]
    model = trained(nn.Sequential(*layers_), seed)
    assert_exactly_folded(model, normal(2, layer.in_channels, *[7] * of["dims"], seed=seed), ["1"])


@given(layers, norms, seeds)
def test_a_norm_before_a_convolution_is_folded_exactly_or_left_alone_where_zeros_are_padded(of, norm, seed):
    layer = convolution(of)
    model = trained(nn.Sequential(nn.ReLU(), norm_for(of["dims"], layer.in_channels, *norm), layer, nn.ReLU()), seed)
    x = normal(2, layer.in_channels, *[7] * of["dims"], seed=seed)
    if layer.padding_mode == "zeros" and of["padding"]:
        assert_left_alone(model, x, convertible=False)
    else:
        assert_exactly_folded(model, x, ["1"])


@given(st.integers(1, 5), st.integers(1, 5), norms, st.booleans(), seeds)
def test_norms_after_and_before_linear_layers_are_folded_exactly(a, b, norm, bias, seed):
    affine, _, eps = norm
    after = trained(nn.Sequential(nn.Linear(a, b, bias), nn.BatchNorm1d(b, affine=affine, eps=eps), nn.ReLU()), seed)
    assert_exactly_folded(after, normal(3, a, seed=seed), ["1"])
    before = trained(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(a, affine=affine, eps=eps), nn.Linear(a, b, bias)), seed)
    assert_exactly_folded(before, normal(3, a, seed=seed), ["1"])


def test_a_chain_of_layers_and_norms_loses_every_norm():
    model = trained(
        nn.Sequential(
            nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3, groups=2, padding=1),
            nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5),
        )
    )  # fmt: skip
    before, after, result = folded(model, normal(3, 2, 6, 6))
    assert {each.norm for each in result} >= {"2", "5", "9"}
    assert (after - before).abs().max() <= 1e-12 * max(1.0, float(before.abs().max()))


def test_the_weight_keeps_dtype_requires_grad_and_being_the_same_parameter():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)).eval()
    model.requires_grad_(False)
    weight = model[0].weight
    folded(model, torch.randn(2, 2, 5, 5))
    assert model[0].weight is weight
    assert model[0].bias.dtype == torch.float32
    assert not model[0].bias.requires_grad


# --- where it would not be exact -------------------------------------------------------------------------------------


class Module(nn.Module):
    """Named layers and a forward."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


class NormAndReLU(nn.BatchNorm2d):
    def forward(self, x):
        return torch.relu(super().forward(x))


class Negated(nn.Conv2d):
    def forward(self, x):
        return -super().forward(x)


def conv(bias=True, **options):
    return nn.Conv2d(3, 3, 3, padding=1, bias=bias, **options)


def with_hook(model, name, kind):
    module = model.get_submodule(name)
    if kind == "forward":
        module.register_forward_hook(lambda m, a, y: 2 * y)
    else:
        module.register_forward_pre_hook(lambda m, a: (2 * a[0],))
    return model


def shared_norm():
    return Module(lambda s, x: s.norm(s.a(x)) + s.norm(s.b(x)), a=conv(), b=conv(), norm=nn.BatchNorm2d(3))


def tied():
    model = Module(lambda s, x: s.norm(s.a(x)) + s.b(x), a=conv(), b=conv(), norm=nn.BatchNorm2d(3))
    model.b.weight = model.a.weight
    return model


INEXACT = {
    "zeros are padded to what the norm gives": lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), conv()),
    "a transposed convolution follows": lambda: nn.Sequential(
        nn.ReLU(), nn.BatchNorm2d(3), nn.ConvTranspose2d(3, 2, 3)
    ),
    "the result is used elsewhere": lambda: Module(
        lambda s, x: s.norm(y := s.a(x)) + y, a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a view of the result is used elsewhere": lambda: Module(
        lambda s, x: s.norm(y := s.a(x)) + y[:, :1], a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "one convolution with two norms": lambda: Module(
        lambda s, x: s.first(y := s.a(x)) + s.second(y), a=conv(), first=nn.BatchNorm2d(3), second=nn.BatchNorm2d(3)
    ),
    "one convolution run twice with two norms": lambda: Module(
        lambda s, x: s.second(s.a(torch.relu(s.first(s.a(x))))), a=conv(), first=nn.BatchNorm2d(3),
        second=nn.BatchNorm2d(3),
    ),
    "one convolution run twice with one norm": lambda: Module(
        lambda s, x: s.norm(s.a(x)) + s.a(2 * x), a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "one norm of two convolutions": shared_norm,
    "tied weights": tied,
    "a function between": lambda: Module(lambda s, x: s.norm(torch.relu(s.a(x))), a=conv(), norm=nn.BatchNorm2d(3)),
    "a function in place between": lambda: Module(
        lambda s, x: s.norm(torch.relu_(s.a(x))), a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a layer in place between": lambda: nn.Sequential(conv(), nn.ReLU(inplace=True), nn.BatchNorm2d(3)),
    "a transpose between": lambda: Module(
        lambda s, x: s.norm(s.a(x).transpose(2, 3)[:, [2, 0, 1]]), a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a view of the channels between": lambda: Module(
        lambda s, x: s.norm(s.a(x).transpose(1, 2)[:, :3]), a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "a sum between": lambda: Module(lambda s, x: s.norm(s.a(x) + x), a=conv(), norm=nn.BatchNorm2d(3)),
    "the norm of an input": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()),
    "what the norm gives used twice": lambda: Module(
        lambda s, x: s.b(y := s.norm(torch.relu(x))) + y, b=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3)
    ),
    "parametrized": lambda: nn.Sequential(parametrizations.weight_norm(conv()), nn.BatchNorm2d(3)),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(conv()), nn.BatchNorm2d(3)),
    "a hook after the convolution": lambda: with_hook(nn.Sequential(conv(), nn.BatchNorm2d(3)), "0", "forward"),
    "a hook before the norm": lambda: with_hook(nn.Sequential(conv(), nn.BatchNorm2d(3)), "1", "before"),
    "a hook after the norm": lambda: with_hook(nn.Sequential(conv(), nn.BatchNorm2d(3)), "1", "forward"),
    "a convolution with a forward of its own": lambda: nn.Sequential(Negated(3, 3, 3), nn.BatchNorm2d(3)),
    "a norm with a forward of its own": lambda: nn.Sequential(conv(), NormAndReLU(3), conv()),
    "the weight is used by a function as well": lambda: Module(
        lambda s, x: s.norm(s.a(x)) + F.conv2d(x, s.a.weight, padding=1), a=conv(), norm=nn.BatchNorm2d(3)
    ),
    "the norm's weight is used by a function as well": lambda: Module(
        lambda s, x: s.norm(s.a(x)) * s.norm.weight[:, None, None], a=conv(), norm=nn.BatchNorm2d(3)
    ),
}  # fmt: skip
REFUSED = {
    "a norm with a forward of its own",
    "a hook after the convolution",
    "a hook before the norm",
    "a hook after the norm",
}


@pytest.mark.parametrize("name", sorted(INEXACT))
def test_where_folding_would_not_be_exact_nothing_is_folded_and_the_rest_is_still_converted(name):
    model, x = trained(INEXACT[name]()), normal(2, 3, 6, 6)
    assert_left_alone(model, x, convertible=name not in REFUSED)


def test_a_convolution_whose_output_is_returned_keeps_it():
    class Returns(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm = conv(), nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.a(x)
            return {"norm": self.norm(y), "before": y}

    model, x = trained(Returns()), normal(2, 3, 6, 6)
    with torch.no_grad():
        before = model(x)
        assert fold_batch_norms(model, observe(model, (x,), lambda: model(x))) == []
        assert torch.equal(model(x)["before"], before["before"])
    _, report = to_xdnn(model, x)
    assert report.homogeneous


def test_a_convolution_whose_output_is_kept_for_later_keeps_it():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = conv(), nn.BatchNorm2d(3), conv()
            self.box = []

        def forward(self, x):
            self.box.append(self.a(x))
            y = self.norm(self.box[-1])
            return y + self.b(self.box.pop())

    model, x = trained(Keeps()), normal(2, 3, 6, 6)
    before, after, result = folded(model, x)
    assert result == []
    assert torch.equal(before, after)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("width", [5, 8])
def test_a_norm_of_another_dimension_than_the_one_a_linear_layer_works_on_is_left_alone(width, norm_first):
    # (N, 5, width): the norm's channels are dimension 1, the linear layer's the last
    norm = nn.BatchNorm1d(5)
    parts = [nn.ReLU(), norm, nn.Linear(width, 4)] if norm_first else [nn.Linear(4, width), norm, nn.ReLU()]
    model = trained(nn.Sequential(*parts))
    assert_left_alone(model, normal(3, 5, width if norm_first else 4))


@pytest.mark.parametrize("name", sorted(INEXACT))
def test_no_conversion_calls_a_change_exact_that_is_not(name):
    model, x = trained(INEXACT[name]()), normal(2, 3, 6, 6)
    _, report = to_xdnn(model, x, strict=False)
    assert report.exact_difference <= 1e-12


def test_norms_with_statistics_of_the_batch_or_in_training_are_never_folded():
    model = trained(nn.Sequential(conv(), nn.BatchNorm2d(3, track_running_stats=False)))
    assert_left_alone(model, normal(2, 3, 6, 6), convertible=False)
    model = trained(nn.Sequential(conv(), nn.BatchNorm2d(3)))
    model[1].train()
    flow = observe(model, (), lambda: model(normal(2, 3, 6, 6)))
    assert fold_batch_norms(model, flow) == []


@given(layers, norms, seeds, st.sampled_from(("after", "before")))
def test_a_conversion_of_any_convolution_and_norm_is_certified_and_folds_what_it_says(of, norm, seed, where):
    layer = convolution(of)
    channels = layer.out_channels if where == "after" else layer.in_channels
    batch_norm = norm_for(of["dims"], channels, *norm)
    parts = [layer, batch_norm, nn.ReLU()] if where == "after" else [nn.ReLU(), batch_norm, layer]
    model = trained(nn.Sequential(*parts), seed)
    x = normal(2, layer.in_channels, *[7] * of["dims"], seed=seed)
    xdnn, report = to_xdnn(model, x)
    assert report.certificate.degree == 1
    assert report.exact_difference <= 1e-12
    with torch.no_grad():
        assert torch.equal(xdnn(4 * x), 4 * xdnn(x))


def test_a_layer_takes_in_the_norm_before_it_and_the_norm_after_it():
    model = trained(nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()))
    assert_exactly_folded(model, normal(3, 2, 6, 6), ["0", "2"])


class Logarithm(nn.Module):
    def forward(self, x):
        return torch.log(x)


def test_nothing_is_folded_where_the_original_is_not_finite_and_nothing_can_be_compared():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), Logarithm(), nn.Linear(4, 2)).eval()
    _, report = to_xdnn(model, torch.randn(6, 3), strict=False)
    assert any("Batch norms were not folded: that would have changed the outputs by nan" in n for n in report.notes)
    assert not any(change.stage == "batch norms" for change in report.changes)
