"""Functions that once got a number, a refusal or a message that they should not have got."""

from itertools import pairwise

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_xg import XGradient, check_homogeneity
from captum_xg.errors import CrossExampleError, DegreeError, HomogeneityError, InputError, OptionError, TargetError


def mlp(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [[nn.Linear(i, o, bias=False), nn.ReLU()] for i, o in pairwise(widths)]
    return nn.Sequential(*[part for pair in layers for part in pair][:-1]).eval()


def clamped_a_little(x):
    return (x + 0.05 * x.clamp(max=1)).sum(1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_violation_of_a_few_percent_is_refused_in_every_precision(dtype):
    with pytest.raises(HomogeneityError):
        XGradient(clamped_a_little).attribute(torch.tensor([[3.0, 2.0, 4.0]], dtype=dtype))


def test_a_violation_of_a_few_percent_is_refused_under_autocast():
    net = mlp(3, 8, 1)
    with pytest.raises(HomogeneityError), torch.autocast("cpu", torch.bfloat16):
        XGradient(lambda x: net(x) + 0.05 * net(x.clamp(max=1))).attribute(torch.tensor([[3.0, 2.0, 4.0]]))


def test_an_example_that_cannot_be_tried_below_one_is_not_vouched_for():
    """The path of Integrated Gradients lies below 1, where this one has its threshold."""
    threshold = lambda p: nn.functional.threshold(p, 8e-5, 0.0).sum(1)
    with pytest.raises(HomogeneityError):
        XGradient(threshold).attribute(torch.tensor([[1e-4]]).half())


def test_terms_that_overflow_when_added_hide_no_violation():
    big = lambda x: 3e8 * x[:, 0] - 3e8 * x[:, 1] + x[:, 2].clamp(max=1.0) * 1e36
    with pytest.raises(HomogeneityError):
        XGradient(big).attribute(torch.tensor([[1e30, 1e30, 2.0]]))


def test_a_function_that_is_flat_at_x_and_zero_on_its_ray_is_not_taken_for_homogeneous():
    difference = lambda p: p[:, 0].clamp(max=1) - p[:, 1].clamp(max=1)
    with pytest.raises(HomogeneityError):
        XGradient(difference).attribute(torch.tensor([[2.0, 2.0]]))


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("pairs", [True, False])
def test_products_of_examples_are_not_of_degree_two(stride, pairs):
    """In pairs each example meets the same other one from both sides, so that Euler's identity holds for degree 2."""
    x = torch.rand(2 * stride if pairs else 9, 3)
    with pytest.raises(CrossExampleError):
        XGradient(lambda x: (x * x.roll(stride, 0)).sum(1), degree=2).attribute(x)


NET = mlp(16, 32, 1)


def autocast_inside(dtype):
    def forward(x):
        with torch.autocast("cpu", dtype):
            return NET(x).float()

    return forward


@pytest.mark.parametrize(
    ("forward", "dtype"),
    [
        (autocast_inside(torch.bfloat16), torch.float32),
        (autocast_inside(torch.float16), torch.float32),
        (lambda x: NET(x.float()).double(), torch.float64),
    ],
    ids=["bfloat16 in float32", "float16 in float32", "float32 in float64"],
)
def test_a_lower_precision_inside_of_f_is_no_violation(forward, dtype):
    x = torch.rand(4, 16, dtype=dtype)
    ours = XGradient(forward).attribute(x)
    ig = IntegratedGradients(forward).attribute(x, n_steps=5)
    assert (ours - ig).abs().max() <= 0.02 * ig.abs().max()


def test_layers_with_a_bias_are_named_also_under_autocast_inside_of_f():
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1, bias=False)).eval()

    def forward(x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float()

    with pytest.raises(HomogeneityError) as caught:
        XGradient(forward).attribute(torch.rand(4, 16))
    assert [culprit.module for culprit in caught.value.report.culprits] == ["0"]


@pytest.mark.parametrize("depth", [1, 3])
def test_half_precision_networks_are_accepted_in_large_batches(depth):
    """Some of 256 logits are tiny, and lose digits that weigh nothing beside the terms they are sums of."""
    model = mlp(16, *[32] * depth, 3).half()
    torch.manual_seed(1)
    assert XGradient(model).attribute(torch.rand(256, 16).half(), target=0).shape == (256, 16)


def test_a_layer_whose_output_overflows_when_probed_is_not_blamed():
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 1)).half()
    nn.init.constant_(model[0].weight, 3000.0)
    nn.init.constant_(model[2].weight, 1e-3)
    nn.init.constant_(model[2].bias, 50.0)
    with pytest.raises(HomogeneityError) as caught:
        XGradient(model).attribute(torch.ones(2, 4).half())
    assert [culprit.module for culprit in caught.value.report.culprits] == ["2"]


