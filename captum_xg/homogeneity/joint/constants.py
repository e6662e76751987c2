"""The floating-point tensors that a model holds, by name, and the places in Python that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_xg._core.modules import named_modules_of
from captum_xg._core.reflection import attribute, is_tensor, own_attributes
from captum_xg._core.text import first_ten
from captum_xg._core.types import ForwardFunction
from captum_xg.errors import OptionError, OptionTypeError


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that a model holds: a parameter, a buffer or a plain attribute of a module.

    Attributes:
        name: Its path in the model; of one that is held in several places the first.
        module: The path of the module that holds it.
        type: The class of the module.
        places: The dictionaries that hold it, with the key in each.
    """

    name: str
    module: str
    type: str
    places: tuple[tuple[dict[str, Any], str], ...]

    @property
    def value(self) -> Tensor:
        """The tensor as it is now."""
        holder, key = self.places[0]
        value: Tensor = holder[key]
        return value


def held_tensors(forward_func: ForwardFunction) -> dict[str, Constant]:
    """Return name → constant for the floating-point tensors of all modules behind a forward function."""
    places: dict[int, list[tuple[dict[str, Any], str]]] = {}
    first: dict[int, tuple[str, str, str]] = {}
    for path, module in named_modules_of(forward_func).values():
        for holder in (attribute(module, "_parameters"), attribute(module, "_buffers"), own_attributes(module)):
            if type(holder) is not dict:
                continue
            for key, value in holder.items():
                if not is_tensor(value) or not value.dtype.is_floating_point or value.is_meta:
                    continue
                places.setdefault(id(value), []).append((holder, key))
                first.setdefault(id(value), (f"{path}.{key}" if path else key, path, type(module).__name__))
    found: dict[str, Constant] = {}
    for key, (name, path, kind) in first.items():
        count = 2
        unique = name
        while unique in found:  # two models behind one function
            unique, count = f"{name} ({count})", count + 1
        found[unique] = Constant(unique, path, kind, tuple(places[key]))
    return found


def chosen_constants(names: object, held: dict[str, Constant], where: str) -> list[Constant]:
    """Return the constants of these names.

    Args:
        names: Names of tensors.
        held: What the model holds.
        where: The public name that errors begin with.

    Raises:
        OptionTypeError: If they are no names.
        OptionError: If there is no floating-point tensor of such a name.
    """
    if isinstance(names, str) or not isinstance(names, (Sequence, set, frozenset)):
        raise OptionTypeError(
            f"{where}: constants must be named by a sequence of names of parameters and buffers, but "
            f"{type(names).__name__} was passed. Pass for example ['conv1.bias', 'bn1.running_mean']."
        )
    unknown = [name for name in names if not isinstance(name, str) or name not in held]
    if unknown:
        raise OptionError(
            f"{where}: the model holds no floating-point parameter, buffer or tensor named "
            f"{', '.join(map(repr, unknown[:5]))}. It holds {', '.join(first_ten(list(held)))}."
        )
    return [held[name] for name in dict.fromkeys(names)]


def same_places(one: Iterable[Constant], other: Iterable[Constant]) -> bool:
    """Return whether two searches have found the same tensors in the same places."""

    def places(constants: Iterable[Constant]) -> list[tuple[str, int, str]]:
        return [(c.name, id(holder), key) for c in constants for holder, key in c.places]

    return places(one) == places(other)
