"""Seeds that belong to an example, not to its place in a batch or to the process that has it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.contents import bytes_of
from captum_xg._core.options import integer


def example_seed(example: tuple[Tensor, ...], seed: int) -> int:
    """Return a seed in [0, 2⁶³) made of the values of one example and a seed of the metric.

    Batches, their order and the number of processes then leave every draw as it is, all methods are judged by the same
    draws, and the errors of different examples are independent and average out.
    """
    digest = hashlib.blake2b(str(seed).encode(), digest_size=8)
    for x in example:
        digest.update(bytes_of(x))
    return int.from_bytes(digest.digest(), "little") >> 1


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of Python, torch (CPU and this device) and NumPy, and put them back afterwards."""
    cuda = device.type == "cuda"
    # Callables of users draw from any of them.
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def checked_seed(seed: object, where: str) -> int:
    """Return a seed if it is an integer.

    Raises:
        OptionError: Otherwise.
    """
    return integer(seed, "seed", where)