@pytest.mark.parametrize("degree", [1.1, 2.2, 3.14159265])
def test_a_degree_that_is_no_simple_fraction_is_found_in_parts_as_in_one(degree):
    power = lambda x: x.pow(degree).sum(1)
    torch.manual_seed(0)
    x = torch.rand(6, 3) + 0.1
    whole = XGradient(power, degree="auto").attribute(x)
    parts = XGradient(power, degree="auto").attribute(x, internal_batch_size=1)
    torch.testing.assert_close(parts, whole)


def test_a_high_degree_is_found():
    x = torch.rand(3, 4) + 0.1
    power = lambda x: x.pow(10).sum(1)
    torch.testing.assert_close(XGradient(power, degree="auto").attribute(x), x.pow(10))


def test_a_forward_function_that_differentiates_by_its_input_is_attributed_to():
    def slope(x):
        return torch.autograd.grad((x**3).sum(), x, create_graph=True)[0].sum(1)

    x = torch.rand(3, 4)
    torch.testing.assert_close(XGradient(slope, degree=2).attribute(x), 3 * x**2)


class Remembers(nn.Module):
    """Keeps the largest entry it has seen, and how often it was called, in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("largest", torch.zeros(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.largest.copy_(torch.maximum(self.largest, x.detach().abs().max()))
        self.calls += 1
        return x.sum(1)


@pytest.mark.parametrize("biased", [False, True])
def test_buffers_keep_nothing_of_the_scaled_inputs(biased):
    model = Remembers().eval()
    forward = (lambda x: model(x) + 1) if biased else model
    if biased:
        with pytest.raises(HomogeneityError):
            XGradient(forward).attribute(torch.rand(4, 3))
    else:
        XGradient(forward).attribute(torch.rand(4, 3))
        check_homogeneity(forward, torch.rand(4, 3))
    assert model.largest == 0
    assert model.calls == 0


def test_random_numbers_drawn_in_a_successful_call_are_put_back():
    def forward(x):
        torch.rand(3)
        return x.sum(1)

    state = torch.get_rng_state()
    XGradient(forward).attribute(torch.rand(4, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_violation_far_from_one_only_says_so():
    model = lambda x: torch.where(x > 1e-3, x, 0).sum(1)
    with pytest.raises(HomogeneityError, match="At α = 1/2 and 2 it holds"):
        XGradient(model).attribute(torch.rand(4, 3) + 0.5)


@pytest.mark.parametrize(
    ("error", "message", "options", "call"),
    [
        (TargetError, r"target\[5\]", {}, {"target": [0, 2, 1, 0, 2, 9], "internal_batch_size": 2}),
        (TargetError, "negative", {}, {"target": torch.tensor([0, 1, 2, 0, 1, -1]), "internal_batch_size": 1}),
        (TargetError, "picks", {}, {"target": slice(0, 2)}),
        (TargetError, "slice", {}, {"target": (slice(0, 2, 0),)}),
        (OptionError, "rtol", {"rtol": "x"}, {"target": 0}),
        (OptionError, "validate", {"validate": "maybe"}, {"target": 0}),
        (OptionError, "on_violation", {"on_violation": "ignore"}, {"target": 0}),
        (OptionError, "internal_batch_size", {}, {"target": 0, "internal_batch_size": 0}),
        (DegreeError, "degree", {"degree": 0.5}, {"target": 0}),
    ],
)
def test_wrong_arguments_get_an_error_of_our_own(error, message, options, call):
    with pytest.raises(error, match=message):
        XGradient(mlp(4, 3), **options).attribute(torch.rand(6, 4), **call)


@pytest.mark.parametrize("options", [{"scales": 2.0}, {"scales": ["a"]}, {"rtol": float("nan")}, {"rtol": -1}])
def test_wrong_options_of_the_check_get_an_error_of_our_own(options):
    with pytest.raises(OptionError):
        check_homogeneity(mlp(4, 3), torch.rand(6, 4), 0, **options)


@pytest.mark.parametrize(
    "inputs", [[torch.rand(2, 4)], torch.rand(2, 4, device="meta"), None], ids=["list", "meta", "None"]
)
def test_what_is_no_tensor_with_data_is_refused(inputs):
    with pytest.raises(InputError, match=r"XGradient\.attribute: `inputs`"):
        XGradient(mlp(4, 3)).attribute(inputs, target=0)
