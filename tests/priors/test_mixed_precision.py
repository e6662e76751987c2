"""Under autocast, and with a gradient scaler, attributions and gradients are close to those of float32."""

import pytest
import torch
from torch import nn
from training_cases import (
    ATTRIBUTIONS,
    DEVICES,
    attributions_of,
    batch,
    direction,
    gradients,
    network,
    options_of,
    seeded,
)

from captum_xg.errors import HomogeneityError
from captum_xg.priors import AttributionPriorLoss, TotalVariation


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_under_autocast_gradients_point_where_those_of_float32_do(attribution, dtype, device):
    x, y = (t.to(device) for t in batch())
    x, results = x.float(), []
    for enabled in (False, True):
        model = network().float().to(device)
        loss = AttributionPriorLoss(model, TotalVariation(), attribution=attribution, **options_of(attribution, x))
        with torch.autocast(device, dtype, enabled=enabled):
            result = loss(x, y)
        result.total.backward()
        results.append((result, gradients(model.parameters())))
    (exact, there), (coarse, here) = results
    assert coarse.total.dtype == coarse.prior.dtype == coarse.attributions.dtype == torch.float32
    assert not torch.equal(exact.outputs.float(), coarse.outputs.float())  # autocast did take effect
    torch.testing.assert_close(coarse.total, exact.total, rtol=0.02, atol=0)
    assert direction(here, there) > 0.995


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_certificate_holds_under_autocast_and_is_made_once(dtype):
    x, y = batch()
    loss = AttributionPriorLoss(network().float(), TotalVariation())
    with torch.autocast("cpu", dtype):
        for _ in range(3):
            loss(x.float(), y).total.backward()
        assert loss._attribution.n_proofs == 1
        with pytest.raises(HomogeneityError):
            AttributionPriorLoss(nn.Sequential(nn.Flatten(), nn.Linear(72, 4)), TotalVariation())(x.float(), y)


class Precise(nn.Module):
    """A model that leaves autocast."""

    def __init__(self, device):
        super().__init__()
        self.layers = network().float().to(device)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return self.layers(x.float())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_what_a_model_computes_outside_of_autocast_is_differentiated_outside_of_it(attribution, device):
    x, y = (t.to(device) for t in batch())
    x, found = x.float(), []
    for enabled in (False, True):
        loss = AttributionPriorLoss(
            Precise(device), TotalVariation(), attribution=attribution, **options_of(attribution, x)
        )
        with torch.autocast(device, torch.bfloat16, enabled=enabled):
            found.append(loss(x, y).attributions.detach())
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-7)


def faint():
    """Large inputs and small weights: the outputs are ordinary, the gradient by the input is below 6e-8."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Linear(6, 16, bias=False), nn.Linear(16, 16, bias=False), nn.Linear(16, 3, bias=False)]
    with torch.no_grad():
        layers[0].weight.mul_(2.0**-13)
        layers[1].weight.mul_(2.0**-9)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    return model, torch.rand(8, 6, generator=seeded()) * 4e3, torch.arange(8) % 3


def error(found, expected):
    return float((found.detach() - expected).norm() / expected.norm())


@pytest.mark.parametrize("device", DEVICES)
def test_attributions_that_underflow_in_float16_are_those_of_float32(device):
    model, x, y = (part.to(device) for part in faint())
    exact = attributions_of(model, x, y)
    with torch.autocast(device, torch.float16):
        assert error(attributions_of(model, x, y), exact) > 0.3  # what happens without scaling
        found = AttributionPriorLoss(model, lambda a: a.abs().mean())(x, y).attributions
    assert error(found, exact) < 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_attributions_that_would_overflow_if_scaled_up_are_those_of_float32(device):
    model, x, y = (part.to(device) for part in faint())
    with torch.no_grad():
        model[0].weight.mul_(2.0**23)
        model[2].weight.mul_(2.0**9)
    x = x / 2.0**24
    exact = attributions_of(model, x, y)
    assert float((exact / x).abs().max()) * 2**10 > 65504
    with torch.autocast(device, torch.float16):
        found = AttributionPriorLoss(model, lambda a: a.abs().mean())(x, y).attributions
    assert error(found, exact) < 0.01


@pytest.mark.parametrize("device", DEVICES)
def test_with_a_gradient_scaler_steps_that_overflow_are_skipped_and_the_others_are_those_of_float32(device):
    model, x, y = (part.to(device) for part in faint())
    loss = AttributionPriorLoss(model, lambda a: a.abs().mean(), weight=100.0)
    loss(x, y).total.backward()
    exact = gradients(model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**18)
    before, scales, moved = [p.detach().clone() for p in model.parameters()], [], False
    for _ in range(14):
        optimizer.zero_grad()
        with torch.autocast(device, torch.float16):
            total = loss(x, y).total
        scaler.scale(total).backward()
        scaler.unscale_(optimizer)
        found = gradients(model.parameters())
        scales.append(scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()
        moved = any(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
        assert moved == (scaler.get_scale() == scales[-1])  # a step, or half the scale
        if moved:
            break
    assert moved
    assert len(scales) > 1  # it did overflow at first
    assert direction(found, exact) > 0.99  # a unit near zero may be on the other side of it
