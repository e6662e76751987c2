"""Functions and operators that are called inside a forward, turned into modules, so that they can be replaced."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import fx, nn

from captum_xg.xdnn.layers import Clamp, HardGate, MustBeNone
from captum_xg.xdnn.registry import find_conversion


def _dropping(layer: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return what makes a layer that drops in training mode of the arguments of the function."""

    def make(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
        if training:  # the flag is what ``self.training`` was when it was recorded
            raise TypeError("drops in evaluation mode as well")
        return layer(p, inplace)

    return make


_AS_LAYER: dict[Any, Callable[..., nn.Module]] = {
    F.relu6: nn.ReLU6,
    F.hardtanh: nn.Hardtanh,
    F.gelu: nn.GELU,
    F.silu: nn.SiLU,
    F.hardswish: nn.Hardswish,
    F.mish: nn.Mish,
    F.softplus: nn.Softplus,
    F.threshold: nn.Threshold,
    F.elu: nn.ELU,
    F.celu: nn.CELU,
    F.selu: nn.SELU,
    F.softsign: nn.Softsign,
    F.glu: nn.GLU,
    F.hardsigmoid: nn.Hardsigmoid,
    F.sigmoid: nn.Sigmoid,
    F.tanh: nn.Tanh,
    torch.selu: nn.SELU,
    torch.celu: nn.CELU,
    torch.sigmoid: nn.Sigmoid,
    torch.tanh: nn.Tanh,
    F.dropout: _dropping(nn.Dropout),
    F.dropout1d: _dropping(nn.Dropout1d),
    F.dropout2d: _dropping(nn.Dropout2d),
    F.dropout3d: _dropping(nn.Dropout3d),
    torch.clamp: Clamp,
    torch.clip: Clamp,
}
"""Functions whose further arguments are those of a layer, in the same order."""

_SAME: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    **{
        getattr(torch.Tensor, name): getattr(torch, name.removesuffix("_"))
        for name in ("add", "add_", "sub", "sub_", "clamp", "clip", "sigmoid", "tanh")
    },
    torch.subtract: torch.sub,
    torch.special.expit: torch.sigmoid,
}
"""Functions that are another one by another name, or in place."""


class FunctionCall(nn.Module):
    """A call of a function, as a module of its own.

    Args:
        function: The function.
        constants: Positions and names of those arguments that do not depend on the model's input.
        literals: What is known of these already: numbers, None and the like, not tensors.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        constants: frozenset[int | str] = frozenset(),
        literals: Mapping[int | str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.literals = dict(literals or {})
        self.function = _SAME.get(function, function)
        self.constants = constants
        self._as_written = function

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", self.function))

    def literal(self, position: int, name: str, default: Any) -> Any:
        """Return an argument, or a default if it was not passed or is only known when the model runs."""
        return self.literals.get(position, self.literals.get(name, default))

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return what the function returns."""
        return self._as_written(*arguments, **named)

    def extra_repr(self) -> str:
        """Return the function's name."""
        return self.name


