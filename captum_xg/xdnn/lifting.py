"""Recordings put into a model in the place of forwards, and taken out again where nothing in them was replaced."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from captum_xg.xdnn.agreement import largest_difference
from captum_xg.xdnn.evidence import Evidence, Progress, StepResult
from captum_xg.xdnn.fx_recording import Recording, inline_calls, record
from captum_xg.xdnn.replacement import replace_module
from captum_xg.xdnn.report import Change

_SAME = 1e-6
"""What a recorded forward may differ by, relative: it runs the same operations."""


def record_forwards(
    model: nn.Module, evidence: Evidence, paths: Iterable[str], *, products: bool = False
) -> StepResult:
    """Put recordings in the place of forwards, wherever those do what the forwards do.

    Args:
        model: The model.
        evidence: That of it.
        paths: The modules whose forwards are meant.
        products: Whether products become modules, too.
    """
    modules, progress = dict(model.named_modules()), evidence.progress
    # Compared with the outputs just before, which after conversions are no longer those of the original.
    before, tried = evidence.outputs, dict[str, Recording | str]()
    for path in paths:
        made = record(modules[path], evidence.dataflow[path].passed, products=products)
        if isinstance(made, Recording):
            model = put(model, made.original, made.graph, progress, tried)
            try:
                change = largest_difference(before, evidence.examples.outputs(model))
            except Exception:  # whatever the recording does where the forward did something else
                change = math.inf
            if not change <= _SAME:  # NaN, too
                model = put(model, made.graph, made.original, progress, tried)
                made = "a recording of its forward by torch.fx does something else"
        tried[path] = made
    return StepResult(recordings=tried, model=model)


def put(
    model: nn.Module,
    old: nn.Module,
    new: nn.Module,
    progress: Progress,
    recordings: dict[str, Recording | str] | None = None,
) -> nn.Module:
    """Replace a module, also in the originals of recorded forwards, which may be put back; return the model."""
    for recording in (*progress.recordings.values(), *(recordings or {}).values()):
        if isinstance(recording, Recording):
            replace_module(recording.original, old, new)
    return replace_module(model, old, new)


def put_back(model: nn.Module, progress: Progress) -> StepResult:
    """Put back recorded calls that nothing took the place of, and forwards in which nothing did.

    Returns:
        The forwards that stay recorded, as changes, and notes on what that means.
    """
    changes, notes = list[Change](), list[str]()
    for path, recording in progress.recorded().items():
        original, graph = recording.original, recording.graph
        prefix = f"{path}." if path else ""
        converted = [
            name
            for name in recording.names
            if any(f"{each}.".startswith(f"{prefix}{name}.") for each in progress.converted())  # it, or a part of it
        ]
        if not converted:
            model = put(model, graph, original, progress)
            continue
        inline_calls(graph, recording.names)
        listed = ", ".join(converted[:6]) + ", …" * (len(converted) > 6)
        what = f"functional calls that became modules: {listed}"
        changes.append(Change(path, type(original).__name__, "recorded graph", what, True, "functional calls"))
        # torch.fx copies only what the graph uses; what it left behind will be missing from the state dict.
        there = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
        lost = [n for n, _ in (*original.named_parameters(), *original.named_buffers()) if n not in there]
        lost = list(dict.fromkeys(name.split(".")[0] for name in lost if not hasattr(graph, name.split(".")[0])))
        notes.append(
            f"{path or 'The model'} is now a recording of its forward in evaluation mode, with these arguments: "
            "other branches and methods are gone" + (f", and so are {', '.join(lost)}." if lost else ".")
        )
    return StepResult(changes=tuple(changes), notes=tuple(notes), model=model)
