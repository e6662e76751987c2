"""Products of two values that both scale with the input, and powers of one, of degree 2 or more, brought to degree 1.

Example: ``act(f(x)) * g(x)``, as in gated convolutions, spatial gating units and star operations, or ``relu(x) ** 2``.
With factors of degree 1 it has degree 2, and cannot be added to the x of a residual connection. So it is kept as it is
where the factors together have their typical size, and extended along the ray: a·b·r/m with m their joint root mean
square, r its typical value.

How degrees are told: the module that multiplies is run on what comes in, and on twice that. Factors that do not grow
are gates of degree 0, and stay. What comes before a product has been converted by then, and so grows by powers of 2.

What must never happen: that this is taken for a proof. It only chooses what to try; the certificate decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from captum_xg._core.recorder import Observer, OpEvent, Recorder
from captum_xg.xdnn.agreement import relative_difference
from captum_xg.xdnn.evidence import Evidence, Outcome, StepResult
from captum_xg.xdnn.extension import HomogeneousExtension
from captum_xg.xdnn.functional_calls import POWERS, PRODUCTS, FunctionCall
from captum_xg.xdnn.fx_recording import Recording, lift_products
from captum_xg.xdnn.lifting import put, record_forwards
from captum_xg.xdnn.report import Change

_GROWS = 0.5
"""The degree above which a factor counts as one that grows."""
_ROUNDING = 1e-5
"""What twice the result may differ by, relative, from the result of twice the input."""


class ScaleProducts:
    """Brings products of two growing values to degree 1, once nothing else is left that breaks homogeneity."""

    def __call__(self, model: nn.Module, evidence: Evidence) -> StepResult | None:
        """Make the products modules, and when they are, extend them."""
        certificate, progress = evidence.certificate, evidence.progress
        if certificate.homogeneous and (certificate.degree or 0) <= 1:
            return None
        modules = dict(model.named_modules())
        multiplying = [
            path
            for path, use in evidence.dataflow.items()
            if use.multiplies_inputs and path in modules and not progress.finished(path)
        ]
        owners = dict.fromkeys(_forward_of(path, modules) for path in multiplying)
        growing = _growing(model, owners, evidence.examples.outputs)
        if not growing:
            return None
        unrecorded = [path for path in growing if path not in progress.recordings]
        if unrecorded:
            return record_forwards(model, evidence, unrecorded, products=True)
        return _extended(model, evidence, growing)


def _extended(model: nn.Module, evidence: Evidence, growing: dict[str, float]) -> StepResult | None:
    changes, outcomes = list[Change](), dict[str, Outcome]()
    for owner in growing:
        recording = evidence.progress.recordings.get(owner)
        if not isinstance(recording, Recording):
            continue
        if not _calls(recording):
            lift_products(recording)
    # Now that they are modules, each is known by its path.
    sizes = _growing(model, growing, evidence.examples.outputs, calls=True)
    modules = dict(model.named_modules())
    for path, radius in sizes.items():
        call = modules.get(path)
        if not isinstance(call, FunctionCall) or path in evidence.progress.outcomes:
            continue
        power = call.function in POWERS
        n_inputs = 1 if power else 2
        extension = HomogeneousExtension(call, degree=1, norm="rms", radius=radius, n_inputs=n_inputs).eval()
        model = put(model, call, extension, evidence.progress)
        what = "a power of what scales" if power else "a product of two values that scale"
        why = f"is {what}; works at root mean square {radius:.3g}, and its result scales with the example"
        changes.append(Change(path, call.name, "HomogeneousExtension", why, False, "products"))
        outcomes[path] = "converted"
    return StepResult(changes=tuple(changes), outcomes=outcomes, model=model) if changes else None


def _calls(recording: Recording) -> list[str]:
    """Return the products among the modules of a recording."""
    modules = dict(recording.graph.named_modules())
    calls = {name: modules.get(name) for name in recording.names}
    return [n for n, c in calls.items() if isinstance(c, FunctionCall) and c.function in (*PRODUCTS, *POWERS)]


def _forward_of(path: str, modules: dict[str, nn.Module]) -> str:
    """Return the module whose forward multiplies: the one around it where the product is a module of its own."""
    return path.rpartition(".")[0] if isinstance(modules[path], FunctionCall) else path


class _Factors(Observer):
    """Notes the sizes of the factors of each product, and of the base of each power, and in which module it is."""

    def __init__(self) -> None:
        self.seen: list[_Seen] = []

    def before(self, event: OpEvent) -> None:
        """Note them."""
        name, args = event.name.removeprefix("aten::").rstrip("_"), event.args
        power = name == "square" or (name == "pow" and isinstance(args[1], (int, float)) and args[1] > 1)
        if not power and (name != "mul" or len(args) != 2):
            return
        factors = args[:1] if power else args
        if not all(isinstance(t, Tensor) and t.dim() > 1 for t in factors):
            return
        squares = [t.detach().double().square() for t in factors]
        rows = [t.flatten(1).sum(1) for t in squares]
        if len({len(row) for row in rows}) > 1:
            return
        elements = sum(t[0].numel() for t in squares)
        joint = float(torch.stack(rows).sum(0).div(elements).sqrt().mean())
        self.seen.append(_Seen(event.module, tuple(math.sqrt(float(row.sum())) for row in rows), joint))


class _Seen(NamedTuple):
    """One product: the module that it is in, the sizes of its factors, and the typical size of all together."""

    module: str
    sizes: tuple[float, ...]
    joint: float


def _growing(
    model: nn.Module, owners: Iterable[str], run: Callable[[nn.Module], object], *, calls: bool = False
) -> dict[str, float]:
    """Return the typical size of the factors of products that have degree 2, by the module whose forward multiplies.

    Args:
        model: The model.
        owners: The modules to look at.
        run: Runs it.
        calls: Whether products that are modules are named by their own path.
    """
    modules, found = dict(model.named_modules()), dict[str, float]()

    def hook(path: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        prefix = f"{path}." if path else ""

        def look(module: nn.Module, arguments: tuple[object, ...]) -> None:
            try:
                (here, result), (there, twice) = (_factors(module, arguments, factor) for factor in (1.0, 2.0))
            except Exception:  # forwards that need more than their positional arguments, or fail at other sizes
                return
            # What brings its products back to degree 1 by itself, as norms do, stays.
            if not (isinstance(result, Tensor) and isinstance(twice, Tensor)):
                return
            if relative_difference(2 * result, twice) <= _ROUNDING:
                return
            for one, other in zip(here, there, strict=False):
                inside = one.module
                own = not inside or (isinstance(module.get_submodule(inside), FunctionCall) and "." not in inside)
                if own and 0 < one.joint < math.inf and _grow(one.sizes, other.sizes):
                    found.setdefault(f"{prefix}{inside}" if calls and inside else path, one.joint)

        return look

    watches = [modules[path].register_forward_pre_hook(hook(path)) for path in owners if path in modules]
    try:
        run(model)
    finally:
        for watch in watches:
            watch.remove()
    return found


def _grow(sizes: tuple[float, ...], later: tuple[float, ...]) -> bool:
    """Return whether all factors are larger by as much as what comes in, or by a power of that."""
    pairs = list(zip(sizes, later, strict=True))
    return all(min(pair) > 0 for pair in pairs) and all(math.log2(q / p) > _GROWS for p, q in pairs)


def _factors(module: nn.Module, arguments: tuple[object, ...], factor: float) -> tuple[list[_Seen], object]:
    """Return what a module multiplies, and its result, when what comes in is multiplied by a number."""
    scaled = [factor * x.clone() if isinstance(x, Tensor) and x.is_floating_point() else x for x in arguments]
    watch = _Factors()
    with torch.no_grad(), Recorder(watch, followed=dict(module.named_modules())):
        result = module.forward(*scaled)
    return watch.seen, result
