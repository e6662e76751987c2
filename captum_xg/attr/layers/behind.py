"""The part of a model behind one or more layers, as a function of what these give: h ↦ G(h), with F(x) = G(h(x)).

X-Gradient at a layer is X-Gradient of G, so that every check and every proof is of what is integrated there: h is
scaled, and whatever else reaches the score, past the layer, stays as it is. The front is run at x each time; what it
gives at the layer is replaced.

Example: for ``Sequential(embedding, linear)`` and the layer ``embedding``, G(h, ids) is ``linear(h)``.

What must never happen: a layer that runs twice is replaced twice by the same h, or one that does not run not at all;
and a hook outlives the call. The function is one object for all calls, for a proof is kept of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.inputs import all_finite, first_not_finite
from captum_xg._core.modules import named_modules_of
from captum_xg._core.own_thread import in_this_thread
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.errors import InputError, OptionError
from captum_xg.homogeneity.certificate.fingerprint import RestsOn

Meet = Callable[[int, Any], Any]
"""Called with the number of a layer and what it gives; returns what to put in its place, None to leave it."""


@dataclass(frozen=True)
class Form:
    """What one layer gives.

    Attributes:
        count: How many tensors.
        several: Whether results are a tuple.
        rows: How many rows of each tensor belong to one example; 0 where it has one for each example.
    """

    count: int
    several: bool
    rows: tuple[int, ...]


class BehindLayer(RestsOn):
    """G: called with what the layers give, then the arguments of F.

    Args:
        forward_func: F.
        layers: The layers, none twice.
        at_input: Whether what they *get* is meant, and not what they give.

    Attributes:
        where: The public name that errors begin with.
        forms: What each layer gives, known once it was seen.
    """

    def __init__(self, forward_func: ForwardFunction, layers: tuple[nn.Module, ...], at_input: bool) -> None:
        self.forward_func = on_one_device(forward_func)
        self.layers = layers
        self.at_input = at_input
        self.where = ""
        self.forms: tuple[Form, ...] = ()

    @property
    def rests_on(self) -> tuple[object, ...]:
        """What a proof about this function rests on."""
        numbers = (number for form in self.forms for number in (form.count, *form.rows))
        return (self.forward_func, *self.layers, self.at_input, *numbers)

    def __call__(self, *arguments: object) -> object:
        """Return F's output with the layers' values replaced."""
        n = sum(form.count for form in self.forms)
        with self._replacing(arguments[:n]):
            # Copies, as the front may work in place. The attribute is named here, for that is how modules are found.
            return self.forward_func(*(a.clone() if isinstance(a, Tensor) else a for a in arguments[n:]))

    def values_at(self, arguments: Arguments, n: int, *, recorded: bool = False) -> Tensors:
        """Return what the layers give for n examples, one tensor after the other, each of shape ``(n, …)``.

        Args:
            arguments: Those of F.
            n: How many examples they are.
            recorded: Keep the graph that leads to the values.

        Raises:
            OptionError: If a layer does not run exactly once, or gives something else than floating-point tensors.
            InputError: If what it gives is not finite, or its rows do not belong to examples.
        """
        seen: dict[int, tuple[list[Any], bool]] = {}

        def keep(index: int, content: Any) -> None:
            # A copy, as what follows may work in place.
            parts = content if isinstance(content, (tuple, list)) else (content,)
            copies = [part.clone() if isinstance(part, Tensor) else part for part in parts]
            seen[index] = (copies, isinstance(content, (tuple, list)))

        with torch.set_grad_enabled(recorded), self._meeting(keep):
            self.forward_func(*(a.clone() if isinstance(a, Tensor) else a for a in arguments))
        found = [self._checked(i, *seen[i], n) for i in range(len(self.layers))]
        self.forms = tuple(form for form, _ in found)
        return tuple(value for _, values in found for value in values)

    def packed(self, values: Tensors, *, many: bool = False) -> list[Any]:
        """Return one entry for each layer: its tensor, or a tuple where it gives several, of the layer's own shape.

        With ``many`` they have a dimension for the targets behind the first, and keep it there.
        """
        entries, rest = [], list(values)
        for form in self.forms:
            own = [
                (value.transpose(1, 2) if many else value).flatten(0, 1) if rows else value
                for value, rows in zip(rest[: form.count], form.rows, strict=True)
            ]
            rest = rest[form.count :]
            entries.append(tuple(own) if form.several else own[0])
        return entries

    def name_of(self, index: int) -> str:
        """Return the path and class of a layer, for messages."""
        return name_of_layer(self.forward_func, self.layers[index])

    def described(self) -> str:
        """Return what is explained, for messages about it."""
        gives = "gets" if self.at_input else "gives"
        names = [self.name_of(i) for i, form in enumerate(self.forms) for _ in range(form.count)]
        listed = "; ".join(f"inputs[{i}] is what {name} {gives}" for i, name in enumerate(names))
        return f"F is the part of the model behind the layer: {listed}."

    @contextmanager
    def _replacing(self, values: Arguments) -> Iterator[None]:
        own: list[list[Any]] = []
        start = 0
        for form in self.forms:
            given = values[start : start + form.count]
            own.append([v.flatten(0, 1) if rows else v for v, rows in zip(given, form.rows, strict=True)])  # type: ignore[attr-defined]
            start += form.count
        with self._meeting(lambda index, content: _like(content, own[index])):
            yield

    def _meeting(self, meet: Meet) -> AbstractContextManager[None]:
        return meeting(self.forward_func, self.layers, self.at_input, meet, self.where)

    def _checked(self, index: int, parts: list[Any], several: bool, n: int) -> tuple[Form, Tensors]:
        name, gives = self.name_of(index), "gets" if self.at_input else "gives"
        kinds = [str(p.dtype) if isinstance(p, Tensor) else type(p).__name__ for p in parts]
        if not parts:
            raise OptionError(
                f"{self.where}: {name} {gives} no tensors by position, so there is nothing to attribute to. Attribute "
                "to its output: attribute_to_layer_input=False."
            )
        if not all(isinstance(p, Tensor) and p.dtype.is_floating_point for p in parts):
            ids = all(isinstance(p, Tensor) for p in parts) and self.at_input
            advice = (
                "Nothing can be attributed to ids. Attribute to what it gives: attribute_to_layer_input=False."
                if ids
                else "Choose a layer, perhaps one inside of it, that gives one such tensor or a tuple of them."
            )
            raise OptionError(
                f"{self.where}: {name} {gives} {', '.join(kinds)}, and only floating-point tensors can be attributed "
                f"to. {advice}"
            )
        values, rows = [], []
        for part in parts:
            if part.dim() == 0 or part.shape[0] == 0 or part.shape[0] % n:
                raise InputError(
                    f"{self.where}: {name} {gives} shape {tuple(part.shape)} for {n} examples, so that its rows do "
                    "not belong to one example each. Dimension 0 must count examples, or parts of them one example "
                    "after the other; explain one example at a time, or choose another layer."
                )
            per_example = part.shape[0] // n if part.shape[0] != n else 0
            value = part.unflatten(0, (n, per_example)) if per_example else part
            if not all_finite(value):
                raise InputError(
                    f"{self.where}: {name} {gives} NaN or infinity, first in example {first_not_finite(value)}; no "
                    "attribution to it is meaningful."
                )
            values.append(value)
            rows.append(per_example)
        # Captum gives a tensor where a tuple has one entry.
        return Form(len(values), several and len(values) > 1, tuple(rows)), tuple(values)


@contextmanager
def meeting(
    forward_func: ForwardFunction, layers: Sequence[nn.Module], at_input: bool, meet: Meet, where: str
) -> Iterator[None]:
    """Let a function meet what each layer gives, or gets, which must happen exactly once for each in the body.

    What other threads run of the model in the meantime is left as it is.

    Raises:
        OptionError: If it does not.
    """
    calls = [0] * len(layers)

    def hook_of(index: int) -> Callable[..., Any]:
        def hook(module: nn.Module, arguments: Any, result: Any = None) -> Any:
            calls[index] += 1
            return meet(index, arguments if at_input else result)

        return in_this_thread(hook)

    handles = []
    try:
        for i, layer in enumerate(layers):
            register = layer.register_forward_pre_hook if at_input else layer.register_forward_hook
            handles.append(register(hook_of(i)))
        yield
    finally:
        for handle in handles:
            handle.remove()
    for layer, count in zip(layers, calls, strict=True):
        if count != 1:
            raise OptionError(f"{where}: {_said_of_calls(name_of_layer(forward_func, layer), count)}")


def name_of_layer(forward_func: ForwardFunction, layer: nn.Module) -> str:
    """Return the path and class of a layer, for messages."""
    path, _ = named_modules_of(forward_func).get(id(layer), ("", layer))
    return f"`{path}` ({type(layer).__name__})" if path else f"the layer {type(layer).__name__}"


def _said_of_calls(name: str, count: int) -> str:
    if count == 0:
        return (
            f"{name} does not run when forward_func is called, so there is nothing to attribute to. Pass a layer of "
            "this very model that its forward pass calls (a copy of the model has other layers; nn.ModuleList and "
            "functions called on weights never run as a layer)."
        )
    return (
        f"{name} runs {count} times in one forward pass. What it gives is then several values, and with all of them "
        "replaced by one the attributions would be those of another function (in nn.DataParallel it runs once for each "
        "device: pass model.module). Give each place a module of its own (copies may share their weights), or choose "
        "a layer that runs once."
    )


def _like(content: object, values: list[Any]) -> object:
    """Return values in the container in which a layer gave its own."""
    if not isinstance(content, (tuple, list)):
        return values[0]
    if hasattr(content, "_fields"):  # named tuples take their entries one by one
        make: Callable[..., object] = type(content)
        return make(*values)
    return list(values) if isinstance(content, list) else tuple(values)


def on_one_device(forward_func: ForwardFunction) -> ForwardFunction:
    """Return a model that would run on several devices as one that runs on the first: what it gives is the same.

    Its replicas run at the same time, each with its own part of the batch, and none knows which part that is.
    """
    if isinstance(forward_func, nn.DataParallel) and len(forward_func.device_ids) > 1:
        return nn.DataParallel(forward_func.module, device_ids=forward_func.device_ids[:1])
    return forward_func
