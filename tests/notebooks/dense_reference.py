"""Integrated Gradients of a recorded call by thousands of midpoints in float64, on inputs and on what layers give.

An oracle for scripts: it knows Captum's definition and nothing of how Captum or we compute. With α = t⁴, what happens
next to the baseline gets its share of the points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from script_runs import Call, Run, as_tuple
from torch import Tensor, nn

_AT_ONCE = 250


def make_double(run: Run) -> None:
    """Convert all models of a script to float64."""
    for value in list(run.namespace.values()):
        if isinstance(value, nn.Module):
            value.double()


def rows_of(call: Call, most: int) -> list[int]:
    """Return some examples of a call, the first and the last among them."""
    return sorted({round(i * (call.n - 1) / max(most - 1, 1)) for i in range(min(most, call.n))})


def reference(call: Call, row: int, steps: int) -> Tensor:
    """Return the attributions of one example, flat: those of all inputs, or layers, one after the other.

    The models have to be in float64 already.
    """
    x = tuple(_double(part[row : row + 1]) for part in call.inputs)
    baselines = call.arguments["baselines"]
    given = (None,) * len(x) if baselines is None else as_tuple(baselines)
    b = tuple(_baseline(start, part, row) for start, part in zip(given, x, strict=True))
    extra = call.arguments["additional_forward_args"]
    additional = [
        _own(a, row, call.n) for a in (() if extra is None else extra if isinstance(extra, tuple) else (extra,))
    ]
    layers = as_tuple(getattr(call.method, "layer", ()))
    if not layers:
        return _integral(lambda *at: _score(call, row, (*at, *additional)), x, b, steps)
    ends = [_given(call, layers, (*point, *additional)) for point in (x, b)]

    def behind(*at: Tensor) -> Tensor:
        with _giving(layers, lambda i, _: at[i]):
            return _score(call, row, (*(_repeated(part, len(at[0])) for part in x), *additional))

    return _integral(behind, ends[0], ends[1], steps)


def _integral(score: Callable[..., Tensor], x: tuple[Tensor, ...], b: tuple[Tensor, ...], steps: int) -> Tensor:
    total = [torch.zeros_like(part[0]) for part in x]
    for t in ((torch.arange(steps, dtype=torch.float64) + 0.5) / steps).split(_AT_ONCE):
        at = tuple(
            (s + (t**4).view(-1, *[1] * (s.dim() - 1)) * (e - s)).detach().requires_grad_()
            for s, e in zip(b, x, strict=True)
        )
        gradients = torch.autograd.grad(score(*at).sum(), at)
        parts = (torch.tensordot(4 * t**3 / steps, gradient, 1) for gradient in gradients)
        total = [sums + part for sums, part in zip(total, parts, strict=True)]
    return torch.cat([(sums * (e - s)[0]).flatten() for sums, s, e in zip(total, b, x, strict=True)]).detach()


def _score(call: Call, row: int, arguments: tuple[Any, ...]) -> Tensor:
    n = len(arguments[0])
    output = call.method.forward_func(*(_repeated(a, n) for a in arguments))
    target = call.arguments["target"]
    if target is None:
        return output.reshape(n)
    if isinstance(target, Tensor):
        target = target.flatten()[row if target.numel() > 1 else 0].item()
    return output[:, target]


def _given(call: Call, layers: tuple[nn.Module, ...], arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    seen: dict[int, Tensor] = {}
    with torch.no_grad(), _giving(layers, lambda i, given: seen.__setitem__(i, given.clone())):
        call.method.forward_func(*arguments)
    return tuple(seen[i] for i in range(len(layers)))


@contextmanager
def _giving(layers: tuple[nn.Module, ...], meet: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    handles = [
        layer.register_forward_hook(lambda module, args, given, i=i: meet(i, given)) for i, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _baseline(start: Any, x: Tensor, row: int) -> Tensor:
    if start is None:
        return torch.zeros_like(x)
    if not isinstance(start, Tensor):
        return torch.full_like(x, start)
    return _double(start[row : row + 1] if len(start) > 1 else start).to(x.dtype)


def _own(argument: Any, row: int, n: int) -> Any:
    return _double(argument[row : row + 1]) if isinstance(argument, Tensor) and len(argument) == n else argument


def _repeated(argument: Any, n: int) -> Any:
    return argument.expand(n, *argument.shape[1:]) if isinstance(argument, Tensor) and len(argument) == 1 else argument


def _double(x: Tensor) -> Tensor:
    return x.detach().double() if x.is_floating_point() else x.detach()
