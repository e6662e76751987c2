"""Random numbers of methods that draw some: from the position of what is explained, the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def drawn_by(positions: Sequence[int], device: torch.device) -> Iterator[None]:
    """Let Python, NumPy and PyTorch draw by the position of the first example, and then go on as if nobody had.

    Of equal settings numbers are equal, whichever process explains what, and after whatever interruption.

    Args:
        positions: Of the examples in the data.
        device: Where the method computes.
    """
    # Not by a generator of our own: methods draw from what everybody draws from.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(positions[0])
        random.seed(positions[0])
        np.random.seed(positions[0] % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
