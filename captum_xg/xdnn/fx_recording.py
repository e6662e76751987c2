"""Recordings of forwards by torch.fx, in which calls that have a conversion are modules.

A recording shares all modules and parameters with the module that it was made of, so what is converted in the one is
converted in the other, and the original can be put back. Example: ``self.b(F.gelu(self.a(x)))`` becomes a graph with
the modules ``a``, ``gelu_1`` (an ``nn.GELU``) and ``b``.

What must never happen: that a recording is used which does something else than the forward. torch.fx follows one path
through it, with symbols for tensors; so arguments that are not passed keep their defaults (branches may ask about
them), what cannot be recorded is left alone, and whoever puts a recording in compares the outputs.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import fx, nn

from captum_xg.xdnn.functional_calls import AS_LAYER, ONE_FUNCTION, POWERS, PRODUCTS, FunctionCall
from captum_xg.xdnn.layers import HardGate, MustBeNone
from captum_xg.xdnn.registry import find_conversion
from captum_xg.xdnn.replacement import has_hooks

_Made: TypeAlias = tuple[nn.Module, tuple[object, ...], dict[str, object]]
"""A module, and the arguments and named arguments that it is called with in a graph."""


@dataclass(frozen=True)
class Recording:
    """A recorded forward.

    Attributes:
        original: The module whose forward it is.
        graph: The recording.
        names: The modules in it that are calls in the original.
    """

    original: nn.Module
    graph: fx.GraphModule
    names: list[str]


def record(module: nn.Module, passed: Collection[str], *, products: bool = False) -> Recording | str:
    """Return a recording of a module with its convertible calls as modules; otherwise the obstacle, ``""`` for none.

    Args:
        module: The module.
        passed: The arguments that it is called with.
        products: Whether products are made modules, too.
    """
    # Recordings were recorded once, scripted code has no Python, and PyTorch's own layers have rules or are leaves.
    opaque = isinstance(module, (fx.GraphModule, torch.jit.ScriptModule))
    if opaque or type(module).__module__.startswith(("torch.nn.", "captum_xg.xdnn.")):
        return ""
    if has_hooks(module):
        return "it has hooks, which a recording of its forward would lose"
    try:
        return _lifted(module, passed, products) or ""
    except Exception as error:  # torch.fx raises whatever the forward does on symbols
        why = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        return (
            f"what its forward calls cannot be replaced there, as torch.fx cannot record it ({why}); put that into "
            "a module of its own"
        )


def lift_products(recording: Recording) -> None:
    """Make modules of the products in a recording, too."""
    recording.names.extend(_lift_calls(recording.graph, (), products=True))
    recording.graph.graph.lint()
    recording.graph.recompile()


def inline_calls(root: fx.GraphModule, names: list[str]) -> None:
    """Turn those of the lifted calls that nothing was put in the place of back into calls of functions."""
    modules = dict(root.named_modules())
    for node in root.graph.nodes:
        call = modules.get(str(node.target)) if node.op == "call_module" and node.target in names else None
        if isinstance(call, FunctionCall):
            node.op, node.target = "call_function", call.as_written
    root.delete_all_unused_submodules()
    root.recompile()


class _OneLevel(fx.Tracer):
    """Records the forward of one module; the modules inside of it stay calls.

    Attributes:
        unregistered: Modules that the forward calls but are not registered, as they were made there or kept in a plain
            list; by the name that they are given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unregistered: dict[str, nn.Module] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def path_of_module(self, mod: nn.Module) -> str:
        try:
            return super().path_of_module(mod)
        except NameError:
            name = next((name for name, known in self.unregistered.items() if known is mod), None)
            if name is None:
                name = _free_name(self.root, mod, self.unregistered)
                self.unregistered[name] = mod
            return name


