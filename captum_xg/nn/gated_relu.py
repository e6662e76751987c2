"""``GatedReLU``: a linear path of degree 1, gated by a normalised ReLU of degree 0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_xg._core.options import integer
from captum_xg.errors import InputError
from captum_xg.nn.safe_division import divided_by_root, mean_square

_WHERE = "GatedReLU"


class GatedReLU(nn.Module):
    r"""Gate one half of a tensor with the other: the gated linear unit of degree 1.

    .. math:: y = a \odot \frac{\max(b, 0)}{\operatorname{rms}(b)}, \qquad (a, b) = x

    with the halves a and b along ``dim``, and rms along it. The gate is of degree 0 and a of degree 1, so that y(αx) =
    αy(x) for every α > 0; a·max(b, 0), which is common elsewhere, is of degree 2. Where b is zero, y is.

    Args:
        dim: The dimension that is halved: that of the numbers of a token, not that of examples.

    Shapes:
        ``(…, 2d, …)`` to ``(…, d, …)``.

    Raises:
        InputError: If the dimension is of odd size or not there.

    Source: Own construction, after Dauphin et al. 2017 (gated linear units) and Shazeer 2020 (ReGLU), *GLU Variants
    Improve Transformer*.

    Example:
        >>> feed_forward = nn.Sequential(nn.Linear(8, 32, bias=False), GatedReLU(), nn.Linear(16, 8, bias=False))
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = integer(dim, "dim", _WHERE)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated half."""
        if not -x.dim() <= self.dim < x.dim() or x.shape[self.dim] % 2:
            raise InputError(
                f"{_WHERE}: dimension {self.dim} of the input is halved and must be of even size, but the input is of "
                f"shape {tuple(x.shape)}."
            )
        linear, gate = x.transpose(self.dim, -1).chunk(2, dim=-1)
        opened = divided_by_root(torch.relu(gate), mean_square(gate)).to(x.dtype)
        return (linear * opened).transpose(self.dim, -1)

    def extra_repr(self) -> str:
        """Return what distinguishes it from others."""
        return f"dim={self.dim}"
