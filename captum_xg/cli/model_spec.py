"""Models that are named on the command line: ``module:factory``, ``path/file.py:factory`` and ``torchvision:NAME``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import torch
from torch import nn

from captum_xg._core.text import in_one_line
from captum_xg.errors import OptionError

_FORMS = "Write module:factory, path/to/file.py:factory or torchvision:NAME."


def load_target(text: str) -> Callable[..., Any]:
    """Return the model that TARGET names.

    A factory is a callable without arguments that returns a model, a module class that needs no arguments, or a module.
    Of a file without a factory, the only one of these that it defines is taken.

    Args:
        text: ``module:factory`` (the current directory can be imported from), ``path/to/file.py:factory``,
            ``path/to/file.py`` or ``torchvision:NAME``, which has random weights.

    Raises:
        OptionError: If there is no such module, file, factory or architecture, if the choice is not clear, or if
            importing or building fails.
    """
    if text.startswith("torchvision:"):
        return _torchvision(text.removeprefix("torchvision:"))
    if match := re.fullmatch(r"(.*\.py)(?::([^:]*))?", text):
        path, factory = Path(match[1]), match[2]
        module = _file(path, text)
        if factory is None:
            return _only_one(module, text)
    else:
        name, colon, factory = text.partition(":")
        if not colon or not name or not factory:
            raise OptionError(f"TARGET {text!r} does not say where the model is. {_FORMS}")
        module = _module(name, text)
    return _built(_attribute(module, factory, text), text)


def dtype_of(model: Callable[..., Any]) -> torch.dtype:
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
    with _failing(f"torchvision:{name}", "building it"):
        model: nn.Module = models.get_model(name, **options)
    return model


def _module(name: str, text: str) -> ModuleType:
    with _importing_from(Path.cwd()):
        try:
            with _failing(text, f"importing {name}"):
                return importlib.import_module(name)
        except OptionError as error:
            cause = error.__cause__
            missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
            if missing is not None and f"{name}.".startswith(f"{missing}."):
                raise OptionError(
                    f"TARGET {text!r}: there is no module {missing!r} in {Path.cwd()} or among the installed "
                    f"packages. {_FORMS}"
                ) from None
            raise


def _file(path: Path, text: str) -> ModuleType:
    if not os.path.isfile(path):  # that of Path raises an error for names that are too long
        raise OptionError(f"TARGET {text!r}: there is no file {path}. {_FORMS}")
    # A name of its own, so that it neither hides nor is hidden by an installed module; registered, as dataclasses ask.
    name = f"_captum_xg_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise OptionError(f"TARGET {text!r}: {path} cannot be imported as Python code. {_FORMS}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _importing_from(path.resolve().parent), _failing(text, f"running {path}"):
        spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, path: str, text: str) -> Any:
    value: Any = module
    for name in path.split("."):
        if not hasattr(value, name):
            names = [n for n in dir(value) if not n.startswith("_")]
            offered = difflib.get_close_matches(name, names, n=5, cutoff=0.5) or sorted(_candidates(module))
            meant = f"Did you mean {', '.join(offered)}?" if offered else "Nothing in it looks like a model."
            raise OptionError(f"TARGET {text!r}: there is no {name!r} in {_shown(value)}. {meant}")
        value = getattr(value, name)
    return value


def _only_one(module: ModuleType, text: str) -> Callable[..., Any]:
    candidates = _candidates(module)
    if len(candidates) != 1:
        listed = "".join(f"\n  {text}:{name}  ({kind})" for name, kind in candidates.items())
        why = (
            f"several things in it could be the model; name one:{listed}"
            if candidates
            else (
                "it defines no module, no module class that needs no arguments and no function without arguments that "
                "returns a module. Add one."
            )
        )
        raise OptionError(f"TARGET {text!r}: {why}")
    (name,) = candidates
    model = _built(getattr(module, name), f"{text}:{name}")
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"TARGET {text!r}: the only candidate, {name}(), returns {type(model).__name__} and not a module. Name "
            f"what to use: {text}:NAME."
        )
    return model


def _candidates(module: ModuleType) -> dict[str, str]:
    """Return name → kind of what a file defines itself and could be meant."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if isinstance(value, nn.Module):
            found[name] = "a module"
        elif getattr(value, "__module__", None) != module.__name__ or not _needs_no_arguments(value):
            continue
        elif isinstance(value, type) and issubclass(value, nn.Module):
            found[name] = "a module class"
        elif inspect.isfunction(value) and name != "main" and _may_return_a_module(value):
            found[name] = "a function without arguments"
    return found


def _needs_no_arguments(value: Any) -> bool:
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return False
    return callable(value) and all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters
    )


def _may_return_a_module(function: Callable[..., Any]) -> bool:
    try:
        returned = get_type_hints(function).get("return", nn.Module)
    except Exception:  # annotations of names that exist for type checkers only
        return True
    return isinstance(returned, type) and issubclass(returned, nn.Module)


def _built(value: Any, text: str) -> Callable[..., Any]:
    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        raise OptionError(
            f"TARGET {text!r} is {_shown(value)}, not a model and not a function or class that makes one. {_FORMS}"
        )
    if not _needs_no_arguments(value):
        raise OptionError(
            f"TARGET {text!r} takes arguments, so it cannot be called to make the model. Write a function without "
            "arguments that returns the model (or the forward function), and name that."
        )
    with _failing(text, "building the model"):
        model = value()
    if not callable(model):
        raise OptionError(f"TARGET {text!r} returns {type(model).__name__}, not a model or any other callable.")
    return model  # type: ignore[no-any-return]


def _shown(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__file__ or value.__name__
    return f"a {type(value).__name__}"


@contextmanager
def _importing_from(directory: Path) -> Iterator[None]:
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))


@contextmanager
def _failing(text: str, what: str) -> Iterator[None]:
    """Turn whatever foreign code raises, SystemExit too, into an error that says where it was raised."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise OptionError(f"TARGET {text!r}: {what} failed with {described(error)}.") from error


def described(error: BaseException) -> str:
    """Return type and text of an error, and the line outside of libraries that it comes from."""
    own = (
        str(Path(__file__).parents[1]),
        str(Path(torch.__file__).parent),
        str(Path(importlib.__file__).parent),
        "<frozen",
    )
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(own)]
    return in_one_line(error) + (f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else "")
