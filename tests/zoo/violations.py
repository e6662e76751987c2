"""Models that break homogeneity at known places, and the watch over what a refused call must leave alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xg import XGradient

# ------------------------------------------------------------------------------------------------- what must not change


def _hooks(module: nn.Module) -> list[tuple[str, int]]:
    return [
        (f"{path}.{name}", len(value))
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name.endswith("_hooks") and isinstance(value, dict)
    ]


def _state(thing: nn.Module | Tensor) -> dict[str, Any]:
    if isinstance(thing, Tensor):
        grad = None if not thing.is_leaf or thing.grad is None else thing.grad.clone()
        data = thing.to_dense() if thing.layout != torch.strided else thing
        return {
            "value": data.detach().clone(), "grad": grad, "requires_grad": thing.requires_grad, "version":
        thing._version }  # fmt: skip
    state: dict[str, Any] = {f"state_dict {k}": v.clone() for k, v in thing.state_dict().items()}
    for name, parameter in thing.named_parameters():
        state[f"grad {name}"] = None if parameter.grad is None else parameter.grad.clone()
        state[f"requires_grad {name}"] = parameter.requires_grad
    state["training"] = [(path, part.training) for path, part in thing.named_modules()]
    state["hooks"] = _hooks(thing)
    return state


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    return type(a) is type(b) and a == b


@contextmanager
def nothing_changes(*things: nn.Module | Tensor) -> Iterator[None]:
    """Hold that the body leaves values, gradients, modes, hooks and the random number generator as they were."""
    before, random_state, grad_mode = [_state(t) for t in things], torch.get_rng_state(), torch.is_grad_enabled()
    yield
    for i, (thing, old) in enumerate(zip(things, before, strict=True)):
        new = _state(thing)
        assert new.keys() == old.keys()
        changed = [key for key in old if not _same(old[key], new[key])]
        assert not changed, f"things[{i}] ({type(thing).__name__}): changed: {changed}"
    assert torch.equal(torch.get_rng_state(), random_state), "random numbers were used up"
    assert torch.is_grad_enabled() == grad_mode


def refusal(
    error: type[Exception],
    forward_func: Callable[..., Any],
    inputs: Any,
    *,
    says: Sequence[str] = (),
    model: nn.Module | None = None,
    options: dict[str, Any] | None = None,
    **call: Any,
) -> Any:
    """Return the error that XGradient raises; hold its class, its opening, what it says, and that nothing changed."""
    things = [t for t in (inputs if isinstance(inputs, tuple) else (inputs,)) if isinstance(t, Tensor)]
    modules = [m for m in (model, forward_func) if isinstance(m, nn.Module)]
    with nothing_changes(*modules, *things), pytest.raises(error) as caught:
        XGradient(forward_func, **(options or {})).attribute(inputs, **call)
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.startswith("XGradient.attribute: ")
    for fragment in says:
        assert fragment in message, f"{fragment!r} is not in:\n{message}"
    return caught.value


def culprits(report: Any) -> list[tuple[str, str]]:
    """Return (path, class name) of each culprit, in the report's order."""
    return [(c.module, c.kind) for c in report.culprits]


def assert_names_exactly(error: Any, model: nn.Module, planted: Sequence[str]) -> None:
    """Hold that report and message name the planted modules, in this order, once each, and no other module."""
    expected = [(path, type(model.get_submodule(path)).__name__) for path in planted]
    assert culprits(error.report) == expected
    message = str(error)
    for path, module in model.named_modules():
        label = f"    {path} ({type(module).__name__}):" if path else "    the model itself ("
        assert message.count(label) == (path in planted), label


# ---------------------------------------------------------------------------------------------------- homogeneous parts


def seeded(seed: int) -> torch.Generator:
    """Return a generator of its own, so that no test depends on another's random numbers."""
    return torch.Generator().manual_seed(seed)


def fill(model: nn.Module, seed: int, gain: float = 1.0) -> nn.Module:
    """Draw every weight from the seed so that activations keep about their size; biases stay as they are."""
    generator = seeded(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("bias"):
                fan_in = max(1, parameter[0].numel() if parameter.dim() > 1 else 1)
                draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(draw * gain * (2 / fan_in) ** 0.5)
    return model


def xdnn(
    *widths: int, seed: int = 0, activation: Callable[[], nn.Module] = nn.ReLU, gain: float = 1.0
) -> nn.Sequential:
    """Return a bias-free multilayer perceptron in eval mode, activations between its layers."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [activation()] if i else []
        layers.append(nn.Linear(a, b, bias=False))
    return fill(nn.Sequential(*layers), seed, gain).eval()


def insert(model: nn.Sequential, at: int, module: nn.Module) -> nn.Sequential:
    """Return the same layers with one more at this position."""
    layers = list(model)
    return nn.Sequential(*layers[:at], module, *layers[at:]).eval()


def plant_bias(layer: nn.Module, value: float | Tensor) -> None:
    """Give a linear or convolutional layer this bias."""
    weight = layer.weight
    outputs = getattr(layer, "out_channels", weight.shape[0])
    bias = value if isinstance(value, Tensor) else torch.full((outputs,), value)
    layer.bias = nn.Parameter(bias.to(weight))


def strip_biases(model: nn.Module) -> nn.Module:
    """Take the bias off every layer."""
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias = None
    return model.eval()


class Residual(nn.Module):
    """x ↦ x + inner(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class ByKeyword(nn.Module):
    """Calls its parts by keyword."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(input=x) if isinstance(self.inner, nn.Linear) else self.inner(x=x)


class Pair(nn.Module):
    """Returns (inner(x), 2x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), 2 * x


class Named(nn.Module):
    """Returns {"hidden": inner(x), "input": x, "kind": "named"}."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"hidden": self.inner(x), "input": x, "kind": "named"}


class SumOfPair(nn.Module):
    """Adds what a :class:`Pair` returns."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.pair(x)
        return first + second


class ReadsNamed(nn.Module):
    """Adds what a :class:`Named` returns."""

    def __init__(self, named: Named) -> None:
        super().__init__()
        self.named = named

    def forward(self, x: Tensor) -> Tensor:
        output = self.named(x)
        return output["hidden"] + output["input"]


# ------------------------------------------------------------------------------------------------------- what breaks it


class AddsConstant(nn.Module):
    """x ↦ b(relu(a(x)) + c): each layer inside is homogeneous, what its own forward does is not."""

    def __init__(self, width: int, constant: float = 0.1) -> None:
        super().__init__()
        self.a = nn.Linear(width, width, bias=False)
        self.b = nn.Linear(width, width, bias=False)
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)) + self.constant)


class SaturatesAt(nn.Module):
    """x ↦ min(x, level)."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(max=self.level)


def shifting_batch_norm(width: int, seed: int = 0) -> nn.BatchNorm1d:
    """Return a batch norm whose running mean and bias are not zero."""
    norm, generator = nn.BatchNorm1d(width), seeded(seed)
    with torch.no_grad():
        norm.running_mean.copy_(torch.randn(width, generator=generator))
        norm.running_var.copy_(torch.rand(width, generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(width, generator=generator))
    return norm.eval()
