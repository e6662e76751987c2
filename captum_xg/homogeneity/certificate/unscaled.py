"""Modules that scale some of their arguments themselves, and violations that come with the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg._core.recorder import ModuleEvent, Names, Observer
from captum_xg.homogeneity.certificate.certificate import Violation
from captum_xg.homogeneity.certificate.shadow_memory import ShadowMemory


class ScalesItsInputs(Protocol):
    """A module that is homogeneous in its first arguments, and takes all others for constants.

    Attributes:
        n_inputs: How many of the positional arguments it scales.
    """

    n_inputs: int

    def explain_unscaled(self) -> tuple[str, str]:
        """Return what it means that others depend on the input, and what to do."""


class UnscaledArguments(Observer):
    """Notes modules that are handed something that depends on the input and that they do not scale.

    Attributes:
        watched: The modules, by path, that scale their first arguments only.
        found: Those among them.
    """

    def __init__(self, names: Names, shadows: ShadowMemory) -> None:
        # The class is asked, as some modules answer to every name.
        method = ScalesItsInputs.explain_unscaled.__name__
        self.watched = {path: module for path, module in names.values() if hasattr(type(module), method)}
        self.found: dict[str, ScalesItsInputs] = {}
        self._shadows = shadows

    def enter(self, event: ModuleEvent) -> None:
        """Look at the arguments that are not scaled."""
        module = cast(ScalesItsInputs, event.module)
        others = tree_leaves((event.args[module.n_inputs :], dict(event.kwargs)))
        if any(isinstance(other, Tensor) and self._shadows.depends(other) for other in others):
            self.found[event.path] = module

    def blamed(self, violations: Iterable[Violation]) -> list[Violation]:
        """Return the violations, those inside of such a module as one that says which argument brings them in."""
        result: dict[str, Violation] = {}
        for violation in violations:
            inside = [path for path in self.found if not path or f"{violation.module}.".startswith(f"{path}.")]
            if violation.gradient or not inside:
                result[f"{violation.module} itself"] = violation
                continue
            path = min(inside, key=len)
            module = self.found[path]
            blamed = Violation(
                path, violation.op, violation.location, *module.explain_unscaled(), type=type(module).__name__
            )
            result.setdefault(path, blamed)
        return list(result.values())
