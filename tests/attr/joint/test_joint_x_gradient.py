"""JointXGradient is Integrated Gradients over inputs and constants together, with its axioms, or refuses."""

import copy
import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from effort import thorough, tries
from hypothesis import given
from hypothesis import strategies as st
from joint_references import full_grad, joint_path_integral
from networks_with_constants import NETWORKS, inputs_of, network
from torch import nn
from torch.nn import functional as F
from violations import nothing_changes

from captum_xg import AdaptiveIntegratedGradients, BiasLedger, JointXGradient, XGradient, bias_ledger, certify
from captum_xg.errors import (
    CaptumXGError,
    CrossExampleError,
    GradientError,
    HomogeneityError,
    InputError,
    IntegrationNotice,
    OptionError,
    OptionTypeError,
    TargetError,
)

SEEDS = st.integers(0, 10_000)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def assert_same(joint, inputs, constants):
    torch.testing.assert_close(joint.inputs, inputs, **CLOSE)
    assert set(joint.constants) == set(constants)
    for name, expected in constants.items():
        torch.testing.assert_close(joint.constants[name], expected, **CLOSE)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("validate", ["auto", "certificate", *thorough(["numeric", "off"])])
@pytest.mark.parametrize("seed", range(tries(1, 4)))
def test_it_is_the_path_integral_over_inputs_and_constants(name, validate, seed):
    model, shape = network(name, seed)
    x = inputs_of(shape, seed)
    joint = JointXGradient(model, validate=validate).attribute(x, target=1)
    assert sorted(joint.constants) == NETWORKS[name][2]
    # The gradient is constant along the ray, so that two steps are as good as any number.
    assert_same(joint, *joint_path_integral(model, x, joint.constants, 1, 2))
    torch.testing.assert_close(joint.total.detach(), model(x)[:, 1].detach(), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(joint.values, model(x)[:, 1].detach(), rtol=1e-11, atol=1e-12)


@given(st.sampled_from(list(NETWORKS)), SEEDS)
def test_the_part_of_the_inputs_is_input_times_gradient(name, seed):
    model, shape = network(name, seed)
    x = inputs_of(shape, seed).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    found = JointXGradient(model).attribute(x.detach(), target=0)
    torch.testing.assert_close(found.inputs, (x * gradient).detach(), **CLOSE)


@given(SEEDS)
def test_without_constants_it_is_x_gradient(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False)).double()
    x = torch.randn(3, 4).double()
    joint = JointXGradient(model).attribute(x, target=1)
    assert joint.constants == {}
    torch.testing.assert_close(joint.inputs, XGradient(model).attribute(x, target=1), **CLOSE)
    assert float(joint.share.max()) == 0


@given(st.sampled_from(["mlp", "conv", "residual"]), SEEDS)
def test_attributions_of_a_weighted_sum_are_the_weighted_sum(name, seed):
    one, shape = network(name, seed)
    two = network(name, seed + 1)[0]
    x = inputs_of(shape, seed)

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = one, two

        def forward(self, x):
            return 2 * self.one(x) - 3 * self.two(x)

    parts = [JointXGradient(model, validate="off").attribute(x, target=2) for model in (one, two)]
    constants = {f"one.{key}": 2 * value for key, value in parts[0].constants.items()}
    constants |= {f"two.{key}": -3 * value for key, value in parts[1].constants.items()}
    assert_same(
        JointXGradient(Sum(), validate="numeric").attribute(x, target=2),
        2 * parts[0].inputs - 3 * parts[1].inputs,
        constants,
    )


