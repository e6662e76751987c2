"""One batch after the other: what it comes to, and which of its examples are refused, with the reason.

A batch that is refused is tried again example by example, so that one bad example costs the others nothing and is
named. Whether a batch is explained in closed form is decided by the batch itself, and never by what came before it:
otherwise the numbers of a run would depend on which process has done what.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.inputs import all_finite
from captum_xg._core.text import in_one_line
from captum_xg.attr.observed import Observed
from captum_xg.datasets.attributions.refused import RefusedExample
from captum_xg.errors import HomogeneityError, InputError
from captum_xg.scan.batch import WHERE, Batch, Split, batch_of
from captum_xg.scan.engines import Engine
from captum_xg.scan.errors import OF_THE_MODEL, ExampleError
from captum_xg.scan.reading import Read
from captum_xg.scan.shards import require_storable

OnRefusal: TypeAlias = Literal["raise", "integrate", "record"]


@dataclass(frozen=True)
class Explaining:
    """How batches are explained.

    Attributes:
        engine: What explains them.
        fallback: What integrates those that it refuses; None if that was not asked for.
        on_violation: What becomes of an example that cannot be explained.
        shapes: Of the inputs of one example.
        device: Of the model.
        split: What takes batches of the loader apart.
        texts: Whether inputs are texts, which may differ in length.
        dtype: Of the attributions as they are kept.
        summed: Whether they are summed over their last dimension.
    """

    engine: Engine
    fallback: Engine | None
    on_violation: OnRefusal
    shapes: tuple[tuple[int, ...], ...]
    device: torch.device | None
    split: Split | None
    texts: bool
    dtype: torch.dtype
    summed: bool

    def of(self, read: Read) -> Iterator[tuple[Batch, Observed] | RefusedExample]:
        """Yield what became of the examples that were read together.

        Raises:
            ExampleError: If one cannot be read or explained, and that is to end the run.
            CaptumXGError: If it is the model that cannot be explained.
        """
        for each in read.unread:
            yield self._refused(each, "cannot be read", None)
        for positions, content in read.parts:
            batch = content if isinstance(content, Batch) else batch_of(content, positions, self.split)
            if (misfit := self._misfit(batch)) is not None:
                for position in positions:
                    yield self._refused(RefusedExample(position, "InputError", misfit), "cannot be explained", None)
                continue
            yield from self._explained(batch.on(self.device))

    def _explained(self, batch: Batch) -> Iterator[tuple[Batch, Observed] | RefusedExample]:
        found = self._tried(batch)
        if isinstance(found, Observed):
            yield batch, found
            return
        refused = 0
        for i in range(len(batch)):
            one = batch.of([i])
            alone = self._tried(one) if len(batch) > 1 else found
            if isinstance(alone, Observed):
                yield one, alone
                continue
            refused += 1
            example = RefusedExample(one.positions[0], type(alone).__name__, _reason(alone, one))
            yield self._refused(example, "cannot be explained", alone)
        if not refused:  # every one alone, and not together: nobody is to blame but the batch
            raise found

    def _tried(self, batch: Batch) -> Observed | Exception:
        try:
            return self._by(self.engine, batch)
        except OF_THE_MODEL:
            raise
        except HomogeneityError as error:
            if self.fallback is None:
                return error
        except Exception as error:
            return error
        try:
            return self._by(self.fallback, batch)
        except OF_THE_MODEL:
            raise
        except Exception as error:
            return error

    def _by(self, engine: Engine, batch: Batch) -> Observed:
        found = engine.explained(batch)
        require_storable(found, self.dtype, summed=self.summed)
        return found

    def _refused(self, example: RefusedExample, what: str, error: Exception | None) -> RefusedExample:
        if self.on_violation != "raise":
            return example
        raise ExampleError(
            f"{WHERE}: example {example.id} {what}: {example.kind}: {example.reason}\n  What was finished before it is "
            "kept. on_violation='record' (--on-violation record) notes such examples and goes on.",
            example.id,
        ) from error

    def _misfit(self, batch: Batch) -> str | None:
        """Return what is wrong with the form of the inputs; None if nothing is."""
        found = tuple(tuple(x.shape[1:]) for x in batch.inputs)
        if found == self.shapes or (self.texts and [len(s) for s in found] == [len(s) for s in self.shapes]):
            return None
        return (
            f"its inputs have the shape {_shown(found)}, and those of the others {_shown(self.shapes)}. Attributions "
            "of a data set are of one shape: resize the examples (--size)."
        )


def _reason(error: Exception, one: Batch) -> str:
    """Return why an example was refused, in one line that speaks of it alone."""
    bad = [i for i, x in enumerate(one.inputs) if x.dtype.is_floating_point and not all_finite(x)]
    if isinstance(error, InputError) and bad:
        x: Any = one.inputs[bad[0]]
        many, all_of_them = int((~torch.isfinite(x)).sum()), x.numel()
        which = f"inputs[{bad[0]}] holds" if len(one.inputs) > 1 else "it holds"
        return f"{which} NaN or infinity, {many} of {all_of_them} numbers."
    return in_one_line(error).removeprefix(f"{type(error).__name__}: ")


def _shown(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " and ".join("×".join(map(str, shape)) or "a number" for shape in shapes)


def device_of(forward_func: Any) -> torch.device | None:
    """Return the device of a model's tensors; None for one without any."""
    from captum_xg._core.modules import modules_of

    for module in modules_of(forward_func):
        for tensor in (*module.parameters(), *module.buffers()):
            if isinstance(tensor, Tensor):
                return tensor.device
    return None
