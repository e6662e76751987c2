"""The parts of the experiment on patches: images, networks, training, steps of Integrated Gradients."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from effort import thorough
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg import certify, models
from captum_xg.repro.patches.integration import errors, numbers_of_steps, steps_needed
from captum_xg.repro.patches.networks import (
    COMPARED,
    FIXED,
    GATED,
    NO_NORM,
    RELATIVE,
    ROTARY,
    VARIANTS,
    X,
    _assembled,
    attentions,
    fresh,
)
from captum_xg.repro.patches.protocol import PRESETS, Labelled, load
from captum_xg.repro.patches.training import _fused, correct, is_finite, train

TINY = replace(PRESETS["quick"], batch_size=8, train_images=24, validation_images=5, test_images=11)


def test_no_image_is_in_two_parts():
    data = load("shipped", TINY, torch.device("cpu"))
    rows = [tuple(image.flatten().tolist()) for part in (data.train, data.validation, data.test) for image in part[0]]
    assert len(set(rows)) == len(rows) == 24 + 5 + 11
    again = load("shipped", TINY, torch.device("cpu"))
    assert again.fingerprint() == data.fingerprint()
    assert load("shipped", replace(TINY, train_images=25), torch.device("cpu")).fingerprint() != data.fingerprint()


def test_xvit_small_put_together_from_parts_is_xvit_small():
    torch.manual_seed(3)
    own = _assembled(0.1).state_dict()
    torch.manual_seed(3)
    assert all(torch.equal(own[name], value) for name, value in models.xvit_small().state_dict().items())


def test_variants_have_about_as_many_parameters():
    whole = sum(p.numel() for p in fresh(X, 0.1, 0).parameters())
    for network in VARIANTS[:-1]:
        assert sum(p.numel() for p in fresh(network, 0.1, 0).parameters()) == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize("network", [NO_NORM, *thorough(v for v in VARIANTS if v is not NO_NORM)], ids=lambda n: n.key)
def test_every_variant_is_of_degree_1(network):
    certificate = certify(fresh(network, 0.1, 0).eval(), torch.rand(2, 1, 28, 28))
    assert certificate.homogeneous
    assert certificate.degree == 1


def test_without_norms_the_encoder_is_the_identity_at_first():
    model = fresh(NO_NORM, 0.1, 0).eval()
    tokens = torch.randn(2, 5, 64)
    assert torch.equal(model.encoder(tokens), tokens)


@pytest.mark.parametrize("network", [X, ROTARY, RELATIVE], ids=lambda n: n.key)
def test_the_fused_kernel_trains_the_same_function_and_is_left_off(network):
    model, x = fresh(network, 0.0, 0), torch.rand(2, 1, 28, 28)
    with _fused(model, on=True):
        fast = model(x)
    assert not any(layer.fused for layer in attentions(model))
    torch.testing.assert_close(fast, model(x))


class Seen(nn.Module):
    """Writes down what it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.batches = []

    def forward(self, x):
        self.batches.append(x)
        return self.weight * x.flatten(1)[:, :10]


def test_batches_depend_on_the_seed_alone_and_global_random_numbers_stay():
    data = load("shipped", TINY, torch.device("cpu")).train
    seen, before = [], torch.get_rng_state()
    for seed in (0, 0, 1):
        model = Seen()
        train(model, data, TINY, epochs=2, seed=seed)
        seen.append(torch.cat(model.batches))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    for epoch in seen[0].split(24):  # each image once
        assert torch.equal(epoch.flatten(1).sort(0).values, data.images.flatten(1).sort(0).values)


@pytest.mark.parametrize("network", COMPARED, ids=lambda n: n.key)
def test_a_network_learns_a_few_images(network):
    data = load("shipped", TINY, torch.device("cpu")).train
    model = fresh(network, 0.0, 0)
    losses = train(model, Labelled(*(part[:8] for part in data)), TINY, epochs=15, seed=0)
    assert losses[-1] < losses[0] / 2
    assert not model.training
    assert float(correct(model, Labelled(*(part[:8] for part in data))).float().mean()) > 0.6


def test_fixed_temperatures_are_not_trained_and_others_are():
    data = load("shipped", TINY, torch.device("cpu")).train
    for network, fixed in ((FIXED, True), (GATED, False)):
        model = fresh(network, 0.0, 0)
        before = attentions(model)[0].log_scale.clone()
        train(model, Labelled(*(part[:8] for part in data)), TINY, epochs=2, seed=0)
        assert torch.equal(attentions(model)[0].log_scale, before) == fixed


def test_a_training_that_diverges_is_told():
    data = load("shipped", TINY, torch.device("cpu")).train
    model = Seen()
    with torch.no_grad():
        model.weight.fill_(math.inf)
    assert not is_finite(train(model, data, TINY, epochs=1, seed=0))
    assert is_finite([1.0, 0.5])


def test_numbers_of_steps_grow_by_half_at_most():
    tried = numbers_of_steps(1024)
    assert tried[:8] == (1, 2, 3, 4, 6, 8, 12, 16)
    assert tried[-1] == 1024
    assert all(a < b <= max(a + 1, 1.5 * a) for a, b in pairwise(tried))
    assert numbers_of_steps(1) == (1,)


@given(st.dictionaries(st.integers(1, 50), st.floats(0, 0.03), min_size=1))
def test_from_the_steps_needed_on_every_number_is_enough(found):
    enough = [n for n in found if all(error <= 0.01 for m, error in found.items() if m >= n)]
    assert steps_needed(found) == (min(enough) if enough else None)


def test_errors_are_those_of_a_known_integral():
    """F = Σ x⁴: IG is x⁴; n Gauss–Legendre steps are exact from n = 2 on, and one, at ½, gives 4x·(x/2)³ = x⁴/2."""

    class Quartic(nn.Module):
        def forward(self, x):
            return x.pow(4).flatten(1).sum(1, keepdim=True)

    data = Labelled(torch.rand(3, 1, 4, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.long))
    found = errors(Quartic(), data, (1, 2, 5), 16)
    assert found[1] == pytest.approx([0.5] * 3, abs=1e-6)
    assert max(found[2] + found[5]) < 1e-6
