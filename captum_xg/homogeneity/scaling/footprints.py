"""Footprints of forward passes: for each operation its name and the sizes of what it returns.

Two footprints, at x and at αx, tell where the passes part: the first operation that is another one, or whose results
are no multiple of what they were. They also tell a deviation from an accident of the dtype: an intermediate value that
over- or underflows at αx and not at x says nothing about F.

What must never happen: a deviation is excused because values are small. Only what leaves the range of its dtype is, and
only where the output is made of it: a mask that is kept for a log excuses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from captum_xg._core.provenance import Site
from captum_xg._core.recorder import Names, Observer, OpEvent, Recorder
from captum_xg._core.storage import has_storage

_UNWRITTEN = ("aten::empty", "aten::new_empty", "aten::resize")
"""Operations whose results hold what happens to lie in memory, which says nothing of F."""

Run = Callable[[tuple[Tensor, ...]], list[Tensor]]


@dataclass(frozen=True)
class Step:
    """One operation of a pass.

    Attributes:
        name: The operation.
        largest: The largest magnitude in its floating-point results, 0 if there are none; infinite or NaN if one is.
        total: The sum of the magnitudes.
        smallest: The smallest magnitude that is not zero, infinite if all are.
        tiny: The smallest normal number of the dtype.
        made_of: The numbers of the steps that wrote what it reads.
    """

    name: str
    largest: float
    total: float
    smallest: float
    tiny: float
    made_of: frozenset[int] = frozenset()

    def is_multiple_of(self, other: Step) -> bool:
        """Return whether these results may be those of the other step times a number."""
        if self.largest == 0 or other.largest == 0:
            return self.largest == other.largest
        ratios = self.largest / other.largest, self.total / other.total
        return abs(ratios[0] - ratios[1]) <= 1e-2 * max(ratios)

    def is_near_range(self, scale: float) -> bool:
        """Return whether any results at x could make these ones of :meth:`left_range`."""
        if scale > 1:
            # What was below the normal range at x is not far above it here, whatever its degree, up to 4.
            return not math.isfinite(self.largest) or self.largest < 16 * self.tiny * scale**4
        return self.largest == 0 or self.smallest < 16 * self.tiny

    def left_range(self, before: Step, scale: float) -> bool:
        """Return whether these results at αx over- or underflowed where those of the same step at x did not."""
        if scale > 1:  # what is zero here is so by what F computes
            overflows = not math.isfinite(self.largest) and math.isfinite(before.largest)
            return overflows or 0 < before.largest < 16 * before.tiny
        if self.largest == 0:
            return before.largest > 0
        # Where all values are that small, digits are lost at x already, and others at αx.
        return self.largest < 16 * self.tiny or self.smallest < 16 * self.tiny <= before.smallest


class Footprint(Observer):
    """The steps of a pass.

    Attributes:
        steps: One for each operation.
        site: Where the operation with the number ``wanted`` was called, once it ran.
    """

    def __init__(self, wanted: int = -1) -> None:
        self.steps: list[Step] = []
        self.site: Site | None = None
        self._wanted = wanted
        self._writers: dict[int, frozenset[int]] = {}
        """Address of memory → the steps that wrote to it. What is new there takes the place of what has been."""
        self._reached: set[int] | None = None
        """The steps that the outputs are made of; None if that is not known, and so any may be."""
        self._followed = True

    def is_near_range(self, scale: float) -> bool:
        """Return whether values may have left the range of their dtype at this α, whatever they are at x."""
        return any(step.is_near_range(scale) for step in self.steps)

    def after(self, event: OpEvent) -> None:
        """Note sizes."""
        if len(self.steps) == self._wanted:
            self.site = event.site()
        sizes = [
            _sizes(result)
            for result in _made(event)
            if (result.dtype.is_floating_point or result.dtype.is_complex) and _is_plain(result) and result.numel()
        ]
        tiny = max((torch.finfo(r.dtype).tiny for r in event.results if r.dtype.is_floating_point), default=0.0)
        total = sum(total for _, total, _ in sizes)
        # NaN is larger and smaller than everything, which max() and min() do not know.
        largest = math.nan if math.isnan(total) else max((largest for largest, _, _ in sizes), default=0.0)
        smallest = math.nan if math.isnan(total) else min((smallest for _, _, smallest in sizes), default=math.inf)
        self.steps.append(Step(str(event.op), largest, total, smallest, tiny, self._read(event)))

    def _read(self, event: OpEvent) -> frozenset[int]:
        """Return the steps that wrote what an operation reads, and note what it writes itself."""
        tensors, results, number = event.tensors, event.results, frozenset({len(self.steps)})
        if event.takes_functions or not all(map(has_storage, [*tensors, *results])):
            self._followed = False
            return frozenset()
        addresses = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        read = frozenset[int]().union(*(self._writers.get(address, frozenset()) for address in addresses))
        # What an operation writes to need not be among its results, as of those on lists of tensors.
        written = [*results, *tensors] if event.op._schema.is_mutable else results
        for result in written:
            address = result.untyped_storage().data_ptr()
            kept = self._writers.get(address, frozenset()) if address in addresses else frozenset()
            self._writers[address] = kept | number
        return read

    def ends_in(self, outputs: Sequence[Tensor]) -> None:
        """Find out which steps the outputs are made of."""
        if not self._followed or not all(map(has_storage, outputs)):
            return
        ends = (self._writers.get(y.untyped_storage().data_ptr(), frozenset()) for y in outputs)
        ahead, reached = set[int]().union(*ends), set[int]()
        while ahead:
            reached |= (new := ahead - reached)
            ahead = set[int]().union(*(self.steps[i].made_of for i in new)) - reached
        self._reached = reached

    def reaches_output(self, step: int) -> bool:
        """Return whether the outputs may be made of what a step gave."""
        return self._reached is None or step in self._reached


def footprint_of(run: Run, inputs: tuple[Tensor, ...], names: Names | None = None, wanted: int = -1) -> Footprint:
    """Return the footprint of F at these inputs, as far as it runs."""
    footprint = Footprint(wanted)
    try:
        with torch.no_grad(), Recorder(footprint, names=names):
            outputs = run(tuple(x.detach().clone() for x in inputs))
        footprint.ends_in(outputs)
    except Exception:  # what it left until then is what there is
        pass
    return footprint


def left_range(here: Footprint, there: Footprint, scale: float) -> bool:
    """Return whether a value that F(αx) is made of left the range of its dtype at αx, before the passes part."""
    for i, (before, after) in enumerate(zip(here.steps, there.steps)):  # noqa: B905  one may have ended early
        if before.name != after.name:
            return False
        if there.reaches_output(i) and after.left_range(before, scale):
            return True
    return False


def first_difference(here: Footprint, there: Footprint) -> int | None:
    """Return the number of the first operation that differs, None if none shows."""
    for i, (before, after) in enumerate(zip(here.steps, there.steps)):  # noqa: B905
        if before.name != after.name or not after.is_multiple_of(before):
            return i
    shorter = min(len(here.steps), len(there.steps))
    return shorter if len(here.steps) != len(there.steps) else None


class OperationNames(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps which operations run, and nothing else: it is in force in every pass of every proof."""

    supports_higher_order_operators = True

    def __init__(self, names: list[object]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names

    def __torch_dispatch__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        self._names.append(func)
        return func(*args, **(kwargs or {}))  # type: ignore[arg-type]


def _made(event: OpEvent) -> list[Tensor]:
    """Return the results that hold numbers which the operation has made: no views, and no memory that nobody wrote."""
    if event.takes_functions:
        return event.results
    if event.name.startswith(_UNWRITTEN):
        return []
    views = {id(view) for view in event.views}
    return [result for result in event.results if id(result) not in views]


def _sizes(result: Tensor) -> tuple[float, float, float]:
    """Return the largest magnitude, the sum of magnitudes and the smallest that is not zero, infinite if all are."""
    magnitudes = result.detach().abs()
    smallest, largest = torch.aminmax(magnitudes)
    low, high, total = torch.stack([smallest.double(), largest.double(), magnitudes.sum(dtype=torch.float64)]).tolist()
    if low == 0:
        low = float(magnitudes.masked_fill(magnitudes == 0, math.inf).min())
    return high, total, low


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
