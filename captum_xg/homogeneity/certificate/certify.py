"""certify: the public proof that F is homogeneous, or the names of what breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from captum_xg._core.digest import digest_of
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.options import one_of
from captum_xg._core.types import ForwardFunction
from captum_xg.homogeneity.certificate.certificate import Certificate, Detached
from captum_xg.homogeneity.certificate.outputs import Output
from captum_xg.homogeneity.certificate.prove import prove
from captum_xg.homogeneity.certificate.standing import Standing
from captum_xg.homogeneity.joint.proof import prove_jointly

__all__ = ["certify"]


def certify(
    forward_func: ForwardFunction,
    *example_inputs: Tensor | tuple[Tensor, ...],
    additional_forward_args: object = None,
    output: Output = None,
    detached: Detached = "violations",
    jointly: bool | Sequence[str] = False,
) -> Certificate:
    r"""Prove that F is positively homogeneous, F(αx) = αᵏF(x) for all x and all α > 0, or name what breaks it.

    One forward pass is followed operation by operation. For every tensor in it a rule says how it scales, so that the
    proof holds for every input of these shapes, not only for the example. What has no rule, and what cannot be seen
    (values that leave PyTorch, branches on values), makes the verdict unknown, never homogeneous. A path that depends
    on the input but is cut off from autograd is a violation even where the values scale: x·∇F is then wrong.

    The proof is of exact arithmetic. Before it is handed out it is confronted with the example in numbers, which do not
    depend on what an observer sees: F at four scales on two rays, Euler's identity, and slopes along random directions.
    What contradicts it makes the verdict unknown.

    Args:
        forward_func: A module or any callable.
        example_inputs: Tensors of shape ``(N, …)``, scaled jointly; only shapes, dtypes and devices matter for the
            proof.
        additional_forward_args: What follows the inputs in a call; it stays as it is.
        output: Which part of a tuple or dict that F returns is meant: a key, a path of keys, or a function of the
            output. By default every floating-point tensor in it, which must all have one degree.
        detached: ``"violations"``, or ``"constants"``: what F detaches counts as a constant, as it does for autograd.
            Then Σ x·∂F = kF is proven, the conservation of gradient-based LRP and B-cos explanations, for an F that
            itself need not scale. Such a certificate says nothing of Integrated Gradients.
        jointly: Prove that F is homogeneous in its inputs and its additive constants *together*, F(αx; αc) = αᵏF(x; c),
            as ReLU networks with biases are. True for all constants that are found to be added (biases, shifts and
            running means of batch norms, class tokens, position embeddings), or their names. What it proves is what
            :class:`~captum_xg.JointXGradient` rests on; it says nothing of Integrated Gradients of x alone.

    Returns:
        A :class:`~captum_xg.homogeneity.certificate.certificate.Certificate`; ``str()`` of it says what to do.

    Raises:
        InputError: Inputs that nothing can be attributed to, such as ids that an embedding looks up.
        OptionTypeError: If ``forward_func`` is no model or function, such as the class of one.
        ForwardOutputError: An output without a tensor in it.
        ModelStateError: Parameters, buffers or captured tensors on the meta device, uninitialised, NaN or infinite.
        GradientError: A forward function that autograd refuses, such as one with weights from inference mode.
        OptionError: If ``output`` is not in the output, ``detached`` is something else, or there is no such constant.

    Source: Hesse et al. 2021, Definition 3.3 and Section 3.2 (which layers are homogeneous; the calculus is our own).

    Example:
        >>> certificate = certify(torch.nn.Linear(3, 1, bias=False), torch.rand(1, 3))
        >>> certificate.homogeneous, certificate.degree
        (True, 1.0)
    """
    one_of(detached, ("violations", "constants"), "detached", "certify")
    # Before the proof: NaN in a weight spoils every value, and is better named than proven about.
    finite = require_usable_state(forward_func, "certify")
    inputs = _flat(example_inputs)
    if jointly is False:
        proof = prove(
            forward_func, inputs, additional_forward_args, "certify", output=output, finite=finite, detached=detached
        )
    else:
        args = (forward_func, inputs, additional_forward_args, "certify", jointly)
        proof = prove_jointly(*args, output=output, finite=finite, detached=detached)
    standing = Standing(forward_func, proof.assumptions)
    return replace(proof.certificate, digest=digest_of(forward_func), standing=standing)


def _flat(example_inputs: tuple[object, ...]) -> tuple[object, ...]:
    """Return the inputs as one tuple, also if they were passed as one, as to ``attribute``."""
    if len(example_inputs) == 1 and isinstance(example_inputs[0], tuple):
        return example_inputs[0]
    return example_inputs
