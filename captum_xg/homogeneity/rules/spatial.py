"""Spatial: values are read off an image between its pixels, so linear in the image, at places that must not change."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import Reason, Scaling, nonlinear_of, product_of
from captum_xg.homogeneity.rules.common import first_of, positions_of, shaped_by, with_bias
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_PLACES = Reason(
    "reads the image at places that change with α", "Compute the places from what does not change with the input's size"
)


@degree_rule(
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa"),
)
def resized(call: OpCall) -> Scaling:
    """Sums of pixels with weights that only sizes decide."""
    return first_of(call)


@degree_rule(
    "grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback", "cudnn_grid_sampler", "grid_sampler"
)
def sampled(call: OpCall) -> Scaling:
    """Sums of pixels with weights that the grid decides, however it is padded."""
    image = call.scaling("input") if "input" in call.arguments else call.scaling("self")
    return product_of(image, nonlinear_of(call.scaling("grid"), _PLACES))


@degree_rule("affine_grid_generator", "cudnn_affine_grid_generator")
def affine_grid(call: OpCall) -> Scaling:
    """Matrices times fixed coordinates."""
    return call.scaling("theta")


@degree_rule("torchvision::deform_conv2d")
def deformable_convolution(call: OpCall) -> Scaling:
    """Linear in input, weight and mask, plus the bias; the offsets say where the input is read."""
    parts = [*call.scalings("input", "weight"), nonlinear_of(call.scaling("offset"), _PLACES)]
    if call["use_mask"]:
        parts.append(call.scaling("mask"))
    return with_bias(call, product_of(*parts), call["bias"])


@degree_rule("torchvision::roi_align")
def roi_align(call: OpCall) -> Scaling:
    """Means of pixels in boxes, with weights that the boxes decide."""
    return _in_boxes(call)


@degree_rule("torchvision::ps_roi_align")
def position_sensitive_roi_align(call: OpCall) -> Sequence[Scaling]:
    """Means of pixels in boxes, and which channel they are of."""
    return _in_boxes(call), nonlinear_of(call.scaling("rois"), _PLACES).in_steps()


def _in_boxes(call: OpCall) -> Scaling:
    boxes = nonlinear_of(call.scaling("rois"), _PLACES)
    result = product_of(call.scaling("input"), boxes)
    if boxes.stepwise or result.zero:
        return result
    reason = Reason("gives no gradient to its boxes", "Compute the boxes without the input", kind="gradient")
    return result.because(reason)


@degree_rule("torchvision::roi_pool", "torchvision::ps_roi_pool")
def roi_pool(call: OpCall) -> Sequence[Scaling]:
    """Maxima or means of the pixels in boxes whose corners are rounded to pixels, and their places."""
    boxes = nonlinear_of(call.scaling("rois"), _PLACES).in_steps()
    image = call.scaling("input")
    return product_of(image, boxes), product_of(nonlinear_of(image.in_steps(), _PLACES), boxes)


@degree_rule("torchvision::nms")
def suppressed(call: OpCall) -> Scaling:
    """As many indices as boxes are left."""
    return shaped_by(product_of(*map(positions_of, call.scalings("dets", "scores"))))
