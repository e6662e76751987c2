"""Notices values that leave PyTorch: what Python or NumPy computes from them cannot be followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from captum_xg._core.operations import tensors_in
from captum_xg.homogeneity.certificate.tracer import Tracer
from captum_xg.homogeneity.degree import Reason

_LEAVING = frozenset(
    {
        "numpy",
        "tolist",
        "__array__",
        "__dlpack__",
        "untyped_storage",
        "storage",
        "data_ptr",
        "_typed_storage",
        "apply_",
        "map_",
        "map2_",
        "__repr__",
        "__str__",
        "__format__",
        "__deepcopy__",
        "__reduce_ex__",
        "to_dlpack",
        "_to_dlpack",
    }
)
_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
_GET_DATA = Tensor.data.__get__  # type: ignore[attr-defined]
_GRAD_FN = Tensor.grad_fn.__get__  # type: ignore[union-attr]
_FROM_PYTHON = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor, torch.sparse_coo_tensor, Tensor.new)
_HOOKING = frozenset({"register_hook", "register_post_accumulate_grad_hook"})


class Escapes(TorchFunctionMode):
    """Tells a tracer when values of the input leave PyTorch, or hooks may change their gradient.

    Args:
        tracer: Knows which tensors depend on the input.
    """

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __enter__(self) -> Escapes:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._tracer.function_modes = torch._C._len_torch_function_stack()
        return self

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if (name in _LEAVING or name in _HOOKING) and args and isinstance(args[0], Tensor):
            for tensor in tensors_in([*args, *(kwargs or {}).values()]):
                self._notice(name, tensor)
        elif name == "tensor_split":  # at places that a tensor says, which are read without any operation
            for tensor in tensors_in([*args[1:], *(kwargs or {}).values()]):
                self._notice(name, tensor)
        elif func == _GRAD_FN:
            self._notice("register_hook", args[0])
        elif func in _FROM_PYTHON:
            for value in [*args, *(kwargs or {}).values()]:
                if isinstance(value, (list, tuple)):
                    for tensor in tensors_in([value]):
                        self._notice(name, tensor)
        elif func == _SET_DATA:
            for tensor in args[:2]:
                self._notice("data", tensor)
        result = func(*args, **(kwargs or {}))
        if func == _GET_DATA:
            self._tracer.unversioned[result] = True
        return result

    def _notice(self, name: str, tensor: Tensor) -> None:
        scaling = self._tracer.shadows.palette.together(self._tracer.shadows.read(tensor))
        if not scaling.depends_on_input:
            self._tracer.facts.read(tensor)
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
        self._tracer.escapes.append(self._tracer.located(Reason(what, remedy, kind="unknown"), f"Tensor.{name}"))