@given(SEEDS)
def test_constants_and_features_that_f_does_not_depend_on_get_nothing(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        model[0].weight[:, 1] = 0
        model[2].weight[:, 3] = 0
    joint = JointXGradient(model).attribute(torch.randn(3, 4).double(), target=0)
    assert not joint.inputs[:, 1].any()
    assert not joint.constants["0.bias"][:, 3].any()
    assert not joint.constants["2.bias"][:, 1].any()  # of another class


@given(SEEDS)
def test_symmetric_constants_get_the_same(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        for tensor in (model[0].weight, model[0].bias):
            tensor[1] = tensor[0]
        model[2].weight[:, 1] = model[2].weight[:, 0]
    joint = JointXGradient(model).attribute(torch.randn(3, 4).double(), target=0)
    torch.testing.assert_close(joint.constants["0.bias"][:, 0], joint.constants["0.bias"][:, 1], **CLOSE)


@given(SEEDS)
def test_a_folded_batch_norm_leaves_what_inputs_get_and_what_constants_get_together(seed):
    model, shape = network("conv", seed)
    folded = copy.deepcopy(model)
    folded[0] = torch.nn.utils.fusion.fuse_conv_bn_eval(model[0], model[1])
    folded[1] = nn.Identity()
    x = inputs_of(shape, seed)
    one, two = (JointXGradient(m, validate="off").attribute(x, target=0) for m in (model, folded))
    torch.testing.assert_close(one.inputs, two.inputs, **CLOSE)
    together = sum(one.constants[name].sum(1) for name in ("0.bias", "1.bias", "1.running_mean"))
    torch.testing.assert_close(together, two.constants["0.bias"].sum(1), **CLOSE)


def test_it_is_not_integrated_gradients_of_the_inputs_alone():
    model, shape = network("mlp")
    x = inputs_of(shape)
    alone = AdaptiveIntegratedGradients(model).attribute(x, target=0)
    joint = JointXGradient(model).attribute(x, target=0)
    assert float((joint.inputs - alone).abs().sum() / alone.abs().sum()) > 0.1
    biases = joint.constants
    assert float(sum(part.abs().sum() for part in biases.values())) > 0.1


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2)), "GELU"),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU6(), nn.Linear(6, 2)), "ReLU6"),
        (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)), "LayerNorm"),
        (nn.Sequential(nn.Linear(4, 6), nn.Softmax(1)), "Softmax"),
    ],
)
@pytest.mark.parametrize("validate", ["auto", "certificate", "numeric"])
def test_what_is_not_homogeneous_in_both_is_refused_and_named(model, named, validate):
    x = 8 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    with pytest.raises(HomogeneityError, match=named) as error:
        JointXGradient(model.double().eval(), validate=validate).attribute(x, target=1)
    assert str(error.value).startswith("JointXGradient.attribute: ")
    assert "which are scaled together" in str(error.value)


def test_a_number_in_the_code_is_refused():
    linear = nn.Linear(4, 2).double()
    with pytest.raises(HomogeneityError):
        JointXGradient(lambda x: linear(x) + 1.0).attribute(torch.rand(2, 4).double(), target=0)


def test_constants_that_are_named_are_those_that_are_scaled():
    model, shape = network("tokens")
    x = inputs_of(shape)
    _, _, names = NETWORKS["tokens"]
    whole = JointXGradient(model).attribute(x, target=0)
    named = JointXGradient(model, constants=names[::-1]).attribute(x, target=0)
    assert list(named.constants) == names[::-1]
    assert_same(named, whole.inputs, whole.constants)
    with pytest.raises(HomogeneityError):
        JointXGradient(model, constants=names[1:]).attribute(x, target=0)


def test_where_it_is_integrated_it_is_the_path_integral_to_the_tolerance():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2)).double()
    x = torch.randn(2, 4).double()
    with pytest.warns(UserWarning, match="scaled together|integrated"):
        joint = JointXGradient(model, on_violation="integrate").attribute(x, target=1)
    inputs, constants = joint_path_integral(model, x, joint.constants, 1, 200)
    assert float((joint.inputs - inputs).norm() / inputs.norm()) < 0.02
    for name, expected in constants.items():
        assert float((joint.constants[name] - expected).norm() / expected.norm()) < 0.02
    assert math.isnan(joint.degree)


