"""The source location of an operation: the module that runs, and the line of the user's source.

Found on the Python stack while the operation runs. Frames of PyTorch and of what runs the model for a proof are passed
over, so that the innermost line that is left is one that the user can change.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

import torch
from torch import nn

from captum_xg._core.reflection import is_a

_TORCH = os.path.dirname(torch.__file__) + os.sep
# What runs the model for a proof is of no interest to who wrote the model.
_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_OURS = tuple(os.path.join(_PACKAGE, room, "") for room in ("_core", "homogeneity", "priors"))
_FOLLOWING = _OURS[:2]
_PARENT = os.path.dirname(_PACKAGE)  # where this package lies, if not among these
_LIBRARIES = sorted({sysconfig.get_path(kind) for kind in ("purelib", "platlib")}, key=len, reverse=True)


@dataclass(frozen=True)
class Site:
    """Where something happened.

    Attributes:
        module: Path of the innermost module of the model that ran, ``""`` for the model itself and outside of modules.
        type: Its class, ``""`` outside of modules; where a module that is none of the model's ran in it, the class of
            that, and that it was made there.
        op: The operation, ``"aten.add.Tensor"``.
        location: ``"file:line"`` of the innermost line outside of torch; in torch where there is no other.
    """

    module: str
    type: str
    op: str
    location: str


def current_site(op: str, names: Mapping[int, tuple[str, nn.Module]], outermost: CodeType | None) -> Site:
    """Return where the running operation was called from.

    Args:
        op: The operation.
        names: Module id → (path, module).
        outermost: Code of the function that called the model: what lies outside of it is not looked at. By default
            every frame is.
    """
    module, inner, location, inside_torch = None, None, None, None
    for frame in _frames(outermost):
        code = frame.f_code
        written = _whose(code.co_filename)
        if written == "ours":
            continue
        if written != "theirs":
            if inside_torch is None and written == "torch.nn":
                inside_torch = _line(frame)
        elif location is None:
            location = _line(frame)
        if module is None and _has_self(code) and is_a(owner := frame.f_locals.get("self"), nn.Module):
            inner = owner if inner is None else inner
            module = owner if id(owner) in names else None
        if module is not None and location is not None:
            break
    line = location or inside_torch or ""
    if inner is None:
        return Site("", "", op, line)
    name = type(inner).__name__
    if module is None:
        return Site(name, name, op, line)
    made = "" if inner is module else f", not registered in {type(module).__name__}"
    return Site(names[id(module)][0], f"{name}{made}", op, line)


@functools.lru_cache(maxsize=4096)
def _whose(file: str) -> str:
    """Return who has written a file."""
    if file.startswith(_OURS):
        return "ours"
    if not file.startswith(_TORCH):
        return "theirs"
    return "torch.nn" if file.startswith(os.path.join(_TORCH, "nn")) else "torch"


@functools.lru_cache(maxsize=4096)
def _has_self(code: CodeType) -> bool:
    """Return whether a function may have a variable of that name: reading all of a frame's variables takes time."""
    if not code.co_flags & inspect.CO_NEWLOCALS:
        return True  # of a module or class, whose variables may come and go
    return "self" in (*code.co_varnames, *code.co_cellvars, *code.co_freevars)


def is_torch(file: str) -> bool:
    """Return whether a file is one of PyTorch's or of this package."""
    return file.startswith((_TORCH, *_OURS))


def custom_function_running(outermost: CodeType | None) -> str | None:
    """Return the name of the custom autograd function whose forward runs now, if one does."""
    for frame in _frames(outermost):
        if _follows(frame.f_code.co_filename):
            continue  # none is written there, and looking through all variables takes time
        for value in list(frame.f_locals.values()):
            if is_a(value, torch.autograd.function.FunctionCtx):
                return type(value).__name__.removesuffix("Backward")
    return None


@functools.lru_cache(maxsize=4096)
def _follows(file: str) -> bool:
    """Return whether a file runs models for proofs, or is one of torch.nn's without autograd functions."""
    return file.startswith(_FOLLOWING) or (_whose(file) == "torch.nn" and "_functions" not in os.path.basename(file))


def _frames(outermost: CodeType | None) -> list[FrameType]:
    """Return the frames inside of the call of the model, innermost first; none if it is not running."""
    frames = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not outermost:
        frames.append(frame)
        frame = frame.f_back
    return frames if frame is not None or outermost is None else []


def _line(frame: FrameType) -> str:
    return f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def short_path(file: str) -> str:
    """Return a file's path as a person would write it: below the libraries or the working directory."""
    return _below(file, os.getcwd())


@functools.lru_cache(maxsize=4096)
def _below(file: str, working_directory: str) -> str:
    for root in (*_LIBRARIES, _PARENT, working_directory):
        if file.startswith(root + os.sep):
            return Path(file).relative_to(root).as_posix()
    return file
