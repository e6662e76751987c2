"""Released weights, and ``load_checkpoint``, which brings a checkpoint file into a model.

Three steps, of which only the last one writes: the file is read without running anything in it, its tensors are fitted
to the model's names and shapes with every problem in one message, and the values are written all or none.

What must never happen: a model that is half loaded, or loaded with other weights than those that were asked for. The
X-DNN of a network has a subset of its names, so the twin's checkpoint would load without an error if names were not
compared on both sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from captum_xg._core.options import file_path, forward_function, switch, usable_device
from captum_xg._core.text import displayed, first_ten
from captum_xg.errors import CheckpointError, OptionTypeError
from captum_xg.models.alexnet import alexnet, xalexnet
from captum_xg.models.checkpoint_file import download, read_checkpoint
from captum_xg.models.fitting import fit, not_finite
from captum_xg.models.fixup_resnet import fixup_resnet50, xfixup_resnet50
from captum_xg.models.vgg import vgg16, xvgg16
from captum_xg.models.writing import write_values

_FOLDER = "https://download.visinf.tu-darmstadt.de/data/2021-neurips-fast-axiomatic-attribution/models/"


@displayed
@dataclass(frozen=True)
class ReleasedWeights:
    """Weights that the authors of X-Gradient have published.

    Attributes:
        name: What :func:`load_checkpoint` knows them by.
        url: Where the file lies.
        top5_accuracy: On the validation images of ImageNet, in %, as published.
        builder: Builds the network they fit, without weights.
    """

    name: str
    url: str
    top5_accuracy: float
    builder: Callable[[], nn.Module]

    def __str__(self) -> str:
        return f"{self.name}: top-5 accuracy {self.top5_accuracy:.2f} % on ImageNet, {self.url}"


def _released(builder: Callable[..., nn.Module], top5_accuracy: float) -> ReleasedWeights:
    name = builder.__name__
    return ReleasedWeights(name, f"{_FOLDER}{name}_model_best.pth.tar", top5_accuracy, builder)


_TOP5: list[tuple[Callable[..., nn.Module], float]] = [
    *((alexnet, 79.21), (xalexnet, 78.54), (vgg16, 90.44), (xvgg16, 90.25)),
    *((fixup_resnet50, 92.56), (xfixup_resnet50, 91.12)),
]
RELEASED: Mapping[str, ReleasedWeights] = MappingProxyType(
    {weights.name: weights for weights in starmap(_released, _TOP5)}
)
"""Name → weights. Source: Hesse et al. 2021, Table 2; files: github.com/visinf/fast-axiomatic-attribution."""


@displayed
@dataclass(frozen=True)
class LoadedCheckpoint:
    """What :func:`load_checkpoint` has done.

    Attributes:
        source: The path or the address that the weights came from.
        names: The parameters and buffers of the model that were set.
        missing: Those that the file does not have; they keep their values. Empty with ``strict=True``.
        dropped: Names in the file that the model does not have. Empty with ``strict=True``.
        epoch: The epoch noted in the file, if any.
        best_accuracy: The ``best_acc1`` noted in the file, if any: top-1 in % on ImageNet in the released ones.
        top5_accuracy: In % on ImageNet as published, for weights asked for by their released name.
        not_finite: Those of ``names`` that hold NaN or infinity, as in the file.
    """

    source: str
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    epoch: int | None = None
    best_accuracy: float | None = None
    top5_accuracy: float | None = None
    not_finite: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{len(self.names)} parameters and buffers set from {self.source}"]
        for text, number in (
            ("epoch {:d}", self.epoch),
            ("best accuracy noted in the file: {:.2f}", self.best_accuracy),
            ("top-5 accuracy on ImageNet as published: {:.2f} %", self.top5_accuracy),
        ):
            lines += [] if number is None else [f"  {text.format(number)}"]
        for text, names in (
            ("not in the file, unchanged in the model", self.missing),
            ("NaN or infinite in the file", self.not_finite),
            ("in the file, not in the model", self.dropped),
        ):
            lines += [f"  {text} ({len(names)}): {', '.join(first_ten(names))}"] if names else []
        return "\n".join(lines)


def load_checkpoint(
    model: nn.Module,
    path_or_url: str | Path,
    *,
    strict: bool = True,
    map_location: str | torch.device = "cpu",
    progress: bool = True,
) -> LoadedCheckpoint:
    """Set the parameters and buffers of ``model`` from a checkpoint file, all of them or, when it raises, none.

    The file holds a state dict, or a dict with one under ``"state_dict"``. Prefixes that ``DataParallel`` and
    ``torch.compile`` put into names (``module.``, ``_orig_mod.``) are ignored wherever they stand, in the file and in
    the model. Nothing but tensors and plain values is ever unpickled (``weights_only=True``).

    Args:
        model: The network that the weights go into; its device and dtype stay.
        path_or_url: A file; an address (``http``, ``https``, ``file``), whose file is kept in torch.hub's cache; or
            a name in :data:`RELEASED`, such as ``"xalexnet"``. Where the file's name ends in ``-<sha256>`` as torch.hub
            has it, the download is checked against it.
        strict: Whether the names must be the same on both sides. If False, names on one side only are reported and
            left alone: a checkpoint with biases goes into an X-DNN, which drops the biases. Shapes must fit
            either way.
        map_location: Device that the file's tensors are read to.
        progress: Whether a download shows its progress.

    Returns:
        What was loaded, from where, and the accuracy that is known of it.

    Raises:
        CheckpointError: If there is no such file, it cannot be downloaded or read, holds objects that are not weights,
            has no values for a name, or does not fit the model. The model is then as it was.
        OptionTypeError: If ``model`` is not a module, or another argument is of the wrong type.
        OptionError: If ``map_location`` is not a device of this machine.

    Source: Hesse et al. 2021, Section 4.1 and Table 2 (the released weights).
    """
    where = "load_checkpoint"
    if not isinstance(model, nn.Module):
        forward_function(model, "model", where)  # the class of a model, or the pair of to_xdnn
        raise OptionTypeError(
            f"{where}: `model` must be a torch.nn.Module but is {type(model).__name__}, which has no weights."
        )
    strict, progress = switch(strict, "strict", where), switch(progress, "progress", where)
    # Checked first: else a download would be taken for a damaged file because of it.
    usable_device(map_location, f"{where}: map_location")
    source, path, released = _located(path_or_url, progress)
    # A file that was given by its path is never deleted, however damaged; a download is, to be fetched again.
    checkpoint = read_checkpoint(path, map_location, downloaded="://" in source)
    fitted = fit(model, checkpoint.state_dict, strict=strict, source=source)
    write_values(model, fitted.tensors, source=source)
    # NaN in the file is reported and not refused: a checkpoint of a diverged training may be what is looked into.
    return LoadedCheckpoint(
        source=source,
        names=tuple(fitted.tensors),
        missing=fitted.missing,
        dropped=fitted.unexpected,
        epoch=checkpoint.epoch,
        best_accuracy=checkpoint.best_accuracy,
        top5_accuracy=released.top5_accuracy if released else None,
        not_finite=tuple(name for name, tensor in fitted.tensors.items() if not_finite(tensor)),
    )


def _located(path_or_url: str | Path, progress: bool) -> tuple[str, Path, ReleasedWeights | None]:
    """Return the path or address of a checkpoint, its file on this machine, and the released weights that it has."""
    local = file_path(path_or_url, "path_or_url", "load_checkpoint")
    # A released name counts before a file of the same name, which has no suffix and so is hardly a checkpoint.
    released = RELEASED.get(path_or_url) if isinstance(path_or_url, str) else None
    source = released.url if released else str(path_or_url)
    if "://" in source:
        return source, download(source, progress=progress), released
    if not os.path.isfile(local):  # that of Path raises an error for names that are too long
        raise CheckpointError(
            f"load_checkpoint: there is no file {str(path_or_url)!r}. Give a path, an address with ://, or a released "
            f"name: {', '.join(RELEASED)}."
        )
    return source, local, released
