"""Scripts of users of Captum, run as they are and with their import line changed, while what they explain is recorded.

Example: ``run(path)`` executes a script with Captum; ``run(path, changed=True)`` the same text but for one line, in
which ``captum.attr`` became ``captum_xg.integrations.captum``. Each call of Integrated Gradients, of a layer too, also
from within Captum's ``NoiseTunnel`` and ``LLMGradientAttribution``, leaves a :class:`Call` that says how many gradients
it took. Gradients of other methods, and of training, are not counted.
"""

from __future__ import annotations

import functools
import inspect
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import Tensor

from captum_xg import LayerXGradient, XGradient

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))
_OLD, _NEW = "from captum.attr import ", "from captum_xg.integrations.captum import "


@dataclass
class Call:
    """One call of Integrated Gradients.

    Attributes:
        method: The object that was called.
        arguments: By name, as ``attribute`` of Captum names them.
        attributions: One tensor for each input, or each layer.
        delta: The convergence delta, if it was asked for.
        gradients: How many gradients of one example's score were taken.
        seconds: How long it took.
    """

    method: Any
    arguments: dict[str, Any]
    attributions: tuple[Tensor, ...]
    delta: Tensor | None
    gradients: int
    seconds: float

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What was explained."""
        return as_tuple(self.arguments["inputs"])

    @property
    def n(self) -> int:
        """How many examples that are."""
        return len(self.inputs[0])


@dataclass
class Run:
    """What a script did.

    Attributes:
        namespace: Its names.
        calls: Its calls of Integrated Gradients, in their order.
        warned: What it was warned of.
    """

    namespace: dict[str, Any]
    calls: list[Call]
    warned: list[warnings.WarningMessage]


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return a tuple of what is a tuple, a list, or one thing."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def changed_text(text: str) -> str:
    """Return the text of a script with the import of Integrated Gradients changed."""
    return "\n".join(
        _NEW + line.removeprefix(_OLD) if line.startswith(_OLD) and "IntegratedGradients" in line else line
        for line in text.split("\n")
    )


def run(path: Path, *, changed: bool = False, n_steps: int | None = None) -> Run:
    """Run a script, as it is or with one line changed, and with the script's numbers of steps if none is given."""
    text = path.read_text(encoding="utf-8")
    code = compile(changed_text(text) if changed else text, str(path), "exec")
    namespace: dict[str, Any] = {"__name__": path.stem}
    with warnings.catch_warnings(record=True) as warned, recorded(n_steps) as calls:
        warnings.simplefilter("always")
        exec(code, namespace)
    return Run(namespace, calls, warned)


@contextmanager
def recorded(n_steps: int | None = None) -> Iterator[list[Call]]:
    """Record calls of Integrated Gradients, Captum's and ours, until the block ends."""
    calls: list[Call] = []
    inside: list[int] = []
    grad = torch.autograd.grad

    def counted(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        if inside:
            inside[0] += sum(len(y) if y.dim() else 1 for y in as_tuple(outputs))
        return grad(outputs, *args, **kwargs)

    def recording(attribute: Any) -> Any:
        signature = inspect.signature(attribute)

        @functools.wraps(attribute)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if inside:  # our own way down to Captum's method, or Captum's layer method to that of inputs
                return attribute(self, *args, **kwargs)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            if n_steps is not None:
                bound.arguments["n_steps"] = n_steps
            inside.append(0)
            start = time.perf_counter()
            try:
                result = attribute(*bound.args, **bound.kwargs)
            finally:
                gradients = inside.pop()
            seconds = time.perf_counter() - start
            found, delta = result if bound.arguments["return_convergence_delta"] else (result, None)
            parts = tuple(part.detach() for part in as_tuple(found))
            calls.append(Call(self, dict(bound.arguments), parts, delta, gradients, seconds))
            return result

        method.__wrapped__ = lambda *args, **kwargs: method(*args, **kwargs)  # type: ignore[attr-defined]  # NoiseTunnel
        return method

    classes = (IntegratedGradients, LayerIntegratedGradients, XGradient, LayerXGradient)
    originals = [cls.__dict__["attribute"] for cls in classes]
    try:
        torch.autograd.grad = counted
        for cls, attribute in zip(classes, originals, strict=True):
            cls.attribute = recording(attribute)
        yield calls
    finally:
        torch.autograd.grad = grad
        for cls, attribute in zip(classes, originals, strict=True):
            cls.attribute = attribute
