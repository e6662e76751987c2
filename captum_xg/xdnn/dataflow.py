"""Dataflow between the modules of a model: what feeds what, as what it is used, and how large it is.

Example: in ``x * sigmoid(conv(x))`` the result of the sigmoid has the role FACTOR and no other, so it is a gate. In
``relu(norm(conv(x)))`` the norm's only source is the convolution, and the norm is the convolution's only follower, so
the one can be folded into the other.

What must never happen: that a use of a result is missed. Folding into a layer whose result is read elsewhere, or making
a gate of an activation, would change the function without a word. So every operation that is not known to be harmless
counts as another use (OTHER_USE), and a result that is returned has no only follower.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Flag, auto

import torch


class Role(Flag):
    """How the result of a module is used."""

    NONE = 0
    FACTOR = auto()  # beside something else that depends on the input
    DENOMINATOR = auto()  # it, or its root
    OTHER_USE = auto()  # by an operation that mixes numbers, or bends them
    OVERWRITTEN = auto()
    RETURNED = auto()  # as it is, or after operations on single numbers


@dataclass
class ModuleUse:
    """What one module is called with, and what becomes of its results, in all calls of one forward pass.

    Attributes:
        sizes: For each call, the root mean square of its first input per example, averaged over examples.
        shapes: For each call, the shape of that input.
        passed: The names of the arguments that it was ever called with.
        sources: The modules whose result that input is, as it is; None for anything else.
        followers: The modules in which an operation reads a result of this one.
        roles: How its results are used.
    """

    sizes: list[float] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    sources: set[str | None] = field(default_factory=set)
    followers: set[str] = field(default_factory=set)
    roles: Role = Role.NONE

    @property
    def dims(self) -> frozenset[int]:
        """The numbers of dimensions that its first input had."""
        return frozenset(map(len, self.shapes))

    @property
    def rms(self) -> float | None:
        """The size of its first input, averaged over calls; None if it had none to measure."""
        return sum(self.sizes) / len(self.sizes) if self.sizes else None

    @property
    def is_gate(self) -> bool:
        """Whether all that is done with its results is to multiply with them what depends on the input."""
        return Role.FACTOR in self.roles and Role.OTHER_USE not in self.roles


class Dataflow:
    """One forward pass, as the modules see it.

    Attributes:
        ran: The paths of the modules that ran.
        exposed: Modules whose parameters or buffers something else than the module itself reads.
    """

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.exposed: set[str] = set()
        self._uses: dict[str, ModuleUse] = {}

    def __getitem__(self, path: str) -> ModuleUse:
        """Return how a module was used, by its path."""
        return self._uses.setdefault(path, ModuleUse())

    def keep_sizes_of(self, earlier: Dataflow) -> None:
        """Take over the sizes that an earlier forward pass measured, for the modules that ran in it."""
        for path, use in earlier._uses.items():
            self[path].sizes = use.sizes or self[path].sizes

    def sizes_inside(self, path: str) -> dict[str, float]:
        """Return the sizes of the inputs of the modules inside of one, by their path in it."""
        prefix = f"{path}." if path else ""
        inner = ((p.removeprefix(prefix), use.rms) for p, use in self._uses.items() if p.startswith(prefix))
        return {p: rms for p, rms in inner if rms is not None}

    def only_source(self, path: str) -> str | None:
        """Return the one module whose result, and nothing else, goes into a module as it is; None if there is none."""
        sources = self[path].sources
        return next(iter(sources)) if len(sources) == 1 else None

    def only_follower(self, path: str) -> str | None:
        """Return the one module that does all that is done with a module's result; None if there is none."""
        use = self[path]
        return next(iter(use.followers)) if len(use.followers) == 1 and Role.RETURNED not in use.roles else None
