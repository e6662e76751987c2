"""Fourier: linear maps between signals and their spectra; only sizes and the kind of normalisation decide which."""

from __future__ import annotations

from captum_xg.homogeneity.degree import Scaling
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule


@degree_rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def transform(call: OpCall) -> Scaling:
    """Linear."""
    return call.scaling("self")
