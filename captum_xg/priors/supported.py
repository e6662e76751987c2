"""Models, modes and wrappers that a prior cannot be trained with, refused before anything is computed in vain.

A prior on attributions differentiates twice: the attribution is a gradient, and the step's own backward pass goes
through it. Whatever has no second derivative, or takes the first of the two passes for that of the step, would end in
an obscure error of PyTorch or, worse, in gradients that silently lack the prior.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from captum_xg._core.autograd_graph import ancestors
from captum_xg._core.distributed import is_fully_sharded, sharded_modules
from captum_xg._core.modules import modules_of
from captum_xg._core.types import ForwardFunction
from captum_xg.errors import DisconnectedAttributionError, OptionError

WHERE = "AttributionPriorLoss"
"""What the messages of the loss and all of its parts begin with."""

_ONCE_DIFFERENTIABLE = {
    "ScaledDotProduct": (
        "attention by a fused kernel",
        "with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):",
    ),
    "CudnnRnn": ("recurrent layers by cuDNN", "with torch.backends.cudnn.flags(enabled=False):"),
}
"""Kernels of PyTorch whose backward pass has no derivative, by what the names of their nodes begin with."""


def require_gradient_mode() -> None:
    """Refuse to make a loss to train with where nothing is recorded.

    Raises:
        DisconnectedAttributionError: Under no_grad or inference_mode.
    """
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        mode = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise DisconnectedAttributionError(
            f"{WHERE}: called under torch.{mode}, where no gradient reaches the parameters, so the prior would train "
            "nothing. Call it with gradients enabled; or, to evaluate, call .eval() on the loss first: then it returns "
            "detached values in any mode."
        )


def require_twice_differentiable(model: ForwardFunction, scores: Tensor) -> None:
    """Refuse compiled models whose backward pass cannot be differentiated, before it runs.

    Raises:
        DisconnectedAttributionError: If a compiled function lies between the scores and the inputs.
    """
    # A model may be compiled and yet have run uncompiled here (torch.compiler.disable): then the graph shows it.
    compiled = hasattr(model, "_torchdynamo_orig_callable") or any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for root in modules_of(model)
        for module in root.modules()
    )
    if compiled and any("CompiledFunction" in node.name() for node in ancestors([scores.grad_fn])):
        raise DisconnectedAttributionError(
            f"{WHERE}: the model is compiled (torch.compile), and a compiled backward pass cannot be differentiated "
            "again, which a prior on attributions needs. Pass the model as it was before torch.compile (for a module "
            "that torch.compile returned: model._orig_mod; it shares all parameters)."
        )


def require_no_fused_kernels(scores: Tensor) -> None:
    """Refuse layers that PyTorch computes by kernels whose backward pass cannot be differentiated.

    Raises:
        DisconnectedAttributionError: If one lies behind the scores; it says how to have them computed otherwise.
    """
    for node in ancestors([scores.grad_fn]):
        for name, (what, remedy) in _ONCE_DIFFERENTIABLE.items():
            if node.name().startswith(name):
                raise DisconnectedAttributionError(
                    f"{WHERE}: the model computes {what} ({node.name()}), whose backward pass PyTorch cannot "
                    f"differentiate again, which a prior on attributions needs. Make the loss under `{remedy}`."
                )


def require_reduction_in_step(model: ForwardFunction) -> None:
    """Refuse wrappers that take the first backward pass for that of the step.

    Raises:
        OptionError: If the model is DistributedDataParallel with a static graph, or FullyShardedDataParallel.
    """
    if isinstance(model, DistributedDataParallel) and model.static_graph:
        raise OptionError(
            f"{WHERE}: the model is DistributedDataParallel with static_graph=True, which averages gradients over "
            "processes in the first backward pass after a forward pass. Here that is the attribution's own, so that "
            "each process would silently keep its own gradients. Leave static_graph out "
            "(find_unused_parameters=True works), or wrap the module that holds this loss and not the model alone."
        )
    if is_fully_sharded(model):
        raise OptionError(
            f"{WHERE}: the model is FullyShardedDataParallel, which frees parameters in the attribution's backward "
            "pass that the step's own still needs. Use torch.distributed.fsdp.fully_shard, or DistributedDataParallel."
        )


def require_whole_parameters(model: ForwardFunction) -> None:
    """Refuse to prove something of a model whose parameters are sharded (FSDP2): a proof reads them.

    Raises:
        OptionError: If they are.
    """
    if sharded_modules(model):
        raise OptionError(
            f"{WHERE}: the model's parameters are sharded (fully_shard), and a proof that it is homogeneous has to "
            "read them whole. Before fully_shard, see that captum_xg.certify(model, inputs) is homogeneous; then "
            "pass validate='off' (and degree=…, if that is not 1)."
        )


def gather_parameters(model: ForwardFunction) -> None:
    """Gather sharded parameters (FSDP2) again, which the backward pass of the attribution has freed.

    The step's own backward pass differentiates that pass, and so needs them; it frees them itself.
    """
    for module in sharded_modules(model):
        module.unshard()
