"""HomogeneousExtension: any architecture, made positively homogeneous from what it does on a sphere."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg.errors import ForwardOutputError, InputError, OptionError
from captum_xg.xdnn.magnitude import Norm, check_norm, magnitude, power_of_size, scaled_to


class HomogeneousExtension(nn.Module):
    r"""Make any model positively homogeneous: it is evaluated on a sphere and extended along the rays.

    .. math:: \hat F(x) = (\|x\| / r)^k \; F(r \, x / \|x\|), \qquad \hat F(0) = 0

    for each example, so that :math:`\hat F(\alpha x) = \alpha^k \hat F(x)` for every α > 0 whatever F is: transformers,
    normalisation layers, sigmoids and biases included. Integrated Gradients of :math:`\hat F` against the zero baseline
    is therefore exactly :math:`x \cdot \nabla \hat F(x) / k`, one forward and one backward pass. ``certify`` proves it
    by the rules for the operations used here; F itself need only be made of operations that have rules, and treat each
    example by itself. F is evaluated on the sphere only: for x = 0 at the point of it whose elements are all equal,
    times zero, so that value and gradient are zero there.

    What is explained is the extension, not F. The two agree on the sphere ‖x‖ = r and in general nowhere else: the
    extension cannot tell an image from the same image at lower contrast, and predicts for both the class that F
    predicts at the contrast of the sphere. What that costs in accuracy depends on r. With r = 1 a network that was
    trained on inputs of norm 300 sees them 300 times too faint, and its accuracy is lost. Choose r as the typical norm
    of the data, or train the extension itself.

    Args:
        model: A module whose first ``n_inputs`` positional arguments are floating-point tensors of shape ``(N, …)``,
            and which returns a tensor of shape ``(N, …)``, or tuples, lists or dicts of such.
        degree: k ≥ 1. (0 is for parts of networks: :math:`F(r\,x/\|x\|)`.)
        norm: p ≥ 1 of the p-norm over all elements of an example, or ``"rms"``: the root of the mean square, which does
            not grow with the number of elements.
        radius: r > 0, in the units of the norm.
        n_inputs: How many of the positional arguments are inputs. They are scaled jointly; what follows is handed
            through as it is.

    Raises:
        OptionError: For a degree, norm, radius or number of inputs that is none.
        InputError: If an input is no floating-point tensor with a batch dimension.
        ForwardOutputError: If the model returns something that does not have one entry per example.

    Source: Own construction. That x·∇F/k is Integrated Gradients for it: Hesse et al. 2021, Proposition 3.2 for k = 1.

    Example:
        >>> transformer = torchvision.models.vit_b_16(weights="DEFAULT").eval()
        >>> extension = HomogeneousExtension(transformer, radius=images.flatten(1).norm(dim=1).mean().item())
        >>> XGradient(extension).attribute(images, target=labels)
    """

    def __init__(
        self, model: nn.Module, degree: float = 1, norm: Norm = 2, *, radius: float = 1.0, n_inputs: int = 1
    ) -> None:
        super().__init__()
        where = "HomogeneousExtension"
        if not callable(model):
            raise OptionError(f"{where}: `model` must be a module but is {type(model).__name__}.")
        if not _finite(degree) or (degree < 1 and degree != 0):
            raise OptionError(
                f"{where}: `degree` = {degree!r}; it must be 0 or a finite number ≥ 1, since for others the gradient "
                "at x = 0 is infinite."
            )
        if not _finite(radius) or radius <= 0:
            raise OptionError(f"{where}: `radius` = {radius!r} must be a finite number > 0, such as the typical ‖x‖.")
        if isinstance(n_inputs, bool) or not isinstance(n_inputs, int) or n_inputs < 1:
            raise OptionError(f"{where}: `n_inputs` = {n_inputs!r} must be a whole number ≥ 1.")
        check_norm(norm, where)
        self.model = model
        self.degree = float(degree)
        self.norm = norm
        self.n_inputs = n_inputs
        self.radius = float(radius)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Return (‖x‖/r)ᵏ · model(r·x/‖x‖)."""
        inputs, others = arguments[: self.n_inputs], arguments[self.n_inputs :]
        _check_inputs(inputs, self.n_inputs)
        size, factor = magnitude(inputs, self.norm)
        radius = self.radius / factor
        on_sphere = [scaled_to(x, size, radius) for x in inputs]
        outputs = self.model(*on_sphere, *others, **options)
        if self.degree == 0:
            return outputs
        return _times(outputs, power_of_size(size / radius, self.degree))

    def get_extra_state(self) -> Tensor:
        """Return the radius, for the state dict. It is no buffer, which ``half()`` would round."""
        return torch.tensor(self.radius, dtype=torch.float64)

    def set_extra_state(self, state: Any) -> None:
        """Set the radius from a state dict."""
        self.radius = float(state)

    def extra_repr(self) -> str:
        """Return what distinguishes it from others."""
        return f"degree={self.degree:g}, norm={self.norm!r}, radius={self.radius:.4g}"


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_inputs(inputs: tuple[Any, ...], expected: int) -> None:
    if len(inputs) < expected:
        raise InputError(f"HomogeneousExtension: {expected} inputs are scaled, but {len(inputs)} were passed.")
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or not x.dtype.is_floating_point or x.dim() < 2:
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"HomogeneousExtension: input {i} must be a floating-point tensor of shape (N, …) with one example in "
                f"each row, but it is {got}. Arguments that are not to be scaled follow the inputs (`n_inputs`)."
            )
        if len(x) != len(inputs[0]):
            raise InputError(f"HomogeneousExtension: inputs 0 and {i} have {len(inputs[0])} and {len(x)} examples.")


def _times(outputs: Any, factor: Tensor) -> Any:
    """Multiply every floating-point tensor in the outputs by one factor per example."""
    if isinstance(outputs, Tensor):
        return _scaled(outputs, factor) if outputs.dtype.is_floating_point else outputs
    if isinstance(outputs, dict):
        scaled = copy.copy(outputs)  # keeps the class, whatever its constructor takes
        for key, value in outputs.items():
            scaled[key] = _times(value, factor)
        return scaled
    if isinstance(outputs, (tuple, list)):
        parts = [_times(value, factor) for value in outputs]
        return type(outputs)(*parts) if hasattr(outputs, "_fields") else type(outputs)(parts)
    return outputs


def _scaled(output: Tensor, factor: Tensor) -> Tensor:
    if output.dim() == 0 or len(output) != len(factor):
        raise ForwardOutputError(
            f"HomogeneousExtension: the model returns a tensor of shape {tuple(output.shape)} for {len(factor)} "
            "examples, so that its entries cannot be told to belong to one each. Return shape (N, …)."
        )
    return output * factor.to(output.dtype).reshape(-1, *[1] * (output.dim() - 1))
