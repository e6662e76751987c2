"""Notes beside a result, on the parameters as they are."""

from __future__ import annotations

from collections.abc import Callable


def untrained_norms(model: Callable[..., object], command: str) -> list[str]:
    """Return that batch norms look as if they had never seen data, if they do.

    Args:
        model: The model.
        command: What to do to it once it has its weights.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    from captum_xg._core.modules import named_modules_of

    norms = [module for _, module in named_modules_of(model).values() if isinstance(module, _BatchNorm)]
    fresh = [norm for norm in norms if norm.running_mean is not None and not bool(norm.running_mean.any())]
    if not fresh:
        return []
    return [
        f"{len(fresh)} of {len(norms)} batch norms have a mean of zero, as if they had never seen data, and so add no "
        f"shift for it. Trained ones do: {command} the model with its weights."
    ]
