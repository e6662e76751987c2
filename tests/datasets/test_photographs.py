"""The photographs of scikit-image: grey, whole grey levels, and none of the test is learnt from."""

import sys

import pytest
import torch

from captum_xg.datasets.photographs import TEST, TRAINING, photograph
from captum_xg.errors import FileError, OptionError, OptionTypeError

skimage = pytest.importorskip("skimage")


@pytest.mark.parametrize("name", [*TRAINING, *TEST])
def test_a_photograph_is_grey_with_whole_levels(name):
    picture = photograph(name)
    assert picture.dim() == 2
    assert min(picture.shape) >= 300
    assert picture.dtype == torch.float32
    assert 0 <= picture.min() < 0.3 < picture.max() <= 1
    assert torch.equal((picture * 255).round() / 255, picture)


def test_it_is_that_of_scikit_image():
    from skimage.color import rgb2gray

    expected = torch.from_numpy(rgb2gray(skimage.data.astronaut()))
    torch.testing.assert_close(photograph("astronaut").double(), expected, rtol=0, atol=0.51 / 255)
    assert torch.equal((photograph("camera") * 255).byte(), torch.from_numpy(skimage.data.camera()))


def test_no_photograph_is_learnt_from_and_tested_on():
    assert not set(TRAINING) & set(TEST)


def test_what_is_not_there_is_refused(monkeypatch, tmp_path):
    with pytest.raises(OptionError, match="`name` must be 'astronaut'"):
        photograph("retina")
    with pytest.raises(OptionTypeError, match="`name`"):
        photograph(3)
    monkeypatch.setattr(skimage, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(FileError, match=r"camera\.png"):
        photograph("camera")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "camera.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match="cannot be read"):
        photograph("camera")


def test_without_scikit_image_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(OptionError, match=r"captum-xg\[repro\]"):
        photograph("camera")
