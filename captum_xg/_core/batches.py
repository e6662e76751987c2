"""Batches of a data loader: taken apart, moved to a device, and named in whatever error comes of one."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from captum_xg._core.types import ForwardFunction
from captum_xg.errors import InputError, OptionTypeError

TARGET_NAMES = ("target", "targets", "label", "labels", "y")
"""What the entry with the target is called in batches whose entries have names."""
ADDITIONAL_NAME = "additional_forward_args"
FORMS = "(inputs, target) or (inputs, target, additional_forward_args)"


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a batch consists of.

    Attributes:
        inputs: What the model is called with: one thing, or a tuple of them; None if they have names.
        target: None if there is none.
        additional: What follows the inputs in a call; None if nothing does.
        labelled: Whether there is a target.
        named: The inputs by the names of the model's arguments, where it is called by them.
    """

    inputs: object
    target: object
    additional: object
    labelled: bool
    named: Mapping[str, object] = dataclasses.field(default_factory=dict)

    @property
    def arguments(self) -> tuple[object, ...]:
        """What the model is called with by position."""
        several = self.inputs if isinstance(self.inputs, tuple) else () if self.named else (self.inputs,)
        if self.additional is None:
            return several
        return (*several, *(self.additional if isinstance(self.additional, tuple) else (self.additional,)))


def taken_apart(batch: object, where: str, *, accepts: Callable[[str], bool] | None = None) -> Parts:
    """Return the parts of a batch, which may be a tensor, a tuple, a list, a named tuple, a dict or a dataclass.

    A tensor is inputs alone. Tuples and lists are ``(inputs, target, additional_forward_args)`` in this order, the last
    of which may be missing, and several inputs are a tuple or list. In dicts and dataclasses the target is the entry
    of that name (:data:`TARGET_NAMES`), and what else there is is the input, but for entries without tensors, such as
    file names; a named tuple is taken by its names where its target is elsewhere than in the second place.

    Args:
        batch: What the loader gives.
        where: What messages begin with.
        accepts: Whether the model can be called with an argument of that name; it then is, where a batch has several
            inputs with names. None where inputs must be in an order.

    Raises:
        InputError: If it has another form, or nothing says which entries are inputs.
    """
    if isinstance(batch, Tensor):
        return Parts(batch, None, None, labelled=False)
    entries = _entries(batch)
    if entries is not None:
        return _by_name(entries, type(batch).__name__, where, accepts)
    if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 3:
        kind = type(batch).__name__
        found = f"a {kind} of {len(batch)}" if isinstance(batch, (tuple, list)) else f"of type {kind}"
        remedy = "A collate_fn of the DataLoader can bring batches into this form."
        if hasattr(batch, "keys"):  # a graph, whose loader has a collate_fn of its own
            remedy = "Take its parts out: [(b.x, b.y, b.edge_index) for b in loader], for example."
        raise InputError(
            f"{where}: the batch is {found}; it must be {FORMS}. Several inputs are a tuple in the first place. "
            f"{remedy}"
        )
    inputs, target, additional = (*batch, None, None)[:3]
    return Parts(_as_tuple(inputs), target, _as_tuple(additional), labelled=len(batch) > 1)


def inputs_of_example(example: object, n: int, where: str) -> tuple[object, ...]:
    """Return the ``n`` inputs of one example of a dataset, which begins with them, has them in a tuple, or by names."""
    if _entries(example) is not None:
        found = taken_apart(example, where).inputs
        return found if isinstance(found, tuple) else (found,)
    if not isinstance(example, (tuple, list)) or not example:
        return (example,)
    return tuple(example[0]) if isinstance(example[0], (tuple, list)) else tuple(example[:n])


def moved(value: Any, device: torch.device | None) -> Any:  # noqa: PLR0911  one return for each kind of container
    """Return a batch, or a part of one, with its tensors on a device and in the containers they were in."""
    if device is None:
        return value
    if isinstance(value, Tensor):
        return value.to(device)
    to = getattr(value, "to", None)
    if callable(to) and not isinstance(value, type):  # packed sequences, encodings of a tokenizer, graphs
        return to(device)
    if isinstance(value, (tuple, list)):
        parts = [moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, MutableMapping):
        other = copy.copy(value)
        for key, part in value.items():
            other[key] = moved(part, device)
        return other
    if isinstance(value, Mapping):
        return {key: moved(part, device) for key, part in value.items()}
    if _is_record(value):
        other = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(other, field.name, moved(getattr(value, field.name), device))
        return other
    return value


def numbered(loader: Iterable[object], where: str) -> Iterator[tuple[int, object]]:
    """Yield the batches of a loader with their indices, which an error of the loader itself tells."""
    index = 0
    with naming_batch(index, where):
        iterator = iter(loader)
    while True:
        with naming_batch(index, where):
            try:
                batch = next(iterator)
            except StopIteration:
                return
        yield index, batch
        index += 1


def require_fitting_call(function: ForwardFunction, parts: Parts, where: str) -> None:
    """Refuse additional arguments that a model has no place for, such as the indices of the examples.

    Raises:
        InputError: Saying what the third part of a batch is.
    """
    if parts.additional is None:
        return
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # of C, without a signature
        return
    try:
        signature.bind(*parts.arguments, **parts.named)
    except TypeError as error:
        raise InputError(
            f"{where}: the third part of a batch is additional_forward_args, what the model is called with behind the "
            f"inputs, and this model is not called so: {error}. Let the loader give (inputs, target)."
        ) from None


