"""Dataflow between the modules of a model: what feeds what, as what it is used, and how large it is.

Example: in ``x * sigmoid(conv(x))`` the result of the sigmoid has the role FACTOR and no other, so it is a gate. In
``relu(norm(conv(x)))`` the norm's only source is the convolution, and the norm is the convolution's only follower, so
the one can be folded into the other.

What must never happen: that a use of a result is missed. Folding into a layer whose result is read elsewhere, or making
a gate of an activation, would silently change the function. So every operation that is not known to be harmless
counts as another use (OTHER_USE), and a result that is returned has no only follower.
"""

from __future__ import annotations

import math
from collections import defaultdict
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
        sources: The modules whose result that input is, as it is; None for anything else. Empty if it did not run.
        followers: The modules in which an operation reads a result of this one.
        roles: How its results are used.
        divides_by_input: Whether an operation of its own forward divides by what depends on the input.
        multiplies_inputs: Whether an operation of its own forward multiplies two things that depend on the input, or
            takes a power of one.
        takes_product: Whether its first input is the product of two things that both depend on the model's input.
    """

    sizes: list[float] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    sources: set[str | None] = field(default_factory=set)
    followers: set[str] = field(default_factory=set)
    roles: Role = Role.NONE
    divides_by_input: bool = False
    multiplies_inputs: bool = False
    takes_product: bool = False

    @property
    def dims(self) -> frozenset[int]:
        """The numbers of dimensions that its first input had."""
        return frozenset(map(len, self.shapes))

    @property
    def rms(self) -> float | None:
        """The size of its first input, averaged over calls; None if there is none that a layer could work at."""
        mean = sum(self.sizes) / len(self.sizes) if self.sizes else 0.0
        # Inputs of zeros have no size to keep, and the original itself may be NaN or infinite on the examples.
        return mean if 0 < mean < math.inf else None

    @property
    def is_gate(self) -> bool:
        """Whether all that is done with its results is to multiply with them what depends on the input."""
        return Role.FACTOR in self.roles and Role.OTHER_USE not in self.roles

    @property
    def only_source(self) -> str | None:
        """The one module whose result, and nothing else, goes into it as it is; None otherwise."""
        return next(iter(self.sources)) if len(self.sources) == 1 else None

    @property
    def only_follower(self) -> str | None:
        """The one module that does all that is done with its results; None otherwise."""
        only = len(self.followers) == 1 and Role.RETURNED not in self.roles
        return next(iter(self.followers)) if only else None


class Dataflow(defaultdict[str, ModuleUse]):
    """The use of each module, by its path.

    Attributes:
        exposed: Modules whose parameters or buffers something else than the module itself reads.
    """

    def __init__(self) -> None:
        super().__init__(ModuleUse)
        self.exposed: set[str] = set()
