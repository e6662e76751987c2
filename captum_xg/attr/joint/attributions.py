"""Joint attributions: what every number of the inputs and of the model's constants carries of F."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.text import displayed
from captum_xg.attr.joint.maps import ConstantMaps, upsampled
from captum_xg.errors import CaptumXGError, InputError
from captum_xg.homogeneity.ledger.result import BiasLedger, LedgerRow
from captum_xg.homogeneity.scaling.precision import Precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@displayed
@dataclass(frozen=True, eq=False)
class JointAttributions:
    r"""x·∂F/∂x and c·∂F/∂c of every example: Integrated Gradients over inputs and constants together, from (0, 0).

    Attributes:
        inputs: Attributions of the inputs, in their form and shape ``(N, …)``.
        constants: Attributions of each constant by its name, shape ``(N, …)``, in the order in which F adds them.
        values: F(x), shape ``(N,)``.
        degree: The degree k of F in both together.
    """

    inputs: Tensor | tuple[Tensor, ...]
    constants: dict[str, Tensor]
    values: Tensor
    degree: float
    holders: Mapping[str, tuple[str, str]] = field(repr=False)
    maps: Callable[[], ConstantMaps] = field(repr=False)

    def __getstate__(self) -> dict[str, object]:
        # A map needs the model, which is not copied along, nor pickled: it may be any function.
        return {**vars(self), "maps": _without_the_model}

    @property
    def input_part(self) -> Tensor:
        """What all inputs carry, shape ``(N,)``."""
        return sum(map(_of_examples, self._parts_of_inputs()), torch.zeros_like(self.values))

    @property
    def constant_part(self) -> Tensor:
        """What all constants carry, shape ``(N,)``."""
        return sum(map(_of_examples, self.constants.values()), torch.zeros_like(self.values))

    @property
    def total(self) -> Tensor:
        """The sum of all attributions, shape ``(N,)``: F(x) but for rounding, or for the error of an integration."""
        return self.input_part + self.constant_part

    @property
    def share(self) -> Tensor:
        """What constants carry of all absolute parts, between 0 and 1, shape ``(N,)``; 0 in an X-DNN."""
        return self.ledger().share

    def ledger(self) -> BiasLedger:
        """Return F(x) as the sum of what inputs and each constant carry: a :class:`~captum_xg.BiasLedger`.

        Its rows are single tensors of the model, a running mean and a bias where :func:`~captum_xg.bias_ledger` has
        the shift that both make; the sums are the same.
        """
        rows = []
        size = sum(
            (_of_examples(part.detach().abs()) for part in self._parts_of_inputs()), torch.zeros_like(self.values)
        )
        for name, part in self.constants.items():
            terms = part.detach()
            size = size + _of_examples(terms.abs())
            module, kind = self.holders[name]
            own = name.removeprefix(f"{module}.") if module else name
            if bool((terms != 0).any()):
                rows.append(LedgerRow(module, kind, own, "", _of_examples(terms)))
        input_part = self.input_part.detach()
        remainder = self.values - input_part - self.constant_part.detach()
        precision = Precision.of(*self._parts_of_inputs(), self.values)
        rounding = precision.euler_rtol * torch.maximum(self.values.abs(), size)
        dtype = str(precision.dtype).removeprefix("torch.")
        return BiasLedger(self.values, input_part, tuple(rows), remainder, rounding, dtype, self._notes())

    def map(self, *, rescaled: bool = False) -> Tensor:
        r"""Return one picture per image of where inputs and constants act, from one more forward and backward pass.

        .. math:: \sum_{\text{channels}} |x \cdot \partial F/\partial x|
                  + \sum_{\text{layers}} \psi\Bigl(\sum_{\text{channels}} |c \cdot \partial F/\partial y|\Bigr)

        where y is what the constant is added to, and ψ is bilinear interpolation to the size of the images, divided by
        how many pixels a position of the layer stands for. Constants without a place, as in linear layers, are not on
        it.

        Args:
            rescaled: Bring input and layers to [0, 1] each before they are added, and let all layers count alike: the
                picture of the published code of FullGrad, which has no unit.

        Returns:
            Shape ``(N, H, W)``, not negative.

        Raises:
            InputError: If the input is no batch of images ``(N, C, H, W)``.
            CaptumXGError: If the model is not what it was, or F adds constants that its layers do not show; or these
                attributions are a copy, which has no model.

        Source: Srinivas and Fleuret 2019, Eq. 8, and its published code.
        """
        where = "JointAttributions.map"
        image = self.inputs[0] if isinstance(self.inputs, tuple) and len(self.inputs) == 1 else self.inputs
        if isinstance(image, tuple) or image.dim() != 4:
            raise InputError(f"{where}: there is a map of one input of images, of shape (N, C, H, W), alone.")
        if math.isnan(self.degree):
            raise CaptumXGError(
                f"{where}: these attributions were integrated, as F is not homogeneous in inputs and constants "
                "together. There is a map of the closed form alone."
            )
        found = self.maps()
        ledger = self.ledger()
        if bool(
            (
                (found.total.to(self.values) / self.degree - self.constant_part.detach()).abs() > 8 * ledger.rounding
            ).any()
        ):
            raise CaptumXGError(
                f"{where}: what the layers add is not what was attributed to constants. The model has changed since, "
                "or it adds constants in a way that its calls do not show. Call attribute again; constants have all."
            )
        size = (image.size(2), image.size(3))
        terms = image.detach().abs()
        if rescaled:
            flat = terms.flatten(1)
            low, high = (edge.reshape(-1, 1, 1) for edge in (flat.amin(1), flat.amax(1)))
            picture = (terms.sum(1) - terms.size(1) * low) / (high - low + 1e-6)
        else:
            picture = terms.sum(1)
        for layer in found.layers:
            own = layer.rescaled() if rescaled else layer.terms
            area = 1.0 if rescaled else size[0] * size[1] / (own.size(1) * own.size(2))
            picture = picture + upsampled(own.to(picture), size) / (area * (1.0 if rescaled else self.degree))
        return picture

    def plot(self, ax: Axes | None = None, *, most: int = 20) -> Axes:
        """Draw what inputs and constants carry, as horizontal bars; see :meth:`captum_xg.BiasLedger.plot`."""
        return self.ledger().plot(ax, most=most)

    def _parts_of_inputs(self) -> tuple[Tensor, ...]:
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    def _notes(self) -> tuple[str, ...]:
        if math.isnan(self.degree):
            return ("All parts were integrated, as F is not homogeneous in both; the remainder is the error of that.",)
        return () if self.degree == 1 else (f"F has degree {self.degree:g}: each part is divided by that.",)

    def _parts(self) -> list[object]:
        first, *rest = self.ledger()._parts()
        return [f"Joint attributions: {first}", *rest]


def _of_examples(part: Tensor) -> Tensor:
    """Return the sum over each example; a constant that is one number has one for each already."""
    return part.reshape(len(part), -1).sum(1)


def _without_the_model() -> ConstantMaps:
    raise CaptumXGError(
        "JointAttributions.map: a map runs the model, which copied or pickled attributions do not have with them. Draw "
        "it before they are copied, or call attribute again."
    )
