"""What the ledger shows, refuses and leaves alone."""

import copy
import json

import pytest
import torch
from cases import mlp
from ledgers import architecture, assert_balanced, double
from torch import Tensor, nn

from captum_xg.errors import InputError, TargetError, TrainingModeError
from captum_xg.homogeneity.ledger.bias_ledger import bias_ledger


def test_nothing_outside_is_touched_also_when_it_raises():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten()).double().eval()
    model[0].weight.requires_grad_(False)
    model[0].bias.grad = torch.ones_like(model[0].bias)
    inputs = double(2, 2, 5, 5).requires_grad_()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    bias_ledger(model, inputs, 0)
    with pytest.raises(TargetError):
        bias_ledger(model, inputs, 10_000)
    with pytest.raises(RuntimeError, match="shape"):
        bias_ledger(lambda x: model(x).reshape(17, 23), inputs, 0)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert inputs.grad is None
    assert inputs.requires_grad
    assert torch.equal(model[0].bias.grad, torch.ones_like(model[0].bias))
    assert model[0].weight.grad is None
    assert not model[0].weight.requires_grad
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()


def test_activations_that_the_model_keeps_have_no_hook_left():
    class Keeping(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = super().forward(x)
            return self.kept

    model = Keeping(4, 1).double()
    bias_ledger(model, double(3, 4))
    assert not model.kept._backward_hooks


def test_the_function_is_not_changed_by_being_watched():
    model, inputs = architecture("resnet18"), double(2, 3, 64, 64).float()
    with torch.no_grad():
        assert torch.equal(bias_ledger(model, inputs, 1).values, model(inputs)[:, 1])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_works_under_every_gradient_mode(context):
    model = mlp(4, 5, 2, bias=True).double()
    with context():
        assert_balanced(bias_ledger(model, double(3, 4), 1))


def test_several_inputs_and_additional_arguments_are_told_apart():
    linear = nn.Linear(4, 2).double()
    model = lambda a, b: torch.relu(linear(a) + b)
    joint = bias_ledger(model, (double(3, 4), double(3, 2)), 1)
    fixed = bias_ledger(model, double(3, 4), 1, double(3, 2))
    assert [row.name for row in joint.rows] == ["bias"]
    assert [row.name for row in fixed.rows] == ["bias", "constant"]
    assert torch.allclose(joint.values, fixed.values)
    assert_balanced(joint)
    assert_balanced(fixed)


def test_a_model_in_training_mode_is_refused_before_it_runs():
    with pytest.raises(TrainingModeError, match="bias_ledger"):
        bias_ledger(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), double(3, 4), 0)


def test_unsuitable_inputs_are_refused():
    with pytest.raises(InputError, match="bias_ledger"):
        bias_ledger(mlp(4, 2), torch.full((3, 4), torch.nan), 0)


def test_the_table_the_dictionary_and_the_picture_say_the_same(tmp_path):
    model = mlp(4, 6, 5, 2, bias=True).double()
    ledger = bias_ledger(model, double(5, 4), 1)
    content = json.loads(json.dumps(ledger.to_dict()))
    assert [row["module"] + "." + row["constant"] for row in content["rows"]] == ["0.bias", "2.bias", "4.bias"]
    assert content["exact"] is True
    sums = [p + sum(row["contributions"][i] for row in content["rows"]) for i, p in enumerate(content["input_part"])]
    assert sums == pytest.approx(content["values"])
    shares = ledger.share + ledger.share_of(ledger.input_part)
    assert torch.allclose(shares, torch.ones_like(shares))
    text = str(ledger)
    assert "exact to rounding (5 examples, float64)" in text
    for row in ledger.rows:
        assert f"{row.name}  " in text
    axes = ledger.plot()
    widths = [patch.get_width() for patch in axes.patches]
    assert sum(widths) == pytest.approx(float(ledger.values.mean()))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "inputs", "0.bias (Linear)", "2.bias (Linear)", "4.bias (Linear)",
    ]  # fmt: skip
    axes.figure.savefig(tmp_path / "ledger.png")
    assert (tmp_path / "ledger.png").stat().st_size > 5_000


def test_what_is_too_much_for_a_table_or_picture_is_summed_up():
    model = mlp(4, *(3,) * 40, 2, bias=True).double()
    ledger = bias_ledger(model, double(2, 4), 0)
    assert len(ledger.rows) > 30
    assert "more constants" in str(ledger)
    axes = ledger.plot(most=5)
    assert len(axes.patches) == 6
    assert sum(patch.get_width() for patch in axes.patches) == pytest.approx(float(ledger.values.mean()))


def test_a_picture_goes_into_the_axes_that_are_given():
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert bias_ledger(mlp(4, 2, bias=True), torch.rand(1, 4), 0).plot(axes) is axes
