"""What a layer gives as a function of the inputs, and what is selected of it: the function behind neuron attribution.

Example: for ``Sequential(linear, relu, head)``, the layer ``relu`` and the selector 3 it is unit 3 of
``relu(linear(x))``; what ``head`` makes of it has no part.

What must never happen: of a layer that runs several times one of the values is explained, nobody knows which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn

from captum_xg._core.types import ForwardFunction
from captum_xg.attr.layers.behind import meeting, name_of_layer, on_one_device
from captum_xg.errors import ForwardOutputError, OptionTypeError
from captum_xg.homogeneity.certificate.fingerprint import RestsOn

Selector: TypeAlias = int | tuple[int | slice, ...] | Callable[[Any], Tensor]
"""Which neurons: an index, indices and ranges, or a function of what the layer gives."""


class Neurons(RestsOn):
    """What a layer gives, or gets, at arguments of the whole model.

    Args:
        forward_func: The model.
        layer: The layer.
        at_input: Whether what it gets is meant.
        where: The public name that errors begin with.

    Attributes:
        summed: Indices and ranges whose neurons are added up; None to return all that the layer gives.
        select: A function that selects; None if none does.
        whole_batch: Whether the inputs have a dimension in front, and all of a batch counts as one example.
    """

    def __init__(self, forward_func: ForwardFunction, layer: nn.Module, at_input: bool, where: str) -> None:
        self.forward_func = on_one_device(forward_func)
        self.layer = layer
        self.at_input = at_input
        self.summed: tuple[int | slice, ...] | None = None
        self.select: Callable[[Any], Tensor] | None = None
        self.whole_batch = 0
        self._where = where

    @property
    def rests_on(self) -> tuple[object, ...]:
        """What a proof about this function rests on."""
        numbers: list[object] = []
        for part in self.summed or ():
            numbers += (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        counts = (self.at_input, self.whole_batch, self.summed is None, *numbers)
        return (self.forward_func, self.layer, self.select, *counts)

    def __call__(self, *arguments: Any) -> Tensor:
        """Return what is selected, one row for each example."""
        if self.whole_batch:
            inside = (x.squeeze(0) for x in arguments[: self.whole_batch])
            arguments = (*inside, *arguments[self.whole_batch :])
        seen: list[Any] = []

        def keep(_: int, content: Any) -> None:
            parts = content if isinstance(content, (tuple, list)) else (content,)
            # Copies, as what follows may work in place.
            copies = tuple(part.clone() if isinstance(part, Tensor) else part for part in parts)
            seen.append(copies if len(copies) != 1 else copies[0])

        with meeting(self.forward_func, (self.layer,), self.at_input, keep, self._where):
            self.forward_func(*arguments)
        return self._selected(seen[0])

    def _selected(self, content: Any) -> Tensor:
        if self.select is not None:
            selected = self.select(content)
            if not isinstance(selected, Tensor):
                raise ForwardOutputError(
                    f"{self._where}: `neuron_selector` returns {type(selected).__name__}; it must return a tensor of "
                    "one number for each example."
                )
            return selected.reshape(1) if self.whole_batch else selected
        if not isinstance(content, Tensor):
            raise ForwardOutputError(
                f"{self._where}: {self.described()} is a {type(content).__name__}, and indices select of a single "
                "tensor. Pass a function as `neuron_selector`, for example lambda outputs: outputs[0][:, 2]."
            )
        if self.summed is None:
            return content
        if len(self.summed) > content.dim() - 1:
            raise OptionTypeError(
                f"{self._where}: `neuron_selector` has {len(self.summed)} indices, but {self.described()} has shape "
                f"{tuple(content.shape)}."
            )
        index: Any = (slice(None), *self.summed)
        chosen = content[index]
        return chosen.reshape(len(chosen), -1).sum(1)

    def described(self) -> str:
        """Return what the layer gives or gets, in words."""
        return f"what {name_of_layer(self.forward_func, self.layer)} {'gets' if self.at_input else 'gives'}"


def checked_selector(selector: object, where: str) -> Selector:
    """Return a selector in a form that Captum takes.

    Raises:
        OptionTypeError: If it is something else.
    """
    entries = selector if isinstance(selector, tuple) else (selector,)
    indices = all(isinstance(e, int) and not isinstance(e, bool) for e in entries if not isinstance(e, slice))
    if callable(selector) or (indices and not isinstance(selector, slice)):
        return selector  # type: ignore[return-value]  # this is what was asked
    hint = f" Put it into a tuple, ({selector!r},)." if isinstance(selector, slice) else ""
    raise OptionTypeError(
        f"{where}: `neuron_selector` must be an int, a tuple of ints and slices, or a function of what the layer "
        f"gives, but is {selector if isinstance(selector, (slice, str)) else type(selector).__name__!r}.{hint}"
    )
