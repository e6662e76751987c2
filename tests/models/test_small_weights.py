"""The weights of the small networks that come with the package."""

import pytest
import torch

from captum_xg import XGradient, certify, models
from captum_xg.demo.assets import demo_images
from captum_xg.demo.train import accuracy
from captum_xg.errors import CheckpointError
from captum_xg.models.small_weights import ASSETS

CONVOLUTIONAL = [f"{x}small_{family}" for family in ("alexnet", "vgg", "fixup_resnet") for x in ("", "x")]
TRANSFORMERS = ["vit_small", "xvit_small"]
NAMES = CONVOLUTIONAL + TRANSFORMERS


@pytest.mark.parametrize("name", NAMES)
def test_shipped_accuracy_is_the_recorded_one(name):
    """On the first 500 test images; three standard deviations of so small a sample are 4 %."""
    model = getattr(models, name)(pretrained=True)
    assert not model.training
    recorded = models.small_record()["networks"][name]["shipped"]["test_accuracy"]
    assert abs(accuracy(model, *demo_images()) - recorded) < 0.04


@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_of_the_shipped_weights(name):
    record = models.small_record()["networks"][name]
    assert record["parameters"] == sum(p.numel() for p in getattr(models, name)().parameters())
    assert record["seeds"] == len(record["test_accuracies"]) == 3
    assert record["mean"] == pytest.approx(sum(record["test_accuracies"]) / 3, abs=1e-4)
    assert record["shipped"]["test_accuracy"] in record["test_accuracies"]
    assert 0.86 < record["mean"] < 0.95


@pytest.mark.parametrize("name", NAMES)
def test_shipped_x_dnns_certify_and_their_twins_do_not(name):
    images, _ = demo_images(2)
    model = getattr(models, name)(pretrained=True)
    assert certify(model, images).homogeneous == name.startswith("x")


@pytest.mark.parametrize("name", NAMES[1::2])
def test_attributions_of_shipped_x_dnns_sum_to_the_logit(name):
    images, labels = demo_images(5)
    model = getattr(models, name)(pretrained=True).double()
    attributions = XGradient(model).attribute(images.double(), target=labels)
    logits = model(images.double()).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(attributions.sum((1, 2, 3)), logits)


def test_the_files_are_small():
    for names in (CONVOLUTIONAL, TRANSFORMERS):
        sizes = [(ASSETS / f"{name}.pt").stat().st_size for name in names]
        assert max(sizes) < 300_000
        assert sum(sizes) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_do_not_go_into_another_number_of_classes(name):
    with pytest.raises(CheckpointError, match="wrong shape"):
        getattr(models, name)(pretrained=True, num_classes=5)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_shipped_weights_of_a_transformer_do_not_go_onto_images_of_another_size(name):
    with pytest.raises(CheckpointError, match="wrong shape"):
        getattr(models, name)(pretrained=True, image_size=32)
