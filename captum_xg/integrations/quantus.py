"""X-Gradient as an explanation function of Quantus."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from captum_xg._core.modules import evaluation_mode
from captum_xg.attr.explainer import OnViolation
from captum_xg.attr.x_gradient import XGradient


def explain_func(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    *,
    on_violation: OnViolation = "integrate",
    abs: bool = False,  # Quantus calls it so
    device: str | torch.device | None = None,
    **_: object,
) -> NDArray[np.float32]:
    """Return attributions of a batch, in the form in which Quantus asks for them: ``explain_func=explain_func``.

    Args:
        model: The model, which Quantus may have changed to see what that does to its explanations.
        inputs: NumPy array or tensor of shape ``(N, …)``.
        targets: The class of each example.
        on_violation: As of :class:`~captum_xg.XGradient`. The default explains every model.
        abs: Whether the sign is dropped.
        device: Where to compute; that of the model if None.
        _: What Quantus passes to its own methods.

    Returns:
        An array of the shape of ``inputs``.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3, bias=False))
        >>> explain_func(model, np.ones((2, 1, 2, 2), dtype="float32"), np.array([0, 2])).shape
        (2, 1, 2, 2)
    """
    there = device if device is not None else next((p.device for p in model.parameters()), "cpu")
    with evaluation_mode(model.modules()):
        x = torch.as_tensor(inputs).to(there)
        classes = torch.as_tensor(targets).to(device=there, dtype=torch.int64).reshape(-1)
        found = XGradient(model, on_violation=on_violation).attribute(x, target=classes)
    numbers: NDArray[np.float32] = (found.abs() if abs else found).cpu().numpy()
    return numbers
