"""The digest of an example: 64 bits that tell whether the inputs at hand are those that were explained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from captum_xg._core.contents import bytes_of


def example_digests(inputs: Sequence[Tensor]) -> Tensor:
    """Return the digests of N examples, int64 ``(N,)``: the first 8 bytes of a SHA-256 of dtypes, shapes and numbers.

    Args:
        inputs: One tensor for each input, of shape ``(N, …)``.
    """
    kept = [x.detach().to("cpu").contiguous() for x in inputs]
    forms = [f"{x.dtype}{tuple(x.shape[1:])}".encode() for x in kept]
    found = []
    for i in range(len(kept[0])):
        digest = hashlib.sha256()
        for x, form in zip(kept, forms, strict=True):
            digest.update(form)
            digest.update(bytes_of(x[i]))
        found.append(int.from_bytes(digest.digest()[:8], "little", signed=True))
    return torch.tensor(found, dtype=torch.int64)
