"""Leaks: values that leave PyTorch, and effects that its operations do not show.

What Python, NumPy or C++ computes from a number cannot be followed, so a leak of what depends on the input makes every
verdict unknown. A leak of a constant is harmless as long as the constant stays what it is, and becomes an assumption.
:class:`Leaks` watches twice: as an observer it sees operations that hand values to Python (``.item()``, branches,
shapes that depend on values), as a function mode the ways that need no operation (``.numpy()``, ``.data_ptr()``).

Example: ``x if x.sum() > 0 else -x`` runs ``_local_scalar_dense``, which returns a Python number: one branch was taken,
and nothing is known of the other.

What must never happen: something reads a value of the input unseen. Every call from Python passes the function mode;
an operation that reaches the recorder while the mode is in force was not called by Python, and is opaque.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from captum_xg._core.autograd_graph import saved_tensors_are_changed
from captum_xg._core.operations import tensors_in
from captum_xg._core.recorder import Observer, OpEvent
from captum_xg.homogeneity.certificate.aliasing import Aliasing
from captum_xg.homogeneity.certificate.exported_memory import EXPORTS
from captum_xg.homogeneity.certificate.shadow_memory import Value
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.degree import Reason
from captum_xg.homogeneity.rules.reasons import DECIDES, NO_VALUES, PAST_PYTHON, SAVED, SHAPE, not_followed
from captum_xg.homogeneity.rules.schema import shape_deciding

_LEAVING = frozenset(
    {
        *("numpy", "tolist", "__array__", "__dlpack__", "to_dlpack", "_to_dlpack", "data_ptr"),
        *("untyped_storage", "storage", "_typed_storage", "apply_", "map_", "map2_"),
        *("__repr__", "__str__", "__format__", "__deepcopy__", "__reduce_ex__"),
    }
)
_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
_GET_DATA = Tensor.data.__get__  # type: ignore[attr-defined]
_GRAD_FN = Tensor.grad_fn.__get__  # type: ignore[union-attr]
_CUDA_ARRAY = Tensor.__cuda_array_interface__.__get__
_FROM_PYTHON = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor, torch.sparse_coo_tensor, Tensor.new)
_TORCH_FUNCTION = getattr(Tensor.__torch_function__, "__func__", None)
_HOOKING = frozenset({"register_hook", "register_post_accumulate_grad_hook"})
_WATCHED = frozenset(
    {
        *_LEAVING,
        *_HOOKING,
        *("tensor_split", "one_hot", ""),
        *(function.__name__ for function in (*_FROM_PYTHON, _SET_DATA, _GET_DATA, _GRAD_FN, _CUDA_ARRAY)),
    }
)
"""The names of all calls that are looked at; those of attributes are those of their getters."""


class Leaks(TorchFunctionMode, Observer):
    """Notes values of the input that leave PyTorch, hooks that may change its gradient, and what is not followed."""

    def __init__(self, trace: Trace, aliasing: Aliasing) -> None:
        super().__init__()
        self._trace = trace
        self._aliasing = aliasing
        self._n_modes = sys.maxsize
        self._changes_saved = False
        self._only_checked = False

    def __enter__(self) -> Leaks:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._n_modes = torch._C._len_torch_function_stack()
        return self

    def before(self, event: OpEvent) -> None:
        """Notice operations of which only the outside is seen, and tensors without numbers of their own."""
        if event.takes_functions:
            self._trace.opaque = self._trace.located(not_followed(event.name))
        elif torch._C._len_torch_function_stack() >= self._n_modes and not _only_views(event.op):
            # Each mode is out of force while it handles a call from Python, and so is this one.
            self._trace.opaque = self._trace.located(PAST_PYTHON, "")  # one finding for all of a script
        if self._trace.opaque is not None:
            self._trace.note(self._trace.opaque)  # it may also write to tensors that are not among its arguments
            return
        for tensor in event.tensors:
            if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
                what = f"works on {type(tensor).__name__}, a kind of tensor with operations of its own"
                self._trace.note(Reason(what, "Use plain tensors", kind="unknown"))
        if not self._changes_saved and saved_tensors_are_changed():
            self._changes_saved = True
            self._trace.note(SAVED)

    def after(self, event: OpEvent) -> None:
        """Notice numbers that come out of what has none; of sizes alone, which stay there, nothing is said."""
        from_meta = self._trace.opaque is None and any(tensor.is_meta for tensor in event.tensors)
        if from_meta and not all(result.is_meta for result in event.results):
            self._trace.note(NO_VALUES)

    def note_reading(self, tensors: Iterable[Tensor], values: Mapping[int, Value]) -> None:
        """Notice that Python reads numbers that an operation returns."""
        self._read(DECIDES, tensors, values)

    def note_shape(self, event: OpEvent, values: Mapping[int, Value]) -> None:
        """Notice a shape that depends on values: Python reads it without any operation."""
        if not event.takes_functions and (deciding := shape_deciding(event.op, event.arguments)):
            self._read(SHAPE, deciding, values)

    def _read(self, why: Reason, tensors: Iterable[Tensor], values: Mapping[int, Value]) -> None:
        tensors = list(tensors)
        read = [self._trace.shadows.interned.join(values[id(tensor)]) for tensor in tensors]
        if self._only_checked and all(scaling.proven for scaling in read):
            return
        if any(scaling.depends_on_input or scaling.reasons for scaling in read):
            self._trace.note(why)
            return
        for tensor in tensors:
            self._trace.assumptions.read(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        given = [*args, *kwargs.values()]
        if name in _WATCHED:  # few calls
            self._note_call(name, func, args, kwargs)
        self._aliasing.exported.look_at(tensors_in(given), closely=_writes(name, kwargs))
        # Looks at the indices to see that there are as many classes, and else raises.
        self._only_checked = name == "one_hot" and _n_classes(args, kwargs) > 0
        try:
            result = self._called(func, tuple(cast("Iterable[type]", types)), args, kwargs)
        finally:
            self._only_checked = False
        if func == _GET_DATA:
            self._aliasing.note_unversioned(cast(Tensor, result))
        return result

    def _note_call(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Notice which tensors leave PyTorch by a call."""
        given = [*args, *kwargs.values()]
        leaving: Iterable[object] = ()
        if (name in _LEAVING or name in _HOOKING) and args and isinstance(args[0], Tensor):
            leaving = given
        elif name == "tensor_split":  # at places that a tensor says, which are read without any operation
            leaving = [*args[1:], *kwargs.values()]
        elif func == _GRAD_FN:  # its hooks
            name, leaving = "register_hook", args[:1]
        elif func in _FROM_PYTHON:
            leaving = [value for value in given if isinstance(value, (list, tuple))]
        elif func == _SET_DATA:
            name, leaving = "data", args[:2]
        elif func == _CUDA_ARRAY:
            name, leaving = "__cuda_array_interface__", args[:1]
        for tensor in tensors_in(leaving):
            self._note_leaving(name, tensor)
            if name in EXPORTS:
                self._aliasing.exported.note_export(tensor)

    def _called(
        self, func: Callable[..., Any], types: tuple[type, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> object:
        """Call a function, with this mode in force again wherever it calls what the user has written."""
        if torch._C._is_torch_function_enabled():
            for kind in types:
                if not _is_written(kind):
                    continue
                with self:
                    result = kind.__torch_function__(func, types, args, kwargs)  # type: ignore[attr-defined]
                if result is not NotImplemented:
                    return result
        if isinstance(func, FunctionType) and func.__name__ not in _HOOKING:
            args = tuple(map(self._followed, args))
            kwargs = {name: self._followed(value) for name, value in kwargs.items()}
        return func(*args, **kwargs)

    def _followed(self, value: Any) -> Any:
        """Return a function that is passed to one of PyTorch's, as one that is followed while that runs."""
        if isinstance(value, (Tensor, type)) or not callable(value):
            return value

        @wraps(value)
        def followed(*args: Any, **kwargs: Any) -> Any:
            with self:
                return value(*args, **kwargs)

        return followed

    def _note_leaving(self, name: str, tensor: Tensor) -> None:
        if not self._trace.shadows.depends(tensor):
            self._trace.assumptions.read(tensor)
            return
        if name in _HOOKING:
            what, remedy = "a hook on a tensor may change its gradient", "Remove the hook"
        elif name == "data":
            what, remedy = "replaces values behind autograd's back (tensor.data = …)", "Use a new tensor"
        else:
            what = (
                f"values that depend on the input leave PyTorch through .{name}, and what is done with them is not seen"
            )
            remedy = "Compute with tensors"
        self._trace.note(Reason(what, remedy, kind="unknown"), f"Tensor.{name}")


@lru_cache(maxsize=4096)
def _only_views(op: OpOverload) -> bool:
    """Return whether an operation only takes another view of its argument: C++ that calls it looks at no number."""
    aliases = [returned.alias_info for returned in op._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def _n_classes(args: tuple[object, ...], kwargs: Mapping[str, object]) -> int:
    number = kwargs.get("num_classes", args[1] if len(args) > 1 else -1)
    return number if isinstance(number, int) else -1


def _is_written(kind: type) -> bool:
    """Return whether a kind of argument has functions of its own in the place of PyTorch's."""
    handler = getattr(kind, "__torch_function__", None)
    own = getattr(handler, "__func__", handler)  # a class method is bound to each class anew
    return own not in (None, _TORCH_FUNCTION, torch._C._disabled_torch_function_impl)


def _writes(name: str, kwargs: Mapping[str, object]) -> bool:
    """Return whether a function of this name writes to its arguments."""
    in_place = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
    return in_place or name in ("__setitem__", "__set__") or kwargs.get("out") is not None
