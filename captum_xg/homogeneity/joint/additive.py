"""The search for the constants that a model adds: those that must scale with the inputs for F to be homogeneous.

F runs once, followed operation by operation. A constant that meets what depends on the inputs in a sum, or in what
needs both sides to scale alike (a maximum, a comparison, a concatenation), is added; one that meets it otherwise is a
factor. Constants that were computed in the pass stand for the tensors they were computed from, less the factors: of
``bias − mean·scale`` that is bias and mean, if ``scale`` also multiplies what depends on the inputs.

Constants that were found depend on nothing but are inputs from then on, and what meets them is looked for again:
``cls @ W + b`` of a class token ``cls`` makes W a factor, and b added. Nothing rests on this search: what it misses or
finds too much of fails in the proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.function import has_rows
from captum_xg._core.modules import named_modules_of
from captum_xg._core.operations import tensors_in
from captum_xg._core.recorder import Observer, OpEvent
from captum_xg._core.storage import has_storage, shares_memory
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.homogeneity.certificate.interpretation import Interpretation
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.joint.augmented import Augmented
from captum_xg.homogeneity.joint.constants import Constant, chosen_constants, held_tensors
from captum_xg.homogeneity.scaling.passes import handles_of

_ALIKE = frozenset(
    {
        *("add", "sub", "rsub", "maximum", "minimum", "fmax", "fmin", "max", "min", "clamp", "clamp_min", "clamp_max"),
        *("gt", "ge", "lt", "le", "eq", "ne", "where", "lerp", "hypot", "cdist"),
        *("cat", "stack", "copy", "index_put", "masked_fill", "masked_scatter"),
        *("scatter", "scatter_add", "select_scatter", "slice_scatter", "diagonal_scatter"),
    }
)
"""Operations all of whose arguments have to scale alike, without a trailing underscore."""
_FIRST = frozenset({"addmm", "addmv", "addr", "addbmm", "baddbmm", "addcmul", "addcdiv"})
"""Operations that add a product to their first argument."""
_ADDED = frozenset({"bias", "running_mean"})
"""Arguments that are added, whatever the operation is."""
_FACTORS = frozenset({"weight", "mat2", "batch2", "vec2"})
"""Arguments that are factors in products of constants, of which another argument carries the size."""
_ROUNDS = 4


def constants_of(
    forward_func: ForwardFunction, inputs: Tensors, additional: Arguments, names: object, where: str
) -> list[Constant]:
    """Return the constants of these names; those that F adds if the names are True.

    Raises:
        OptionTypeError, OptionError: If there is no floating-point tensor of such a name.
    """
    held = held_tensors(forward_func)
    if names is True:
        return added_constants(forward_func, inputs, additional, held)
    return chosen_constants(names, held, where)


def added_constants(
    forward_func: ForwardFunction, inputs: Tensors, additional: Arguments, held: dict[str, Constant]
) -> list[Constant]:
    """Return the constants that F adds, in the order in which it does."""
    first = tuple(x[:1] for x in inputs)
    others = tuple(value[:1] if has_rows(value, len(inputs[0])) else value for value in additional)
    found: list[Constant] = []
    for _ in range(_ROUNDS):
        search = _searched(forward_func, first, others, held, found)
        own = {constant.name: constant for constant in found} | {name: held[name] for name in search.added}
        before, found = found, [constant for name, constant in own.items() if name not in search.factors]
        if not search.computed or {c.name for c in found} == {c.name for c in before}:
            break
    return found


def _searched(
    forward_func: ForwardFunction,
    inputs: Tensors,
    additional: Arguments,
    held: dict[str, Constant],
    found: Sequence[Constant],
) -> _Search:
    function: Any = forward_func
    args = inputs
    if found:
        function = Augmented(forward_func, len(inputs), found)
        args = (*inputs, *(value.detach() for value in function.values(1)))
        function.settle((*args, *additional))

    def run(xs: Tensors) -> Any:
        return function(*xs, *additional)

    interpretation = Interpretation(named_modules_of(forward_func), run.__code__)
    _, handles = handles_of(args)
    for handle in handles:
        interpretation.add_input(handle)
    search = _Search(interpretation.trace, held.values())
    with torch.inference_mode(False), torch.enable_grad(), interpretation.following(search):
        run(handles)
    return search


class _Search(Observer):
    """Tells the constants of a model that are added from those that are factors.

    Args:
        trace: Knows what depends on the inputs.
        constants: The constants.
    """

    def __init__(self, trace: Trace, constants: Iterable[Constant]) -> None:
        self.added: dict[str, None] = {}
        self.factors: set[str] = set()
        self.computed = False
        """Whether a constant is added that was computed in the pass."""
        self._trace = trace
        self._by_memory: dict[int, list[Constant]] = {}
        for constant in constants:
            if has_storage(constant.value):
                self._by_memory.setdefault(constant.value.untyped_storage().data_ptr(), []).append(constant)

    def before(self, event: OpEvent) -> None:
        """Look at the constants that meet what depends on the inputs, and at products of constants."""
        if event.takes_functions:
            return
        depends = self._trace.shadows.depends
        constants = [t for t in event.tensors if t.dtype.is_floating_point and not depends(t)]
        if not constants:
            return
        meets_input = len(constants) < len([t for t in event.tensors if t.dtype.is_floating_point])
        operation = event.name.partition("::")[2].rstrip("_")
        for i, (name, value) in enumerate(event.arguments.items()):
            own = [t for t in tensors_in((value,)) if any(t is constant for constant in constants)]
            if not own:
                continue
            if not meets_input:
                if name in _FACTORS and len(constants) > 1:
                    self.factors.update(*map(self._names, own))
            elif name in _ADDED or operation in _ALIKE or (operation in _FIRST and i == 0):
                self.added.update(dict.fromkeys(name for t in own for name in self._names(t, added=True)))
            else:
                self.factors.update(*map(self._names, own))

    def _names(self, tensor: Tensor, added: bool = False) -> list[str]:
        """Return the names of the constants that a tensor was computed from."""
        sources = self._trace.assumptions.sources(tensor)
        self.computed |= added and (len(sources) != 1 or sources[0].data_ptr() != tensor.data_ptr())
        names = []
        for source in sources:
            if has_storage(source):
                own = self._by_memory.get(source.untyped_storage().data_ptr(), [])
                names += [c.name for c in own if len(own) == 1 or shares_memory(source, [c.value])]
        return names
