"""A few examples spread over the data: by them it is known again, and with them everything is tried out beforehand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from captum_xg.attr.observed import Observed
from captum_xg.errors import OptionError
from captum_xg.scan.batch import WHERE, Batch, Split, batch_of
from captum_xg.scan.engines import Engine
from captum_xg.scan.errors import OF_THE_MODEL, ExampleError
from captum_xg.scan.reading import MapStyle
from captum_xg.scan.streaming import Stream

_MANY = 16


@dataclass(frozen=True)
class Probes:
    """A few examples of the data.

    Attributes:
        digest: Of their inputs and labels, and of what could not be read.
        batches: Those that could be read, one by one.
        why: What was said of the others.
    """

    digest: str
    batches: tuple[Batch, ...]
    why: tuple[str, ...]


def probes_of(data: MapStyle | Stream, split: Split | None) -> Probes:
    """Return some 16 examples that are spread evenly over the data; of a stream the first ones.

    Raises:
        OptionError: If the data give another example each time that they are asked for one.
        ExampleError: If none of them can be read.
    """
    if isinstance(data, Stream):
        batches = [data.first.of([i]) for i in range(min(data.batch_size, _MANY))]
        return Probes(_digest(batches, ()), tuple(batches), ())
    many = min(_MANY, data.examples)
    positions = sorted({i * (data.examples - 1) // max(many - 1, 1) for i in range(many)})
    batches, why = [], []
    for position in positions:
        own, failed = _read(data, position, split)
        batches += own
        why += failed
        if position == positions[0] and _digest(own, ()) != _digest(_read(data, position, split)[0], ()):
            raise OptionError(
                f"{WHERE}: example {position} is another one each time that the data set is asked for it. Explain data "
                "that stay the same: without random augmentation, or with a fixed seed for each example."
            )
    if not batches:
        raise ExampleError(f"{WHERE}: none of the {len(positions)} examples that were tried can be read: {why[0]}", 0)
    return Probes(_digest(batches, why), tuple(batches), tuple(why))


def tried(engine: Engine, probes: Probes, most: int) -> tuple[Batch, Observed]:
    """Return what an engine makes of examples of the most frequent shape, to find out what a run will find.

    Args:
        engine: Of the run.
        probes: The examples.
        most: How many at once: as many as in a batch of the run.

    Raises:
        CaptumXGError: If it can explain none of them.
    """
    shapes = [_shapes(each) for each in probes.batches]
    common = max(shapes, key=shapes.count)  # the first example may be the one that is unlike the others
    alike = [each for each, shape in zip(probes.batches, shapes, strict=True) if shape == common]
    # As many as in a batch, some of them several times: what is proven for inputs of this shape serves the run.
    together = _joined((alike * -(-most // len(alike)))[:most])
    try:
        return together, engine.explained(together)
    except OF_THE_MODEL:
        raise
    except Exception as error:
        first = error
    # One bad example says nothing of the others. If all are refused, it is the model.
    others = [each for each, shape in zip(probes.batches, shapes, strict=True) if shape != common]
    for each in [*alike, *others]:
        try:
            return each, engine.explained(each)
        except OF_THE_MODEL:
            raise
        except Exception:  # what is told is what was said of all of them
            continue
    raise first


def _read(data: MapStyle, position: int, split: Split | None) -> tuple[list[Batch], list[str]]:
    parts, unread = data.at([position])
    return [batch_of(content, own, split) for own, content in parts], [f"{kind}: {why}" for _, kind, why in unread]


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1 or any(each.additional for each in batches):
        return batches[0]  # what belongs to examples among additional arguments cannot be told from one alone
    labels = [each.labels for each in batches if each.labels is not None]
    return Batch(
        tuple(position for each in batches for position in each.positions),
        tuple(map(torch.cat, zip(*(each.inputs for each in batches), strict=True))),
        torch.cat(labels) if len(labels) == len(batches) else None,
    )


def _shapes(batch: Batch) -> list[torch.Size]:
    return [x.shape for x in batch.inputs]


def _digest(batches: list[Batch], why: object) -> str:
    digest = hashlib.sha256()
    for each in batches:
        digest.update(f"{each.positions}{None if each.labels is None else each.labels.tolist()}".encode())
        digest.update(str(each.digests().tolist()).encode())
        if each.additional:
            digest.update(str(each.argument_digests().tolist()).encode())
    digest.update(str(len(why) if isinstance(why, list) else 0).encode())
    return digest.hexdigest()
