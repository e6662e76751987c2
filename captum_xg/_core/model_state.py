"""Parameters and buffers of a model that hold something to compute with: memory, and finite numbers.

The invariant: no number is computed from a model before this is known of its tensors. Operations on tensors of the meta
device need not fail, they may return what happens to lie in memory; NaN in one weight may hide behind a ReLU. What is
infinite is not wrong by itself: observers begin at ±∞, and masks hold −∞.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from captum_xg._core.contents import entries
from captum_xg._core.inputs import all_finite
from captum_xg._core.modules import modules_of, modules_under, named_modules_of, tensors_referred_to
from captum_xg._core.reflection import is_tensor, own_attributes, plainly, tensors_of
from captum_xg._core.types import ForwardFunction
from captum_xg.errors import ModelStateError


def require_usable_state(forward_func: ForwardFunction, where: str, *, finite: bool = True) -> list[Tensor]:
    """Refuse parameters and buffers that hold nothing to compute with, before anything runs.

    None may be on the meta device or uninitialised. With ``finite``, parameters and the running statistics of norms
    must be finite as well. Other buffers may hold what they like, since it matters only where it is used: observers
    begin at ±∞, and masks hold −∞. So may parameters that are masks: not trained, not of a layer of torch.nn, and
    holding nothing but 0 and ±∞.

    Args:
        forward_func: A module, or any callable that refers to modules.
        where: The public name that errors begin with.
        finite: Look at the numbers, too. Without it no data is touched.

    Returns:
        The tensors that were looked through and are finite.

    Raises:
        ModelStateError: Naming at most ten of them.
    """
    known_finite: list[Tensor] = []
    # Plainly, since subclasses of tensors may answer even is_meta by code of their own.
    with plainly():
        found = [
            (f"{name} ({kind}): {problem[0]}", problem[1])
            for name, kind, module, tensor in _state_of(forward_func)
            if (problem := _unusable(name, kind, module, tensor, known_finite if finite else None)) is not None
        ]
    if found:
        listed = "".join(f"\n    {line}" for line, _ in found[:10])
        more = f"\n    … and {len(found) - 10} more" if len(found) > 10 else ""
        remedies = " ".join(dict.fromkeys(remedy for _, remedy in found))
        raise ModelStateError(
            f"{where}: tensors of the model hold nothing to compute with:{listed}{more}\n  {remedies} Nothing was run."
        )
    return known_finite


def _state_of(forward_func: ForwardFunction) -> Iterator[tuple[str, str, nn.Module | None, Tensor]]:
    """Yield each parameter, buffer and other tensor that F refers to, once, after its path, kind and module."""
    seen: set[int] = set()
    for path, module in named_modules_of(forward_func).values():
        own = own_attributes(module)
        if "_hf_hook" in own:  # accelerate keeps the weights elsewhere and brings them in for each call
            continue
        # Tensors in plain attributes, such as a list of anchors, are computed with like buffers.
        others = [("attribute", name, value) for name, value in own.items()]
        for kind, name, tensor in tensors_of(module) + others:
            if is_tensor(tensor) and id(tensor) not in seen:
                seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), kind, module, tensor
    for tensor in tensors_referred_to(forward_func):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield f"a tensor of shape {'×'.join(map(str, _shape(tensor)))}", "captured", None, tensor


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return () if is_lazy(tensor) or tensor.is_nested else tuple(tensor.shape)


def _unusable(
    name: str, kind: str, module: nn.Module | None, tensor: Tensor, finite: list[Tensor] | None
) -> tuple[str, str] | None:
    """Return what makes a tensor unusable, and what to do; None if nothing does.

    With a list ``finite`` its numbers are looked at as well, and it is added there if all are finite.
    """
    if is_lazy(tensor):
        return "not initialised, since its layer is lazy", "Lazy layers: run one batch first, model(x)."
    if tensor.is_meta:
        return (
            "on the meta device, without values",
            "The meta device: give the model memory with model.to_empty(device=…) and load its weights.",
        )
    # Means and variances of norms are as good as parameters: nothing may be NaN in them either.
    if finite is None or not (kind == "parameter" or name.endswith(("running_mean", "running_var"))):
        return None
    n_nan, n_infinite = not_finite(tensor)
    if not n_nan and not n_infinite:
        finite.append(tensor)
        return None
    if kind == "parameter" and _is_mask(module, tensor):
        return None
    counts = " and ".join(f"{n} {what}" for n, what in ((n_nan, "NaN"), (n_infinite, "infinite")) if n)
    return f"{counts} of {tensor.numel()} entries", "NaN and infinity: load weights from before the training diverged."


def spoilt_state(forward_func: ForwardFunction) -> list[str]:
    """Return the names of the parameters, buffers and other tensors that F refers to with NaN or infinity in them."""
    with plainly():
        return [f"{name} ({kind})" for name, kind, _, tensor in _state_of(forward_func) if not_finite(tensor) != (0, 0)]


def _is_mask(module: nn.Module | None, parameter: Tensor) -> bool:
    """Return whether a parameter with infinities is meant to have them: it has no other numbers but 0."""
    # PyTorch's own layers have no masks, and a parameter that is trained would be NaN after one step.
    if parameter.requires_grad or type(module).__module__.startswith("torch.nn."):
        return False
    return all(bool((values.isinf() | (values == 0)).all()) for values in entries(parameter) or ())


def not_finite(tensor: Tensor) -> tuple[int, int]:
    """Return how many entries are NaN and how many infinite, (0, 0) where it has no meaning: integers and the like."""
    n_nan = n_infinite = 0
    for values in entries(tensor) or ():
        try:
            if (values.dtype.is_floating_point or values.dtype.is_complex) and not all_finite(values):
                n_nan += int(values.isnan().sum())
                n_infinite += int(values.isinf().sum())
        except RuntimeError:  # dtypes of 4 and 8 bits, which have no such operations
            continue
    return n_nan, n_infinite


def require_memory(forward_func: ForwardFunction, where: str) -> None:
    """Refuse what :func:`require_usable_state` refuses without a look at the numbers, in a fraction of its time.

    Operations on tensors without memory need not fail: on a CPU they return what happens to lie there.

    Raises:
        ModelStateError: Naming parameters and buffers without memory.
    """
    if _lacks_memory(forward_func):
        require_usable_state(forward_func, where, finite=False)


def _without_memory(value: object) -> bool:
    return isinstance(value, Tensor) and (is_lazy(value) or value.is_meta)


def _lacks_memory(forward_func: ForwardFunction) -> bool:
    """Return whether a tensor that F refers to is without memory; True as well where that cannot be seen this way."""
    others: set[type] = set()
    try:
        if not isinstance(forward_func, nn.Module) and any(map(_without_memory, tensors_referred_to(forward_func))):
            return True
        for module in modules_under(modules_of(forward_func)):
            if any(map(_without_memory, (*module._parameters.values(), *module._buffers.values()))):
                return True
            # Classes first: the attributes of a module are many, and hardly any is a tensor.
            own = set(map(type, module.__dict__.values())) - others
            if any(issubclass(kind, Tensor) for kind in own):
                if any(map(_without_memory, module.__dict__.values())):
                    return True
            else:
                others |= own
    except Exception:  # other people's modules may be anything
        return True
    return False
