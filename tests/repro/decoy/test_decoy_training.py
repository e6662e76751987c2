"""One training of the decoy experiment: its images, its objective, and what the result is worth."""

import pytest
import torch
from decoy_samples import SMALL, made_up
from torch import nn
from torch.nn import functional as F

from captum_xg import certify
from captum_xg.errors import OptionError
from captum_xg.repro.decoy import command as decoy
from captum_xg.repro.decoy import timing as decoy_timing
from captum_xg.repro.decoy import training as decoy_training
from captum_xg.repro.decoy.protocol import (
    EG_1,
    EG_8,
    INPUT_X_GRADIENT,
    METHODS,
    NO_PRIOR,
    NO_PRIOR_XDNN,
    RRR,
    X_GRADIENT,
    Labelled,
    Settings,
    decoys,
    split,
)
from captum_xg.repro.decoy.store import Store
from captum_xg.repro.decoy.timing import seconds_per_step
from captum_xg.repro.decoy.training import batches, evaluate, network, objective, patch_share, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few images explained and few steps timed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoy_training, "EXPLAINED_IMAGES", 20)
        patched.setattr(decoy_timing, "ROUNDS", 2)
        yield


# Images


def test_no_image_is_trained_and_validated_on():
    images, labels = made_up(400)
    images[:, 0, 14, 14] = torch.arange(400) / 400
    found = split((images, labels), (images, labels), SMALL)
    names = [[round(400 * v) for v in part[0][:, 0, 14, 14].tolist()] for part in found[:2]]
    assert (len(names[0]), len(names[1])) == (256, 64)
    assert len({*names[0], *names[1]}) == 320
    for part in found[:2]:
        assert part[1].tolist() == [round(400 * v) % 10 for v in part[0][:, 0, 14, 14].tolist()]


def test_more_images_than_there_are_are_refused():
    with pytest.raises(OptionError, match="more than the 300 training images"):
        split(made_up(300), made_up(10), SMALL)


def test_other_images_or_another_split_have_another_fingerprint():
    data, test = made_up(400), made_up(20)
    found = split(data, test, SMALL).fingerprint()
    assert found == split(data, test, SMALL).fingerprint()
    fewer = Settings(train_images=255, validation_images=64, epochs=2, batch_size=32)
    others = [split(data, test, fewer), split(data, made_up(20, seed=1), SMALL)]
    changed = (data[0], data[1].clone())
    changed[1][:] = data[1].flip(0)
    assert found not in [each.fingerprint() for each in [*others, split(changed, test, SMALL)]]


def test_decoys_tell_the_label_in_training_and_nowhere_else_but_in_the_confounded_images():
    images = split(made_up(400), made_up(200), SMALL)
    found = decoys(images, 0)
    for part, informative in zip(found, (True, False, True, False), strict=True):
        grey = torch.stack([image[patch][0] for image, patch in zip(part.images, part.patch, strict=True)])
        agrees = (255 - 255 * grey).round() == 25 * part.labels
        assert bool(agrees.all()) is informative
    hidden = found.validation.patch | found.confounded.patch
    assert torch.equal(found.validation.images[~hidden], found.confounded.images[~hidden])
    assert torch.equal(found.validation.labels, found.confounded.labels)
    assert all(
        torch.equal(a, b) for x, y in zip(found, decoys(images, 0), strict=True) for a, b in zip(x, y, strict=True)
    )
    assert not torch.equal(found.train.patch, decoys(images, 1).train.patch)


# Training


@pytest.mark.parametrize("bias", [False, True])
def test_the_network_is_an_xdnn_exactly_without_biases(bias):
    model = network(SMALL, bias=bias, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1)
    assert certify(model, torch.rand(2, 1, 28, 28)).homogeneous is not bias