@contextmanager
def naming_batch(index: int, where: str) -> Iterator[None]:
    """Let every error from in here say which batch it came up in. It stays the error it is, class and all."""
    try:
        yield
    except Exception as error:
        _name_batch(error, f"{where}, batch {index}", where)
        raise


def require_batches(loader: object, where: str, name: str = "loader") -> None:
    """Refuse what is not an iterable of batches: a dataset, a batch in place of batches, a model.

    Raises:
        OptionTypeError: Saying what to pass.
    """
    what = _mistaken(loader)
    if what is not None:
        raise OptionTypeError(f"{where}: `{name}` {what}")


def _mistaken(loader: Any) -> str | None:
    if isinstance(loader, type):
        return f"is the class {loader.__name__}. Pass an instance."
    iterable = hasattr(loader, "__iter__")
    if isinstance(loader, Dataset) and not iterable:
        return (
            f"is a dataset ({type(loader).__name__}), which gives single examples. Wrap it: torch.utils.data."
            "DataLoader(dataset, batch_size=…), with batch_size=None if its items are batches."
        )
    named = isinstance(loader, Mapping) or (hasattr(loader, "keys") and hasattr(loader, "to"))  # such as a graph
    if named or (_is_record(loader) and not iterable) or _is_one_batch(loader):
        return "is one batch and not a sequence of batches. Pass a list of it: [(inputs, target)]."
    if _is_array(loader):
        return (
            f"is of type {type(loader).__name__}, of shape {tuple(loader.shape)}. Pass a DataLoader, or a list of "
            "batches: [(inputs, target)]."
        )
    if isinstance(loader, (str, bytes, nn.Module)) or not iterable:
        call = " If it is a function that makes them, call it." if callable(loader) else ""
        return f"must be an iterable of batches, such as a DataLoader, but is {type(loader).__name__}.{call}"
    return None


def _is_one_batch(loader: object) -> bool:
    """Return whether a tuple or list looks like (inputs, target), and not like batches of inputs alone."""
    if isinstance(loader, tuple) and hasattr(loader, "_fields"):
        return True
    if not isinstance(loader, (tuple, list)) or not 2 <= len(loader) <= 3:
        return False
    first, second = loader[0], loader[1]
    if isinstance(first, (tuple, list)):
        return bool(first) and all(map(_is_array, first)) and _is_array(second)
    if not _is_array(first) or not _is_array(second):
        return _is_array(first) and second is not None and not hasattr(second, "keys")
    return len(first.shape) != len(second.shape) or first.dtype != second.dtype


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_record(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _entries(batch: Any) -> dict[str, object] | None:
    """Return the entries of a batch that is to be taken by their names; None for one taken by their order."""
    if isinstance(batch, Mapping):
        return {str(key): value for key, value in batch.items()}
    if _is_record(batch):
        return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    fields: tuple[str, ...] = getattr(batch, "_fields", ()) if isinstance(batch, tuple) else ()
    targets = [place for place, field in enumerate(fields) if field.lower() in TARGET_NAMES]
    return dict(zip(fields, batch, strict=True)) if targets and targets != [1] else None


def _by_name(entries: dict[str, object], kind: str, where: str, accepts: Callable[[str], bool] | None) -> Parts:
    present = {name: value for name, value in entries.items() if value is not None}
    targets = [name for name in present if name.lower() in TARGET_NAMES]
    inputs = {n: _as_tuple(v) for n, v in present.items() if n not in targets and n != ADDITIONAL_NAME}
    target = present[targets[0]] if targets else None
    additional = _as_tuple(present.get(ADDITIONAL_NAME))
    if len(targets) <= 1:
        if len(inputs) > 1 and additional is None and accepts is not None and all(map(accepts, inputs)):
            return Parts(None, target, additional, bool(targets), inputs)
        tensors = [value for value in inputs.values() if _has_tensor(value)]
        if len(inputs) == 1 or len(tensors) == 1:
            return Parts(tensors[0] if tensors else next(iter(inputs.values())), target, additional, bool(targets))
    listed = ", ".join(map(repr, entries)) or "nothing"
    if len(targets) > 1:
        problem = f"so that {' and '.join(map(repr, targets))} may be the target"
    elif not inputs:
        problem = "none of which are inputs"
    else:
        of_model = "" if accepts is None else ", and the model has no arguments of all these names"
        problem = f"and nothing says which of {', '.join(map(repr, inputs))} the inputs are{of_model}"
    raise InputError(
        f"{where}: the batch is a {kind} with {listed}, {problem}. Let the loader give {FORMS}, for example by a "
        "collate_fn of the DataLoader."
    )


def _has_tensor(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_has_tensor, value))
    return isinstance(value, Tensor)


def _as_tuple(value: object) -> Any:
    """Return a list as the tuple that it was before PyTorch collated it."""
    return tuple(value) if isinstance(value, list) else value


def _name_batch(error: Exception, name: str, where: str) -> None:
    text = str(error)
    notes: list[str] = getattr(error, "__notes__", [])
    if name in text or name in notes:
        return
    before = error.args
    said = text.removeprefix(f"{where}: ").removeprefix(f"{where.partition(',')[0]}: ") or type(error).__name__
    error.args = (f"{name}: {said}",)
    if name not in str(error):  # its text is made of something else than its arguments
        error.args = before
        if hasattr(error, "add_note"):
            error.add_note(name)
