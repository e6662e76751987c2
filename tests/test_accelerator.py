"""What holds on a CPU holds on an accelerator: verdicts, numbers, and that nothing is left behind."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from captum_xg import (
    AdaptiveIntegratedGradients,
    ExactIntegratedGradients,
    ExpectedXGradient,
    HomogeneousExtension,
    JointXGradient,
    LayerXGradient,
    XGradient,
    bias_ledger,
    certify,
    check_homogeneity,
    models,
    to_xdnn,
)
from captum_xg.demo import demo_images, demo_model
from captum_xg.errors import HomogeneityError
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, TotalVariation

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

FAMILIES = ("xsmall_alexnet", "xsmall_vgg", "xsmall_fixup_resnet")
PRIORS = {
    "xgradient": {},
    "input_x_gradient": {},
    "gradient": {},
    "rrr": {},
    "expected_gradients": {"n_samples": 3},
    "integrated_gradients": {"n_steps": 4},
}


@pytest.fixture
def no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def images():
    x, y = demo_images(16)
    return x.cuda(), y.cuda()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_x_dnns_pass_the_check_in_every_dtype(name, dtype, images):
    model = getattr(models, name)(pretrained=True).cuda().to(dtype)
    report = check_homogeneity(model, images[0].to(dtype), target=images[1])
    assert report.homogeneous, report
    assert XGradient(model).attribute(images[0].to(dtype), target=images[1]).device.type == "cuda"


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_attributions_are_those_of_the_cpu_in_double_precision(name, tf32, images, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", tf32)
    model = getattr(models, name)(pretrained=True)
    expected = XGradient(model.double()).attribute(images[0].double().cpu(), target=images[1].cpu())
    found = XGradient(model.float().cuda()).attribute(*images[:1], target=images[1]).double().cpu()
    # Ten bits decide some maxima over a pool otherwise, which moves single pixels.
    assert (found - expected).norm() <= (5e-2 if tf32 else 1e-5) * expected.norm()


@pytest.mark.parametrize("bias", [False, True])
def test_check_and_certificate_give_the_verdict_that_they_give_on_a_cpu(bias, images, no_tf32):
    model = demo_model(bias=bias).cuda()
    certificate = certify(model, images[0])
    assert certificate.homogeneous is not bias
    assert check_homogeneity(model, images[0], target=images[1]).homogeneous is not bias
    on_cpu = certify(demo_model(bias=bias), images[0].cpu())
    assert [v.module for v in certificate.violations] == [v.module for v in on_cpu.violations]
    if bias:
        with pytest.raises(HomogeneityError, match="0 \\(Conv2d\\): adds a bias"):
            XGradient(model).attribute(images[0], target=images[1])
        ledger = bias_ledger(model, images[0], images[1])
        reference = bias_ledger(demo_model(bias=True), images[0].cpu(), images[1].cpu())
        assert str(ledger).splitlines()[0] == str(reference).splitlines()[0]


def test_conversion_and_extension_are_proven_there(images):
    torch.manual_seed(0)
    ordinary = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 26**2, 10))
    xdnn, report = to_xdnn(ordinary.cuda().eval(), images[0])
    assert next(xdnn.parameters()).is_cuda, report
    assert certify(xdnn, images[0]).degree == 1
    assert certify(HomogeneousExtension(ordinary.eval()), images[0]).degree == 1


def test_random_numbers_of_the_device_are_where_they_were(images):
    before = torch.cuda.get_rng_state()
    XGradient(demo_model().cuda()).attribute(images[0], target=images[1])
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("attribution", PRIORS)
def test_a_step_with_a_prior_has_the_gradients_of_the_cpu(attribution, images):
    torch.manual_seed(0)
    net = models.xsmall_vgg(dropout=0.0)
    options = dict(PRIORS[attribution])
    found = []
    for device in ("cpu", "cuda"):
        model = net.double().to(device)
        model.zero_grad(set_to_none=True)
        if attribution == "expected_gradients":  # the same draws on both
            options["generator"] = torch.Generator().manual_seed(1)
        loss = AttributionPriorLoss(model, TotalVariation() + GiniSparsity(), attribution=attribution, **options)
        loss(images[0].double().to(device), images[1].to(device)).total.backward()
        found.append([p.grad.cpu().clone() for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 1e-8 * a.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attribution", ["xgradient", "rrr", "expected_gradients"])
def test_mixed_precision_with_a_scaler_trains(attribution, dtype, images):
    torch.manual_seed(0)
    model = models.xsmall_vgg(dropout=0.2).cuda()
    loss = AttributionPriorLoss(model, TotalVariation(), weight=1e-3, attribution=attribution)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16)
    tasks = []
    for _ in range(60):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype):
            result = loss(*images)
        scaler.scale(result.total).backward()
        scaler.step(optimizer)
        scaler.update()
        tasks.append(result.task.item())
    assert tasks[-1] < 0.5 * tasks[0]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_memory_of_a_step_is_given_back(images):
    model = models.xsmall_vgg().cuda()
    loss = AttributionPriorLoss(model, TotalVariation())

    def step():
        model.zero_grad(set_to_none=True)
        loss(*images).total.backward()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    step()
    assert step() == step()


def test_channels_last_keeps_numbers_and_layout(images, no_tf32):
    model = models.xsmall_vgg(pretrained=True).cuda()
    x = images[0].expand(-1, 1, -1, -1)
    plain = XGradient(model).attribute(x, target=images[1])
    last = XGradient(model.to(memory_format=torch.channels_last)).attribute(
        x.to(memory_format=torch.channels_last), target=images[1]
    )
    torch.testing.assert_close(plain, last, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


def test_a_compiled_model_is_refused_before_it_runs(images):
    compiled = torch.compile(demo_model().cuda(), backend="aot_eager")
    with pytest.raises(Exception, match="compile"):
        AttributionPriorLoss(compiled, TotalVariation())(*images)
    assert F.cross_entropy(compiled(images[0]), images[1]).isfinite()


def relative_error(found, expected):
    return float((found.cpu().double() - expected.double()).norm() / expected.double().norm())


def on_both(attribute, model, images):
    """What a method gives on the CPU and on the accelerator, in double precision."""
    x, y = images
    expected = attribute(model.double().cpu(), x.double().cpu(), y.cpu())
    found = attribute(model.double().cuda(), x.double(), y)
    assert found.device.type == "cuda"
    return found, expected


METHODS = {
    "exact": lambda model, x, y: ExactIntegratedGradients(model).attribute(x, target=y),
    "adaptive": lambda model, x, y: AdaptiveIntegratedGradients(model, rtol=1e-3).attribute(x, target=y),
    "integrate": lambda model, x, y: XGradient(model, on_violation="integrate").attribute(x, target=y),
    "joint": lambda model, x, y: JointXGradient(model).attribute(x, target=y).inputs,
    "layer": lambda model, x, y: LayerXGradient(model, model[1], on_violation="integrate").attribute(x, target=y),
}


@pytest.mark.parametrize("method", METHODS)
def test_methods_for_networks_with_biases_give_what_they_give_on_a_cpu(method, images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10))
    found, expected = on_both(METHODS[method], model.eval(), images)
    assert relative_error(found, expected) < (1e-9 if method in ("exact", "joint") else 5e-3)


def test_differences_to_references_and_many_targets_are_those_of_a_cpu(images):
    def expected_x_gradient(model, x, y):
        return ExpectedXGradient(model).attribute(x[:4], x[4:], target=y[:4])

    def all_targets(model, x, y):
        return XGradient(model).attribute_all(x[:4])

    for attribute in (expected_x_gradient, all_targets):
        assert relative_error(*on_both(attribute, demo_model(), images)) < 1e-9


def test_a_transformer_is_proven_there_and_has_the_attributions_of_the_cpu(images):
    torch.manual_seed(0)
    model = models.xvit_small().eval()
    found, expected = on_both(lambda net, x, y: XGradient(net).attribute(x, target=y), model, images)
    assert relative_error(found, expected) < 1e-9
    assert certify(model.float(), images[0].float()).degree == 1
