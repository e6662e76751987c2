"""How far float32 attributions of random ReLU networks are from float64 ones, by depth.

The gradient of a ReLU network jumps where a pre-activation is 0. In float32 a pre-activation within rounding of 0 can
have the other sign, and the deeper the network the more of them there are. X-Gradient takes one gradient, Integrated
Gradients the mean of many, at points whose roundings differ: it meets such a jump more often, and averages over it.

Run: python tests/benchmarks/precision_over_depth.py [--seeds N] [--depths 2 5 10 …]
"""

import argparse
import copy
import statistics

import torch
from captum.attr import IntegratedGradients
from torch import nn
from torchvision.models import resnet18

from captum_xg import XGradient

WIDTH, SIDE, STEPS = 24, 24, 50


class Residual(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.first, self.second = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False) for _ in range(2))
        self.share = blocks**-0.5  # keeps the size of activations the same at all depths

    def forward(self, x):
        return torch.relu(x + self.share * self.second(torch.relu(self.first(x))))


def plain(depth):
    layers = []
    for i in range(depth):
        layers += [nn.Conv2d(WIDTH if i else 3, WIDTH, 3, padding=1, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, *_head())


def residual(depth):
    blocks = max(1, (depth - 1) // 2)
    stem = [nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.ReLU()]
    return nn.Sequential(*stem, *(Residual(blocks) for _ in range(blocks)), *_head())


def _head():
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10, bias=False)


def resnet_18(_):
    model = resnet18()  # fresh batch norms in evaluation mode are the identity
    model.fc = nn.Linear(512, 10, bias=False)
    return model


def initialised(build, depth, seed):
    torch.manual_seed(seed)
    model = build(depth)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return model.eval()


def errors(build, depth, seed, side):
    """Return max |float32 − float64| / max |float64| of two inputs, for X-Gradient and for Integrated Gradients."""
    model = initialised(build, depth, seed)
    precise = copy.deepcopy(model).double()
    x = torch.rand(2, 3, side, side)
    target = precise(x.double()).argmax(1)
    exact = XGradient(precise).attribute(x.double(), target=target)
    found = []
    for a in (
        XGradient(model).attribute(x, target=target),
        IntegratedGradients(model).attribute(x, target=target, n_steps=STEPS, internal_batch_size=25),
    ):
        difference = (a.detach().double() - exact).abs().flatten(1).amax(1)
        found.append((difference / exact.abs().flatten(1).amax(1)).tolist())
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--depths", type=int, nargs="*", default=[2, 5, 10, 20, 50])
    options = parser.parse_args()
    networks = [("CNN", plain, depth, SIDE) for depth in options.depths]
    networks += [("ResNet", residual, depth, SIDE) for depth in options.depths if depth > 2]
    networks += [("torchvision's ResNet-18, 224×224", resnet_18, 18, 224)]
    print(f"| layers | X-Gradient, median | worst | Integrated Gradients ({STEPS}), median | worst |")
    print("| --- | --- | --- | --- | --- |")
    for name, build, depth, side in networks:
        of_methods = [[], []]
        for seed in range(options.seeds if side == SIDE else min(options.seeds, 5)):
            for collected, found in zip(of_methods, errors(build, depth, seed, side), strict=True):
                collected.extend(found)
        cells = [f"{statistics.median(each):.1e} | {max(each):.1e}" for each in of_methods]
        print(f"| {name}, {depth} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
