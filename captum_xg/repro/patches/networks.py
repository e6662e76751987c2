"""The networks of the experiment: the transformer of degree 1, its regular twin, and variants with one part changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg.models import VisionTransformer, vit_small, xvit_small
from captum_xg.nn import (
    CosineAttention,
    HomogeneousTransformerEncoder,
    HomogeneousTransformerLayer,
    MultiplicativePositions,
    ScalePreservingNorm,
)

_D, _HEADS, _FEED_FORWARD, _LAYERS = 64, 4, 128, 4
_GATED_FEED_FORWARD = 85
"""With two matrices where a ReLU needs one, this width gives a gated layer as many parameters."""
_TOKENS = 49
DEPTH = 12


@dataclass(frozen=True)
class Network:
    """One network that is trained.

    Attributes:
        key: Its name in files; with the seed that of a unit.
        label: Its name in tables.
        build: From a probability of dropout to the network with fresh weights.
        changes: The part of ``xvit_small`` that is changed; empty for the two networks that are compared.
        regular: Whether it has biases and everything else that is not of degree 1.
    """

    key: str
    label: str
    build: Callable[[float], nn.Module]
    changes: str = ""
    regular: bool = False


class NoNorm(nn.Module):
    """What takes the place of a norm where there is none."""

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Return the tokens as they are."""
        return x


def _assembled(
    dropout: float,
    *,
    layers: int = _LAYERS,
    feed_forward: int = _FEED_FORWARD,
    factors: bool = True,
    **options: Any,
) -> VisionTransformer:
    """Return ``xvit_small`` put together from its parts, with other ones where they are asked for."""
    layer = HomogeneousTransformerLayer(_D, _HEADS, feed_forward, dropout, **options)
    encoder = HomogeneousTransformerEncoder(layer, layers, ScalePreservingNorm(_D))
    encoder.reset_parameters()
    positions = MultiplicativePositions(_TOKENS, _D) if factors else nn.Identity()
    return VisionTransformer(positions, encoder, width=_D, in_channels=1, num_classes=10, patch_size=4, bias=False)


def _without_norms(dropout: float) -> nn.Module:
    """Return it without norms, and with the last weights of each branch zero at first, so that it can be trained.

    Source: Zhang, Dauphin and Ma 2019, *Fixup Initialization*.
    """
    model = _assembled(dropout)
    encoder = model.encoder
    for layer in encoder.layers:  # type: ignore[union-attr]
        layer.norm1, layer.norm2 = NoNorm(), NoNorm()
        nn.init.zeros_(layer.self_attn.out_proj.weight)
        nn.init.zeros_(layer.linear2.weight)
    encoder.norm = NoNorm()
    return model


def _fixed_temperatures(dropout: float) -> nn.Module:
    model = _assembled(dropout)
    for attention in attentions(model):
        attention.log_scale.requires_grad_(False)
    return model


def attentions(model: nn.Module) -> list[CosineAttention]:
    """Return the attention layers of degree 1 in a network."""
    return [module for module in model.modules() if isinstance(module, CosineAttention)]


X = Network("xvit_small", "xvit_small, of degree 1", lambda dropout: xvit_small(dropout=dropout))
TWIN = Network("vit_small", "vit_small, its regular twin", lambda dropout: vit_small(dropout=dropout), regular=True)

SHORT = Network("short", "xvit_small as it is", X.build, "nothing")
NO_NORM = Network("no_norm", "no norms (Fixup)", _without_norms, "norm")
GATED = Network(
    "gated",
    "GatedReLU in place of ReLU",
    partial(_assembled, activation="gated_relu", feed_forward=_GATED_FEED_FORWARD),
    "gate",
)
NO_POSITIONS = Network("no_positions", "no positions", partial(_assembled, factors=False), "positions")
ROTARY = Network(
    "rotary", "rotary positions in the logits", partial(_assembled, factors=False, positions="rotary"), "positions"
)
RELATIVE = Network(
    "relative",
    "relative positions in the logits",
    partial(_assembled, factors=False, positions="relative", max_length=_TOKENS),
    "positions",
)
FIXED = Network("fixed_temperature", "temperatures fixed", _fixed_temperatures, "temperature")
DEEP = Network("deep", f"{DEPTH} layers", partial(_assembled, layers=DEPTH), "depth")

COMPARED = (X, TWIN)
VARIANTS = (SHORT, NO_NORM, GATED, NO_POSITIONS, ROTARY, RELATIVE, FIXED, DEEP)


def fresh(network: Network, dropout: float, seed: int) -> nn.Module:
    """Return a network with the weights of a seed, and nothing of the global state of random numbers changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.build(dropout)
