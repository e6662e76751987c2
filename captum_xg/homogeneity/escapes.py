"""Notices values that leave PyTorch: what Python or NumPy computes from them cannot be followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from captum_xg.homogeneity.degree import Reason
from captum_xg.homogeneity.tracer import Tracer

_LEAVING = frozenset(
    {"numpy", "tolist", "__array__", "__dlpack__", "untyped_storage", "storage", "data_ptr", "_typed_storage"}
)
_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
_HOOKING = frozenset({"register_hook", "register_post_accumulate_grad_hook"})


class Escapes(TorchFunctionMode):
    """Tells a tracer when values of the input leave PyTorch, or hooks may change their gradient.

    Args:
        tracer: Knows which tensors depend on the input.
    """

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if (name in _LEAVING or name in _HOOKING) and args and isinstance(args[0], Tensor):
            self._notice(name, args[0])
        elif func == _SET_DATA:
            for tensor in args[:2]:
                self._notice("data", tensor)
        return func(*args, **(kwargs or {}))

    def _notice(self, name: str, tensor: Tensor) -> None:
        scaling = self._tracer.shadows.palette.together(self._tracer.shadows.read(tensor))
        if not scaling.depends_on_input:
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
