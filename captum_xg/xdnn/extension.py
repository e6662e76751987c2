"""``HomogeneousExtension``: any architecture, made positively homogeneous from what it does on a sphere.

The invariant: F sees r·x/‖x‖ with one radius r, the same in all calls, in training and in copies, in half precision and
on every device, so that F̂(αx) = αᵏF̂(x) holds from one call to the next.

What must never happen: that the radius follows the input. One that is measured on the batch at hand is α times as large
for αx, and F would be evaluated at another point. So ``"auto"`` measures once, unseen by recorders and tracers, and
never in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from captum_xg._core.options import finite_number, forward_function, positive_integer
from captum_xg.errors import CaptumXGError, InputError, OptionError, TrainingModeError
from captum_xg.xdnn.norms import Norm, check_norm, magnitude, power_of_size, scaled_to, widest
from captum_xg.xdnn.outputs import scaled_outputs

_WHERE = "HomogeneousExtension"


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
    predicts at the contrast of the sphere. What that costs in accuracy depends on r. With r = 1, the default, which is
    far from all data, a network that was trained on inputs of norm 300 sees them 300 times too faint, and its accuracy
    is lost. Choose r as the typical norm of the data (``"auto"``), or train the extension itself.

    It breaks *Sensitivity (b)*, also called Dummy: that what F does not depend on gets no attribution. The norm depends
    on every element, so an input that F ignores is attributed to: for :math:`F(x, z) = f(x)` and k = 1,

    .. math:: z\,\partial_z \hat F = \frac{z^2}{\|(x, z)\|^2} \big(\hat F - x' \cdot \nabla f(x')\,\|(x, z)\|/r\big),
        \qquad x' = r\,x/\|(x, z)\|.

    That is right for :math:`\hat F`, which does depend on z, and misleading for F. Where features that F ignores
    matter, convert the model (:func:`~captum_xg.to_xdnn`), or use Integrated Gradients of F.

    It is made in the mode, training or evaluation, of the model.

    Args:
        model: A module whose first ``n_inputs`` positional arguments are floating-point tensors of shape ``(N, …)``,
            and which returns tensors of shape ``(N, …)``, complex ones too, or tuples, lists, dicts or dataclasses of
            such. Whole numbers, booleans and text in what it returns stay as they are.
        degree: k ≥ 1. (0 is for parts of networks: :math:`F(r\,x/\|x\|)`.)
        norm: p ≥ 1 of the p-norm over all elements of an example, or ``"rms"``: the root of the mean square, which does
            not grow with the number of elements.
        radius: r > 0, in the units of the norm. With ``"auto"`` the first batch in evaluation mode
            sets it: the mean norm of its examples, from then on the same for all others. Run the extension once on
            typical inputs before Integrated Gradients, which scales them, or training, for in training mode it is
            refused until then. It is the buffer ``radius``, of double precision in every dtype of the model, NaN until
            it is measured, and part of copies and of the state dict.
        n_inputs: How many of the positional arguments are inputs. They are scaled jointly; what follows is handed
            through as it is, and must not depend on the input.

    Raises:
        OptionError: For an invalid degree, norm, radius or number of inputs, or a class in place of a model.
        InputError: If an input is not a floating-point tensor of examples, or no radius can be measured on it.
        TrainingModeError: With ``radius="auto"``, in training mode before the radius is measured.
        ForwardOutputError: If the model returns something that does not have one entry per example, or that cannot be
            scaled: other objects with tensors in them, sparse, nested or quantised tensors.

    Source: Own construction. That x·∇F/k is Integrated Gradients for it: Hesse et al. 2021, Proposition 3.2 for k = 1.
        Sensitivity (b): Sundararajan et al. 2017, Section 3.

    Example:
        >>> transformer = torchvision.models.vit_b_16(weights="DEFAULT").eval()
        >>> extension = HomogeneousExtension(transformer, radius="auto")
        >>> logits = extension(images)  # measures the radius
        >>> XGradient(extension).attribute(images, target=labels)
    """

    radius: Tensor
    measured_by_first_batch: ClassVar[bool] = True
    """A check that runs it first measures the radius as any other pass would."""

    def __init__(
        self,
        model: nn.Module,
        degree: float = 1,
        norm: Norm = 2,
        *,
        radius: float | Tensor | Literal["auto"] = 1.0,
        n_inputs: int = 1,
    ) -> None:
        super().__init__()
        self.model = forward_function(model, "model", _WHERE)
        self.degree = finite_number(degree, "degree", _WHERE)
        if self.degree < 1 and self.degree != 0:
            raise OptionError(
                f"{_WHERE}: `degree` = {self.degree:g}; it must be 0 or a finite number ≥ 1, since for others the "
                "gradient at x = 0 is infinite."
            )
        self.norm = check_norm(norm, _WHERE)
        self.n_inputs = positive_integer(n_inputs, "n_inputs", _WHERE)
        self.auto = isinstance(radius, str) and radius == "auto"
        self._given = math.nan if self.auto else _checked_radius(radius)
        # A copy or a state that is loaded may bring a radius, or take it away, so it is asked of the buffer if False.
        self._known = not self.auto
        # The meta device would lose it.
        device = torch.get_default_device()
        self.register_buffer("radius", _exactly(self._given, torch.device("cpu") if device.type == "meta" else device))
        self.training = getattr(model, "training", False)  # as it is wrapped, and the modules in it stay as they are

    def forward(self, *arguments: Any, **options: object) -> Any:
        """Return (‖x‖/r)ᵏ · model(r·x/‖x‖)."""
        inputs, others = arguments[: self.n_inputs], arguments[self.n_inputs :]
        _check_inputs(inputs, self.n_inputs)
        if not self._known:
            # Not by a decorator: it would import the compiler, which takes seconds, for everybody.
            torch.compiler.disable(self._measure)(inputs)  # type: ignore[no-untyped-call]
        size, factor = magnitude(inputs, self.norm)
        radius = self.radius / factor
        on_sphere = [scaled_to(x, size, radius) for x in inputs]
        outputs = self.model(*on_sphere, *others, **options)
        if self.degree == 0:
            return outputs
        return scaled_outputs(outputs, power_of_size(size / radius, self.degree), _WHERE)

    def _measure(self, inputs: tuple[Tensor, ...]) -> None:
        """Make the mean norm of a batch the radius, unless there is one.

        Nobody who watches the forward pass sees it: for a proof the radius is a constant, as it is from now on.
        """
        with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad():
            try:
                if bool(torch.isfinite(self.radius)):
                    return
                if self.training:
                    raise TrainingModeError(
                        f"{_WHERE}: radius='auto' is measured on the first batch in evaluation mode, and there was "
                        "none yet. Call extension.eval() and run it once on typical inputs before it is trained, or "
                        "pass the radius."
                    )
                size, factor = magnitude([x.detach() for x in inputs], self.norm)
                mean = float(size.double().mean()) * factor
            except CaptumXGError:
                raise
            except RuntimeError as error:
                why = str(error).splitlines()[0].rstrip(".")
                raise InputError(
                    f"{_WHERE}: radius='auto' cannot be measured on these inputs, which have no values yet (meta or "
                    f"fake tensors, vmap): {why}. Run it once on typical inputs first."
                ) from error
            if not 0 < mean < math.inf:
                raise InputError(
                    f"{_WHERE}: radius='auto' cannot be measured on this batch, whose mean norm is {mean:g}. The first "
                    "batch in evaluation mode must be typical inputs."
                )
            # A new tensor instead of another value in the old one: checks put back values that they find changed.
            self.radius = _exactly(mean, self.radius.device)
            self._known = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> HomogeneousExtension:
        # half() would round the radius, and float64 cannot be moved to every device.
        radius, self._buffers["radius"] = self.radius, None
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers["radius"] = radius
        moved = fn(torch.zeros((), dtype=torch.float32, device=radius.device))
        if radius.is_meta and not moved.is_meta:
            radius, self._known = _exactly(self._given, moved.device), not self.auto
        self.radius = radius.to(moved.device, widest(moved.device))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        with torch.no_grad():
            self._known = self.radius.is_meta or bool(torch.isfinite(self.radius))

    def extra_repr(self) -> str:
        """Return what distinguishes it from others."""
        radius = f"radius={float(self.radius):.4g}" if not self.radius.is_meta else "radius on meta"
        if self.auto:
            measured = bool(torch.isfinite(self.radius)) if not self.radius.is_meta else False
            radius = f"{radius} ('auto': measured)" if measured else "radius='auto' (not measured yet)"
        return f"degree={self.degree:g}, norm={self.norm!r}, {radius}, n_inputs={self.n_inputs}"

    def explain_unscaled(self) -> tuple[str, str]:
        """Return (reason, remedy) for what breaks homogeneity in the model, which else sees nothing that scales."""
        return (
            f"scales {_first(self.n_inputs)} only (n_inputs={self.n_inputs}) and takes what follows for additional "
            "arguments, which must be constants; one of them depends on the input",
            "Pass n_inputs=… to HomogeneousExtension, the number of inputs to scale jointly, or hand over all "
            "else as additional_forward_args",
        )


