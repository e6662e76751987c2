"""A folder in the layout of ImageNet's validation images, with a few pictures of one colour, or of noise."""

import os

from PIL import Image


def make_imagenet(root, pictures, *, classes=1000, size=(300, 260), noise=False):
    """Make ``root/val`` with a folder for each class, and as many pictures in class i as ``pictures[i]`` says."""
    number = 0
    for i in range(classes):
        folder = root / "val" / f"n{10_000_000 + 31 * i:08d}"
        folder.mkdir(parents=True)
        for _ in range(pictures.get(i, 0)):
            number += 1
            picture = Image.new("RGB", size, (128, 128, 128))
            if noise:
                picture = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1]))
            picture.save(folder / f"ILSVRC2012_val_{number:08d}.JPEG")
