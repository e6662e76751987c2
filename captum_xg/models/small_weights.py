"""Weights of the small networks that come with the package: for Fashion-MNIST, and for denoising photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from captum_xg._core.options import file_path
from captum_xg._core.reading import read_json
from captum_xg.assets import ASSETS
from captum_xg.models.building import Model
from captum_xg.models.weights import load_checkpoint

RECORD_FILE = "small_models.json"
DENOISER_FILE = "denoisers.json"


def load_small(model: Model, name: str, *, folder: str | Path = ASSETS) -> Model:
    """Set the shipped weights ``name`` in ``model`` and return it in evaluation mode.

    Args:
        model: The network that the function of that name builds.
        name: ``"small_alexnet"``, ``"xsmall_vgg"`` and so on.
        folder: Where the weight files lie.

    Raises:
        CheckpointError: If the file is not there or does not fit the model.
    """
    load_checkpoint(model, Path(folder) / f"{name}.pt")
    return model.eval()


def small_record(folder: str | Path = ASSETS) -> dict[str, Any]:
    """Return how the shipped weights were trained, and the accuracies of all runs on the 10,000 test images.

    ``["networks"][name]`` has ``mean``, ``standard_error`` and ``seeds`` over the runs, and ``shipped``: the seed whose
    weights are shipped, chosen by its accuracy on held-out training images, with its test accuracy. ``recipe`` and
    ``torch`` of a network take the place of those of all where they differ.

    Args:
        folder: Where ``small_models.json`` lies.

    Raises:
        FileError: If it cannot be read.
    """
    return read_json(file_path(folder, "folder", "small_record") / RECORD_FILE)


def denoiser_record(folder: str | Path = ASSETS) -> dict[str, Any]:
    """Return how the shipped denoisers were trained, and what they came to on photographs they have not seen.

    ``["networks"][name]`` has ``psnr``: mean peak signal-to-noise ratio in decibels, by the standard deviation of the
    noise in grey levels of 255.

    Args:
        folder: Where ``denoisers.json`` lies.

    Raises:
        FileError: If it cannot be read.
    """
    return read_json(file_path(folder, "folder", "denoiser_record") / DENOISER_FILE)