def _first(n: int) -> str:
    return "its first argument" if n == 1 else f"its first {n} arguments"


def _exactly(value: float, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # whose tensors no gradient could pass later
        return torch.tensor(value, dtype=widest(device), device=device)


def _checked_radius(radius: object) -> float:
    if isinstance(radius, str):
        raise OptionError(f"{_WHERE}: `radius` must be a number > 0, or 'auto', but is {radius!r}.")
    number = finite_number(radius, "radius", _WHERE)
    if number <= 0:
        raise OptionError(f"{_WHERE}: `radius` = {number:g} must be a finite number > 0, such as the typical ‖x‖.")
    return number


def _check_inputs(inputs: tuple[object, ...], expected: int) -> None:
    if len(inputs) < expected:
        raise InputError(f"HomogeneousExtension: {expected} inputs are scaled, but {len(inputs)} were passed.")
    first = None
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor) or not x.dtype.is_floating_point or x.dim() < 2:
            got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"HomogeneousExtension: input {i} must be a floating-point tensor of shape (N, …) with one example in "
                f"each row, but it is {got}. Arguments that are not to be scaled follow the inputs (`n_inputs`)."
            )
        n = x.shape[0]  # len() would make a fixed number of it where it is a symbol
        first = n if i == 0 else first
        if n != first:
            raise InputError(f"HomogeneousExtension: inputs 0 and {i} have {first} and {n} examples.")
