"""Random: each pass draws the result, or part of it, again, so that there is no fixed F to speak of."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import CONSTANT, ZERO, Scaling, product_of, sum_of
from captum_xg.homogeneity.rules.common import given
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule
from captum_xg.homogeneity.rules.schema import RANDOM

# Not a constant: what its numbers are now, zero perhaps, says nothing about the next pass.
CHANCE = Scaling(0.0, stepwise=True, reasons=frozenset({RANDOM}))


@degree_rule("native_dropout", elementwise=True)
def dropout(call: OpCall) -> Sequence[Scaling]:
    """Multiplies by a random mask, unless the probability says that all or nothing passes."""
    scaling = call.scaling("input")
    if call["train"] is False or call["p"] == 0:
        return scaling, CONSTANT
    if call["p"] == 1:
        return ZERO, CONSTANT
    return scaling.because(RANDOM), CHANCE


@degree_rule("_fused_dropout")
def fused_dropout(call: OpCall) -> Sequence[Scaling]:
    """Multiplies by a random mask."""
    return call.scaling("self").because(RANDOM), CHANCE


@degree_rule(
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm"),
    *("uniform", "random", "exponential", "geometric", "cauchy", "log_normal", "normal_functional"),
    *("_philox_normal", "_philox_uniform", "_fill_mem_eff_dropout_mask_", "_cudnn_init_dropout_state"),
)
def draw(call: OpCall) -> Scaling:
    """Random numbers, whatever was in the tensor before."""
    return CHANCE


@degree_rule("normal")
def draw_normal(call: OpCall) -> Scaling:
    """A mean and std·noise, either of which may be tensors; in place it fills a tensor."""
    if "self" in call.arguments:
        return CHANCE
    noise = product_of(call.scaling("std"), CONSTANT)
    return sum_of(call.scaling("mean"), noise).because(RANDOM)


@degree_rule("bernoulli", "binomial", "poisson", "multinomial", "_standard_gamma", "_sample_dirichlet")
def draw_with_parameters(call: OpCall) -> Scaling:
    """Numbers whose distribution may depend on the input."""
    # Where probabilities come apart from the tensor, that is only filled.
    scaling = call.scaling("p") if "p" in call.arguments else sum_of(*given(call))
    return CHANCE.because(*scaling.in_steps().reasons)
