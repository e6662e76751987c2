"""Values into a model: all of them, or, when that fails, none.

Before the first value is written a snapshot is taken of every parameter and buffer, of the tensors and of their values:
a layer may write in place, or put new tensors in the place of its own. Whatever goes wrong, an interruption too, gives
back both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain

import torch
from torch import Tensor, nn

from captum_xg._core.text import first_ten, in_one_line
from captum_xg.errors import CheckpointError


def write_values(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Set the parameters and buffers of a model, by the names of its ``state_dict``; its device and dtype stay.

    Raises:
        CheckpointError: If a value cannot be set, or two names stand for one memory in the model and for different
            values in the file. The model is then as it was.
    """
    state = model.state_dict()
    # Tensors that were made in inference mode may be changed in it only.
    inference = any(state[name].is_inference() for name in tensors)
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
    held: list[MutableMapping[str, Tensor | None]] = []
    for module in model.modules():
        held += [module._parameters, module._buffers]  # type: ignore[list-item]  # parameters are tensors
    before = [dict(group) for group in held]
    tensors = {id(t): t for t in chain.from_iterable(group.values() for group in before) if t is not None}
    values = {key: tensor.detach().clone() for key, tensor in tensors.items()}
    try:
        yield
    except BaseException:
        for group, own in zip(held, before, strict=True):
            if len(group) != len(own) or any(group.get(name) is not tensor for name, tensor in own.items()):
                for name in list(group):  # not by clear(), which those of scripted modules do not have
                    del group[name]
                group.update(own)
        with torch.no_grad():
            for key, tensor in tensors.items():
                with suppress(Exception):  # one that cannot be written to has not been
                    tensor.copy_(values[key])
        raise


def _require_own_values(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise unless names that share memory in the model have the values that the file gives for them."""
    state = model.state_dict()
    groups: dict[int, list[str]] = {}
    for name in tensors:
        with suppress(Exception):  # sparse tensors and some subclasses have no memory of their own
            if address := state[name].untyped_storage().data_ptr():
                groups.setdefault(address, []).append(name)
    for names in groups.values():
        odd = [name for name in names if len(names) > 1 and not _same(state[name], tensors[name])]
        if odd:
            raise CheckpointError(
                f"load_checkpoint: {', '.join(first_ten(names))} share their numbers in this {type(model).__name__}, "
                f"but differ in {source} ({', '.join(first_ten(odd))}). The model is unchanged. Build it without "
                "shared parameters, or take a checkpoint of a model that shares them."
            )


def _same(own: Tensor, given: Tensor) -> bool:
    given = given.to(own)
    return bool(((own == given) | (own.isnan() & given.isnan())).all())
