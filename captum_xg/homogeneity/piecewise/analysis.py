"""The analysis of one pass: tangents of everything that depends on α, and where the pieces of the pass end.

By induction over the operations: within its piece, everything that was computed before is affine in α. An operation
that is affine in what moves keeps that; one that is affine in pieces reports the numbers whose signs say which piece
holds; one that is constant in pieces (a comparison, the place of a maximum) gives a constant. So between the nearest
changes of sign on the left and on the right of a point all of F is affine in α, and its gradient by the input is
constant. Everything else is refused. What Python decides by numbers, it decides by results of operations: by
comparisons, which are constant within the piece; a number that moves must not reach it.

A value stands still if its tangent is zero: what is affine in a piece and has no slope there is constant in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg._core.recorder import Observer, OpEvent
from captum_xg._core.storage import reads_other_bits
from captum_xg.homogeneity.piecewise.bounds import Bounds
from captum_xg.homogeneity.piecewise.call import NotAffineError, PieceCall
from captum_xg.homogeneity.piecewise.registry import find_rule
from captum_xg.homogeneity.piecewise.tangents import Tangents


class Pieces(Observer):
    """Observer that carries tangents along and finds where the pieces of a pass end.

    Args:
        tangents: Those of the inputs, to which all others are added.
        bounds: What conditions are reported to.

    Attributes:
        refusal: Why the pass is not affine in pieces, and where; None if nothing was found. The error is raised as
            well, but a forward function may catch it.
    """

    def __init__(self, tangents: Tangents, bounds: Bounds) -> None:
        self._tangents, self._bounds = tangents, bounds
        self.refusal: str | None = None

    def before(self, event: OpEvent) -> None:
        """See what an operation overwrites."""
        if _is_in_place(event):
            self._look(event)

    def after(self, event: OpEvent) -> None:
        """See the results of an operation."""
        if not _is_in_place(event):
            self._look(event)

    def _look(self, event: OpEvent) -> None:
        tensors = event.tensors
        if not any(map(self._tangents.knows, tensors)):
            return
        if not any(map(self._tangents.has, tensors)):
            self._decide(event)
            return
        try:
            with torch.no_grad():
                self._follow(event)
        except NotAffineError as error:
            if self.refusal is None:
                self.refusal = _said(event, str(error))
            raise

    def _decide(self, event: OpEvent) -> None:
        """See what is made of constants of a piece, of which another point may have other ones."""
        if event.takes_functions:
            self._bounds.separate = False
            return
        if not event.results or event.schema.sizes_up:
            self._bounds.separate = False  # Python decides for all points of the pass together
        for result in event.results:
            if isinstance(result, Tensor):
                self._tangents.mark(result)

    def _follow(self, event: OpEvent) -> None:
        if event.takes_functions:
            raise NotAffineError("it runs functions as a whole, which are not looked into")
        schema, in_place = event.schema, _is_in_place(event)
        if schema.outs:
            raise NotAffineError("it writes its result into `out`")
        if not in_place and event.results and not event.fresh:
            self._require_plain_views(event)
            return
        namespace, _, name = schema.name.partition("::")
        name = name.removesuffix("_") if in_place else name
        call = PieceCall(event, name, self._tangents, self._bounds)
        rule = find_rule(name) if namespace == "aten" else None
        if rule is None:
            if call.moves():
                raise NotAffineError("it is curved, or not known to be affine in pieces")
            self._decide(event)
            return
        found = rule(call)
        if in_place:
            self._write(event, found)  # type: ignore[arg-type]  # operations in place have one result
            return
        tangents = [found] * len(event.results) if found is None or isinstance(found, Tensor) else list(found)
        for place, result in event.fresh:
            tangent = tangents[place]
            if tangent is None:
                self._tangents.mark(result)
            else:
                if result.dtype != torch.float64:
                    raise NotAffineError(f"its result is rounded to {result.dtype}, in steps")
                self._tangents.put(result, tangent)

    def _require_plain_views(self, event: OpEvent) -> None:
        for view in event.views:
            if any(reads_other_bits(view, viewed) for viewed in event.tensors if self._tangents.has(viewed)):
                raise NotAffineError("it reads the bits of numbers as other numbers")
            if view.is_neg():
                raise NotAffineError("it hides a sign in a view")

    def _write(self, event: OpEvent, tangent: Tensor | None) -> None:
        (written,) = event.schema.written
        target = event.arguments[written]
        if not isinstance(target, Tensor):
            raise NotAffineError("it writes to several tensors")
        if tangent is not None and target.dtype != torch.float64:
            raise NotAffineError(f"its result is rounded to {target.dtype}, in steps")
        if tangent is not None:
            self._tangents.put(target, tangent.expand(target.shape))
        elif (held := self._tangents.of(target)) is not None:
            held.zero_()
        else:
            self._tangents.mark(target)


def _is_in_place(event: OpEvent) -> bool:
    """Return whether a result is what was written to. What else may be written to are buffers, in training."""
    return not event.takes_functions and any(event.schema.rewrites)


def _said(event: OpEvent, reason: str) -> str:
    site = event.site()
    module = f"{site.module} ({site.type}): " if site.module else f"{site.type}: " if site.type else ""
    return f"{module}{site.op} [{site.location}] is not piecewise linear: {reason}"
