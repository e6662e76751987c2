"""Values into a model: all of them, or, when that fails, none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.text import first_ten, in_one_line
from captum_xg.errors import CheckpointError


def write_values(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Set parameters and buffers of a model, whose shapes they have.

    Args:
        model: The network; its device and dtype stay.
        tensors: Values by the names of its ``state_dict``.
        source: Where they come from, for messages.

    Raises:
        CheckpointError: If a value cannot be set, or two names stand for one memory in the model and for different
            values in the file. The model is then as it was.
    """
    state = model.state_dict()
    own = {name: state[name] for name in tensors}
    # Tensors that were made in inference mode may be changed in it only.
    inference = any(tensor.is_inference() for tensor in own.values())
    with torch.inference_mode() if inference else nullcontext(), _all_or_nothing(model):
        try:
            model.load_state_dict(dict(tensors), strict=False)
        except Exception as error:  # copy_ and hooks of a user's classes raise what they like
            raise CheckpointError(
                f"load_checkpoint: {source} could not be written to this {type(model).__name__}, which is unchanged: "
                f"{in_one_line(error)}"
            ) from error
        _require_own_values(model, tensors, source)


@contextmanager
def _all_or_nothing(model: nn.Module) -> Iterator[None]:
    """Give a model back its tensors and their values if what is done within is not finished."""
    held = [group for module in model.modules() for group in (module._parameters, module._buffers)]
    tensors = [dict(group) for group in held]
    values = {id(t): (t, t.detach().clone()) for group in tensors for t in group.values() if t is not None}
    try:
        yield
    except BaseException:
        for group, before in zip(held, tensors, strict=True):
            _restore(group, before)
        with torch.no_grad():
            for tensor, value in values.values():
                with suppress(Exception):  # one that cannot be written to has not been
                    tensor.copy_(value)
        raise


def _restore(group: MutableMapping[str, Any], before: Mapping[str, Any]) -> None:
    if any(group.get(name) is not tensor for name, tensor in before.items()) or len(group) != len(before):
        for name in list(group):
            del group[name]
        group.update(before)


def _require_own_values(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise unless names that share memory in the model have the values that the file gives for them."""
    state = model.state_dict()
    groups: dict[int, list[str]] = {}
    for name in tensors:
        with suppress(Exception):  # sparse tensors and some subclasses have no memory of their own
            if address := state[name].untyped_storage().data_ptr():
                groups.setdefault(address, []).append(name)
    for names in groups.values():
        if len(names) < 2:
            continue
        odd = [name for name in names if not _same(state[name], tensors[name])]
        if odd:
            raise CheckpointError(
                f"load_checkpoint: {', '.join(first_ten(names))} share their numbers in this {type(model).__name__}, "
                f"but differ in {source} ({', '.join(first_ten(odd))}). The model is unchanged. Build it without "
                "shared parameters, or take a checkpoint of a model that shares them."
            )


def _same(own: Tensor, given: Tensor) -> bool:
    given = given.to(own)
    return bool(((own == given) | (own.isnan() & given.isnan())).all())
