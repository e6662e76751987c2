"""Products of two values that both scale with the input, of degree 2, brought to degree 1.

Example: ``act(f(x)) * g(x)``, as in gated convolutions, spatial gating units and star operations. With both factors of
degree 1 it has degree 2, and cannot be added to the x of a residual connection. So it is kept as it is where the two
factors together have their typical size, and extended along the ray: a·b·r/m with m their joint root mean square.

How degrees are told: the module that multiplies is run on what comes in, and on twice that. Factors that do not grow
are gates of degree 0, and stay. What comes before a product has been converted by then, and so grows by powers of 2.

What must never happen: that this is taken for a proof. It only chooses what to try; the certificate decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from captum_xg._core.recorder import Observer, OpEvent, Recorder
from captum_xg.xdnn.evidence import Evidence, Outcome, StepResult
from captum_xg.xdnn.extension import HomogeneousExtension
from captum_xg.xdnn.functional_calls import PRODUCTS, FunctionCall
from captum_xg.xdnn.fx_recording import Recording, lift_products
from captum_xg.xdnn.lifting import put, record_forwards
from captum_xg.xdnn.report import Change

_GROWS = 0.5
"""The degree above which a factor counts as one that grows."""


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
        extension = HomogeneousExtension(call, degree=1, norm="rms", radius=radius, n_inputs=2).eval()
        model = put(model, call, extension, evidence.progress)
        why = f"is a product of two values that scale; works where they have root mean square {radius:.3g} together"
        changes.append(Change(path, call.name, "HomogeneousExtension", why, False, "products"))
        outcomes[path] = "converted"
    return StepResult(changes=tuple(changes), outcomes=outcomes, model=model) if changes else None


def _calls(recording: Recording) -> list[str]:
    """Return the products among the modules of a recording."""
    modules = dict(recording.graph.named_modules())
    return [n for n in recording.names if isinstance(c := modules.get(n), FunctionCall) and c.function in PRODUCTS]


def _forward_of(path: str, modules: dict[str, nn.Module]) -> str:
    """Return the module whose forward multiplies: the one around it where the product is a module of its own."""
    return path.rpartition(".")[0] if isinstance(modules[path], FunctionCall) else path


class _Factors(Observer):
    """Notes the sizes of both factors of each product, and in which module it is."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, float, float]] = []

    def before(self, event: OpEvent) -> None:
        """Note them."""
        name = event.name.removeprefix("aten::").rstrip("_")
        if name != "mul" or len(event.args) != 2 or not all(isinstance(t, Tensor) and t.dim() > 1 for t in event.args):
            return
        a, b = (t.detach().double().square() for t in event.args)
        one, other = (t.flatten(1).sum(1) for t in (a, b))
        n = a[0].numel() + b[0].numel()
        joint = float((one + other).div(n).sqrt().mean()) if len(one) == len(other) else math.nan
        self.seen.append((event.module, math.sqrt(float(one.sum())), math.sqrt(float(other.sum())), joint))


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
                here, twice = _factors(module, arguments, 1.0), _factors(module, arguments, 2.0)
            except Exception:  # forwards that need more than their positional arguments, or fail at other sizes
                return
            for (inside, a, b, size), (_, a2, b2, _) in zip(here, twice, strict=False):
                own = not inside or (isinstance(module.get_submodule(inside), FunctionCall) and "." not in inside)
                grows = min(a, b) > 0 and all(math.log2(q / p) > _GROWS for p, q in ((a, a2), (b, b2)) if q > 0)
                if own and grows and 0 < size < math.inf:
                    found.setdefault(f"{prefix}{inside}" if calls and inside else path, size)

        return look

    watches = [modules[path].register_forward_pre_hook(hook(path)) for path in owners if path in modules]
    try:
        run(model)
    finally:
        for watch in watches:
            watch.remove()
    return found


def _factors(module: nn.Module, arguments: tuple[object, ...], factor: float) -> list[tuple[str, float, float, float]]:
    """Return what a module multiplies when what comes in is multiplied by a number."""
    scaled = [factor * x.clone() if isinstance(x, Tensor) and x.is_floating_point() else x for x in arguments]
    watch = _Factors()
    with torch.no_grad(), Recorder(watch, followed=dict(module.named_modules())):
        module.forward(*scaled)
    return watch.seen
