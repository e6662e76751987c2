"""What is proven of inputs and constants together scales together, and what is not is named."""

import json

import pytest
import torch
import torchvision
from effort import thorough, tries
from hypothesis import given
from hypothesis import strategies as st
from joint_references import set_value
from networks_with_constants import NETWORKS, inputs_of, network
from torch import nn
from violations import nothing_changes

from captum_xg import XGradient, certify
from captum_xg.errors import OptionError, OptionTypeError


def scaled(model, names, alpha, x):
    """Return F(αx; αc) of a model, which is left as it was."""
    own = {}
    for name in names:
        path, _, key = name.rpartition(".")
        own[name] = getattr(model.get_submodule(path), key)
    try:
        for name, value in own.items():
            set_value(model, name, alpha * value.detach())
        with torch.no_grad():
            return model(alpha * x)
    finally:
        # Each by what stands there now, as tied constants stand in several places.
        for name, value in own.items():
            set_value(model, name, value)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("alpha", [2.0**-8, 0.3, 1024.0])
@pytest.mark.parametrize("seed", range(tries(1, 5)))
def test_a_proof_is_right_and_names_all_constants(name, alpha, seed):
    model, shape = network(name, seed)
    x = inputs_of(shape, seed)
    with nothing_changes(model, x):
        certificate = certify(model, x, jointly=True)
    assert certificate.homogeneous
    assert certificate.degree == 1
    assert sorted(certificate.jointly) == NETWORKS[name][2]
    found = scaled(model, certificate.jointly, alpha, x)
    torch.testing.assert_close(found, alpha * model(x).detach(), rtol=1e-10, atol=1e-11 * alpha)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_says_nothing_of_the_inputs_alone(name):
    model, shape = network(name)
    certificate = certify(model, inputs_of(shape), jointly=True)
    assert not certificate.covers(1)
    assert not certify(model, inputs_of(shape)).homogeneous
    assert "F(αx; αc) = αF(x; c)" in str(certificate)
    assert all(constant in str(certificate) for constant in certificate.jointly)
    assert json.loads(certificate.to_json())["jointly"] == list(certificate.jointly)


def test_without_constants_it_is_the_proof_for_the_inputs():
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False)).double()
    certificate = certify(model, torch.rand(2, 4).double(), jointly=True)
    assert certificate.homogeneous
    assert certificate.jointly == ()
    assert certificate.covers(1)


@given(st.sampled_from(list(NETWORKS)), st.data())
def test_a_constant_that_is_left_out_breaks_it(name, data):
    model, shape = network(name)
    names = NETWORKS[name][2]
    left = data.draw(st.sampled_from(names))
    certificate = certify(model, inputs_of(shape), jointly=[other for other in names if other != left])
    assert certificate.verdict == "disproved"


@pytest.mark.parametrize(
    ("layer", "named"),
    [(nn.GELU(), "GELU"), (nn.ReLU6(), "ReLU6"), (nn.LayerNorm(6), "LayerNorm"), (nn.Sigmoid(), "Sigmoid")],
)
def test_what_breaks_it_is_named(layer, named):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), layer, nn.Linear(6, 2)).double()
    certificate = certify(model, 4 * torch.randn(3, 4).double(), jointly=True)
    assert not certificate.homogeneous
    assert {violation.type for violation in certificate.violations} == {named}


def test_a_number_that_is_added_in_the_code_breaks_it():
    linear = nn.Linear(4, 2)
    certificate = certify(lambda x: linear(x) + 1, torch.rand(2, 4), jointly=True)
    assert certificate.jointly == ("bias",)
    assert not certificate.homogeneous


def test_a_detached_constant_breaks_no_values_but_the_gradient():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2, bias=False)
            self.shift = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.linear(x) + self.shift.detach()

    certificate = certify(Detached(), torch.rand(2, 4), jointly=True)
    assert not certificate.homogeneous
    assert any(violation.gradient for violation in certificate.violations)


def test_the_certificate_of_one_kind_is_stale_when_a_weight_changes():
    model, shape = network("mlp")
    certificate = certify(model, inputs_of(shape), jointly=True)
    assert not certificate.is_stale(model)
    with torch.no_grad():
        model[0].bias += 1
    assert certificate.is_stale(model)


@pytest.mark.parametrize(
    ("names", "kind"), [(["nothing"], OptionError), ("0.bias", OptionTypeError), (1, OptionTypeError)]
)
def test_unsuitable_names_are_errors(names, kind):
    model, shape = network("mlp")
    with pytest.raises(kind, match=r"^certify: "):
        certify(model, inputs_of(shape), jointly=names)


def test_a_joint_certificate_is_of_no_use_to_x_gradient():
    model, shape = network("mlp")
    x = inputs_of(shape)
    certify(model, x, jointly=True)
    with pytest.raises(Exception, match="XGradient"):
        XGradient(model, validate="certificate").attribute(x, target=0)


RELU = ("resnet18", "alexnet", "vgg11", "vgg11_bn", "squeezenet1_1", "densenet121", "shufflenet_v2_x0_5", "mnasnet0_5")
RELU += ("googlenet", "regnet_y_400mf", "resnext50_32x4d", "wide_resnet50_2")
OTHERS = {
    "mobilenet_v2": "ReLU6",
    "mobilenet_v3_small": "Hardswish",
    "efficientnet_b0": "SiLU",
    "convnext_tiny": "GELU",
}


def shaken(name):
    """Return a network of torchvision whose constants and statistics are not those that it begins with."""
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    generator = torch.Generator().manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=5, **options).eval()
    with torch.no_grad():
        for key, tensor in (*model.named_parameters(), *model.named_buffers()):
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif key.endswith(("bias", "running_mean")):
                tensor.normal_(0, 0.1, generator=generator)
    return model


@pytest.mark.parametrize("name", ["resnet18", *thorough([n for n in RELU if n != "resnet18"])])
def test_relu_networks_of_torchvision_are_proven(name):
    size = 64 if name in ("alexnet", "vgg11", "vgg11_bn", "squeezenet1_1", "googlenet") else 32
    certificate = certify(shaken(name), torch.rand(1, 3, size, size), jointly=True)
    gates = {violation.type for violation in certificate.violations}
    # regnet_y has squeeze-and-excitation, whose sigmoid scales nothing.
    assert certificate.homogeneous if name != "regnet_y_400mf" else gates == {"Sigmoid"}, str(certificate)


@pytest.mark.parametrize("name", thorough(OTHERS))
def test_the_activations_that_break_it_in_others_are_named(name):
    certificate = certify(shaken(name), torch.rand(1, 3, 64, 64), jointly=True)
    assert not certificate.homogeneous
    assert OTHERS[name] in {violation.type for violation in certificate.violations}
