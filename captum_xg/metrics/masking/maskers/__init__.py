"""Maskers, which give the values of masked features: blur, constants, means, noise, and imputation from neighbours."""

from captum_xg.metrics.masking.maskers.base import Masker
from captum_xg.metrics.masking.maskers.constant import Constant, Zero
from captum_xg.metrics.masking.maskers.gaussian_blur import GaussianBlur
from captum_xg.metrics.masking.maskers.mean import Mean
from captum_xg.metrics.masking.maskers.noise import Noise
from captum_xg.metrics.masking.maskers.noisy_linear import NoisyLinear

__all__ = ["Constant", "GaussianBlur", "Masker", "Mean", "Noise", "NoisyLinear", "Zero"]
