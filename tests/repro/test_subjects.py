"""Networks and images of the experiments: what cannot be right is refused, the rest is what it says."""

import argparse

import pytest
import torch
from imagenet_folder import make_imagenet

from captum_xg import models
from captum_xg.errors import CaptumXGError, FileError, OptionError
from captum_xg.repro.arguments import FAMILIES, add_subject_arguments, subject_command
from captum_xg.repro.subjects import model_digest, subjects


def options(*given):
    parser = argparse.ArgumentParser()
    add_subject_arguments(parser, "test", {"quick": "few", "full": "many"})
    return parser.parse_args(given)


def test_the_command_says_what_was_asked_for_without_the_readers_folders():
    assert subject_command(options(), "test") == "captum-xg repro test --preset quick"
    given = ("--images", "3", "--models", "paper", "--weights", "/mine", "--data", "imagenet:/mine", "--device", "cuda")
    said = subject_command(options(*given), "test").replace("ROOT", "/mine").replace("DIR", "/mine").split()
    assert options(*said[3:]) == options(*given)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_is_a_network_and_the_same_without_biases(family):
    pair = subjects(options(), 4).pair(family)
    assert [name for name, _ in pair.regular.named_parameters() if name.endswith("bias")]
    assert not [name for name, _ in pair.xdnn.named_parameters() if "bias" in name]
    assert not pair.regular.training
    assert not pair.xdnn.training
    assert list(pair.both) == [pair.name, f"x{pair.name}"]
    assert model_digest(pair.regular) != model_digest(pair.xdnn)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--models", "paper"), "no weights of these come with the package"),
        (("--weights", "released"), "these are of --models paper"),
        (("--models", "paper", "--weights", "released"), "these networks are for ImageNet"),
        (("--data", "imagenet:nowhere"), "the ten classes of Fashion-MNIST"),
        (("--data", "nowhere"), "give shipped, fashion-mnist:ROOT"),
        (("--data", "fashion-mnist:"), "give shipped, fashion-mnist:ROOT"),
        (("--data", "folder:/nowhere/at/all"), "there is no such folder"),
        (("--data", "fashion-mnist:/nowhere/at/all"), "there is no such folder"),
        (("--images", "0"), "at least 1"),
        (("--device", "cuda:99"), "--device cuda:99"),
    ],
)
def test_what_cannot_be_right_is_refused_with_what_to_do(given, said):
    with pytest.raises(CaptumXGError, match=said):
        subjects(options(*given), 4)


def test_weights_of_a_folder_are_those_of_its_files(tmp_path):
    torch.manual_seed(0)
    own = models.xsmall_vgg()
    torch.save(own.state_dict(), tmp_path / "xsmall_vgg.pth")
    found = subjects(options("--weights", str(tmp_path)), 4)
    with pytest.raises(FileError, match=r"none of small_vgg\.pt, small_vgg\.pth"):
        found.pair("VGG")
    torch.save({"state_dict": models.small_vgg().state_dict()}, tmp_path / "small_vgg_model_best.pth.tar")
    pair = found.pair("VGG")
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), pair.xdnn.parameters(), strict=True))


def test_batches_are_the_images_in_their_order(tmp_path):
    found = subjects(options(), 7)
    parts = [found.batch(i, 3) for i in range(3)]
    images, labels = zip(*[found.examples[i] for i in range(7)], strict=True)
    assert torch.equal(torch.cat([x for x, _ in parts]), torch.stack(images))
    assert torch.equal(torch.cat([y for _, y in parts]), torch.stack(labels))
    assert found.labels == tuple(int(y) for y in labels)


def test_other_images_are_other_settings():
    one, two = (subjects(options("--images", str(n)), 4).settings() for n in (5, 6))
    assert one != two
    assert subjects(options("--images", "5"), 4).settings() == one


def test_another_image_anywhere_is_another_setting(tmp_path, monkeypatch):
    found = subjects(options("--images", "40"), 4)
    before = found.settings()
    found.examples.tensors[0][39, 0, 5, 5] += 1 / 255
    assert found.settings() != before
    make_imagenet(tmp_path, {0: 20})
    given = options("--models", "paper", "--weights", "x", "--data", f"imagenet:{tmp_path}", "--images", "20")
    before = subjects(given, 4).settings()
    assert subjects(given, 4).settings() == before
    last = sorted((tmp_path / "val").rglob("*.JPEG"))[-1]
    last.write_bytes(last.read_bytes() + b"0")
    assert subjects(given, 4).settings() != before


def test_imagenet_is_read_in_torchvisions_layout_with_the_papers_preprocessing(tmp_path):
    make_imagenet(tmp_path, {0: 2, 7: 1, 999: 2})
    found = subjects(options("--models", "paper", "--weights", str(tmp_path), "--data", f"imagenet:{tmp_path}"), 100)
    assert found.labels == (0, 0, 7, 999, 999)
    assert not found.are_the_papers  # the weights are not the released ones
    image, label = found.examples[2]
    assert image.shape == (3, 224, 224)
    assert label == 7
    # A picture of one grey value: the same everywhere, and normalised by ImageNet's mean and deviation.
    expected = (torch.tensor([128 / 255] * 3) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(image.mean((1, 2)), expected, atol=0.02, rtol=0)


def test_a_part_of_imagenets_classes_is_refused_as_it_would_be_numbered_anew(tmp_path):
    make_imagenet(tmp_path, {0: 1}, classes=10)
    with pytest.raises(FileError, match="10 folders and not 1000"):
        subjects(options("--models", "paper", "--weights", "x", "--data", f"imagenet:{tmp_path}"), 4)
    with pytest.raises(FileError, match="there is no folder"):
        subjects(options("--models", "paper", "--weights", "x", "--data", f"imagenet:{tmp_path / 'no'}"), 4)


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    make_imagenet(tmp_path, {3: 1})
    picture = next((tmp_path / "val").rglob("*.JPEG"))
    picture.write_bytes(b"no picture")
    with pytest.raises(FileError, match=picture.name):
        subjects(options("--models", "paper", "--weights", "x", "--data", f"imagenet:{tmp_path}"), 4).examples[0]


def test_a_folder_of_images_with_more_classes_than_the_network_is_refused(tmp_path):
    make_imagenet(tmp_path, {11: 1}, classes=12)
    with pytest.raises(OptionError, match="12 classes, the networks 10"):
        subjects(options("--data", f"folder:{tmp_path / 'val'}"), 4)


@pytest.mark.parametrize("data", ["shipped", "folder"])
def test_other_images_are_of_the_data_and_none_of_the_chosen(data, tmp_path):
    if data == "folder":
        make_imagenet(tmp_path, {0: 6, 3: 6}, classes=5, noise=True)
    found = subjects(options("--images", "5", "--data", f"folder:{tmp_path / 'val'}" if data == "folder" else data), 5)
    others = found.others(4)
    own, _ = found.rows(range(5))
    assert len(others) == 4
    assert not any(torch.equal(one, other) for one in own for other in others)
    everything = subjects(options("--data", found.data), 500)
    assert len(everything.others(4)) == 0
