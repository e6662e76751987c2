"""Proofs that are made once and kept while nothing they rest on changes."""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from captum_xg.homogeneity.certificate import Certificate
from captum_xg.homogeneity.certify import prove
from captum_xg.homogeneity.facts import Facts
from captum_xg.homogeneity.modules import modules_of, require_evaluation_mode
from captum_xg.homogeneity.tracer import shares_memory

_SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice})
_STRIDED = torch.strided
_TENSORS = frozenset({"_parameters", "_buffers"})
_BOOKKEEPING = frozenset(nn.Module().__dict__)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(
    hooks for name in _HOOKS if isinstance(hooks := getattr(torch_module, f"_global{name}", None), dict)
)
_MOST = 16
"""How many proofs are kept: one for each shape of input in use."""


@dataclass(frozen=True)
class _Standing:
    """A proof that is kept.

    Attributes:
        certificate: What is proven.
        facts: What it asked about constants.
        arguments: Which additional arguments it asked about, and what they were.
        anchors: What its key names by address.
    """

    certificate: Certificate
    facts: Facts
    arguments: list[tuple[int, Tensor]]
    anchors: list[Any]

    def fits(self, additional: tuple[Any, ...]) -> bool:
        """Return whether the additional arguments that the proof asked about have the same values."""
        return all(torch.equal(additional[i], value) for i, value in self.arguments)


class StandingProofs:
    """Remembers proofs for one forward function.

    A proof is used again if every module, parameter and buffer is the same object with the same memory, shape and
    dtype, every mode, hook and plain attribute is the same, and everything that the proof asked about constants (is
    this bias zero?) has the same answer. The numbers in weights are not part of it, so training does not end a proof.
    """

    def __init__(self) -> None:
        self._proofs: OrderedDict[Hashable, _Standing] = OrderedDict()
        self.n_proofs = 0
        """How many proofs were made."""

    def __reduce__(self) -> tuple[type[StandingProofs], tuple[()]]:
        # A copy belongs to a copy of the model, at other addresses, and has everything still to prove.
        return type(self), ()

    def certificate(
        self, forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], additional: tuple[Any, ...], where: str
    ) -> Certificate:
        """Return a certificate that holds now for these inputs' shapes, from memory if possible.

        Raises:
            TrainingModeError: If layers are in training mode. A proof that is remembered was made without any.
        """
        key, anchors = _state(forward_func, inputs, additional)
        known = self._proofs.get(key)
        if known is not None and known.facts.hold() and known.fits(additional):
            self._proofs.move_to_end(key)
            return known.certificate
        require_evaluation_mode(forward_func, where)
        self.n_proofs += 1
        proof = prove(forward_func, inputs, additional, where)
        if proof.certificate.homogeneous:
            # The anchors keep alive what the key names by address, so that nothing else can take that address.
            self._proofs[key] = _Standing(
                proof.certificate, proof.facts, _asked_about(proof.facts, additional), anchors
            )
            while len(self._proofs) > _MOST:
                self._proofs.popitem(last=False)
        return proof.certificate


def _asked_about(facts: Facts, additional: tuple[Any, ...]) -> list[tuple[int, Tensor]]:
    asked = facts.tensors()
    return [
        (i, value.detach().clone())
        for i, value in enumerate(additional)
        if isinstance(value, Tensor) and shares_memory(value, asked)
    ]


