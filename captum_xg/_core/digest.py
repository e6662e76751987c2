"""The digest of a model: a SHA-256 of its classes, settings, parameters and buffers.

Equal digests mean that a certificate or a result of the one model is one of the other. So nothing that forward may
depend on is left out, the mode among it, and tensors of every layout count with their numbers and their form.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from captum_xg._core.contents import bytes_of, parts_of
from captum_xg._core.modules import modules_of
from captum_xg._core.reflection import attribute, is_a, own_attributes, plainly, shown, submodules, tensors_of
from captum_xg._core.types import ForwardFunction

_SIMPLE = (bool, int, float, str, bytes, type(None))
_LARGE = 2**16


def digest_of(forward_func: ForwardFunction) -> str:
    """Return the SHA-256 of the modules behind a forward function: classes, settings, parameters and buffers."""
    digest = hashlib.sha256()
    tensors: dict[int, Tensor] = {}
    for root in modules_of(forward_func):
        for path, module in submodules(root):
            training = attribute(module, "training")
            digest.update(f"{path}|{type(module).__module__}.{type(module).__qualname__}|{training}".encode())
            digest.update(
                f"[{', '.join(f'({name!r}, {shown(value)})' for name, value in settings_of(module))}]".encode()
            )
            for _, name, tensor in tensors_of(module):
                if tensor is None:
                    digest.update(f"{name}|None".encode())
                    continue
                with plainly():
                    shape = () if is_lazy(tensor) or tensor.is_nested else tuple(tensor.shape)
                    digest.update(f"{name}|{(shape, tensor.dtype)}".encode())
                tensors.setdefault(id(tensor), tensor)
    with ThreadPoolExecutor() as pool:  # hashlib works on large blocks without holding the interpreter
        # Of small ones, which are many, a thread would take longer to tell than to hash.
        large = {key: pool.submit(_hash, tensor) for key, tensor in tensors.items() if _is_large(tensor)}
        for key, tensor in tensors.items():
            digest.update(large[key].result() if key in large else _hash(tensor))
    return digest.hexdigest()


def settings_of(module: torch.nn.Module) -> list[tuple[str, object]]:
    """Return a module's own settings: attributes that are plain numbers, strings or tuples of them."""
    return [
        (name, value)
        for name, value in own_attributes(module).items()
        if is_a(value, _SIMPLE) or (is_a(value, tuple) and all(is_a(v, _SIMPLE) for v in tuple.__iter__(value)))
    ]


def _is_large(tensor: Tensor) -> bool:
    with plainly():
        return not is_lazy(tensor) and not tensor.is_nested and tensor.numel() >= _LARGE


def _hash(tensor: Tensor) -> bytes:
    with plainly():
        digest = hashlib.sha256(str(tensor.layout).encode() if tensor.layout != torch.strided else b"")
        for part in parts_of(tensor) or ():
            digest.update(bytes_of(part))
        return digest.digest()
