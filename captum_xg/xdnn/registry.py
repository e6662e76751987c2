"""The registry of conversions: for each kind of layer or function that breaks F(αx) = αF(x), what takes its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_args

from torch import nn

from captum_xg._core.loading import import_files

Stage: TypeAlias = Literal["activations", "normalisation and gates", "constants"]
"""Conversions happen in this order, and the agreement with the original is measured after each."""

STAGES: tuple[Stage, ...] = get_args(Stage)

Kind: TypeAlias = type[nn.Module] | Callable[..., Any]
"""What a rule is for: a class of modules (and its subclasses), or a function that is called in a forward."""


@dataclass(frozen=True)
class ModuleContext:
    """What is known of a module's surroundings, from one forward pass of the original on the example inputs.

    Attributes:
        module: Its path in the model.
        rms: Root mean square of its first input, per example, averaged over the examples; 1 if it did not run.
        inner_rms: The same of the modules inside of it, by their path in it.
        multiplies: All that is done with its result is to multiply what depends on the input, as with that of a gate.
        returned: Its result is what the model returns.
        overwritten: Its result is written to in place.
        divides: Something is divided by its result, or by the root of it.
        dims: Numbers of dimensions that its first input had.
        takes_product: Its first input is a product of two things that depend on the model's input, as of queries and
            keys.
    """

    module: str
    rms: float
    inner_rms: dict[str, float]
    multiplies: bool
    returned: bool
    overwritten: bool
    divides: bool
    dims: frozenset[int]
    takes_product: bool = False


@dataclass(frozen=True)
class Conversion:
    """What takes a module's place.

    Attributes:
        replacement: The new module, which may be the old one, changed. It is called with the same arguments.
        why: What the difference is, for the report.
        exact: The outputs stay what they are.
        before: What it was, if not the class of the old module.
        after: What it is now, if not the class of the replacement.
    """

    replacement: nn.Module
    why: str
    exact: bool = False
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class NotConvertible:
    """Why a module cannot be converted.

    Attributes:
        reason: What stands in the way.
        remedy: What to do about it.
    """

    reason: str
    remedy: str


Place, Refusal = ModuleContext, NotConvertible
"""Their earlier names."""

Rule: TypeAlias = Callable[[Any, ModuleContext], Conversion | NotConvertible]
"""From a module of the copy, which each rule declares the class of, and its context, to what takes its place."""


@dataclass(frozen=True)
class Entry:
    """A rule as it is registered."""

    kind: Kind
    stage: Stage
    rule: Rule

    @property
    def name(self) -> str:
        """The rule's, as far as it has one: partials and callable objects have none, other code may have no module."""
        parts = (getattr(self.rule, name, None) for name in ("__module__", "__qualname__"))
        return ".".join(filter(None, parts)) if hasattr(self.rule, "__qualname__") else repr(self.rule)


_ENTRIES: dict[Kind, Entry] = {}
_RULES = "captum_xg.xdnn.rules"


def register_conversion(*kinds: Kind, stage: Stage) -> Callable[[Rule], Rule]:
    """Register a function as the conversion of modules of some classes, or of calls of some functions.

    A rule is asked only where the certificate says that the module (or something inside of it) breaks homogeneity. It
    is handed the module itself, from a copy of the user's model, and may change and return it. For a function it is
    handed a :class:`~captum_xg.xdnn.functional_calls.FunctionCall`, and what it returns is called with the same
    arguments. The most specific class counts. A rule for a class takes over everything inside of its modules.

    Args:
        kinds: Module classes, or functions such as ``torch.erf``.
        stage: ``"activations"``, ``"normalisation and gates"`` or ``"constants"``: when it is done, and which line of
            the report counts its effect.

    Raises:
        ValueError: If a kind has a conversion already, is neither a module class nor a function, or there are no
            kinds or no such stage.

    Example:
        >>> @register_conversion(Swish, stage="activations")
        ... def swish(module, context):
        ...     return Conversion(torch.nn.ReLU(), "x·σ(βx) → max(x, 0), its limit for large x")
    """
    if stage not in STAGES:
        raise ValueError(f"register_conversion: `stage` = {stage!r}; it must be one of {', '.join(map(repr, STAGES))}.")

    if not kinds:
        raise ValueError(
            "register_conversion: there are no `kinds`. Name the module classes or functions that the rule is for."
        )

    def register(rule: Rule) -> Rule:
        # Rules of the package are imported by that very call; all others must know what has a conversion already.
        if not (getattr(rule, "__module__", None) or "").startswith(f"{_RULES}."):
            load_rules()
        for kind in kinds:
            if not callable(kind) or (isinstance(kind, type) and not issubclass(kind, nn.Module)):
                raise ValueError(f"register_conversion: {kind!r} is neither a module class nor a function.")
            if kind in _ENTRIES:
                name, other = getattr(kind, "__name__", repr(kind)), _ENTRIES[kind].name
                raise ValueError(
                    f"register_conversion: {name} has a conversion already ({other}). Remove it first with "
                    f"forget_conversion({name})."
                )
        _ENTRIES.update({kind: Entry(kind, stage, rule) for kind in kinds})
        return rule

    return register


def forget_conversion(kind: Kind) -> None:
    """Remove the conversion of a kind, so that it has none or can be given another.

    Raises:
        KeyError: If it has none.
    """
    load_rules()
    del _ENTRIES[kind]


def find_conversion(kind: Kind) -> Entry | None:
    """Return the rule for a function, or a module class or the nearest of its base classes; None without one."""
    load_rules()
    bases = kind.__mro__ if isinstance(kind, type) else (kind,)
    return next((_ENTRIES[base] for base in bases if base in _ENTRIES), None)


@lru_cache(maxsize=1)
def load_rules() -> None:
    """Import every file of rules."""
    import_files(_RULES)
