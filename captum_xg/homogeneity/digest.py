"""A fingerprint of architecture, parameters and buffers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from captum_xg.homogeneity.modules import modules_of

_SIMPLE = (bool, int, float, str, bytes, type(None))


def digest_of(forward_func: Callable[..., Any]) -> str:
    """Return the SHA-256 of the modules behind a forward function: classes, settings, parameters and buffers."""
    digest = hashlib.sha256()
    tensors: dict[int, Tensor] = {}
    for root in modules_of(forward_func):
        for path, module in root.named_modules():
            digest.update(f"{path}|{type(module).__module__}.{type(module).__qualname__}|{module.training}".encode())
            digest.update(repr(settings_of(module)).encode())
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                digest.update(f"{name}|{None if tensor is None else (tuple(tensor.shape), tensor.dtype)}".encode())
                if tensor is not None:
                    tensors.setdefault(id(tensor), tensor)
    with ThreadPoolExecutor() as pool:  # hashlib works on large blocks without holding the interpreter
        for part in pool.map(_hash, tensors.values()):
            digest.update(part)
    return digest.hexdigest()


def settings_of(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """Return a module's own settings: attributes that are plain numbers, strings or tuples of them."""
    return [
        (name, value)
        for name, value in module.__dict__.items()
        if isinstance(value, _SIMPLE) or (isinstance(value, tuple) and all(isinstance(v, _SIMPLE) for v in value))
    ]


def _hash(tensor: Tensor) -> bytes:
    if tensor.layout != torch.strided or tensor.is_meta:
        return repr((tensor.layout, tensor.shape)).encode()
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(plain.view(torch.uint8).numpy().data).digest() if plain.numel() else b""