class _OneLevel(fx.Tracer):
    """Records the forward of one module; the modules inside of it stay calls.

    Attributes:
        unregistered: Modules that are called in the forward but are none of the module's, by the name they are given:
            made there, or kept in a plain list.
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
            for name, known in self.unregistered.items():
                if known is mod:
                    return name
            name = _free_name(self.root, mod, self.unregistered)
            self.unregistered[name] = mod
            return name


def lift_calls(module: nn.Module, passed: Collection[str]) -> tuple[fx.GraphModule, list[str]] | None:
    """Return a copy of a module in which calls of convertible functions are modules, and their names.

    So are modules that its forward makes. Modules inside of it and parameters are the same objects. Returns None if
    there are no such calls.

    Args:
        module: A module with a forward of its own.
        passed: The arguments that it is called with. The others keep their defaults, which branches may ask about.

    Raises:
        Exception: Whatever torch.fx raises on what it cannot record, such as branches on values.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    kept = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in passed}
    tracer = _OneLevel()
    graph = tracer.trace(module, concrete_args=kept or None)
    with _registered(module, {**tracer.unregistered, **_absent_arguments(graph, module, tracer.unregistered)}):
        root = fx.GraphModule(module, graph, class_name=type(module).__name__)
    root.train(module.training)
    for name, value in vars(module).items():  # which code outside of it may read: sizes, names, scales
        if not name.startswith("_"):
            vars(root).setdefault(name, value)
    dependent: set[fx.Node] = set()
    lifted = list(tracer.unregistered)
    for node in list(root.graph.nodes):
        inputs = [argument for argument in node.all_input_nodes if argument in dependent]
        given = node.op == "placeholder" and node.target not in kept
        if given or (inputs and not _about_shape(node)):
            dependent.add(node)
        if not inputs:
            continue
        made = _hard_gate(node, root)
        if made is None and node.op in ("call_function", "call_method"):
            made = _as_module(node, dependent)
        if made is None:
            continue
        call, arguments, named = made
        name = _free_name(root, call)
        call.train(module.training)
        root.add_submodule(name, call)
        node.op, node.target, node.args, node.kwargs = "call_module", name, arguments, named
        lifted.append(name)
    if not lifted:
        return None
    for node in reversed(root.graph.nodes):  # additions that went into hard gates
        if (
            node.op == "call_module"
            and not node.users
            and isinstance(root.get_submodule(str(node.target)), FunctionCall)
        ):
            root.graph.erase_node(node)
    root.graph.lint()
    root.recompile()
    return root, lifted


def inline_calls(root: fx.GraphModule, names: list[str]) -> None:
    """Turn those of the lifted calls that nothing was put in the place of back into calls of functions."""
    modules = dict(root.named_modules())
    for node in root.graph.nodes:
        if node.op == "call_module" and node.target in names and isinstance(modules[node.target], FunctionCall):
            node.op, node.target = "call_function", modules[node.target]._as_written
    root.delete_all_unused_submodules()
    root.recompile()


_Made: TypeAlias = "tuple[nn.Module, tuple[Any, ...], dict[str, Any]]"


def _as_module(node: fx.Node, dependent: set[fx.Node]) -> _Made | None:
    """Return a module that does what a node does, and what it is called with; None if no conversion could want it."""
    written = getattr(torch.Tensor, node.target, None) if isinstance(node.target, str) else node.target
    function = _SAME.get(written, written)
    if function in _AS_LAYER:
        options = dict(node.kwargs)
        x, *further = node.args or (options.pop("input", None),)
        in_place = isinstance(node.target, str) and node.target.endswith("_")
        if in_place or not isinstance(x, fx.Node) or _nodes_in([*further, *options.values()]):
            return None
        try:
            return _AS_LAYER[function](*further, **options), (x,), {}
        except TypeError:  # arguments that the layer does not take
            return None
    if written is None or function is None or find_conversion(function) is None:
        return None
    pairs: list[tuple[int | str, Any]] = [*enumerate(node.args), *node.kwargs.items()]
    constants = frozenset(key for key, value in pairs if not any(n in dependent for n in _nodes_in(value)))
    literals = {key: value for key, value in pairs if not _nodes_in(value)}
    return FunctionCall(written, constants, literals), node.args, dict(node.kwargs)


def _hard_gate(node: fx.Node, root: nn.Module) -> _Made | None:
    """Return a module for relu6(x + 3), and x, if that is what a node does: a hard sigmoid written by hand."""
    module = root.get_submodule(str(node.target)) if node.op == "call_module" else None
    written = getattr(torch.Tensor, str(node.target), None) if node.op == "call_method" else node.target
    bounds = (*node.args[1:], *(value for name, value in node.kwargs.items() if name != "inplace"))
    six = (
        type(module) is nn.ReLU6
        or (node.op != "call_module" and written is F.relu6)
        or (node.op != "call_module" and _SAME.get(written, written) in (torch.clamp, F.hardtanh) and bounds == (0, 6))
    )
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


def _nodes_in(value: Any) -> list[fx.Node]:
    if isinstance(value, fx.Node):
        return [value]
    if isinstance(value, (list, tuple)):
        return [node for part in value for node in _nodes_in(part)]
    return []


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
    """Have other modules registered in a module while the body runs. No step of training has ever reached them."""
    try:
        for name, other in others.items():
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
