"""Batch norms with a forward of their own that end in other modules, taken apart: the norm, then what follows it.

Example: a norm that holds its activation, as those of timm do, becomes ``Sequential(norm, drop, act)``. Then the norm
can be folded, and the activation has a rule.

What must never happen: that what takes the place does something else. So the sequence of the plain norm and of the
modules inside, in their order, is tried on random numbers of two sizes, and put in only if it gives the same.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from captum_xg.xdnn.agreement import largest_difference, relative_difference
from captum_xg.xdnn.dataflow import Dataflow
from captum_xg.xdnn.evidence import Evidence, StepResult
from captum_xg.xdnn.folding import folds
from captum_xg.xdnn.replacement import has_hooks, replace_module
from captum_xg.xdnn.report import Change

_PLAIN = (nn.SyncBatchNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_OWN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_SAME = 1e-5
"""What may differ by rounding, relative."""


class SplitFusedNorms:
    """Takes apart what is a batch norm and more in one module, which changes nothing but rounding."""

    def __call__(self, model: nn.Module, evidence: Evidence) -> StepResult | None:
        """Take apart all that can be, or none where that would change the outputs."""
        before, made = evidence.outputs, list[tuple[str, nn.Module, nn.Module]]()
        for path, module in list(model.named_modules()):
            parts = _parts(module, path, evidence.dataflow)
            if parts is not None:
                made.append((path, module, parts))
                model = replace_module(model, module, parts)
        if not made:
            return None
        after = evidence.attempt("after norms were taken apart", lambda _: evidence.examples.outputs(model))
        if not largest_difference(before, after) <= _SAME:
            for _, module, parts in made:
                model = replace_module(model, parts, module)
            return None
        changes = []
        for path, module, parts in made:
            kinds = ", ".join(type(part).__name__ for part in _leaves(parts) if not isinstance(part, nn.Identity))
            what = f"taken apart into {kinds}, each a module of its own"
            changes.append(Change(path, type(module).__name__, type(parts).__name__, what, True, "fused norms"))
        return StepResult(changes=tuple(changes), model=model)


def _parts(module: nn.Module, path: str, flow: Dataflow) -> nn.Module | None:
    """Return the plain norm, and what follows it, if that is what a module does; None for all others."""
    if not isinstance(module, _BatchNorm) or folds(module) or module.training or module.running_mean is None:
        return None
    use = flow[path]
    # Who reads its parameters would not find them any more, and hooks would be lost.
    if not use.shapes or len(use.passed) > 1 or path in flow.exposed or has_hooks(module) or is_parametrized(module):
        return None
    plain = _plain(module)
    if plain is None:
        return None
    children = dict(module.named_children())
    name = next(name for name in ("norm", "batch_norm", "_norm") if name not in children)
    parts = nn.Sequential(OrderedDict({name: plain, **children})) if children else plain
    parts.training = False
    return parts if all(_same(module, parts, use.shapes[0], size) for size in (1.0, 1e3)) else None


def _plain(module: _BatchNorm) -> _BatchNorm | None:
    """Return the norm of PyTorch that a module is a subclass of, with the parameters and statistics of that."""
    kind = next((kind for kind in _PLAIN if isinstance(module, kind)), None)
    if kind is None:
        return None
    plain: _BatchNorm = kind(module.num_features, module.eps, module.momentum, affine=False)
    plain.affine = module.affine
    plain._parameters.update({name: module._parameters[name] for name in _OWN if name in module._parameters})
    plain._buffers.update({name: module._buffers[name] for name in _OWN if name in module._buffers})
    return plain.eval()


def _same(module: nn.Module, parts: nn.Module, shape: torch.Size, size: float) -> bool:
    """Return whether two modules do the same to random numbers of some size."""
    # A generator of its own, so that a conversion draws no number of the user's.
    x = size * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(next(module.buffers()))
    with torch.no_grad():
        try:
            one, other = module(x.clone()), parts(x.clone())
        except Exception:  # whatever a forward of the user's own does on random numbers
            return False
    alike = isinstance(one, Tensor) and isinstance(other, Tensor)
    return alike and relative_difference(one, other) <= _SAME


def _leaves(parts: nn.Module) -> list[nn.Module]:
    return list(parts.children()) if isinstance(parts, nn.Sequential) else [parts]
