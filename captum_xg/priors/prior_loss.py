"""The result of one step of training with an attribution prior; arithmetic on it is refused with what was meant."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from torch import Tensor

from captum_xg._core.text import displayed
from captum_xg.errors import OptionTypeError


@displayed
class PriorLoss(NamedTuple):
    """What one step of training with an attribution prior is made of.

    Attributes:
        total: task + weight · prior, the number to call ``backward()`` on.
        task: The task loss.
        prior: Ω(A), without its weight.
        outputs: All that the model returned.
        attributions: A, in the form and shapes of the inputs (or of the layer's outputs); with ``target="all"`` with
            the classes as dimension 1.
    """

    total: Tensor
    task: Tensor
    prior: Tensor
    outputs: object
    attributions: Tensor | tuple[Tensor, ...]


_HINT = "A PriorLoss is a named tuple (total, task, prior, outputs, attributions), and the loss is its first entry: "
_OPERATORS = {
    "__add__": "loss(x, y).total + …",
    "__radd__": "… + loss(x, y).total",
    "__sub__": "loss(x, y).total - …",
    "__rsub__": "… - loss(x, y).total",
    "__mul__": "loss(x, y).total * …",
    "__rmul__": "… * loss(x, y).total",
    "__truediv__": "loss(x, y).total / …",
    "__neg__": "-loss(x, y).total",
    "__float__": "float(loss(x, y).total)",
}


def _say_total(result: PriorLoss, name: str) -> NoReturn:
    """Refuse what tensors have and tuples do not. It runs only for names that were not found."""
    as_a_loss = f" {_HINT}write loss(x, y).total.{name}." if hasattr(Tensor, name) and name[:1] != "_" else ""
    raise AttributeError(f"'PriorLoss' object has no attribute {name!r}.{as_a_loss}", name=name, obj=result)


def _operator(name: str, meant: str) -> Any:
    own = getattr(tuple, name, None)

    def operate(result: PriorLoss, *others: object) -> Any:
        if own is not None and all(isinstance(other, tuple) for other in others):
            return own(result, *others)
        raise OptionTypeError(f"PriorLoss.{name}: this is not a number. {_HINT}write {meant}.")

    operate.__name__ = name
    return operate


# Set afterwards, for type checkers are right to see a tuple, without arithmetic and without further attributes.
setattr(PriorLoss, "__getattr__", _say_total)  # noqa: B010
for _name, _meant in _OPERATORS.items():
    setattr(PriorLoss, _name, _operator(_name, _meant))