def _state(
    forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], additional: tuple[Any, ...]
) -> tuple[Hashable, list[Any]]:
    """Return what a proof rests on besides values, as a key, and the objects that the key names by address."""
    anchors: list[Any] = []
    parts: list[Hashable] = [
        tuple((x.shape, x.dtype, x.device) for x in inputs),
        torch.get_default_dtype(),
        tuple((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in {x.device.type for x in inputs}),
        tuple(tuple(hooks) for hooks in _GLOBAL_HOOKS),
        tuple(
            (value.shape, value.dtype, value.device) if isinstance(value, Tensor) else _named(value, anchors)
            for value in additional
        ),
        _callable_state(forward_func, anchors, depth=0),
    ]
    seen: set[int] = set()
    for root in modules_of(forward_func):
        if id(root) not in seen:
            _add_module(root, parts, anchors, seen)
    return tuple(parts), anchors


def _add_module(module: nn.Module, parts: list[Hashable], anchors: list[Any], seen: set[int]) -> None:
    # This runs at every attribution, so it counts microseconds.
    seen.add(id(module))
    anchors.append(module)
    attributes = module.__dict__
    add = parts.append
    add(id(module.__class__))
    for name, value in attributes.items():
        kind = value.__class__
        if kind in _SIMPLE:
            add(value)
        elif kind is tuple:
            anchors.append(value)
            add(id(value))
        elif name in _TENSORS:
            for tensor in value.values():
                if tensor is None:
                    add(None)
                    continue
                anchors.append(tensor)
                parts += id(tensor), tensor.data_ptr() if tensor.layout is _STRIDED else 0, tensor.shape, tensor.dtype
        elif name == "_modules":
            for key, child in value.items():
                parts += key, id(child)
                if child is not None and id(child) not in seen:
                    _add_module(child, parts, anchors, seen)
        elif name in _HOOKS:
            if value:
                anchors.extend(value.values())
                add(tuple(map(id, value.values())))
        elif name not in _BOOKKEEPING:
            add(_named(value, anchors))


def _named(value: Any, anchors: list[Any]) -> Hashable:
    """Return what tells a value from another: itself if it is plain, its parts if it has some, else its address."""
    kind = value.__class__
    if kind in _SIMPLE:
        return (kind, value) if kind is not slice else (value.start, value.stop, value.step)
    if kind in (list, tuple):
        return tuple(_named(part, anchors) for part in value)
    if kind is dict:
        return tuple((key, _named(part, anchors)) for key, part in value.items() if isinstance(key, str))
    anchors.append(value)
    if isinstance(value, Tensor):
        return id(value), value.data_ptr() if value.layout is _STRIDED else 0, value.shape, value.dtype
    return id(value)


def _callable_state(value: Any, anchors: list[Any], depth: int) -> Hashable:
    """Return what a function that is no module refers to: its code, defaults, closure and the globals it loads."""
    if isinstance(value, nn.Module) or depth > 3:
        return _named(value, anchors)
    if isinstance(value, types.FunctionType):
        parts: list[Any] = [value.__code__, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        parts += list(_cells(value.__closure__ or ()))
        state = [_callable_state(part, anchors, depth + 1) for part in parts]
        for name in value.__code__.co_names:
            referred = value.__globals__.get(name)
            # Functions of other files are named, not entered: entering would walk through all of torch.
            elsewhere = isinstance(referred, types.FunctionType) and referred.__globals__ is not value.__globals__
            state.append(id(referred) if elsewhere else _callable_state(referred, anchors, depth + 1))
        return tuple(state)
    if isinstance(value, types.MethodType):
        return _callable_state(value.__func__, anchors, depth), _object_state(value.__self__, anchors, depth)
    if hasattr(value, "func") and hasattr(value, "keywords"):  # functools.partial
        parts = [value.func, *value.args, *value.keywords.values()]
        return tuple(_callable_state(part, anchors, depth + 1) for part in parts)
    if callable(value) and not isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
        return _object_state(value, anchors, depth)
    return _named(value, anchors)


def _object_state(value: Any, anchors: list[Any], depth: int) -> Hashable:
    anchors.append(value)
    if isinstance(value, nn.Module):
        return id(value)
    own = getattr(value, "__dict__", {})
    return id(value), tuple((name, _callable_state(part, anchors, depth + 1)) for name, part in own.items())


def _cells(closure: Iterable[types.CellType]) -> Iterable[Any]:
    for cell in closure:
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is assigned after the function was made
            continue
