"""What a certificate costs: to make it, in forward passes, and to keep it, in attributions.

Ratios within one run, medians over interleaved rounds. Run it on a quiet machine.
"""

import argparse
import statistics
import time

import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg import XGradient, certify
from captum_xg.homogeneity.certificate.cache import CertificateCache


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def making(name, rounds):
    """Seconds of a forward pass with gradients and of certify, at batch 1."""
    torch.manual_seed(0)
    model, x = torchvision.models.get_model(name, weights=None).eval(), torch.randn(1, 3, 224, 224)
    model(x), certify(model, x)
    forward, proof = [], []
    for _ in range(rounds):
        forward.append(seconds(lambda: model(x)))
        proof.append(seconds(lambda: certify(model, x)))
    return statistics.median(forward), statistics.median(proof)


def keeping(name, batch, rounds):
    """Seconds of an attribution without validation, with a kept certificate, and of looking whether it holds."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, _BatchNorm):
            nn.init.zeros_(module.bias)
    x = torch.randn(batch, 3, 224, 224)
    off, kept = XGradient(model, validate="off"), XGradient(model, validate="certificate")
    proofs = CertificateCache()
    proofs.certificate(model, (x,), (), "benchmark")
    without, with_certificate, look = [], [], []
    off.attribute(x, target=0), kept.attribute(x, target=0)
    for _ in range(rounds):
        without.append(seconds(lambda: off.attribute(x, target=0)))
        with_certificate.append(seconds(lambda: kept.attribute(x, target=0)))
        look.append(seconds(lambda: proofs.certificate(model, (x,), (), "benchmark")))
    assert kept._proofs.n_proofs == 1
    return tuple(map(statistics.median, (without, with_certificate, look)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print(f"{'making':<14} {'forward s':>10} {'certify s':>10} {'allowed s':>10}   (5 forward + 0.5 s)")
    for name in ("resnet50", "vgg16", "densenet121", "vit_b_16"):
        forward, proof = making(name, rounds)
        print(f"{name:<14} {forward:>10.3f} {proof:>10.3f} {5 * forward + 0.5:>10.3f}   {proof / forward:.1f} forward")
    print(f"\n{'keeping':<22} {'off s':>8} {'kept s':>8} {'look ms':>8} {'look/off':>9}")
    for name, batch in (("alexnet", 1), ("alexnet", 16), ("vgg11", 4), ("resnet18", 1), ("resnet50", 1)):
        off, kept, look = keeping(name, batch, rounds)
        print(f"{name + ', batch ' + str(batch):<22} {off:>8.3f} {kept:>8.3f} {1e3 * look:>8.2f} {look / off:>8.2%}")


if __name__ == "__main__":
    main()
