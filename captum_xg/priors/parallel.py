"""Models that are spread over processes, and what they need for a gradient to be taken inside a loss."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from captum_xg._core.modules import modules_of
from captum_xg.errors import OptionError

_WHERE = "AttributionPriorLoss"


def unwrapped(model: Callable[..., Any]) -> Callable[..., Any]:
    """Return the model that DistributedDataParallel wraps; any other as it is."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def require_reduction_in_step(model: Callable[..., Any]) -> None:
    """Refuse wrappers that take the first backward pass for that of the step.

    Raises:
        OptionError: If the model is DistributedDataParallel with a static graph, or FullyShardedDataParallel.
    """
    if isinstance(model, DistributedDataParallel) and model.static_graph:
        raise OptionError(
            f"{_WHERE}: the model is DistributedDataParallel with static_graph=True, which averages gradients over "
            "processes in the first backward pass after a forward pass. Here that is the attribution's own, so that "
            "each process would silently keep its own gradients. Leave static_graph out "
            "(find_unused_parameters=True works), or wrap the module that holds this loss and not the model alone."
        )
    if _modules_of_kind(model, "FullyShardedDataParallel"):
        raise OptionError(
            f"{_WHERE}: the model is FullyShardedDataParallel, which frees parameters in the attribution's backward "
            "pass that the step's own still needs. Use torch.distributed.fsdp.fully_shard, or DistributedDataParallel."
        )


def require_whole_parameters(model: Callable[..., Any]) -> None:
    """Refuse to prove something of a model whose parameters are sharded (FSDP2): a proof reads them.

    Raises:
        OptionError: If they are.
    """
    if _modules_of_kind(model, "FSDPModule"):
        raise OptionError(
            f"{_WHERE}: the model's parameters are sharded (fully_shard), and a proof that it is homogeneous has to "
            "read them whole. Before fully_shard, see that captum_xg.certify(model, inputs) is homogeneous; then "
            "pass validate='off' (and degree=…, if that is not 1)."
        )


def keep_whole(model: Callable[..., Any]) -> None:
    """Gather sharded parameters (FSDP2) again, which the backward pass of the attribution has freed.

    The step's own backward pass differentiates that pass, and so needs them; it frees them itself.
    """
    for module in _modules_of_kind(model, "FSDPModule"):
        module.unshard()


def _modules_of_kind(model: Callable[..., Any], name: str) -> list[Any]:
    if not (dist.is_available() and dist.is_initialized()):
        return []
    fsdp = sys.modules.get("torch.distributed.fsdp")  # who has not loaded it does not use it
    kind: type[nn.Module] | None = getattr(fsdp, name, None)
    if kind is None:
        return []
    return [module for root in modules_of(model) for module in root.modules() if isinstance(module, kind)]
