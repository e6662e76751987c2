"""Made-up images in the files of Fashion-MNIST: the real ones take minutes."""


def write_fashion_mnist(root, **parts):
    """Write ``train=`` and ``t10k=``, 28×28 images and labels of NumPy's uint8, where torchvision looks for them."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, (images, labels) in parts.items():
        n = len(labels).to_bytes(4, "big")
        sides = (28).to_bytes(4, "big") * 2
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03" + n + sides + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01" + n + labels.tobytes())
