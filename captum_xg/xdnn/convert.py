"""``to_xdnn``: a converted copy of an ordinary model, a report, and a proof.

There are three ways to save what it returns:

* Numbers alone: ``torch.save(xdnn.state_dict(), path)``, radii of norms and gates among them. They are read by
  ``torch.load(path, weights_only=True)`` and loaded into the result of converting another instance of the same
  architecture, whatever its weights: ``to_xdnn(model, *inputs)[0].load_state_dict(…)``.
* Without the original and its classes: ``torch.export.save(torch.export.export(xdnn, inputs, dynamic_shapes=…),
  path)``. ``torch.export.load(path).module()`` is as homogeneous, and certified, as before.
* As it is: ``torch.save(xdnn, path)``, read with ``torch.load(path, weights_only=False)``, which runs code from the
  file. Recordings need no class of the original any more, all other modules need theirs, and PyTorch saves no
  parametrised modules in this way.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import forward_function, switch
from captum_xg._core.state import preserve_state
from captum_xg.errors import ConversionError, InputError
from captum_xg.homogeneity.certificate.outputs import Output
from captum_xg.xdnn.evidence import WHERE, Examples
from captum_xg.xdnn.pipeline import convert
from captum_xg.xdnn.report import ConversionReport

_ALTERNATIVE = (
    "HomogeneousExtension(model, radius=typical norm of the inputs) makes any architecture homogeneous, without "
    "changing it; XGradient(model, on_violation='integrate') explains the model as it is, to 1 %"
)


def to_xdnn(
    model: nn.Module,
    *example_inputs: Tensor | tuple[Tensor, ...],
    additional_forward_args: object = None,
    output: Output = None,
    strict: bool = True,
) -> tuple[nn.Module, ConversionReport]:
    r"""Convert a copy of an ordinary model to an X-DNN, F(αx) = αF(x) for all α > 0, and report what that changed.

    First what is exact: batch norms that hold their activation are taken apart, batch norms are folded into
    neighbouring linear layers, and functional calls, and modules that a forward makes, become registered modules where
    they need replacing. Then, where the certificate says that a module breaks homogeneity, and nowhere else:
    activations become ReLU or LeakyReLU; norms by statistics of the example, also those that people write themselves,
    and gates (squeeze-and-excitation, softmaxes that weigh values) are kept as they are at the typical size of their
    input on the examples and extended along the ray; biases and shifts are dropped; last, products of two values that
    scale, and powers of one, are extended in the same way. Parameters that are added in a forward which torch.fx cannot
    record become zeros. All other weights stay, tied parameters stay tied, dropout stays. The conversions are in a
    registry (:func:`~captum_xg.register_conversion`).

    The result is a starting point: fine-tune it (:func:`~captum_xg.fine_tune`) to win back what the inexact steps cost.

    Args:
        model: A module in evaluation mode. It is not changed.
        example_inputs: Floating-point tensors of shape ``(N, …)``, best real ones and several: typical sizes and the
            agreement before and after are measured on them.
        additional_forward_args: What follows the inputs in a call; it stays as it is.
        output: Which part of a tuple or dict that the model returns is meant, as for :func:`~captum_xg.certify`.
        strict: Raise unless the result is certified. Otherwise whatever could be done is returned, and
            ``report.homogeneous`` says what it is.

    Returns:
        The converted copy, in evaluation mode, and the :class:`~captum_xg.xdnn.report.ConversionReport`. Forwards in
        which functional calls were replaced are recordings (:class:`torch.fx.GraphModule`). The parameters of extended
        norms and gates lie under ``….model``; all other modules keep class, path and names of parameters.
        How to save it: see :mod:`captum_xg.xdnn.convert`.

    Raises:
        ConversionError: If the result could not be certified (with ``.report``), the model cannot be copied, or does
            not run on the example inputs, before or after the conversion.
        ModelStateError: If parameters are NaN, infinite, on the meta device or not initialised yet.
        TrainingModeError: If layers are in training mode.
        OptionError: A class in place of a model, or the pair of another conversion.
        InputError: Inputs that nothing can be attributed to.

    Source: Hesse et al. 2021, Section 3.2 (removing the bias terms; the rules for all other layers are our own).

    Example:
        >>> xdnn, report = to_xdnn(torchvision.models.resnet18(weights="DEFAULT").eval(), images)
        >>> print(report)
        >>> XGradient(xdnn).attribute(images, target=labels)
    """
    switch(strict, "strict", WHERE)
    inputs = _checked(model, example_inputs)
    with torch.inference_mode(False), preserve_state(model, inputs[0].device):
        examples = Examples(inputs, additional_forward_args, output)
        converted, report = convert(_copied(model), model, examples)
    if strict and not report.homogeneous:
        raise ConversionError(_refusal(report), report)
    return converted, report


def _checked(model: object, example_inputs: tuple[object, ...]) -> tuple[Tensor, ...]:
    """Return the inputs as tensors, if they and the model are what can be converted."""
    if isinstance(model, (type, tuple)):
        forward_function(model, "model", WHERE)
    if not isinstance(model, nn.Module):
        raise ConversionError(
            f"{WHERE}: the model must be a torch.nn.Module but is {type(model).__name__}. Functions have no layers to "
            f"convert; {_ALTERNATIVE}."
        )
    if not example_inputs:
        raise InputError(f"{WHERE}: no example inputs. Pass one tensor of shape (N, …) for each input of the model.")
    first = example_inputs[0] if len(example_inputs) == 1 and isinstance(example_inputs[0], tuple) else example_inputs
    for i, x in enumerate(first):
        if isinstance(x, Tensor) and not x.dtype.is_floating_point:
            raise InputError(
                f"{WHERE}: example input {i} is {x.dtype}. Whole numbers, such as indices of embeddings, cannot be "
                "scaled. Pass what can be (the embedded vectors, to the part of the model that follows), and indices "
                "and masks as additional_forward_args."
            )
    inputs = format_inputs(first, WHERE)
    require_usable_state(model, WHERE)
    require_evaluation_mode(model, WHERE)
    return inputs


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ConversionError(
            f"{WHERE}: {type(model).__name__} cannot be copied (copy.deepcopy): {type(error).__name__}: {error}. "
            "Tensors with a gradient history that are stored in the model are one cause, also those of old "
            "weight_norm and spectral_norm: remove these, or use torch.nn.utils.parametrizations. "
            "HomogeneousExtension(model) needs no copy."
        ) from error


def _refusal(report: ConversionReport) -> str:
    # What is proven of the numbers as they are may end with training, or be of a degree that X-Gradient cannot use.
    proven = "" if report.certificate.homogeneous else ": F(αx) = αF(x) is not proven"
    done = f" after {len(report.changes)} changes" if report.changes else ""
    return "\n".join(
        [
            f"{WHERE}: {report.model} could not be converted to an X-DNN{proven}{done}.",
            *report.unconverted_lines(),
            f"  What to do: change what is named above, or register a conversion for it (register_conversion). Or: "
            f"{_ALTERNATIVE}.",
            "  error.report has every change; strict=False returns the model as far as it could be converted.",
        ]
    )
