"""The building blocks from their formulas: one token, one head, one pair at a time, in Python's loops."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rms(v: Tensor) -> float:
    return math.sqrt(sum(float(a) ** 2 for a in v) / len(v))


def norm_reference(x: Tensor, g: Tensor, padding: Tensor | None, causal: bool) -> Tensor:
    """y = s · g ⊙ x / rms(x), s over the tokens (N, T, d) that are no padding, or those of them until t."""
    y = torch.zeros_like(x)
    for n, example in enumerate(x):
        real = [t for t in range(len(example)) if padding is None or not padding[n, t]]
        for t in real:
            over = [u for u in real if u <= t] if causal else real
            s = math.sqrt(sum(rms(example[u]) ** 2 for u in over) / len(over))
            if rms(example[t]) > 0:
                y[n, t] = s * g * example[t] / rms(example[t])
    return y


def unit(v: Tensor, position: int | None) -> Tensor:
    """v / ‖v‖, and for rotary positions as complex numbers v[i] + i·v[i + d/2] times e^{i·position·θ}."""
    length = math.sqrt(sum(float(a) ** 2 for a in v))
    v = v / length if length > 0 else v
    if position is None:
        return v
    half = len(v) // 2
    turned = [
        complex(v[i], v[i + half]) * complex(math.cos(a), math.sin(a))
        for i in range(half)
        for a in [position * 10000.0 ** (-2 * i / len(v))]
    ]
    return torch.tensor([z.real for z in turned] + [z.imag for z in turned], dtype=v.dtype)


def attention_reference(block, x: Tensor, padding: Tensor | None, mask: Tensor | None, causal: bool) -> Tensor:
    """W_o [Σⱼ softmaxⱼ(τ cos(qᵢ, kⱼ) + B) vⱼ]ₕ, from the weights of a block."""
    wq, wk, wv = block.in_proj.weight.detach().chunk(3)
    table = None if block.relative_bias is None else block.relative_bias.tolist()
    heads, size, scales = block.num_heads, block.head_dim, block.log_scale.tolist()
    gathered = torch.zeros_like(x)
    for n in range(len(x)):
        q, k, v = (x[n] @ w.T for w in (wq, wk, wv))
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            tau = min(math.exp(scales[h]), 100.0)
            own = None if mask is None or mask.dim() == 2 else mask[n * heads + h]
            own = mask if own is None else own
            for i in range(len(x[n])):
                logits = {}
                for j in range(len(x[n])):
                    forbidden = (padding is not None and padding[n, j]) or (causal and j > i)
                    added = 0.0
                    if own is not None and own.dtype == torch.bool:
                        forbidden = forbidden or own[i, j]
                    elif own is not None:
                        added = float(own[i, j])
                    if table is not None:
                        added += table[h][i - j + block.max_length - 1]
                    if forbidden or added == -math.inf:
                        continue
                    turn = block.positions == "rotary"
                    a, b = unit(q[i, part], i if turn else None), unit(k[j, part], j if turn else None)
                    logits[j] = tau * float(a @ b) + added
                total = sum(math.exp(z) for z in logits.values())
                for j, z in logits.items():
                    gathered[n, i, part] += math.exp(z) / total * v[j, part]
    y = gathered @ block.out_proj.weight.detach().T
    return y if padding is None else torch.where(padding[..., None], 0.0, y)


def gate_reference(x: Tensor) -> Tensor:
    """a · max(b, 0) / rms(b) along the last dimension."""
    a, b = x.chunk(2, dim=-1)
    y = torch.zeros_like(a)
    for place in torch.cartesian_prod(*[torch.arange(n) for n in a.shape[:-1]]).reshape(-1, a.dim() - 1).tolist():
        own = tuple(place)
        if rms(b[own]) > 0:
            y[own] = a[own] * b[own].clamp(min=0) / rms(b[own])
    return y
