"""Smooth attributions: little energy at high frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_xg._core.options import finite_number, single_number, switch
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.shapes import checked_dims, feature_dims, peak, share, spatial_dims


class HighFrequency(AttributionPrior):
    r"""The share of the attributions' spectral energy that lies in a band of frequencies, averaged over examples.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \frac{E_B(x)}{E(x)}, \qquad
              E_B(x) = \frac{1}{n} \sum_{k:\, low \le |f_k| < high} |\hat{A}_k(x)|^2, \qquad E(x) = \sum_i A_i(x)^2

    with Â the discrete Fourier transform over the last 1, 2 or 3 dimensions of n places, \|f\| the Euclidean norm of
    the frequencies along them in cycles per sample, and sums over channels.

    Units: a frequency of 0.5 along one dimension (Nyquist) changes sign from place to place; the largest \|f\| is
    0.5·√d for d dimensions. Range: 0 to 1, degree 0; 0 with zero gradient for an example without attributions. With
    ``normalise=False`` it is the mean of E_B, of degree 2, from 0 to ∞; over all frequencies that is Σ A² (Parseval).

    Args:
        cutoff: ``low``; all frequencies from it on are meant.
        band: ``(low, high)`` instead, low included and high not, so that adjoining bands add up.
        dims: How many of the last dimensions to transform; None takes ``(N, L)`` and ``(N, C, L)`` as sequences,
            ``(N, C, H, W)`` as images, ``(N, C, D, H, W)`` as volumes.
        normalise: Whether to divide by the energy of all frequencies.

    Shapes: attributions ``(N, …)``, see ``dims``.

    Raises:
        OptionError: If an option has no such value.
        PriorError: When called, if the attributions do not have these dimensions.

    Source: Tseng, Shrikumar and Kundaje 2020, *Fourier-transform-based attribution priors improve the
    interpretability and stability of deep learning models for genomics*. They smooth first, take magnitudes instead
    of energies and let the band begin gradually; here it is the plain share of energy.
    """

    def __init__(
        self,
        cutoff: float = 0.25,
        *,
        band: tuple[float, float] | None = None,
        dims: int | None = None,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        low = finite_number(cutoff, "cutoff", "HighFrequency")
        self.band = _checked_band((low, math.inf) if band is None else band)
        self.dims = checked_dims(dims, "HighFrequency")
        self.normalise = switch(normalise, "normalise", "HighFrequency")

    def penalty(self, attributions: Tensor) -> Tensor:
        """Return the mean over examples of the share, or amount, of energy in the band."""
        dims = spatial_dims(attributions, self.dims, "HighFrequency")
        if self.normalise:
            attributions = attributions / peak(attributions, feature_dims(attributions))
        spectrum = torch.fft.rfftn(attributions, dim=dims, norm="ortho")
        weights, inside = _half_spectrum([attributions.shape[d] for d in dims], self.band)
        energy = (spectrum.real.square() + spectrum.imag.square()) * weights.to(attributions)
        in_band = torch.where(inside.to(energy.device), energy, 0).flatten(1).sum(1)
        return (share(in_band, energy.flatten(1).sum(1)) if self.normalise else in_band).mean()

    def extra_repr(self) -> str:
        """Return the options."""
        return f"band={self.band}, dims={self.dims}, normalise={self.normalise}"


def _half_spectrum(sizes: list[int], band: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return how often each coefficient of rfftn stands for one of the full spectrum, and which lie in the band."""
    along = [torch.fft.fftfreq(n, dtype=torch.float64) for n in sizes[:-1]]
    along.append(torch.fft.rfftfreq(sizes[-1], dtype=torch.float64))
    squared = sum((f.square() for f in torch.meshgrid(*along, indexing="ij")), torch.zeros((), dtype=torch.float64))
    # Edges such as √((3/12)² + (4/12)²) = 5/12 are meant exactly, and squares in binary are a rounding off.
    low, high = (edge * edge * (1 - 1e-12) for edge in band)
    inside = (squared >= low) & (squared < high)
    # The last dimension leaves out the conjugate of every coefficient but those at 0 and at Nyquist.
    weights = torch.full((sizes[-1] // 2 + 1,), 2.0, dtype=torch.float64)
    weights[0] = 1
    if sizes[-1] % 2 == 0:
        weights[-1] = 1
    return weights, inside


def _checked_band(band: object) -> tuple[float, float]:
    numbers = list(map(single_number, band)) if isinstance(band, (tuple, list)) else []
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        raise OptionTypeError(f"HighFrequency: a band must be two numbers (low, high) but is {band!r}.")
    low, high = numbers[0], numbers[1]
    if not 0 <= low < high:
        raise OptionError(
            f"HighFrequency: a band must have 0 ≤ low < high but is ({low:g}, {high:g}), in cycles per sample."
        )
    return low, high
