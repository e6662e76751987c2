"""Transformers and text classifiers are in the class, by proof and against Captum, and their twins are not."""

import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from effort import thorough
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg import LayerXGradient, XGradient, certify, models
from captum_xg.errors import InputError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = ("text_transformer", "text_cnn")


def randomized(model, dtype=torch.float64):
    """Return a model in evaluation mode, all parameters of it moved at random, with a zero embedding of padding."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if hasattr(model, "embedding"):
            model.embedding.weight[0] = 0
    return model.eval().to(dtype)


def vision(x, dtype=torch.float64, **options):
    torch.manual_seed(0)
    name = "xvit_small" if x else "vit_small"
    return randomized(getattr(models, name)(image_size=12, **options), dtype)


def text(name, x, dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    small = {"d_model": 8, "filters": 6} if name == "text_cnn" else {"d_model": 8, "nhead": 2, "dim_feedforward": 12}
    return randomized(getattr(models, ("x" if x else "") + name)(20, num_classes=3, **small, **options), dtype)


def padded_ids(seed, n=3, longest=7):
    torch.manual_seed(seed)
    ids = torch.randint(1, 20, (n, longest))
    ids[torch.arange(longest) >= torch.randint(1, longest + 1, (n, 1))] = 0
    return ids


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, *thorough([torch.float64])])
def test_the_vision_transformer_is_proven_and_its_twin_is_not(dtype):
    x = torch.randn(2, 1, 12, 12).to(dtype)
    certificate = certify(vision(True, dtype), x)
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == 1
    assert not certify(vision(False, dtype), x).homogeneous


@pytest.mark.parametrize("dtype", [torch.float32, *thorough([torch.bfloat16, torch.float64])])
@pytest.mark.parametrize("name", TEXTS)
def test_text_classifiers_are_proven_on_embedded_padded_texts_and_twins_are_not(name, dtype):
    ids = padded_ids(1)
    for x in (True, False):
        model = text(name, x, dtype)
        tokens = model.embedding(ids).detach()
        certificate = certify(model.from_embedding, tokens, additional_forward_args=(ids == 0,))
        assert certificate.homogeneous == x, str(certificate)
        assert certificate.degree == 1 or not x


@pytest.mark.parametrize("seed", [1, *thorough([0, *range(2, 8)])])
def test_x_gradient_is_integrated_gradients_on_images(seed):
    model = vision(True)
    torch.manual_seed(seed)
    x = torch.rand(2, 1, 12, 12, dtype=torch.float64)
    x[:, :, :4, 4:8] = 0  # a token
    x[1] *= seed % 2
    target = torch.tensor([3, 7])
    expected = IntegratedGradients(model).attribute(x, target=target, n_steps=64, method="gausslegendre")
    actual = XGradient(model).attribute(x, target=target)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * expected.abs().max().item())
    torch.testing.assert_close(actual.sum((1, 2, 3)), model(x).gather(1, target[:, None])[:, 0])


@pytest.mark.parametrize("seed", [0, 1, *thorough(range(2, 8))])
@pytest.mark.parametrize("name", TEXTS)
def test_layer_x_gradient_at_the_embedding_is_integrated_gradients_and_sums_to_the_logit(name, seed):
    model, ids = text(name, True, seed=seed), padded_ids(seed)
    target = torch.tensor([0, 1, 2])
    layer = LayerIntegratedGradients(model, model.embedding)
    expected = layer.attribute(ids, torch.zeros_like(ids), target=target, n_steps=64, method="gausslegendre")
    actual = LayerXGradient(model, model.embedding).attribute(ids, target=target)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * max(expected.abs().max().item(), 1e-3))
    torch.testing.assert_close(actual.sum((1, 2)), model(ids).gather(1, target[:, None])[:, 0])
    assert torch.all(actual[ids == 0] == 0)


@pytest.mark.parametrize("x", [True, False])
@pytest.mark.parametrize("name", TEXTS)
@given(seed=st.integers(0, 2**16), more=st.integers(1, 6))
def test_logits_depend_on_no_padding_and_on_no_other_text(name, x, seed, more):
    model, ids = text(name, x, seed=seed), padded_ids(seed)
    longer = nn.functional.pad(ids, (0, more))
    with torch.set_grad_enabled(seed % 2 == 0):  # PyTorch's layers have a fast path without
        torch.testing.assert_close(model(longer), model(ids))
        for row, logits in zip(ids, model(ids), strict=True):
            torch.testing.assert_close(model(row[None, row != 0])[0], logits)


@pytest.mark.parametrize("name", ["xvit_small", "vit_small"])
def test_sizes_of_images_and_classes_are_free(name):
    build = getattr(models, name)
    assert build()(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    model = build(image_size=32, patch_size=8, in_channels=3, num_classes=5)
    assert model(torch.rand(2, 3, 32, 32)).shape == model(torch.rand(2, 3, 16, 24)).shape == (2, 5)


def test_an_x_dnn_has_no_biases_and_about_as_many_parameters_as_its_twin():
    counts = [sum(p.numel() for p in model.parameters()) for model in (models.xvit_small(), models.vit_small())]
    assert counts == [136464, 138890]
    x_dnns = [models.xvit_small(), models.xtext_transformer(20), models.xtext_cnn(20)]
    assert not [name for model in x_dnns for name, _ in model.named_parameters() if name.endswith("bias")]


@pytest.mark.parametrize("x", ["x", ""])
def test_layers_of_a_transformer_start_from_different_weights(x):
    for model in (getattr(models, f"{x}vit_small")(), getattr(models, f"{x}text_transformer")(20)):
        first, second = model.encoder.layers[:2]
        for one, other in zip(first.parameters(), second.parameters(), strict=True):
            assert one.dim() == 1 or not torch.equal(one, other)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: models.xvit_small(image_size=28, patch_size=5), OptionError, "must be a multiple of `patch_size` = 5"),
        (lambda: models.xtext_transformer(1), OptionError, "an integer ≥ 2"),
        (lambda: models.xtext_transformer(9, d_model=9), OptionError, "a multiple of `nhead` = 4"),
        (lambda: models.xtext_cnn(9, windows=()), OptionError, "at least one size"),
        (lambda: models.xtext_cnn(9, windows=(0,)), OptionError, "a positive integer"),
        (lambda: models.xtext_cnn(9)(torch.rand(2, 3)), InputError, "integers of shape"),
        (
            lambda: models.xtext_transformer(9, max_length=4)(torch.ones(1, 5).long()),
            InputError,
            "5 tokens",
        ),
        (lambda: models.text_transformer(9, max_length=4)(torch.ones(1, 5).long()), InputError, "5 tokens"),
        (lambda: models.xvit_small()(torch.rand(2, 1, 32, 32)), InputError, "64 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", ["xtext_cnn", *thorough(["xtext_transformer", "xvit_small"])])
def test_a_model_is_saved_and_exported(name):
    model, other = (vision(True) if name == "xvit_small" else text(name[1:], True, seed=s) for s in (0, 1))
    x = torch.randn(2, 1, 12, 12, dtype=torch.float64) if name == "xvit_small" else padded_ids(0)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.testing.assert_close(exported.module()(x[:1].repeat(3, *[1] * (x.dim() - 1)))[2], model(x)[0])


@pytest.mark.parametrize("name", TEXTS)
def test_a_penalty_on_token_attributions_reaches_every_parameter(name):
    model, ids = text(name, True), padded_ids(3)
    layer = LayerXGradient(model, model.embedding)
    attributions = layer.attribute(ids, target=1, grad_kwargs={"create_graph": True})
    gradients = torch.autograd.grad(attributions.square().sum(), list(model.parameters()))
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
