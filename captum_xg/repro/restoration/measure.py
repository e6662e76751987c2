"""What a denoiser comes to: signal-to-noise ratios and net biases by the level of the noise."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg import certify
from captum_xg.repro.restoration.protocol import GREY, SEEN, UNSEEN, with_noise


def quality(model: nn.Module, clean: Tensor, device: torch.device) -> dict[str, Any]:
    r"""Return for each level of noise numbers per image, and whether the network is proven to be of degree 1.

    ``psnr``: :math:`-10 \log_{10}` of the mean squared error, in decibels, of what the network gives, not clipped to
    [0, 1]. ``removed``: root of the mean square of :math:`x - F(x)`, in grey levels. ``net_bias``: the same of
    :math:`F(x) - J(x)\,x`, what is left over beside the filters; rounding only without biases. ``noisy``: the ratio
    of the noisy image itself.

    On an accelerator in double precision, since what is called single precision is less in its convolutions.
    """
    dtype = torch.float32 if device.type == "cpu" else torch.float64
    model, clean = copy.deepcopy(model).to(device, dtype), clean.to(dtype)
    found: dict[str, Any] = {"psnr": {}, "noisy": {}, "removed": {}, "net_bias": {}}
    for level in (*SEEN, *UNSEEN):
        noisy = with_noise(clean, level)
        parts = [_restored(model, part.to(device)) for part in torch.split(noisy, 6)]
        restored, linear = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
        found["psnr"][str(level)] = psnr(restored, clean)
        found["noisy"][str(level)] = psnr(noisy, clean)
        found["removed"][str(level)] = _rms(noisy - restored)
        found["net_bias"][str(level)] = _rms(restored - linear)
    found["homogeneous"] = bool(certify(model, clean[:1].to(device)).homogeneous)
    return found


def psnr(restored: Tensor, clean: Tensor) -> list[float]:
    """Return the peak signal-to-noise ratio of each image, in decibels; the peak is 1."""
    error = (restored.double() - clean.double()).square().flatten(1).mean(1)
    return (-10 * error.log10()).tolist()


def _restored(model: nn.Module, noisy: Tensor) -> tuple[Tensor, Tensor]:
    """Return F(x) and J(x)x, the latter as the derivative of u ↦ (J(x)ᵀu)·x, which is linear in u."""
    inputs = noisy.detach().requires_grad_()
    restored = model(inputs)
    anything = torch.zeros_like(restored, requires_grad=True)
    (pulled,) = torch.autograd.grad(restored, inputs, anything, create_graph=True)
    (linear,) = torch.autograd.grad(pulled, anything, noisy)
    return restored.detach(), linear


def _rms(difference: Tensor) -> list[float]:
    return (difference.double().square().flatten(1).mean(1).sqrt() * GREY).tolist()
