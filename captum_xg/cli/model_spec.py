"""Models that are named on the command line: ``module:factory``, ``path/file.py:factory`` and ``torchvision:NAME``.

A TARGET that names no model is refused with what was looked for, where, and what could be meant: ``net.py:XDn`` with
"Did you mean XDnn?". Nothing is downloaded, and nothing is guessed where several things could be the model.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import torch
from torch import nn

from captum_xg.cli.candidates import candidates_in, needs_no_arguments
from captum_xg.cli.foreign_code import FORMS, file_at, module_named, running
from captum_xg.errors import OptionError

Model: TypeAlias = Callable[..., object]


def load_target(text: str) -> Model:
    """Return the model that TARGET names.

    A factory is a callable without arguments that returns a model, a module class that needs no arguments, or a module.
    Of a file without a factory, the only one of these that it defines is taken.

    Args:
        text: ``module:factory`` (the current directory can be imported from), ``path/to/file.py:factory``,
            ``path/to/file.py`` or ``torchvision:NAME``, which has random weights.

    Raises:
        FileError: If there is no such file.
        OptionError: If there is no such module, factory or architecture, if the choice is not clear, or if importing or
            building fails.
    """
    if text.startswith("torchvision:"):
        return _torchvision(text.removeprefix("torchvision:"))
    if match := re.fullmatch(r"(.*\.py)(?::([^:]*))?", text):
        module, factory = file_at(Path(match[1]), text), match[2]
        if factory is None:
            return _only_model(module, text)
    else:
        name, _, factory = text.partition(":")
        if not name or not factory:
            raise OptionError(f"TARGET {text!r} does not say where the model is. {FORMS}")
        module = module_named(name, text)
    try:
        value = attrgetter(factory)(module)
    except AttributeError as error:
        names = [name for name in dir(error.obj) if not name.startswith("_")]
        offered = difflib.get_close_matches(str(error.name), names, n=5, cutoff=0.5) or sorted(candidates_in(module))
        meant = f"Did you mean {', '.join(offered)}?" if offered else "Nothing in it looks like a model."
        raise OptionError(f"TARGET {text!r}: there is no {error.name!r} in {_shown(error.obj)}. {meant}") from None
    return _built(value, text)


def dtype_of(model: Model) -> torch.dtype:
    """Return the dtype of a model's numbers, and so of its inputs: float32 if it has none, or is a function."""
    parameters = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    return next((p.dtype for p in parameters if p.dtype.is_floating_point), torch.float32)


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    known = models.list_models()
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.5)
        meant = f"Did you mean {', '.join(close)}?" if close else "torchvision.models.list_models() lists them."
        raise OptionError(f"TARGET torchvision:{name}: torchvision has no model {name!r}. {meant}")
    options = {"weights": None}
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None  # they would be downloaded
    with running(f"torchvision:{name}", "building it"):
        model: nn.Module = models.get_model(name, **options)
    return model


def _only_model(module: ModuleType, text: str) -> nn.Module:
    candidates = candidates_in(module)
    if not candidates:
        raise OptionError(
            f"TARGET {text!r}: it defines no module, no module class that needs no arguments and no function without "
            "arguments that returns a module. Add one."
        )
    if len(candidates) > 1:
        listed = "".join(f"\n  {text}:{name}  ({kind})" for name, kind in candidates.items())
        raise OptionError(f"TARGET {text!r}: several things in it could be the model; name one:{listed}")
    (name,) = candidates
    model = _built(getattr(module, name), f"{text}:{name}")
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"TARGET {text!r}: the only candidate, {name}(), returns {type(model).__name__} and not a module. Name "
            f"what to use: {text}:NAME."
        )
    return model


def _built(value: object, text: str) -> Model:
    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        raise OptionError(
            f"TARGET {text!r} is {_shown(value)}, not a model and not a function or class that makes one. {FORMS}"
        )
    if not needs_no_arguments(value):
        raise OptionError(
            f"TARGET {text!r} takes arguments, so it cannot be called to make the model. Write a function without "
            "arguments that returns the model (or the forward function), and name that."
        )
    with running(text, "building the model"):
        model = value()
    if not callable(model):
        raise OptionError(f"TARGET {text!r} returns {type(model).__name__}, not a model or any other callable.")
    return model  # type: ignore[no-any-return]


def _shown(value: object) -> str:
    if isinstance(value, ModuleType):
        return value.__file__ or value.__name__
    return f"a {type(value).__name__}"
