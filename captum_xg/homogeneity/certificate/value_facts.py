"""Facts about numbers that follow from the operations they came from: never negative, finite, nowhere zero.

Each holds for every input of the pass, in exact arithmetic, and not for the example alone. So ``n = x.norm(dim=1)`` is
finite and never negative, and ``torch.where(n > 0, n, 1)`` is nowhere zero (which the cases of the choice say).

What must never happen: a yes that a single finite input makes wrong. An operation that is not listed has no facts.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Mapping

import torch

from captum_xg.homogeneity.certificate.value_graph import UNFOLLOWED, Node, Reading

SAME_VALUES = ("clone", "contiguous", "_to_copy", "alias_copy", "lift_fresh", "detach_copy")
_PICKING = frozenset(
    {
        *("index_select", "gather", "index", "flip", "roll", "repeat", "cat", "stack", "amax", "amin", "max", "min"),
        *("cumsum", "sum", "mean", "nansum", "scatter_add", "max_pool2d_with_indices", "avg_pool2d"),
        *(
            "_adaptive_avg_pool2d",
            "adaptive_max_pool2d",
            "sort",
            "topk",
            "constant_pad_nd",
            "_unsafe_view",
            "tril",
            "triu",
        ),
        *("max_pool1d_with_indices", "scatter_reduce", "index_reduce", "upsample_nearest2d", "diag_embed", "trace"),
    }
)
"""Sums with weights that are not negative, or choices, of the numbers in their arguments."""
_NEVER_NEGATIVE = frozenset(
    {
        *("abs", "sqrt", "rsqrt", "relu", "exp", "exp2", "sigmoid", "_softmax", "hypot", "linalg_vector_norm", "norm"),
        *("std", "var", "square", "ones", "ones_like", "zeros", "zeros_like", "new_zeros", "new_ones", "zero"),
    }
)
_FINITE = frozenset(
    {
        *("add", "sub", "rsub", "mul", "neg", "abs", "square", "relu", "leaky_relu", "mm", "addmm", "bmm", "baddbmm"),
        *("linear", "convolution", "dot", "mv", "maximum", "minimum", "where", "masked_fill", "sigmoid", "tanh", "sin"),
        *(
            "cos",
            "exp",
            "_softmax",
            "gelu",
            "ones",
            "ones_like",
            "zeros",
            "zeros_like",
            "new_zeros",
            "new_ones",
            "zero",
            "hypot",
        ),
        *("clamp", "clamp_min", "clamp_max", "sign", "elu", "silu", "softplus", "cumsum", "full"),
        *("scalar_tensor", "_prelu_kernel", "addcmul", "lerp", "eq", "ne", "lt", "le", "gt", "ge", "logical_not"),
    }
)
_FILLED = {
    "full": "fill_value",
    "full_like": "fill_value",
    "new_full": "fill_value",
    "scalar_tensor": "s",
    "fill": "value",
}
"""What one number is everywhere in, and the argument that it is."""


def _is_even(exponent: object) -> bool:
    return isinstance(exponent, (int, float)) and exponent % 2 == 0


def _numbers(given: Mapping[str, object]) -> list[object]:
    """Return the arguments whose numbers the result consists of, or is computed from."""
    names = ("self", "other", "src", "source", "tensors", "value", "input")
    return [value for name in names if (value := given.get(name)) is not None]


def same_reading(left: object, right: object) -> bool:
    """Return whether two readings are of the same real numbers, element by element."""
    return (
        isinstance(left, Reading)
        and isinstance(right, Reading)
        and left.node is right.node
        and left.layout == right.layout
        and not left.node.dtype.is_complex
    )


def are_dot_products(given: Mapping[str, object]) -> bool:
    """Return whether matrices of one row are multiplied by themselves, transposed."""
    left, right = given.get("self"), given.get("mat2")
    if not isinstance(left, Reading) or not isinstance(right, Reading) or left.node is not right.node:
        return False
    if left.node.dtype.is_complex or len(left.layout.size) != 3 or left.layout.size[1] != 1:
        return False
    return right.layout.size[2] == 1 and torch.equal(left.places(), right.places().transpose(1, 2))


def is_positive(exponent: object) -> bool:
    """Return whether an exponent, order or factor is a positive number; left out, it is 1 or 2."""
    return exponent is None or (isinstance(exponent, (int, float)) and exponent > 0)


def nonnegative(value: object) -> bool:
    """Return whether an argument, which is a number or a reading, is nowhere below zero; it may be NaN."""
    if isinstance(value, Reading):
        return value.node.nonnegative
    if isinstance(value, (list, tuple)):
        return all(map(nonnegative, value))
    return isinstance(value, (int, float)) and value >= 0


def finite(value: object) -> bool:
    """Return whether an argument is finite wherever the inputs are."""
    if isinstance(value, Reading):
        return value.node.finite
    if isinstance(value, (list, tuple)):
        return all(map(finite, value))
    if value is UNFOLLOWED:
        return False
    return not isinstance(value, (float, complex)) or cmath.isfinite(value)


def nonzero(value: object) -> bool:
    """Return whether an argument is nowhere zero; it may be NaN."""
    if isinstance(value, Reading):
        return value.node.nonzero
    return isinstance(value, (int, float)) and value != 0


def note_facts(node: Node) -> None:
    """Note of a new node what follows from the facts of its arguments.

    At once, and not when it is asked for: networks are deeper than Python's stack.
    """
    node.nonnegative = not node.dtype.is_complex and _is_nonnegative(node.operation, node.arguments, node.dtype)
    whole = not (node.dtype.is_floating_point or node.dtype.is_complex)
    node.finite = whole or _is_finite(node.operation, node.arguments)
    node.nonzero = _is_nonzero(node.operation, node.arguments) and not whole
    node.symmetric = not node.dtype.is_complex and _is_symmetric(node.operation, node.arguments)


def _is_nonnegative(name: str, given: Mapping[str, object], dtype: torch.dtype) -> bool:
    if dtype in (torch.bool, torch.uint8):
        return True
    if not dtype.is_floating_point:
        return False  # sums, products and casts of whole numbers wrap around
    if name == "avg_pool2d" and given.get("divisor_override") is not None:
        return False
    return name in _NEVER_NEGATIVE or (name in _NONNEGATIVE and _NONNEGATIVE[name](given))


_Question = Callable[[Mapping[str, object]], bool]


def _fills(number: str) -> _Question:
    return lambda given: nonnegative(given[number])


_NONNEGATIVE: Mapping[str, _Question] = {
    **dict.fromkeys(
        (*SAME_VALUES, *_PICKING, "div", "minimum", "where", "masked_fill"), lambda given: nonnegative(_numbers(given))
    ),
    "mul": lambda given: same_reading(given["self"], given["other"]) or nonnegative(_numbers(given)),
    "add": lambda given: nonnegative([*_numbers(given), given.get("alpha", 1)]),
    "pow": lambda given: nonnegative(given["self"]) or _is_even(given["exponent"]),
    "dot": lambda given: same_reading(given["self"], given["tensor"]),
    "bmm": are_dot_products,
    "maximum": lambda given: any(map(nonnegative, _numbers(given))),
    "clamp_min": lambda given: nonnegative(given["min"]),
    "clamp": lambda given: nonnegative(given["min"]) and (given["max"] is None or nonnegative(given["max"])),
    "reciprocal": lambda given: nonnegative(given["self"]),
    **{name: _fills(number) for name, number in _FILLED.items()},
}


def _is_finite(name: str, given: Mapping[str, object]) -> bool:
    if name in SAME_VALUES or name in _PICKING or name in _FINITE:
        base = given.get("self")
        empty = name == "mean" and isinstance(base, Reading) and 0 in base.layout.size
        return finite(list(given.values())) and not empty
    return name in _FINITE_IF and finite(given["self"]) and _FINITE_IF[name](given)


_FINITE_IF: Mapping[str, _Question] = {
    "sqrt": lambda given: nonnegative(given["self"]),
    "norm": lambda given: is_positive(given["p"]),
    "linalg_vector_norm": lambda given: is_positive(given["ord"]),
    "pow": lambda given: (
        isinstance(given["exponent"], (int, float))
        and is_positive(given["exponent"])
        and (float(given["exponent"]).is_integer() or nonnegative(given["self"]))
    ),
    "div": lambda given: finite(given["other"]) and nonzero(given["other"]),
    "reciprocal": lambda given: nonzero(given["self"]),
    "rsqrt": lambda given: nonzero(given["self"]) and nonnegative(given["self"]),
}


def _is_nonzero(name: str, given: Mapping[str, object]) -> bool:
    if name in ("ones", "ones_like", "new_ones", "exp"):
        return True
    if name in _FILLED:
        return nonzero(given.get(_FILLED[name]))
    return name in ("_to_copy", "clone", "abs", "neg", "sqrt", "square") and nonzero(given.get("self"))


def _is_symmetric(name: str, given: Mapping[str, object]) -> bool:
    base, other = given.get("self"), given.get("other", given.get("mat2"))
    if name in ("mm", "bmm"):
        return _are_transposes(base, other)
    if name == "add":
        both = symmetric(base) and symmetric(other)
        return given["alpha"] == 1 and (both or _are_transposes(base, other))
    scaled = name in ("mul", "div") and isinstance(other, (int, float))
    return (scaled or name in ("neg", *SAME_VALUES)) and symmetric(base)


def symmetric(value: object) -> bool:
    """Return whether an argument is matrices that are equal to their transposes, whatever the input is."""
    if not isinstance(value, Reading) or not value.node.symmetric:
        return False
    whole, mine = value.node.layout, value.layout
    kept = [[(n, step) for n, step in zip(each.size, each.stride, strict=True) if n > 1] for each in (whole, mine)]
    return kept[0] == kept[1] and len(mine.size) >= 2 and mine.size[-1] == mine.size[-2]


def _are_transposes(left: object, right: object) -> bool:
    if not isinstance(left, Reading) or not isinstance(right, Reading) or left.node is not right.node:
        return False
    if len(left.layout.size) < 2 or left.node.dtype.is_complex:
        return False
    return left.layout.offset == right.layout.offset and all(
        [*mine[:-2], mine[-1], mine[-2]] == list(other)
        for mine, other in ((left.layout.size, right.layout.size), (left.layout.stride, right.layout.stride))
    )