def test_a_network_depends_on_its_seed_alone_and_leaves_the_global_randomness_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = network(SMALL, bias=True, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = network(SMALL, bias=True, seed=3), network(SMALL, bias=True, seed=4)
    x = torch.rand(4, 1, 28, 28)
    assert torch.equal(first(x), same(x))
    assert not torch.equal(first(x), other(x))


def test_an_epoch_shows_no_image_twice_and_the_order_depends_on_the_seed_alone():
    data = Labelled(torch.arange(100.0), torch.arange(100), torch.arange(100))
    settings = Settings(train_images=100, validation_images=1, epochs=2, batch_size=32)
    found = [batch.labels for batch in batches(data, settings, 7)]
    assert len(found) == settings.steps == 6
    for epoch in (found[:3], found[3:]):
        assert len(set(torch.cat(epoch).tolist())) == 96
    assert not torch.equal(found[0], found[3])
    assert all(map(torch.equal, found, [batch.labels for batch in batches(data, settings, 7)]))
    assert not torch.equal(found[0], next(batches(data, settings, 8)).labels)


def _batch(n=6, dtype=torch.float64):
    images, labels = made_up(n)
    patch = torch.zeros(n, 1, 28, 28, dtype=torch.bool)
    patch[..., :4, 24:] = True
    return images.to(dtype), labels, patch


@pytest.mark.parametrize("method", [X_GRADIENT, INPUT_X_GRADIENT, RRR], ids=lambda m: m.key)
def test_the_objective_is_cross_entropy_and_the_squared_attributions_in_the_patch(method):
    images, labels, patch = _batch()
    model = network(SMALL, bias=method.bias, seed=0).double()
    found = objective(model, method, 7.0, 0, CPU)(images, labels, patch)
    penalty = 0.0
    for image, label, mask in zip(images, labels, patch, strict=True):
        x = image[None].clone().requires_grad_()
        logits = model(x)[0]
        score = F.log_softmax(logits, 0).sum() if method is RRR else logits[label]
        (gradient,) = torch.autograd.grad(score, x)
        attribution = gradient if method is RRR else x.detach() * gradient
        penalty += float((attribution[0][mask] ** 2).sum()) / len(images)
    expected = float(F.cross_entropy(model(images), labels).detach()) + 7.0 * penalty
    assert float(found.detach()) == pytest.approx(expected, rel=1e-10)


def test_many_references_are_the_mean_of_single_ones():
    # So that EG(8) differs from EG(1) in the number of references and in nothing else: on a network that is linear
    # where it is used, an attribution depends on the reference alone, and eight of them scatter less.
    images, labels, patch = _batch(64, torch.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
    spread = {}
    for method in (EG_1, EG_8):
        plain = objective(model, NO_PRIOR, 0.0, 0, CPU)(images, labels, patch)
        spread[method] = float((objective(model, method, 1.0, 0, CPU)(images, labels, patch) - plain).detach())
    assert 0 < spread[EG_8] < spread[EG_1]


def test_training_that_diverges_gives_no_network():
    images = split(made_up(400), made_up(50), SMALL)
    data = decoys(images, 0).train
    wild = Settings(train_images=256, validation_images=64, epochs=2, batch_size=32, learning_rate=1e30)
    for method in (NO_PRIOR, X_GRADIENT):
        done = []
        assert train(method, 1.0, 0, data, wild, done.append) is None
        assert sum(done) == wild.steps


def test_x_gradient_takes_the_attribution_out_of_the_patch_and_brings_back_accuracy():
    settings = Settings(train_images=1000, validation_images=100, epochs=10, batch_size=50)
    images = split(made_up(1100, line=0.2), made_up(400, seed=5, line=0.2), settings)
    data = decoys(images, 0)
    scores = {}
    for method in (NO_PRIOR_XDNN, X_GRADIENT):
        model = train(method, 100.0, 0, data.train, settings, lambda n: None)
        scores[method] = evaluate(model, method, images, data)
    assert scores[X_GRADIENT]["patch_share"] < scores[NO_PRIOR_XDNN]["patch_share"] / 10
    assert scores[X_GRADIENT]["test"] > scores[NO_PRIOR_XDNN]["test"] + 0.3
    assert scores[NO_PRIOR_XDNN]["confounded"] > scores[NO_PRIOR_XDNN]["validation"] + 0.3


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.key)
def test_only_the_references_train_and_are_tested_on_clean_images(method, tmp_path, monkeypatch):
    images = split(made_up(400), made_up(100, seed=5), SMALL)
    data, shown = decoys(images, 0), []

    def reads_the_decoy(method, weight, seed, seen, *_):
        shown.append(seen)
        return _Corners()

    monkeypatch.setattr(decoy_training, "train", reads_the_decoy)
    run = decoy._run(method, 1.0, 0, images, data, SMALL, Store(tmp_path, {}), lambda n: None)
    (seen,) = shown
    assert torch.equal(seen.images, images.train[0] if method.clean else data.train.images)
    assert torch.equal(seen.patch, data.train.patch)
    assert run.scores["confounded"] == 1
    assert run.scores["test_decoy"] < 0.3
    assert run.scores["test_clean"] != run.scores["test_decoy"]
    assert run.scores["test"] == run.scores["test_clean" if method.clean else "test_decoy"]


class _Corners(nn.Module):
    """Says the class whose shade a corner has, or comes closest to."""

    def forward(self, images):
        corners = torch.stack(
            [images[..., :4, :4], images[..., :4, 24:], images[..., 24:, :4], images[..., 24:, 24:]], 1
        )
        shades = (255 - 25 * torch.arange(10.0)) / 255
        distance = (corners.flatten(2)[..., None] - shades).abs().amax(2).amin(1)
        return -distance


@pytest.mark.parametrize(("inside", "share"), [(1.0, 1.0), (0.0, 0.0)])
def test_the_patch_share_is_one_for_a_network_that_sees_only_the_patch_and_zero_for_one_that_does_not(inside, share):
    images, labels, patch = _batch(5, torch.float32)
    weight = torch.full((10, 784), 1 - inside)
    weight[:, patch[0].flatten()] = inside
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(weight)
    assert patch_share(model, Labelled(images, labels, patch)) == pytest.approx(share, abs=1e-6)


def test_a_step_of_every_method_is_timed():
    images = split(made_up(400), made_up(50), SMALL)
    rounds = []
    methods = [method for method in METHODS if not method.clean]
    found = seconds_per_step(methods, dict.fromkeys(methods, 1.0), decoys(images, 0).train, SMALL, rounds.append)
    assert list(found) == methods
    assert all(seconds > 0 for seconds in found.values())
