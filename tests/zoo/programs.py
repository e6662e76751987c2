"""Random programs: forward functions as text, drawn from a wide vocabulary, of which most scale with their input.

A :class:`Program` is Python source, so that one that fails a law can be printed, cut down and run by itself. The
generator keeps book of the degree that it *means* each value to have (None once it has broken it on purpose), to steer
towards programs of which enough are homogeneous; what a program really does is measured (``truth.py``). Nothing here
imports captum_xg.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from cases import with_shift as shifted
from cases import without_shift as unshifted
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 600  # numbers in one value
STEEPEST = 6.0  # degree


def given(seed: int, *shape: int) -> Tensor:
    """Return normally distributed numbers that follow from a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """Return a module in float64 and evaluation mode, whose parameters and statistics follow from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double().eval()


def zeroed(layer: nn.Module) -> nn.Module:
    """Return a layer with a bias of zero."""
    nn.init.zeros_(layer.bias)
    return layer


VOCABULARY_OF_PROGRAMS = {
    "torch": torch,
    "F": F,
    "nn": nn,
    "inf": math.inf,
    "given": given,
    "made": made,
    "unshifted": unshifted,
    "shifted": shifted,
    "zeroed": zeroed,
}


@dataclass(frozen=True)
class Line:
    """One step of a program: one or more lines of source, and what they are counted as."""

    source: str
    op: str


@dataclass(frozen=True)
class Program:
    """A forward function as text.

    Attributes:
        shapes: Of its inputs.
        lines: What it does.
        result: Name of the value that it returns.
        constants: Name → expression, evaluated once, outside of the function.
        degree: What the generator meant it to have; None if it broke it.
        cut: The generator cut the gradient somewhere.
    """

    shapes: tuple[tuple[int, ...], ...]
    lines: tuple[Line, ...]
    result: str
    constants: dict[str, str] = field(default_factory=dict)
    degree: float | None = None
    cut: bool = False

    @property
    def meant_homogeneous(self) -> bool:
        """Whether nothing was broken on purpose."""
        return self.degree is not None and not self.cut

    @property
    def ops(self) -> list[str]:
        """The steps, by name."""
        return [line.op for line in self.lines]

    @property
    def source(self) -> str:
        """The function as source."""
        body = "\n".join(line.source for line in self.lines).replace("\n", "\n    ")
        arguments = ", ".join(f"x{i}" for i in range(len(self.shapes)))
        return f"def program({arguments}):\n    {body}\n    return {self.result}\n"

    def __str__(self) -> str:
        used = [f"{name} = {source}" for name, source in self.constants.items() if _mentions(self.source, name)]
        shapes = ", ".join(map(str, self.shapes))
        return "\n".join([f"# inputs: {shapes}", *used, self.source])

    def function(self, low: torch.dtype = torch.float64) -> Callable[..., Tensor]:
        """Return the function; ``low`` is the dtype that casts go to (float64: exact arithmetic, nearly)."""
        names = {**VOCABULARY_OF_PROGRAMS, "LOW": low}
        source = self.source
        for name, expression in self.constants.items():
            if _mentions(source, name):
                names[name] = eval(expression, dict(VOCABULARY_OF_PROGRAMS))
        exec(compile(source, "<program>", "exec"), names)
        return names["program"]

    def inputs(self, seed: int, how: str = "normal") -> tuple[Tensor, ...]:
        """Return inputs: normally distributed, of both signs and all sizes (heavy), positive, or half of them zero."""
        xs = []
        for i, shape in enumerate(self.shapes):
            x = given(1000 * seed + i, *shape)
            if how == "heavy":
                x = x.sign() * (2 * given(1000 * seed + 500 + i, *shape)).exp()
            elif how == "positive":
                x = x.abs()
            elif how == "sparse":
                x = x * (given(1000 * seed + 500 + i, *shape) > 0)
            xs.append(x)
        return tuple(xs)


def _mentions(source: str, name: str) -> bool:
    return any(word == name for word in _words(source))


def _words(source: str) -> Iterable[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in source).split()


@dataclass(frozen=True)
class Var:
    """A value in a program.

    Attributes:
        name: Its name, or an expression in parentheses.
        shape: Its shape.
        k: The degree it is meant to have, None if that was broken.
        const: It does not depend on the input.
        steps: It depends on it in steps only.
        cut: Its gradient is not that of its value.
    """

    name: str
    shape: tuple[int, ...]
    k: float | None = 1.0
    const: bool = False
    steps: bool = False
    cut: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def free(self) -> bool:
        """Whether α is not meant to change it."""
        return self.k == 0


class RejectedError(Exception):
    """A step that does not fit here."""


Step = Callable[["Generator"], None]
STEPS: dict[str, dict[str, tuple[float, Step]]] = {"harmless": {}, "breaking": {}, "escaping": {}}


def step(kind: str = "harmless", weight: float = 1.0) -> Callable[[Step], Step]:
    """Register a function as a step of programs, drawn with this weight among the steps of its kind."""

    def register(function: Step) -> Step:
        STEPS[kind][function.__name__] = (weight, function)
        return function

    return register


class Generator:
    """Draws one program.

    Args:
        seed: From which it follows.
        mode: ``"strict"``: only steps that keep a degree; ``"planted"``: and one that does not; ``"wild"``: any steps,
            to any values; ``"escaping"``: strict, with one step by which a value leaves PyTorch.
    """

    def __init__(self, seed: int, mode: str | None = None) -> None:
        self.random = random.Random(seed)
        modes = {"strict": 0.56, "planted": 0.26, "wild": 0.15, "escaping": 0.03}
        self.mode = mode or self.random.choices(list(modes), list(modes.values()))[0]
        self.strict = self.mode != "wild"
        self.lines: list[Line] = []
        self.constants: dict[str, str] = {}
        self.env: dict[str, Any] = {}
        self.pool: list[Var] = []
        self.used: dict[str, int] = {}
        self.last: Var | None = None
        self._count = 0
        self._draft: list[str] = []
        self._inputs: dict[str, Tensor] = {}

    # ---------------------------------------------------------------------------------------------------- the drawing

    def program(self) -> Program:
        """Return the program."""
        shapes = self._begin()
        n = self.random.randint(2, 12)
        special = {self.random.randrange(n)} if self.mode in ("planted", "escaping") else set()
        for i in range(n):
            kind = ("breaking" if self.mode == "planted" else "escaping") if i in special else "harmless"
            if self.mode == "wild" and self.random.random() < 0.3:
                kind = "breaking"
            self._step(kind, must=i in special)
        result = self._result()
        return Program(shapes, tuple(self.lines), result.name, self.constants, result.k, result.cut)

    def _begin(self) -> tuple[tuple[int, ...], ...]:
        n = self.random.randint(1, 3)
        shapes = []
        for _ in range(self.random.choice([1, 1, 1, 2, 2, 3])):
            flat = (n, self.random.randint(2, 6))
            image = (n, self.random.choice([1, 2, 3, 4]), self.random.randint(3, 6), self.random.randint(3, 6))
            shapes.append(self.random.choice([flat, image]))
        for i, shape in enumerate(shapes):
            self._inputs[f"x{i}"] = given(i, *shape)
            self.pool.append(Var(f"x{i}", shape))
        self.env = self._fresh()
        self.last = self.pool[0]
        return tuple(shapes)

    def _fresh(self) -> dict[str, Any]:
        names = {**VOCABULARY_OF_PROGRAMS, "LOW": torch.float64}
        names |= {name: eval(source, dict(VOCABULARY_OF_PROGRAMS)) for name, source in self.constants.items()}
        # With gradients, as they are run later: autograd refuses some edits of views.
        return names | {name: x.clone().requires_grad_().clone() for name, x in self._inputs.items()}

    def _step(self, kind: str, *, must: bool) -> None:
        for _ in range(40 if must else 8):
            steps = STEPS[kind]
            weights = [weight for weight, _ in steps.values()]
            name = self.random.choices(list(steps), weights)[0]
            before = list(self.pool), dict(self.constants), dict(self.used), self.last
            self._draft = []
            try:
                steps[name][1](self)
            except (
                RejectedError,
                RuntimeError,
                IndexError,
                AttributeError,
                ValueError,
                TypeError,
                NotImplementedError,
                AssertionError,
            ):
                self.pool, self.constants, self.used, self.last = before
                if self._draft:
                    self._restore()
                continue
            if self._draft:
                self.lines.append(Line("\n".join(self._draft), name))
                self._draft = []
                return

    def _restore(self) -> None:
        """Run the program up to here again: what failed may have written somewhere."""
        self.env = self._fresh()
        for line in self.lines:
            exec(line.source, self.env)

    def _result(self) -> Var:
        last = self.last
        assert last is not None
        if self.random.random() < 0.3 and len(self.pool) > 2:
            try:
                self._draft = []
                other = self.random.choice([v for v in self.pool if not v.const])
                other = self.fitted(other if not self.strict else self.at_degree(other, last.k), last.shape)
                last = self.let(f"torch.stack([{last}, {other}])", last, other, k=_common(last, other))
                self.lines.append(Line("\n".join(self._draft), "join the results"))
            except (RejectedError, RuntimeError, IndexError):
                self._restore()
        return last

    # ---------------------------------------------------------------------------------------------- what steps ask for

    def pick(self, *wanted: Callable[[Var], bool], dims: Iterable[int] | None = None, const: bool = False) -> Var:
        """Return a value, rather one that nothing has used yet."""
        fit = [
            v
            for v in self.pool
            if (dims is None or len(v.shape) in dims) and (const or not v.const) and all(test(v) for test in wanted)
        ]
        if not fit:
            raise RejectedError
        weights = [(1.0 if self.used.get(v.name) else 6.0) * (3.0 if v is self.last else 1.0) for v in fit]
        chosen = self.random.choices(fit, weights)[0]
        self.used[chosen.name] = self.used.get(chosen.name, 0) + 1
        return chosen

    def pair(self, *, dims: Iterable[int] | None = None) -> tuple[Var, Var]:
        """Return two values of one shape, or of shapes that broadcast; of one degree, unless anything goes."""
        a = self.pick(dims=dims)
        others = [v for v in self.pool if not v.const and v.name != a.name]
        b = self.random.choice(others) if others else replace(a, name=f"{a}.flip(0)" if a.shape else f"(-{a})")
        if self.strict or self.random.random() < 0.5:
            b = self.at_degree(b, a.k)
        return a, self.fitted(b, a.shape)

    def companion(self, a: Var) -> Var:
        """Return another value of the same shape and degree."""
        others = [v for v in self.pool if not v.const]
        return self.fitted(self.at_degree(self.random.choice(others), a.k), a.shape)

    def at_degree(self, v: Var, k: float | None) -> Var:
        """Return a power of a value that has this degree."""
        if v.k is None or k is None or v.k == k:
            return v
        if v.k == 0:
            x = self.random.choice(list(self._inputs))
            return replace(v, name=f"({v} * {x}.norm().pow({k}))", k=k, steps=False, const=False)
        power = k / v.k
        if power > 0:
            return replace(v, name=f"({v}.sign() * {v}.abs().pow({power}))", k=k)
        return replace(v, name=f"({v}.abs() + {v}.norm()).pow({power})", k=k)

    def fitted(self, v: Var, shape: tuple[int, ...]) -> Var:
        """Return numbers of a value in this shape, or in one that broadcasts to it."""
        if v.shape == shape and self.random.random() < 0.9:
            return v
        n, m = math.prod(shape), math.prod(v.shape)
        how = self.random.randrange(4)
        if how == 0:
            return replace(v, name=f"{v}.mean()", shape=())
        if how == 1 and shape:
            row = (1,) * (len(shape) - 1) + shape[-1:]
            picked = f"{v}.flatten()[torch.arange({shape[-1]}) % {m}].reshape({row})"
            return replace(v, name=picked, shape=row)
        if how == 2:
            return replace(v, name=f"{v}.flatten().repeat({-(-n // m)})[:{n}].reshape({shape})", shape=shape)
        return replace(v, name=f"{v}.flatten()[torch.arange({n}) % {m}].reshape({shape})", shape=shape)

    def exactly(self, v: Var, shape: tuple[int, ...]) -> Var:
        """Return numbers of a value in this shape."""
        n, m = math.prod(shape), math.prod(v.shape)
        return replace(v, name=f"{v}.flatten()[torch.arange({n}) % {m}].reshape({shape})", shape=shape)

    def constant(self, *shape: int, source: str = "{}") -> Var:
        """Return a captured tensor: ``source`` of normally distributed numbers."""
        name = f"c{len(self.constants)}"
        seed = self.random.randrange(10**6)
        drawn = f"given({', '.join(map(str, (seed, *shape)))})"
        return self._captured(name, source.format(drawn), shape)

    def module(self, build: str) -> str:
        """Return the name of a module of the program."""
        name = f"m{len(self.constants)}"
        self._captured(name, f"made({self.random.randrange(10**6)}, lambda: {build})", ())
        return name

    def _captured(self, name: str, source: str, shape: tuple[int, ...]) -> Var:
        self.constants[name] = source
        self.env[name] = eval(source, dict(VOCABULARY_OF_PROGRAMS))
        return Var(name, shape, 0.0, const=True, steps=True)

    def do(self, source: str) -> None:
        """Add a statement."""
        self._draft.append(source)
        exec(source, self.env)

    def name(self) -> str:
        """Return a name that nothing has."""
        self._count += 1
        return f"v{self._count}"

    def let(self, expression: str, *sources: Var, k: float | None, steps: bool = False, cut: bool = False) -> Var:
        """Add ``v = expression`` and return v.

        Args:
            expression: Source.
            sources: The values in it.
            k: The degree it is meant to have.
            steps: It depends on the input in steps only.
            cut: Gradients are cut here.
        """
        name = self.name()
        self.do(f"{name} = {expression}")
        return self.keep(name, *sources, k=k, steps=steps, cut=cut)

    def keep(self, name: str, *sources: Var, k: float | None, steps: bool = False, cut: bool = False) -> Var:
        """Take a name into the values that may be used from now on."""
        value = self.env[name]
        if not isinstance(value, Tensor) or value.dtype != torch.float64 or not 0 < value.numel() <= LARGEST:
            raise RejectedError
        if not value.isfinite().all() or float(value.abs().max()) > 1e6 or value.dim() > 5:
            raise RejectedError
        if value.any() and float(value.abs().max()) < 1e-6:
            raise RejectedError
        if k is not None and abs(k) > STEEPEST:
            raise RejectedError
        const = bool(sources) and all(v.const for v in sources)
        steps = steps or const or (bool(sources) and all(v.steps for v in sources))
        torn = (cut or any(v.cut for v in sources)) and not steps
        if any(v.k is None for v in sources):
            k = None
        var = Var(name, tuple(value.shape), k, const, steps, torn)
        self.pool.append(var)
        self.last = var
        return var

    def forget_what_shares_memory_with(self, name: str) -> None:
        """Take values that were overwritten out of use."""
        storage = self.env[name].untyped_storage().data_ptr()
        self.pool = [v for v in self.pool if self.env[v.name].untyped_storage().data_ptr() != storage]


def _common(*values: Var) -> float | None:
    """Return the degree of a sum."""
    degrees = {v.k for v in values}
    return degrees.pop() if len(degrees) == 1 else None


def total(*degrees: float | None) -> float | None:
    """Return the degree of a product."""
    return None if None in degrees else sum(k for k in degrees if k is not None)


def times(k: float | None, power: float) -> float | None:
    """Return the degree of a power."""
    return None if k is None else k * power


def unless_free(v: Var) -> float | None:
    """Return the degree of f(v) for a curved f: 0 if that of v is, else none."""
    return 0.0 if v.k == 0 else None


common = _common


def draw_program(seed: int, mode: str | None = None) -> Program:
    """Return the program that follows from a seed: the first of several that autograd takes."""
    import vocabulary  # noqa: F401  registers the steps

    program = Generator(seed, mode).program()
    for attempt in range(1, 6):
        if _runs_backward(program):
            break
        program = Generator(seed + attempt * 10**9, mode).program()
    return program


def _runs_backward(program: Program) -> bool:
    """Return whether autograd finds what it saved untouched."""
    inputs = tuple(x.requires_grad_() for x in program.inputs(1))
    try:
        y = program.function()(*(x.clone() for x in inputs))
        if y.requires_grad:
            torch.autograd.grad(y.sum(), inputs, allow_unused=True)
    except RuntimeError:
        return False
    return True
