"""The ledger: F(x) is what the inputs carry plus what each constant carries, and a slow reference says the same."""

import pytest
import torch
from cases import X_DNNS, Elementwise, mlp, problems, random_mlps
from hypothesis import given
from hypothesis import strategies as st
from ledgers import architecture, assert_balanced, double, networks, reference
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg.homogeneity.ledger.bias_ledger import bias_ledger


@given(networks())
def test_inputs_and_constants_carry_all_of_a_piecewise_linear_network(drawn):
    model, inputs, target = drawn
    assert_balanced(bias_ledger(model, inputs, target))


@given(networks())
def test_each_part_is_the_one_that_gradients_by_parameters_give_example_by_example(drawn):
    model, inputs, target = drawn
    ledger = bias_ledger(model, inputs, target)
    values, input_part, parts = reference(model, inputs, target)
    scale = float(values.abs().max() + input_part.abs().max() + sum(p.abs().max() for p in parts.values()))
    close = {"rtol": 1e-9, "atol": 1e-11 * scale}
    assert torch.allclose(ledger.values, values, **close)
    assert torch.allclose(ledger.input_part, input_part, **close)
    # What is unreachable behind a dead ReLU or exactly zero may be left out.
    for path, expected in parts.items():
        assert torch.allclose(ledger.by_module.get(path, torch.zeros_like(expected)), expected, **close), path
    assert set(ledger.by_module) <= set(parts)


@given(networks())
def test_the_sum_over_examples_is_that_of_the_gradients_by_parameters_of_the_whole_batch(drawn):
    model, inputs, target = drawn
    ledger = bias_ledger(model, inputs, target)
    total = model(inputs.clone())[:, target].sum()
    size = float(total.detach().abs() + sum(row.contributions.abs().sum() for row in ledger.rows))
    for path, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            (gradient,) = torch.autograd.grad(total, module.bias, retain_graph=True)
            carried = ledger.by_module.get(path, torch.zeros(())).sum()
            assert float(carried) == pytest.approx(
                float((module.bias.detach() * gradient).sum()), rel=1e-9, abs=1e-12 * size
            )


@given(problems(random_mlps(bias=True)))
def test_a_biased_mlp_is_balanced_at_any_size_of_the_inputs(problem):
    assert_balanced(bias_ledger(problem.model, problem.inputs, problem.target))


@given(problems(st.one_of(st.sampled_from(X_DNNS), random_mlps())))
def test_in_an_x_dnn_no_constant_carries_anything(problem):
    ledger = bias_ledger(problem.model, problem.inputs, problem.target)
    assert ledger.rows == ()
    assert not ledger.constant_part.any()
    assert not ledger.share.any()
    assert ledger.exact
    assert "as in an X-DNN" in str(ledger)


@given(networks(), st.integers(-20, 20))
def test_scaling_inputs_and_constants_jointly_scales_every_part(drawn, exponent):
    model, inputs, target = drawn
    before = bias_ledger(model, inputs, target)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean *= 2.0**exponent
            if getattr(module, "bias", None) is not None:
                module.bias *= 2.0**exponent
    after = bias_ledger(model, 2.0**exponent * inputs, target)
    assert [row.name for row in after.rows] == [row.name for row in before.rows]
    for one, other in zip(before.rows, after.rows, strict=True):
        assert torch.equal(one.contributions * 2.0**exponent, other.contributions)


@given(networks())
def test_an_example_has_the_same_ledger_alone_as_in_the_batch(drawn):
    model, inputs, target = drawn
    together = bias_ledger(model, inputs, target)
    for i in range(len(inputs)):
        alone = bias_ledger(model, inputs[i : i + 1], target)
        assert alone.constant_part[0] == pytest.approx(float(together.constant_part[i]), rel=1e-9, abs=1e-9)


# --- real architectures, in every precision --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg11_bn", "densenet121"))]
)
def test_an_architecture_is_balanced_to_rounding(name):
    model, inputs = architecture(name).double(), double(2, 3, 64, 64)
    ledger = bias_ledger(model, inputs, [1, 2])
    assert bool((ledger.remainder.abs() <= 1e-10 * ledger.values.abs()).all())
    assert ledger.exact
    shifting = [
        path
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm) or getattr(module, "bias", None) is not None
    ]
    assert set(ledger.by_module) == set(shifting)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_what_is_rounding_is_taken_for_it_in_every_precision(dtype):
    assert bias_ledger(architecture("resnet18").to(dtype), double(2, 3, 32, 32).to(dtype), 1).exact


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_one_curved_activation_in_a_deep_network_is_not_taken_for_rounding(dtype):
    model = architecture("resnet18").to(dtype)
    model.layer2[0].relu = Elementwise(F.gelu)
    assert not bias_ledger(model, double(2, 3, 32, 32).to(dtype), 1).exact


def test_autocast_is_measured_in_its_own_precision():
    model = mlp(4, 6, 2, bias=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ledger = bias_ledger(model, double(3, 4).float(), 1)
    assert ledger.exact
    assert ledger.dtype == "bfloat16"