class Awkward(nn.Module):
    """Runs for one example at a time alone: it branches on values, and writes to memory of its own."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(4, 3), None

    def forward(self, x):
        h = self.linear(x)
        out = torch.zeros(len(x), 3, dtype=x.dtype)
        for i in range(len(x)):
            out[i] = torch.relu(h[i])
        self.seen = h
        if bool((x != x).any()):
            raise ValueError
        return out


def test_models_that_cannot_be_vectorised_are_explained_one_by_one():
    torch.manual_seed(0)
    model = Awkward().double()
    x = torch.randn(3, 4).double()
    joint = JointXGradient(model, validate="numeric").attribute(x, target=0)
    assert_same(joint, *joint_path_integral(model, x, ["linear.bias"], 0, 2))


def test_what_a_model_keeps_of_a_call_is_not_left_vectorised():
    class Keeps(nn.Sequential):
        def forward(self, x):
            self.last = super().forward(x)
            return self.last

    model = Keeps(nn.Linear(4, 3), nn.ReLU()).double()
    x = torch.rand(2, 4).double()
    model(x)
    JointXGradient(model).attribute(x, target=0)
    assert model.last.shape[1:] == (3,)
    assert bool(model.last.sum().isfinite())


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_touched(name):
    model, shape = network(name)
    x = inputs_of(shape)
    before = {key: value for module in model.modules() for key, value in vars(module).items() if torch.is_tensor(value)}
    with nothing_changes(model, x):
        joint = JointXGradient(model).attribute(x, target=1)
    assert not joint.inputs.requires_grad
    assert not any(part.requires_grad for part in joint.constants.values())
    after = {key: value for module in model.modules() for key, value in vars(module).items() if torch.is_tensor(value)}
    assert all(before[key] is after[key] for key in before)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_gradients_of_attributions_reach_weights_and_constants(name):
    model, shape = network(name)
    x = inputs_of(shape)
    explainer = JointXGradient(model)

    def loss():
        joint = explainer.attribute(x, target=1, create_graph=True)
        return joint.inputs.pow(2).sum() + sum(part.pow(2).sum() for part in joint.constants.values())

    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(0)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(direction, alpha=step)
            values.append(float(loss().detach()))
            with torch.no_grad():
                parameter.sub_(direction, alpha=step)
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_parts_of_a_batch_give_the_same():
    model, shape = network("conv")
    x = inputs_of(shape, n=5)
    whole = JointXGradient(model).attribute(x, target=[0, 1, 2, 1, 0])
    parts = JointXGradient(model).attribute(x, target=[0, 1, 2, 1, 0], internal_batch_size=2)
    assert_same(parts, whole.inputs, whole.constants)


def test_several_inputs_and_additional_arguments():
    linear = nn.Linear(4, 2).double()

    def forward(a, b, scale, flag):
        return torch.relu(linear(a + b)) * scale if flag else linear(a)

    a, b, scale = torch.rand(3, 4).double(), torch.rand(3, 4).double(), torch.rand(3, 1).double()
    joint = JointXGradient(forward).attribute((a, b), target=1, additional_forward_args=(scale, True))
    assert isinstance(joint.inputs, tuple)
    torch.testing.assert_close(joint.total, forward(a, b, scale, True)[:, 1].detach(), **CLOSE)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"inputs": torch.rand(0, 5)}, InputError),
        ({"inputs": torch.full((2, 5), math.nan)}, InputError),
        ({"inputs": "x"}, InputError),
        ({"inputs": torch.rand(2, 5), "target": 7}, TargetError),
        ({"inputs": torch.rand(2, 5), "internal_batch_size": 0}, OptionError),
        ({"inputs": torch.rand(2, 5), "create_graph": "maybe"}, OptionTypeError),
    ],
)
def test_unsuitable_arguments_are_errors_of_their_own(arguments, kind):
    model, _ = network("mlp")
    model = model.float()
    with nothing_changes(model), pytest.raises(kind, match=r"^JointXGradient\.attribute: "):
        JointXGradient(model).attribute(**{"target": 0, **arguments})


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"constants": ["nothing"]}, OptionError),
        ({"constants": "0.bias"}, OptionTypeError),
        ({"constants": 3}, OptionTypeError),
        ({"validate": "maybe"}, OptionError),
    ],
)
def test_unsuitable_options_are_errors_when_it_is_made(options, kind):
    with pytest.raises(kind, match=r"^JointXGradient"):
        JointXGradient(network("mlp")[0], **options)


def test_a_model_that_holds_other_tensors_since_is_looked_at_again():
    model, shape = network("mlp")
    x = inputs_of(shape)
    explainer = JointXGradient(model)
    explainer.attribute(x, target=0)
    model[4] = nn.Linear(6, 3).double()
    joint = explainer.attribute(x, target=0)
    torch.testing.assert_close(joint.total, model(x)[:, 0].detach(), **CLOSE)
    assert explainer.attribute(x, target=0).constants.keys() == joint.constants.keys()


def test_a_copy_explains_the_copy_of_the_model():
    model, shape = network("mlp")
    x = inputs_of(shape)
    explainer = JointXGradient(model)
    explainer.attribute(x, target=0)
    other = copy.deepcopy(explainer)
    with torch.no_grad():
        other.forward_func[0].bias.zero_()
    assert not other.attribute(x, target=0).constants["0.bias"].any()
    assert explainer.attribute(x, target=0).constants["0.bias"].any()


# --- what is made of them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ledger_has_the_sums_of_the_bias_ledger(name):
    model, shape = network(name)
    x = inputs_of(shape)
    joint = JointXGradient(model).attribute(x, target=1)
    ledger, other = joint.ledger(), bias_ledger(model, x, target=1)
    assert isinstance(ledger, BiasLedger)
    assert ledger.exact
    torch.testing.assert_close(ledger.input_part, other.input_part, **CLOSE)
    torch.testing.assert_close(ledger.constant_part, other.constant_part, **CLOSE)
    assert {row.name for row in ledger.rows} <= set(joint.constants)
    assert "Joint attributions" in str(joint)


def plain_conv_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(5 * 2 * 2, 2, bias=False)),
    ).double()


@given(SEEDS)
def test_the_rescaled_map_is_full_grad_as_published(seed):
    model = plain_conv_net(seed)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).double()
    joint = JointXGradient(model).attribute(x, target=1)
    torch.testing.assert_close(joint.map(rescaled=True), full_grad(model, x, 1), rtol=1e-5, atol=1e-5)


def test_the_map_has_the_unit_of_f_and_what_layers_of_its_own_size_carry():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2, bias=False)
    ).double()
    x = torch.randn(2, 3, 8, 8).double()
    joint = JointXGradient(model).attribute(x, target=0)
    y = model[0](x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model[1:](y)[:, 0].sum(), y)
    expected = joint.inputs.abs().sum(1) + (model[0].bias.detach()[:, None, None] * gradient).abs().sum(1)
    torch.testing.assert_close(joint.map(), expected, **CLOSE)


def test_a_map_is_refused_where_it_is_not_of_what_was_attributed():
    model = plain_conv_net(0)
    x = torch.randn(2, 3, 8, 8).double()
    joint = JointXGradient(model).attribute(x, target=1)
    with torch.no_grad():
        model[0].bias += 0.1
    with pytest.raises(CaptumXGError, match="has changed since"):
        joint.map()
    with pytest.raises(InputError, match="of images"):
        JointXGradient(network("mlp")[0]).attribute(inputs_of((5,)), target=0).map()


def test_the_bars_are_the_sums():
    pytest.importorskip("matplotlib")
    model, shape = network("mlp")
    axes = JointXGradient(model).attribute(inputs_of(shape), target=0).plot()
    assert [bar.get_width() for bar in axes.patches]


def test_functions_without_modules_have_inputs_alone():
    joint = JointXGradient(lambda x: F.relu(x).sum(1)).attribute(torch.rand(3, 4))
    assert joint.constants == {}


@pytest.mark.parametrize("validate", ["auto", "certificate", "numeric"])
def test_models_that_mix_examples_are_refused(validate):
    linear = nn.Linear(4, 2).double()
    x = torch.randn(3, 4).double()
    with pytest.raises(CrossExampleError, match="by itself"):
        JointXGradient(lambda x: linear(x - x.mean(0)), validate=validate).attribute(x, target=1)


def test_a_table_that_happens_to_have_a_row_for_each_example_is_refused():
    table = torch.randn(3, 4).double()
    x = torch.randn(3, 4).double()
    with pytest.raises(CrossExampleError, match="bind it"):
        JointXGradient(lambda x, table: (x @ table.T).relu()).attribute(x, 0, table)
    assert JointXGradient(lambda x: (x @ table.T).relu()).attribute(x, 0).inputs.shape == x.shape


def test_casts_to_half_inside_are_no_mixing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)).bfloat16()
    x = torch.randn(7, 64)
    joint = JointXGradient(lambda x: model(x.bfloat16()).float()).attribute(x, target=1)
    torch.testing.assert_close(joint.values, model(x.bfloat16()).float()[:, 1].detach(), rtol=0.05, atol=0.02)


class Switched(nn.Module):
    """Adds a position only if it is told to."""

    def __init__(self):
        super().__init__()
        self.linear, self.position = nn.Linear(4, 2).double(), nn.Parameter(torch.randn(4).double())

    def forward(self, x, switch):
        return self.linear(x + self.position if switch else x).relu()


def test_what_is_added_is_searched_for_anew_for_other_arguments():
    explainer, x = JointXGradient(Switched()), torch.randn(3, 4).double()
    for switch, expected in ((False, ["linear.bias"]), (True, ["position", "linear.bias"]), (False, ["linear.bias"])):
        assert list(explainer.attribute(x, 1, switch).constants) == expected


def test_attributions_are_pickled_and_copied_without_the_model():
    linear = nn.Conv2d(1, 2, 3).double()
    joint = JointXGradient(lambda x: linear(x).relu().sum((2, 3))).attribute(torch.rand(2, 1, 4, 4).double(), target=1)
    assert joint.map().shape == (2, 4, 4)
    for other in (pickle.loads(pickle.dumps(joint)), copy.deepcopy(joint)):
        assert_same(other, joint.inputs, joint.constants)
        assert str(other) == str(joint)
        with pytest.raises(CaptumXGError, match="runs the model"):
            other.map()


def test_threads_explain_one_model_one_after_the_other():
    model, shape = network("mlp")
    x = inputs_of(shape)
    expected = JointXGradient(model).attribute(x, target=1)
    before = list(model.parameters())

    def explained(_):
        return [JointXGradient(model).attribute(x, target=1) for _ in range(3)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = [joint for joints in pool.map(explained, range(4)) for joint in joints]
    finally:
        sys.setswitchinterval(interval)
    for joint in found:
        assert_same(joint, expected.inputs, expected.constants)
    assert all(one is other for one, other in zip(before, model.parameters(), strict=True))


def test_a_model_of_inference_mode_is_refused_in_words():
    with torch.inference_mode():
        model = nn.Linear(4, 2)
    with pytest.raises(GradientError, match="inference_mode"):
        JointXGradient(model).attribute(torch.rand(3, 4), target=1)
    with pytest.raises(GradientError, match=r"^certify: .*inference_mode"):
        certify(model, torch.rand(3, 4), jointly=True)


class Offset(nn.Module):
    """Adds a number to every feature, and every example is one."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(0.75, dtype=torch.float64))

    def forward(self, x):
        return (x + self.offset).relu()


def test_constants_that_are_one_number_and_examples_that_are_one():
    model, x = Offset(), torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    joint = JointXGradient(model).attribute(x)
    assert_same(joint, torch.tensor([1.0, 0.0, 3.0]).double(), {"offset": torch.tensor([0.75, 0.0, 0.75]).double()})
    torch.testing.assert_close(joint.total, model(x).detach())
    assert joint.ledger().exact
    assert "offset" in str(joint)


def test_what_was_integrated_and_other_degrees_are_said():
    model, x = (
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double(),
        torch.rand(2, 3).double(),
    )
    with pytest.warns(IntegrationNotice):
        assert "were integrated" in str(JointXGradient(model, on_violation="integrate").attribute(x))
    offset = Offset()
    squared = JointXGradient(lambda x: offset(x).sum(1) ** 2, degree=2).attribute(x)
    assert "degree 2" in str(squared)
