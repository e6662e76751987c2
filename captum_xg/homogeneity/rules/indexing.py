"""Indexing: elements are picked, put or ordered by indices, masks or comparisons that α > 0 leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_xg._core.operations import tensors_in
from captum_xg.homogeneity.degree import Reason, Scaling, nonlinear_of, product_of, selection_of, sum_of
from captum_xg.homogeneity.rules.common import converted, positions_of, shaped_by
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_MASKS = (torch.bool, torch.uint8)
_SEVERAL_TIMES = "writes to one place several times, which its gradient does not know"
_WRITES = "writes a constant into what scales"
_MANY_FACTORS = Reason(
    "multiplies as many factors into a place as there are indices for it", "Add instead, or use factors of degree 0"
)


@degree_rule("gather", "take", "index_select", "take_along_dim", moves=("self",))
def picked(call: OpCall) -> Scaling:
    """Elements at indices."""
    return selection_of(call.scaling("index"), call.scaling("self"))


@degree_rule("index", "_unsafe_index", moves=("self",))
def index(call: OpCall) -> Scaling:
    """Elements at indices, or where a mask is true."""
    picked_ones, where = call.scaling("self"), _together(call, call["indices"])
    if any(call.scaling_of(mask).depends_on_input for mask in masks_among(call["indices"])):
        return shaped_by(where)
    return selection_of(where, picked_ones)


@degree_rule("masked_select", moves=("self",))
def masked_select(call: OpCall) -> Scaling:
    """Elements where a mask is true."""
    return shaped_by(call.scaling("mask"), call.scaling("self"))


@degree_rule("masked_fill", moves=("self", "value"))
def masked_fill(call: OpCall) -> Scaling:
    """Elements where a mask is false, and one number where it is true."""
    value = call["value"]
    reason = (
        Reason(f"puts the constant {value:g} where a mask says", "Fill with zeros, or −inf before a softmax")
        if isinstance(value, (int, float))
        else None
    )
    parts = call.neutralised(call["self"], value)
    return converted(selection_of(call.scaling("mask"), sum_of(*parts, reason=reason)), call["self"].dtype)


@degree_rule("masked_scatter", moves=("self", "source"))
def masked_scatter(call: OpCall) -> Scaling:
    """Elements where a mask is false, and others, one after the other, where it is true."""
    return selection_of(call.scaling("mask"), _written(call, call["self"], call["source"]))


@degree_rule("select_scatter", "slice_scatter", "diagonal_scatter", moves=("self", "src"))
def written_to_part(call: OpCall) -> Scaling:
    """One tensor, with another in a fixed part of it."""
    return _written(call, call["self"], call["src"])


@degree_rule("scatter")
def scatter(call: OpCall) -> Scaling:
    """One tensor, with others' elements written, added or multiplied to it at indices."""
    source = call["src"] if "src" in call.arguments else call["value"]
    how = call.get("reduce")
    if how is not None:
        return _reduced(call, source, how, include_self=True)
    if _overwrites_all(call):
        return call.scaling_of(source)
    return _assigned(call, call["index"], source)


def _overwrites_all(call: OpCall) -> bool:
    """Return whether constants are written to each place of a vector once, whatever it held: a permutation inverted."""
    target, index, source = call["self"], call["index"], call.get("src")
    if target.dim() != 1 or index.numel() != target.numel() or not isinstance(source, Tensor) or source.dim() != 1:
        return False
    if any(not scaling.constant or not scaling.proven for scaling in call.scalings("index", "src")):
        return False
    if len(source) != len(index) or _repeats(index):
        return False
    call.depend_on(index)
    return True


@degree_rule("scatter_add")
def scatter_add(call: OpCall) -> Scaling:
    """A sum at each place."""
    return selection_of(call.scaling("index"), _written(call, call["self"], call["src"]))


@degree_rule("index_add")
def index_add(call: OpCall) -> Scaling:
    """A sum at each place."""
    if call["alpha"] == 0:
        return call.scaling("self")
    return selection_of(call.scaling("index"), _written(call, call["self"], call["source"]))


@degree_rule("scatter_reduce")
def scatter_reduce(call: OpCall) -> Scaling:
    """A sum, mean, product or extremum at each place."""
    return _reduced(call, call["src"], call["reduce"], include_self=call["include_self"])


@degree_rule("index_reduce")
def index_reduce(call: OpCall) -> Scaling:
    """A mean, product or extremum at each place."""
    return _reduced(call, call["source"], call["reduce"], include_self=call["include_self"])


@degree_rule("segment_reduce")
def segment_reduce(call: OpCall) -> Scaling:
    """A sum, mean or extremum of each segment, and of a number to begin with."""
    where = _together(call, [call["lengths"], call["indices"], call["offsets"]])
    if call["reduce"] == "prod":
        reason = Reason("multiplies up, so that each place has a degree of its own", "Use one product, or a sum")
        return selection_of(where, nonlinear_of(call.scaling("data"), reason, otherwise=None))
    return selection_of(where, call.sum(call["data"], call["initial"]))


@degree_rule("index_copy")
def index_copy(call: OpCall) -> Scaling:
    """One tensor, with another's slices at indices."""
    return _assigned(call, call["index"], call["source"])


@degree_rule("index_fill", moves=("self", "value"))
def index_fill(call: OpCall) -> Scaling:
    """One tensor, with one number in the slices at indices."""
    filled = selection_of(call.scaling("index"), _written(call, call["self"], call["value"]))
    return converted(filled, call["self"].dtype)


