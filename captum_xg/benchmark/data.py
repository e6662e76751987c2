"""Batches of a benchmark: inputs, targets, and a fingerprint that tells one batch from another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data.distributed import DistributedSampler

from captum_xg._core.batches import FORMS, Parts, moved, naming_batch, numbered, require_fitting_call, taken_apart
from captum_xg._core.contents import bytes_of
from captum_xg._core.inputs import format_inputs
from captum_xg._core.target import check_output, check_target
from captum_xg._core.types import Target
from captum_xg.errors import InputError, OptionError, OptionTypeError, TargetError
from captum_xg.metrics.protocols import Attributions
from captum_xg.metrics.sampling import UnpaddedDistributedSampler

WHERE = "AttributionBenchmark"
RUN = f"{WHERE}.run"
"""The public names that errors begin with."""
TARGETS = ("label", "predicted", "none")


@dataclass(frozen=True)
class Batch:
    """Some examples.

    Attributes:
        index: Position among the batches of the loader.
        inputs: A tensor, or a tuple of them, of shape ``(N, …)``.
        target: What is explained; None if the output is one number per example.
        additional_forward_args: What follows the inputs in a call of the forward function.
        digest: SHA-256 of inputs, target and additional tensors.
    """

    index: int
    inputs: Attributions
    target: Target
    additional_forward_args: object
    digest: str

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The inputs as a tuple."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    @property
    def options(self) -> dict[str, Any]:
        """``target`` and, where there are any, ``additional_forward_args``, as methods and metrics take them."""
        additional = self.additional_forward_args
        return {"target": self.target, **({} if additional is None else {"additional_forward_args": additional})}


def batches(
    loader: Iterable[object], forward_func: Callable[..., object], target: str, device: torch.device | None
) -> Iterator[Batch]:
    """Yield the batches of a loader, on the device, with what is explained.

    Args:
        loader: Of ``(inputs, target)`` or ``(inputs, target, additional_forward_args)``, or of dicts and the like (see
            :func:`~captum_xg._core.batches.taken_apart`); without ``target="label"`` also of inputs alone.
        forward_func: Asked for the predicted class.
        target: ``"label"``, ``"predicted"`` or ``"none"``.
        device: None leaves tensors where they are.

    Raises:
        InputError: If a batch has another form, or its inputs cannot be attributed to.
        TargetError: If there is no target, or it is none for the output.
    """
    # What the meter wraps takes other arguments than the wrapper.
    called = forward_func if isinstance(forward_func, nn.Module) else getattr(forward_func, "function", forward_func)
    known: dict[tuple[torch.Size, ...], torch.Size] = {}
    for index, item in numbered(loader, RUN):
        with naming_batch(index, RUN):
            parts = _parts(item, target)
            require_fitting_call(called, parts, RUN)
            inputs, label, additional = (moved(p, device) for p in (parts.inputs, parts.target, parts.additional))
            formatted = format_inputs(inputs, RUN)
            inputs = formatted if isinstance(inputs, tuple) else formatted[0]
            chosen = label if target == "label" else None
            # The model runs once for inputs of a shape, which tells what it gives for others of that shape.
            shapes = tuple(x.shape[1:] for x in formatted)
            if target == "predicted" or shapes not in known:
                output = _output(forward_func, formatted, additional)
                known[shapes] = output.shape[1:]
                chosen = _predicted(output) if target == "predicted" else chosen
            if target != "predicted":
                n = len(formatted[0])
                check_target(torch.empty(1, device="meta").expand(n, *known[shapes]), chosen, RUN)
            batch = Batch(index, inputs, chosen, additional, digest_of_tensors((formatted, label, additional)))
        yield batch


def require_same_batches_every_time(loader: object, processes: int) -> None:
    """Refuse a loader whose batches are not the same in every process.

    Raises:
        OptionError: For a distributed sampler in several processes.
    """
    sampler = getattr(loader, "sampler", None)
    if processes > 1 and isinstance(sampler, (DistributedSampler, UnpaddedDistributedSampler)):
        raise OptionError(
            f"{RUN}: the loader has a {type(sampler).__name__}, which gives every process other examples. The "
            "benchmark shares the batches among processes itself: pass an ordinary loader, the same one in every "
            "process."
        )


def first_examples(loader: Iterable[object], n: int) -> Attributions:
    """Return the inputs of the first ``n`` examples of a loader (or of all, if it has fewer).

    Raises:
        OptionError: If the loader can be gone through only once.
    """
    if isinstance(loader, Iterator):
        raise OptionError(
            f"{RUN}: the loader is an iterator, so the references that Expected Gradients takes from it would be "
            "missing afterwards. Pass a DataLoader or a list, or give `references`."
        )
    found: list[tuple[Tensor, ...]] = []
    several = False
    for index, item in numbered(loader, RUN):
        with naming_batch(index, RUN):
            inputs = _parts(item, "none").inputs
            several = isinstance(inputs, tuple)
            found.append(format_inputs(inputs, RUN))
        if sum(len(part[0]) for part in found) >= n:
            break
    require_any(found)
    if len({tuple(x.shape[1:] for x in part) for part in found}) > 1:
        raise OptionError(
            f"{RUN}: the first batches of the loader have inputs of different shapes, so that Expected Gradients "
            "cannot draw its references from them. Give `references`."
        )
    joined = tuple(torch.cat(parts)[:n] for parts in zip(*found, strict=True))
    return joined if several else joined[0]


def require_any(found: Sized) -> None:
    """Refuse a loader without batches.

    Raises:
        InputError: If nothing was found in it.
    """
    if not found:
        raise InputError(f"{RUN}: the loader has no batches, so there is nothing to evaluate.")


def checked_references(references: object) -> Attributions | None:
    """Return the references of Expected Gradients, None if they are to come from the loader.

    Raises:
        OptionTypeError: If they are no tensors with at least one reference.
    """
    several = references if isinstance(references, tuple) else (references,)
    if references is not None and not (
        several and all(isinstance(x, Tensor) and x.dim() > 0 and len(x) > 0 for x in several)
    ):
        raise OptionTypeError(
            f"{WHERE}: expected `references` to be a tensor (R, …) with at least one reference, or a tuple of tensors, "
            f"one for each input, got {type(references).__name__}."
        )
    return cast("Attributions | None", references)


def digest_of_tensors(value: object) -> str:
    """Return the SHA-256 of tensors, and of what else can be printed, in nested tuples."""
    digest = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, Tensor):
            plain = part.detach().cpu().contiguous()
            digest.update(f"{tuple(plain.shape)}|{plain.dtype}".encode())
            digest.update(bytes_of(plain))
        elif isinstance(part, (tuple, list)):
            digest.update(f"{len(part)} parts".encode())
            for each in part:
                add(each)
        else:
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()


def _parts(item: object, target: str) -> Parts:
    """Return the parts of a batch, which has a target if it is wanted."""
    parts = taken_apart(item, RUN)
    if target == "label" and not parts.labelled:
        kind = TargetError if isinstance(item, Tensor) else InputError
        raise kind(
            f"{RUN}: the batch has inputs only. Let the loader give {FORMS}, or choose target='predicted', or "
            "target='none' for an output of one number per example."
        )
    return parts


def _output(forward_func: Callable[..., object], inputs: tuple[Tensor, ...], additional: object) -> Tensor:
    extra = () if additional is None else additional if isinstance(additional, tuple) else (additional,)
    with torch.no_grad():
        return check_output(forward_func(*(x.clone() for x in inputs), *extra), len(inputs[0]), RUN)


def _predicted(output: Tensor) -> Tensor:
    if output.dim() != 2:
        raise TargetError(
            f"{RUN}: target='predicted' needs an output of shape (N, classes), not {tuple(output.shape)}."
        )
    return output.argmax(1)
