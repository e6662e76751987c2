"""The options of experiments on images; PyTorch is not loaded for them, as ``--help`` needs none."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path

FAMILIES = ("AlexNet", "VGG", "ResNet")
"""Families of networks in the order of the paper's Table 2; the ResNet is a Fixup-ResNet."""


def add_subject_arguments(parser: argparse.ArgumentParser, name: str, presets: Mapping[str, str]) -> None:
    """Add the options that experiments on images have.

    Args:
        parser: Of the experiment.
        name: Of the experiment, for the folder of its results.
        presets: Preset → what it asks for; the first one is the default.
    """
    add = parser.add_argument
    about = " ".join(f"{preset}: {text}." for preset, text in presets.items())
    add("--preset", choices=tuple(presets), default=next(iter(presets)), help=f"{about} (default: %(default)s)")
    add("--images", type=int, metavar="N", help="another number of images than that of the preset")
    networks = "small: for 28×28 images; paper: AlexNet, VGG16, Fixup-ResNet-50 for ImageNet (default: %(default)s)"
    add("--models", choices=("small", "paper"), default="small", help=networks)
    weights = (
        "shipped (small models); released: the authors', downloaded if torch.hub has not kept them (paper models); or "
        "a folder with NAME.pt, NAME.pth or NAME_model_best.pth.tar for alexnet, xalexnet and so on (default: shipped)"
    )
    add("--weights", default="shipped", metavar="shipped|released|DIR", help=weights)
    data = (
        "shipped: 500 test images of Fashion-MNIST; fashion-mnist:ROOT, all 10,000; imagenet:ROOT, the validation "
        "images in ROOT/val, as torchvision has them; folder:DIR, one folder per class (default: %(default)s)"
    )
    add("--data", default="shipped", metavar="DATA", help=data)
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    output = "where results go; what is there already is not done again (default: %(default)s)"
    add("--output", type=Path, default=Path(f"captum-xg-{name}"), metavar="DIR", help=output)


def subject_command(options: argparse.Namespace, name: str) -> str:
    """Return what was asked of an experiment on images, with ROOT and DIR for folders of the reader."""
    kind, _, root = options.data.partition(":")
    weights = options.weights if options.weights in ("shipped", "released") else "DIR"
    asked = {
        "images": options.images,
        "models": options.models,
        "weights": weights,
        "data": f"{kind}:ROOT" if root else kind,
        "device": options.device,
        "exact-images": getattr(options, "exact_images", None),
    }
    usual = {"models": "small", "weights": "shipped", "data": "shipped", "device": "cpu"}
    parts = ["captum-xg", "repro", name, "--preset", options.preset]
    for option, value in asked.items():
        parts += [] if value == usual.get(option) else [f"--{option}", str(value)]
    return shlex.join(parts)
