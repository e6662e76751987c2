"""What counts as rounding, also where this machine has no such device."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from captum_xg.homogeneity.scaling.precision import Precision


def _precision(device, dtype, *, tf32):
    with torch.backends.cudnn.flags(allow_tf32=tf32), FakeTensorMode():
        return Precision.of(torch.empty(2, device=device, dtype=dtype))


def test_sums_of_float32_on_cuda_may_be_rounded_to_ten_bits_where_tf32_is_allowed():
    exact = _precision("cpu", torch.float32, tf32=True)
    rounded = _precision("cuda", torch.float32, tf32=True)
    assert rounded.tf32
    assert rounded.euler_rtol == (2.0**-10) ** (2 / 3) > exact.euler_rtol
    # Powers of two commute with every rounding, so that scales are compared as exactly as elsewhere.
    assert (rounded.rtol, rounded.exponent) == (exact.rtol, exact.exponent)


def test_nothing_else_is_looser():
    for device, dtype, tf32 in (
        ("cpu", torch.float32, True),
        ("cuda", torch.float32, False),
        ("cuda", torch.float64, True),
    ):
        found = _precision(device, dtype, tf32=tf32)
        assert not found.tf32
        assert found.euler_rtol == torch.finfo(dtype).eps ** (2 / 3)