@degree_rule("put")
def put(call: OpCall) -> Scaling:
    """One tensor, with another's elements written or added at indices."""
    if call["accumulate"]:
        return selection_of(call.scaling("index"), _written(call, call["self"], call["source"]))
    return _assigned(call, call["index"], call["source"])


@degree_rule("index_put", "_index_put_impl", "_unsafe_index_put")
def index_put(call: OpCall) -> Scaling:
    """One tensor, with another's elements written or added at indices or where a mask is true."""
    indices, values = call["indices"], call["values"]
    masked = any(call.scaling_of(mask).depends_on_input for mask in masks_among(indices))
    if masked and values.numel() > 1:
        where = _together(call, indices)
        return product_of(_written(call, call["self"], values), shaped_by(where))
    if call["accumulate"]:
        return selection_of(_together(call, indices), _written(call, call["self"], values))
    return _assigned(call, indices, values)


def masks_among(indices: Sequence[Tensor | None]) -> list[Tensor]:
    """Return the masks among indices."""
    return [i for i in indices if isinstance(i, Tensor) and i.dtype in _MASKS]


def _together(call: OpCall, indices: object) -> Scaling:
    """Return the scaling of several indices as one condition."""
    reason = Reason("chooses by a value that changes with α", "Choose by comparisons")
    return product_of(*(nonlinear_of(call.scaling_of(i), reason) for i in tensors_in([indices])))


def _written(call: OpCall, target: object, source: object) -> Scaling:
    """Return the scaling of a tensor into which another's elements are written or added."""
    parts = call.neutralised(target, source)
    constant = any(part.constant for part in parts)
    scales = any(not part.scale_free for part in parts)
    reason = (
        Reason(_WRITES, "Write zeros, or what scales alike")
        if constant and scales and all(part.degree is not None or part.zero for part in parts)
        else None
    )
    return sum_of(*parts, reason=reason)


def _assigned(call: OpCall, indices: object, source: object) -> Scaling:
    """Return the scaling of a tensor into which another's elements are written at indices, replacing what was there.

    Autograd hands the gradient of one place to every element that was written to it, though only the last one counts.
    """
    result = selection_of(_together(call, indices), _written(call, call["self"], source))
    written = call.scaling_of(source)
    if written.stepwise:
        return result
    places = list(tensors_in([indices]))
    if len(places) == 1 and places[0].dtype in _MASKS:
        return result  # the places of one mask differ
    remedy = "Add instead (scatter_add, index_add, accumulate=True) to zeros"
    if any(call.scaling_of(i).depends_on_input for i in places):
        what = "writes to places that depend on the input; where two coincide, its gradient counts both"
        return result.because(Reason(what, remedy, kind="unknown"))
    for place in places:
        call.depend_on(place)
    if _coincide(call, places):
        return result.because(Reason(_SEVERAL_TIMES, remedy, kind="gradient"))
    return result


def _coincide(call: OpCall, places: list[Tensor]) -> bool:
    """Return whether two elements may be written to one place."""
    if any(place.numel() == 0 for place in places):
        return False
    name, target = call.name.rstrip("_"), call["self"]
    if name == "scatter":
        # What differs along other dimensions never meets.
        ordered = places[0].sort(dim=call["dim"]).values if places[0].dim() else places[0].reshape(1)
        steps: Tensor = ordered.diff(dim=call["dim"] if places[0].dim() else 0)
        return bool((steps == 0).any())
    if name == "put":
        flat = places[0].reshape(-1) % max(target.numel(), 1)
        return _repeats(flat)
    if name == "index_copy":
        flat = places[0].reshape(-1)
        flat = flat % target.shape[call["dim"]] if target.dim() else flat
        return _repeats(flat)
    # One number for each place among the indexed dimensions; an index of None leaves a dimension out.
    flat, dim = torch.zeros((), dtype=torch.int64, device=target.device), 0
    for each in call["indices"]:
        if each is None:
            dim += 1
            continue
        for place in each.nonzero().unbind(1) if each.dtype in _MASKS else (each,):
            flat = flat * target.shape[dim] + place % target.shape[dim]
            dim += 1
    return _repeats(flat)


def _repeats(numbers: Tensor) -> bool:
    ordered = numbers.flatten().sort().values
    return bool((ordered[1:] == ordered[:-1]).any())


def _reduced(call: OpCall, source: object, how: str, *, include_self: bool) -> Scaling:
    """Return the scaling of sums, means, products or extrema of the elements that come together at one place."""
    where = _together(call, call["index"])
    target, added = call.scaling("self"), call.scaling_of(source)
    if how not in ("prod", "multiply"):
        return selection_of(where, _written(call, call["self"], source))
    product = nonlinear_of(added, _MANY_FACTORS)
    joined = product_of(target, product) if include_self else sum_of(target, product)
    return selection_of(where, joined)


@degree_rule("sort", "topk")
def ordered(call: OpCall) -> Sequence[Scaling]:
    """Elements in their order, which α > 0 keeps, and their places."""
    scaling = call.scaling("self")
    return scaling, positions_of(scaling)


@degree_rule("msort")
def sorted_values(call: OpCall) -> Scaling:
    """Elements in their order."""
    return call.scaling("self")


@degree_rule("argsort")
def places_in_order(call: OpCall) -> Scaling:
    """The places of elements in their order, which α > 0 keeps."""
    return positions_of(call.scaling("self"))


@degree_rule("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive", "nonzero")
def as_many_as_differ(call: OpCall) -> Scaling:
    """As many elements as differ from each other, or from zero."""
    return shaped_by(call.scaling("self"))


@degree_rule("nonzero_static")
def nonzero_static(call: OpCall) -> Scaling:
    """The places of a fixed number of elements that are not zero."""
    return positions_of(call.scaling("self"))
