"""Reductions: many numbers of one degree to few: sums, products, extremes, spreads, norms and distances."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from captum_xg.homogeneity.degree import (
    CONSTANT,
    Reason,
    Scaling,
    comparison_of,
    nonlinear_of,
    power_of,
    product_of,
    quotient_of,
    unknown,
)
from captum_xg.homogeneity.rules.common import cast, compared, steps
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule


@degree_rule("sum", "nansum", "mean", "nanmean", "cumsum", "trace")
def total(call: OpCall) -> Scaling:
    """Linear."""
    return cast(call, call.scaling("self"))


@degree_rule("prod")
def product(call: OpCall) -> Scaling:
    """Factors of degree k, n of them, make degree nk."""
    tensor, dim = call["self"], call.get("dim")
    if dim is None:
        count = tensor.numel()
    elif isinstance(dim, str):  # a named dimension
        count = tensor.size(dim)
    else:
        dims = [dim] if isinstance(dim, int) else list(dim)
        count = prod(tensor.size(d) for d in dims) if tensor.dim() else 1
    return power_of(cast(call, call.scaling("self")), count)


@degree_rule("cumprod")
def cumulative_product(call: OpCall) -> Scaling:
    """The nth has n factors, so each its own degree."""
    scaling, tensor = cast(call, call.scaling("self")), call["self"]
    if tensor.dim() == 0 or tensor.size(call["dim"]) <= 1:
        return scaling
    reason = Reason("multiplies up, so that each place has a degree of its own", "Use one product, or a sum")
    return scaling if scaling.zero else nonlinear_of(scaling, reason, otherwise=None)


@degree_rule("amax", "amin", "aminmax", "_aminmax")
def extreme(call: OpCall) -> Scaling:
    """α > 0 keeps the order."""
    return call.scaling("self")


@degree_rule("max", "min", "median", "nanmedian", "mode", "kthvalue", "cummax", "cummin")
def ordered(call: OpCall) -> Sequence[Scaling]:
    """α > 0 keeps the order: the values scale, and where they are found stays."""
    scaling = call.scaling("self")
    return [scaling, steps(scaling)][: call.n_results]


@degree_rule("var", "std", "var_mean", "std_mean")
def spread(call: OpCall) -> Sequence[Scaling]:
    """The mean square of differences, or its root; with the mean."""
    scaling = call.scaling("self")
    return [power_of(scaling, 2) if call.name.startswith("var") else scaling, scaling][: call.n_results]


@degree_rule("norm", "linalg_vector_norm", "linalg__powsum")
def norm(call: OpCall) -> Scaling:
    """The pth root of a sum of pth powers; of order 0 it counts what is not zero."""
    scaling = call.scaling("self")
    order = call.get("ord", call.get("p"))
    if order == 0:
        return steps(scaling)
    return power_of(scaling, float(order)) if call.name == "linalg__powsum" else scaling


@degree_rule("dist")
def distance(call: OpCall) -> Scaling:
    """The norm of a difference."""
    return _norm_of_difference(call, call["self"], call["other"], call["p"])


@degree_rule("_cdist_forward")
def distances(call: OpCall) -> Scaling:
    """Norms of differences."""
    return _norm_of_difference(call, call["x1"], call["x2"], call["p"])


@degree_rule("_euclidean_dist")
def euclidean_distances(call: OpCall) -> Scaling:
    """Norms of differences."""
    return call.sum(call["x1"], call["x2"])


@degree_rule("_pdist_forward")
def distances_within(call: OpCall) -> Scaling:
    """Norms of differences of rows."""
    return steps(call.scaling("self")) if call["p"] == 0 else call.scaling("self")


def _norm_of_difference(call: OpCall, left: Tensor, right: Tensor, order: float) -> Scaling:
    return compared(call, left, right) if order == 0 else call.sum(left, right)


@degree_rule("logsumexp", "logcumsumexp", "_logcumsumexp")
def log_sum_exp(call: OpCall) -> Scaling:
    """A smooth maximum, sharper for larger α."""
    reason = Reason("takes a smooth maximum (logsumexp), which is sharper for larger α", "Use amax")
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule("renorm")
def renormalise(call: OpCall) -> Scaling:
    """Shortens what is longer than a fixed norm."""
    reason = Reason(f"shortens to a norm of at most {call['maxnorm']:g}, which αx exceeds", "Leave it out")
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule("count_nonzero")
def count(call: OpCall) -> Scaling:
    """What is not zero stays so."""
    return steps(call.scaling("self"))


@degree_rule("histc")
def histogram(call: OpCall) -> Scaling:
    """Counts in bins between two limits, by default the extremes of the data, which scale with them."""
    scaling = call.scaling("self")
    if call["min"] == call["max"] == 0:
        return steps(scaling)
    return steps(nonlinear_of(scaling, Reason("counts in bins between fixed limits, which αx leaves", "Leave it out")))


@degree_rule("bincount")
def bin_count(call: OpCall) -> Scaling:
    """A sum of weights by bin."""
    if call.scaling("self").depends_on_input:
        return unknown("returns a tensor whose shape depends on values", "Use a fixed number of bins")
    return call.scaling("weights") if call["weights"] is not None else CONSTANT


@degree_rule("histogram")
def histogram_with_edges(call: OpCall) -> Sequence[Scaling]:
    """Counts, or sums of weights, in bins between the extremes of the data or given edges; and the edges."""
    scaling, bins = call.scaling("self"), call["bins"]
    counts, edges = steps(scaling), scaling.because(_EDGES) if scaling.depends_on_input else scaling
    if isinstance(bins, Tensor) or call.get("range") is not None:
        edges = call.scaling("bins") if isinstance(bins, Tensor) else CONSTANT
        fixed = Reason("counts in bins between fixed limits, which αx leaves", "Leave them out")
        counts = steps(comparison_of(scaling, edges, reason=fixed))
    if call.get("weight") is not None:
        counts = product_of(counts, call.scaling("weight"))
    return quotient_of(counts, edges) if call["density"] else counts, edges


_EDGES = Reason(
    "puts edges a fixed distance apart where all numbers are equal", "Use the counts, or give the edges", kind="unknown"
)
