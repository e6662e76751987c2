"""The constants of a model that F adds, searched for once for each form of arguments, and F as a function of them."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from captum_xg._core.evaluation import autograd_refusals_explained
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.homogeneity.joint.additive import constants_of
from captum_xg.homogeneity.joint.augmented import Augmented
from captum_xg.homogeneity.joint.constants import Constant, held_tensors, same_places

_MOST = 64
"""How many forms are remembered."""


class AugmentedFunctions:
    """F as a function of inputs and constants, one object for each form of arguments, as proofs are kept of it.

    What F adds may depend on the form: a switch among the arguments, or a size at which positions are interpolated. It
    is searched for again where the model holds other tensors than before.

    Args:
        names: Of the constants; True for those that are found to be added.
        where: The public name that errors begin with.
    """

    def __init__(self, names: object, where: str) -> None:
        self._names = names
        self._where = where
        self._found: dict[Hashable, tuple[Augmented, list[Constant]]] = {}

    def __reduce__(self) -> tuple[type[AugmentedFunctions], tuple[object, str]]:
        # A copy belongs to a copy of the model, whose tensors are in other places.
        return type(self), (self._names, self._where)

    def of(self, forward_func: ForwardFunction, inputs: Tensors, additional: Arguments) -> Augmented:
        """Return F as a function of inputs and constants, for arguments of this form."""
        held = list(held_tensors(forward_func).values())
        form = (*map(_form, inputs), len(inputs), *map(_form, additional))
        if form in self._found and same_places(self._found[form][1], held):
            return self._found[form][0]
        augmented = searched(forward_func, inputs, additional, self._names, self._where)
        if len(self._found) >= _MOST:
            self._found.clear()
        self._found[form] = augmented, held
        return augmented


def searched(
    forward_func: ForwardFunction, inputs: Tensors, additional: Arguments, names: object, where: str
) -> Augmented:
    """Return F as a function of its inputs and of the constants of these names, or of those that are found.

    Raises:
        OptionTypeError, OptionError: If there is no floating-point tensor of such a name.
        GradientError: If autograd refuses F.
    """
    detached = tuple(x.detach() for x in inputs)
    with preserve_state(forward_func, inputs[0].device), autograd_refusals_explained(where):
        function = Augmented(forward_func, len(inputs), constants_of(forward_func, detached, additional, names, where))
        function.settle((*detached, *(v.detach() for v in function.values(len(inputs[0]))), *additional))
    return function


def _form(value: object) -> Hashable:
    """Return what may decide which constants are added, of one argument."""
    if isinstance(value, Tensor):
        return value.dim(), torch.Size(value.shape[1:]), value.dtype
    if isinstance(value, (bool, int, float, str, type(None))):
        return type(value), value
    return type(value).__qualname__
