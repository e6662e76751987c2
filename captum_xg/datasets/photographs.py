"""Photographs that scikit-image brings along, grey, for experiments on restored images; nothing is downloaded.

Only those that are PNG files in the package itself: their pixels are the same on every machine, while decoders of JPEG
differ in the last grey level, and other pictures of ``skimage.data`` are fetched from the net.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.options import one_of
from captum_xg._core.reading import require_file
from captum_xg._core.text import in_one_line
from captum_xg.datasets.nhanes import optional
from captum_xg.errors import FileError

TRAINING = ("astronaut", "brick", "coffee", "grass", "gravel", "moon", "motorcycle_left")
"""Photographs to learn from."""
TEST = ("camera", "chelsea", "coins")
"""Photographs that no network is trained on: a man with a camera, a cat, coins."""

_LUMINANCE = (0.2125, 0.7154, 0.0721)


def photograph(name: str) -> Tensor:
    """Return a photograph of scikit-image in grey, ``(H, W)`` in [0, 1], float32.

    Args:
        name: One of :data:`TRAINING` or :data:`TEST`.

    Raises:
        OptionError: If there is no photograph of that name, or scikit-image is not installed.
        FileError: If the installed scikit-image does not have its file, or it cannot be read.

    Source: ``skimage.data``, with the licences in its documentation; luminance of ITU-R BT.709.
    """
    one_of(name, (*TRAINING, *TEST), "name", "photograph")
    folder = Path(str(optional("skimage").__file__)).parent / "data"
    return torch.from_numpy(_grey(require_file(folder / f"{name}.png")).copy())


@cache
def _grey(path: Path) -> NDArray[np.float32]:
    try:
        pixels = np.asarray(optional("skimage.io").imread(path))
    except Exception as error:  # readers of images raise what they like
        raise FileError(f"{path} cannot be read: {in_one_line(error)}") from error
    grey = pixels if pixels.ndim == 2 else pixels[..., :3] @ np.asarray(_LUMINANCE)
    # Whole grey levels, so that rounding of the sum over colours is not part of the data.
    return np.round(grey).astype(np.float32) / 255
