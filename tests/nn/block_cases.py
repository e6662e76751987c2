"""Random building blocks with the tensors and masks that they are called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from captum_xg.nn import (
    CosineAttention,
    GatedReLU,
    HomogeneousTransformerEncoder,
    HomogeneousTransformerLayer,
    MultiplicativePositions,
    ScalePreservingNorm,
)

D, HEADS, LONGEST = 8, 2, 6
KINDS: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: ScalePreservingNorm(D),
    "attention": lambda: CosineAttention(D, HEADS),
    "attention, rotary": lambda: CosineAttention(D, HEADS, positions="rotary"),
    "attention, relative": lambda: CosineAttention(D, HEADS, positions="relative", max_length=LONGEST),
    "attention, fused": lambda: CosineAttention(D, HEADS, fused=True),
    "gate": lambda: GatedReLU(),
    "positions": lambda: MultiplicativePositions(LONGEST, D),
    "layer": lambda: HomogeneousTransformerLayer(D, HEADS, 12),
    "layer, gated": lambda: HomogeneousTransformerLayer(D, HEADS, 12, activation="gated_relu", positions="rotary"),
    "layer, norm last": lambda: HomogeneousTransformerLayer(D, HEADS, 12, norm_first=False),
    "encoder": lambda: HomogeneousTransformerEncoder(
        HomogeneousTransformerLayer(D, HEADS, 12, positions="relative", max_length=LONGEST), 2, ScalePreservingNorm(D)
    ),
}
TAKE_PADDING = [kind for kind in KINDS if kind not in ("gate", "positions")]
TAKE_MASKS = [kind for kind in TAKE_PADDING if kind != "norm"]
DIFFERENTIABLE_TWICE = [kind for kind in KINDS if kind != "attention, fused"]


@dataclass
class Case:
    """A block in evaluation mode, and what it is called with; ``f(x, padding)`` calls it."""

    kind: str
    block: nn.Module
    x: Tensor
    padding: Tensor | None
    mask: Tensor | None
    causal: bool

    def f(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return what the block gives, with the masks that are the same for all examples."""
        if self.kind not in TAKE_PADDING:
            return self.block(x)
        if self.kind == "norm":
            return self.block(x, padding, self.causal)
        if isinstance(self.block, CosineAttention):
            return self.block(x, padding, self.mask, self.causal)
        return self.block(x, self.mask, padding, self.causal)

    @property
    def arguments(self) -> tuple[Tensor, ...] | None:
        return None if self.padding is None else (self.padding,)


def randomized(block: nn.Module) -> nn.Module:
    """Return a block in evaluation mode, every parameter of it moved at random: ones, zeros and twins are no more."""
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return block.eval()


def built(kind: str, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(seed)
    return randomized(KINDS[kind]()).to(dtype)


def case_of(
    kind: str,
    seed: int,
    *,
    dtype: torch.dtype = torch.float64,
    n: int = 2,
    length: int = 5,
    padded: bool = False,
    mask: str = "none",
    zeros: bool = False,
) -> Case:
    """Return a case; ``mask`` is one of MASKS, and with ``zeros`` an example and a token of another one are zero."""
    block = built(kind, seed, dtype)
    x = torch.randn(n, length, D).to(dtype)
    if zeros:
        x[0] = 0
        x[-1, 0] = 0
    padding = None
    if padded and kind in TAKE_PADDING:
        real = torch.randint(1, length + 1, (n,))
        padding = torch.arange(length) >= real[:, None]
    made = _mask(mask, n, length, dtype) if kind in TAKE_MASKS else None
    return Case(kind, block, x, padding, made, kind in TAKE_PADDING and mask == "causal")


MASKS = ("none", "causal", "boolean", "added", "minus infinity")


def _mask(mask: str, n: int, length: int, dtype: torch.dtype) -> Tensor | None:
    forbidden = torch.rand(length, length) < 0.4
    forbidden[0] = True  # nothing is left for the first
    if mask == "boolean":
        return forbidden
    if mask == "added":
        return torch.randn(length, length).to(dtype)
    if mask == "minus infinity":
        return torch.randn(length, length).to(dtype).masked_fill(forbidden, -torch.inf)
    return None


cases = st.builds(
    case_of,
    st.sampled_from(list(KINDS)),
    st.integers(0, 2**16),
    n=st.integers(1, 3),
    length=st.integers(1, LONGEST),
    padded=st.booleans(),
    mask=st.sampled_from(MASKS),
    zeros=st.booleans(),
)
