"""Checkpoint files: fetched once, and read without running anything that is in them.

Files come from strangers: torch's unpickler reads tensors and plain values only (``weights_only=True``), and the one
thing that it is allowed besides, a number of numpy's (a best accuracy in many checkpoints), is made by code of this
module, so that nothing of numpy is called with what stands in the file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.reading import foreign_object, why_not_loaded
from captum_xg._core.text import first_ten
from captum_xg.errors import CheckpointError

_FORM = 'It must hold a dict from names to tensors, or a dict with one under "state_dict".'


class _NumberKind:
    """Stands in for numpy.dtype while a file is read: kinds of plain numbers, and nothing that numpy would act on."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in {"f2", "f4", "f8", "i4", "i8"}:
            raise ValueError(f"numpy's {code!r} is not a plain number.")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.dtype = np.dtype(f"{state[1]}{self.dtype.str[1:]}")  # the byte order

    @staticmethod
    def number(kind: _NumberKind, data: bytes) -> float:
        """Stand in for numpy's own function: return the number that the bytes are."""
        return float(np.frombuffer(data, kind.dtype, count=1)[0])


# A best accuracy is often a numpy number; this is what it is pickled as, under numpy's old name and its new one.
_NUMPY_NUMBERS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (_NumberKind, "numpy.dtype"),
    (_NumberKind.number, "numpy.core.multiarray.scalar"),
    (_NumberKind.number, "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file: the weights, and what is noted beside them."""

    state_dict: Mapping[str, Tensor]
    epoch: int | None
    best_accuracy: float | None


def download(url: str, *, progress: bool) -> Path:
    """Return the local copy of ``url`` in torch.hub's cache, fetched now if it is not there yet.

    Raises:
        CheckpointError: If it cannot be fetched, or its SHA-256 is not the one in its name.
    """
    name = Path(urlparse(url).path).name
    # Many people call their file model_best.pth; files from different addresses must not be taken for each other.
    folder = Path(torch.hub.get_dir()) / "checkpoints" / f"captum_xg-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    path = folder / (name or "checkpoint")
    if not path.exists():
        expected = torch.hub.HASH_REGEX.search(name)
        prefix = expected.group(1) if expected and len(expected.group(1)) >= 8 else None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), prefix, progress=progress)
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"load_checkpoint: {url} could not be downloaded to {path}: {error}. Check the address and the "
                "connection, or download it by other means and give the file's path."
            ) from error
    return path


def read_checkpoint(path: Path, map_location: str | torch.device, *, downloaded: bool) -> Checkpoint:
    """Return what the file ``path`` holds, tensors and plain values only.

    Raises:
        CheckpointError: If it is damaged, holds anything else, or no state dict. A downloaded one is then removed from
            the cache, so that the next call fetches it again.
    """
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file leads the unpickler to
        advice = "Save or fetch it again."
        if foreign_object(error) is not None:
            advice = "Save model.state_dict() instead of the model."
        elif downloaded and not isinstance(error, (MemoryError, torch.OutOfMemoryError)):  # else it may be sound
            path.unlink(missing_ok=True)
            advice = "The download may be incomplete; it is removed from the cache, so try again."
        raise CheckpointError(
            f"load_checkpoint: {path} was not read, and the model is unchanged: {why_not_loaded(error)}. {advice}"
        ) from error
    state_dict = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state_dict, Mapping) or not state_dict:
        raise CheckpointError(f"load_checkpoint: {path} holds no state dict but {type(state_dict).__name__}. {_FORM}")
    odd = [
        f"{name!r}: {type(value).__name__}"
        for name, value in state_dict.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if odd:
        listed = ", ".join(first_ten(odd))
        raise CheckpointError(
            f"load_checkpoint: {path} holds entries that are not names with tensors: {listed}. {_FORM}"
        )
    notes = content if state_dict is not content else {}
    epoch, accuracy = _number(notes.get("epoch")), _number(notes.get("best_acc1"))
    return Checkpoint(state_dict, None if epoch is None or not math.isfinite(epoch) else int(epoch), accuracy)


def _number(value: object) -> float | None:
    """Return a note in a file as a number; None if it is not one."""
    if isinstance(value, Tensor):
        usual = value.numel() == 1 and not value.is_meta and not value.is_complex() and value.layout == torch.strided
        value = value.item() if usual else None
    return float(value) if isinstance(value, Real) else None
