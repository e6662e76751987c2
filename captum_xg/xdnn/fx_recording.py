"""Forwards of the user's own that were recorded as graphs, so that calls of functions in them can be replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import fx, nn

from captum_xg.xdnn.functional_calls import inline_calls, lift_calls
from captum_xg.xdnn.replacement import has_hooks, replace_module
from captum_xg.xdnn.report import Change


@dataclass(frozen=True)
class _Recording:
    original: nn.Module
    graph: fx.GraphModule
    names: list[str]


class Recordings:
    """The recorded forwards of one model.

    Attributes:
        obstacles: Why a module could not be recorded, by its path; empty where it need not be.
    """

    def __init__(self) -> None:
        self.obstacles: dict[str, str] = {}
        self._made: dict[str, _Recording] = {}

    def __len__(self) -> int:
        return len(self._made)

    def tried(self, path: str) -> bool:
        """Return whether a module was recorded, or could not be."""
        return path in self._made or path in self.obstacles

    def record(self, path: str, module: nn.Module, passed: Collection[str]) -> fx.GraphModule | None:
        """Return a recording of a module with its convertible calls as modules, None if there cannot be one."""
        self.obstacles[path] = ""
        opaque = isinstance(module, (fx.GraphModule, torch.jit.ScriptModule))
        if opaque or type(module).__module__.startswith(("torch.nn.", "captum_xg.xdnn.")):
            return None
        if has_hooks(module):
            self.obstacles[path] = "it has hooks, which a recording of its forward would lose"
            return None
        try:
            lifted = lift_calls(module, passed)
        except Exception as error:  # torch.fx raises whatever the forward does on symbols
            why = ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
            self.obstacles[path] = (
                f"what its forward calls cannot be replaced there, as torch.fx cannot record it ({why}); put that into "
                "a module of its own"
            )
            return None
        if lifted is None:
            return None
        del self.obstacles[path]
        graph, names = lifted
        self._made[path] = _Recording(module, graph, names)
        return graph

    def forget(self, path: str, obstacle: str) -> nn.Module:
        """Return the module that was recorded, and remember why that was no good."""
        self.obstacles[path] = obstacle
        return self._made.pop(path).original

    def replaced(self, old: nn.Module, new: nn.Module) -> None:
        """Do in the originals, which may be put back, what was done in the model."""
        for recording in self._made.values():
            replace_module(recording.original, old, new)

    def tidy(
        self, done: Collection[str], replace: Callable[[nn.Module, nn.Module], None]
    ) -> tuple[list[Change], list[str]]:
        """Put back calls that nothing took the place of, and forwards in which nothing did.

        Args:
            done: Paths of the modules that were converted.
            replace: Puts a module in the place of another.

        Returns:
            The forwards that stay recorded, and notes on what that means.
        """
        changes, notes = [], []
        for path, recording in list(self._made.items()):
            original, graph = recording.original, recording.graph
            prefix = f"{path}." if path else ""
            converted = [
                name
                for name in recording.names
                if any(f"{each}.".startswith(f"{prefix}{name}.") for each in done)  # itself, or a part of it
            ]
            if not converted:
                replace(graph, original)
                del self._made[path]
                continue
            inline_calls(graph, recording.names)
            listed = ", ".join(converted[:6]) + ", …" * (len(converted) > 6)
            what = f"{len(converted)} functional calls became modules ({listed})"
            changes.append(Change(path, type(original).__name__, "recorded graph", what, True, "functional calls"))
            there = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
            lost = [n for n, _ in (*original.named_parameters(), *original.named_buffers()) if n not in there]
            lost = list(dict.fromkeys(name.split(".")[0] for name in lost if not hasattr(graph, name.split(".")[0])))
            notes.append(
                f"{path or 'The model'} is now a recording of its forward in evaluation mode, with these arguments: "
                "other branches and methods are gone" + (f", and so are {', '.join(lost)}." if lost else ".")
            )
        return changes, notes