def _lifted(module: nn.Module, passed: Collection[str], products: bool) -> Recording | None:
    """Return a recording in which calls of convertible functions, and modules that the forward makes, are modules.

    Returns:
        None if there are no such calls.

    Raises:
        Exception: Whatever torch.fx raises on what it cannot record, such as branches on values.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    kept = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in passed}
    # As constants, since a branch such as ``if mask is None`` would fail on a symbol.
    tracer = _OneLevel()
    graph = tracer.trace(module, concrete_args=kept or None)
    # torch.fx copies what a graph calls out of the module, which does not have these.
    with _registered(module, {**tracer.unregistered, **_absent_arguments(graph, module, tracer.unregistered)}):
        root = fx.GraphModule(module, graph, class_name=type(module).__name__)
    root.train(module.training)
    for name, value in vars(module).items():  # which code outside of it may read: sizes, names, scales
        if not name.startswith("_"):
            vars(root).setdefault(name, value)
    lifted = list(tracer.unregistered) + _lift_calls(root, kept, products)
    if not lifted:
        return None
    for node in reversed(root.graph.nodes):  # additions that went into hard gates
        unused = node.op == "call_module" and not node.users
        if unused and isinstance(root.get_submodule(str(node.target)), FunctionCall):
            root.graph.erase_node(node)
    root.graph.lint()
    root.recompile()
    return Recording(module, root, lifted)


def _lift_calls(root: fx.GraphModule, kept: Collection[str], products: bool) -> list[str]:
    """Make modules of the calls that depend on an argument that is passed; return their names."""
    dependent: set[fx.Node] = set()
    lifted = []
    for node in list(root.graph.nodes):
        inputs = [argument for argument in node.all_input_nodes if argument in dependent]
        # Constants need no conversion: a call is lifted only where something that scales goes into it.
        given = node.op == "placeholder" and node.target not in kept
        if given or (inputs and not _about_shape(node)):
            dependent.add(node)
        if not inputs:
            continue
        made = _hard_gate(node, root)  # first, as relu6 and clamp alone are activations
        if made is None and node.op in ("call_function", "call_method"):
            made = _as_module(node, dependent, products)
        if made is not None:
            call, arguments, named = made
            name = _free_name(root, call)
            root.add_submodule(name, call.train(root.training))
            node.op, node.target, node.args, node.kwargs = "call_module", name, arguments, named
            lifted.append(name)
    return lifted


def _function_of(node: fx.Node) -> object:
    """Return the function that a node calls, as it is written; None for methods that tensors do not have."""
    return getattr(torch.Tensor, node.target, None) if isinstance(node.target, str) else node.target


def _as_module(node: fx.Node, dependent: set[fx.Node], products: bool) -> _Made | None:
    """Return a module that does what a node does, and what it is called with; None if no conversion could want it."""
    written = _function_of(node)
    function = ONE_FUNCTION.get(written, written)
    if function in AS_LAYER:
        options = dict(node.kwargs)
        x, *further = node.args or (options.pop("input", None),)
        if not isinstance(x, fx.Node) or _nodes_in([*further, *options.values()]):
            return None
        try:
            return AS_LAYER[function](*further, **options), (x,), {}
        except TypeError:  # arguments that the layer does not take
            return None
    if not callable(written) or not callable(function):
        return None
    both = all(isinstance(argument, fx.Node) and argument in dependent for argument in node.args)
    power = function in POWERS and node.args and not _nodes_in([*node.args[1:], *node.kwargs.values()])
    product = products and ((function in PRODUCTS and both and len(node.args) == 2) or power)
    if not product and find_conversion(function) is None:
        return None
    pairs: list[tuple[int | str, object]] = [*enumerate(node.args), *node.kwargs.items()]
    constants = frozenset(key for key, value in pairs if not any(n in dependent for n in _nodes_in(value)))
    literals = {key: value for key, value in pairs if not _nodes_in(value)}
    return FunctionCall(written, constants, literals), node.args, dict(node.kwargs)


def _hard_gate(node: fx.Node, root: nn.Module) -> _Made | None:
    """Return a module for relu6(x + 3), and x, if that is what a node does: a hard sigmoid written by hand."""
    if node.op == "call_module":
        six = type(root.get_submodule(str(node.target))) is nn.ReLU6
    else:
        written = _function_of(node) if node.op == "call_method" else node.target
        bounds = (*node.args[1:], *(value for name, value in node.kwargs.items() if name != "inplace"))
        clamps = ONE_FUNCTION.get(written, written) in (torch.clamp, F.hardtanh) and bounds == (0, 6)
        six = written is F.relu6 or clamps
    # The addition comes first in the graph, so that it has been lifted to a FunctionCall by now.
    added = node.args[0] if six and node.args else None
    if not isinstance(added, fx.Node):
        return None
    call = root.get_submodule(str(added.target)) if added.op == "call_module" else None
    is_sum = isinstance(call, FunctionCall) and call.function in (torch.add, operator.add)
    if not is_sum or 3 not in added.args or len(added.args) != 2 or added.kwargs:
        return None
    x = added.args[0] if added.args[1] == 3 else added.args[1]
    return (HardGate(), (x,), {}) if isinstance(x, fx.Node) else None


def _about_shape(node: fx.Node) -> bool:
    """Return whether a node asks for what no number in a tensor changes: its shape, dtype or device."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "dtype", "device", "ndim", "layout")
    return node.op == "call_method" and node.target in (
        *("size", "dim", "ndimension", "numel", "stride", "is_floating_point", "element_size"),
        *("new_zeros", "new_ones", "new_full"),
    )


def _nodes_in(value: object) -> list[fx.Node]:
    if isinstance(value, fx.Node):
        return [value]
    return [node for part in value for node in _nodes_in(part)] if isinstance(value, (list, tuple)) else []


def _absent_arguments(graph: fx.Graph, module: nn.Module, taken: Collection[str]) -> dict[str, nn.Module]:
    """Have modules refuse arguments that are None now, where torch.fx calls what a saved recording cannot load."""
    made: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "_assert_is_none":
            argument = node.args[0]
            check = MustBeNone(str(argument.target).removesuffix("_1"))  # so torch.fx calls what is kept
            name = _free_name(module, check, (*taken, *made))
            node.op, node.target, node.args, node.kwargs = "call_module", name, (argument,), {}
            made[name] = check
    return made


@contextmanager
def _registered(module: nn.Module, others: Mapping[str, nn.Module]) -> Iterator[None]:
    """Have other modules registered in a module while the body runs."""
    try:
        for name, other in others.items():
            # No optimizer has ever seen them, as they are not among the parameters: fine-tuning must not begin to.
            module.add_module(name, other.requires_grad_(False))
        yield
    finally:
        for name in others:
            module._modules.pop(name, None)


def _free_name(root: nn.Module, call: nn.Module, taken: Collection[str] = ()) -> str:
    stem = (call.name if isinstance(call, FunctionCall) else type(call).__name__).lower().strip("_")
    number = 1
    while hasattr(root, f"{stem}_{number}") or f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"
