"""Linear: each argument enters linearly while the others are held fixed, so degrees add; an added bias is a term more."""

from __future__ import annotations

from typing import Any

from captum_xg.homogeneity.call import Call, largest
from captum_xg.homogeneity.degree import Reason, Scaling, product_of, sum_of
from captum_xg.homogeneity.registry import degree_rule


def with_bias(call: Call, product: Scaling, bias: Any) -> Scaling:
    """Return the scaling of product + bias."""
    scaling = call.scaling_of(bias)
    if scaling.zero or (scaling.constant and product.scale_free):
        return product
    if scaling.constant and product.degree is not None:
        if call.is_neutral(bias):
            return product
        return sum_of(
            product,
            scaling,
            reason=Reason(
                f"adds a bias of up to {largest(bias):.2g}",
                "Train it with bias=False, or set the bias to zero and fine-tune",
            ),
        )
    return sum_of(product, scaling)


@degree_rule("mm", "bmm", "mv", "dot", "vdot")
def matrix_product(call: Call) -> Scaling:
    """Bilinear."""
    return product_of(*(call.scaling_of(t) for t in call.tensors()))


@degree_rule("addmm", "addbmm", "baddbmm", "addmv", "addr")
def add_matrix_product(call: Call) -> Scaling:
    """β·bias + α·(bilinear)."""
    bias, *factors = list(call.tensors())
    return with_bias(call, product_of(*map(call.scaling_of, factors)), bias if call.get("beta", 1) != 0 else None)


@degree_rule("convolution")
def convolution(call: Call) -> Scaling:
    """Bilinear in input and weight, plus the bias; padding is with zeros."""
    return with_bias(call, product_of(*call.scalings("input", "weight")), call["bias"])
