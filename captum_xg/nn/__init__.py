"""Building blocks of networks with F(αx) = αF(x): norm, attention, gate, positions and transformer, without biases.

Every block is positively homogeneous of degree 1, by proof (:func:`~captum_xg.certify`), treats each example by itself,
and has finite first and second derivatives everywhere, also at tokens and examples that are zero. So Integrated
Gradients of what they are put together to is one X-Gradient, and attribution priors can be trained through them.
"""

from captum_xg.nn.cosine_attention import CosineAttention
from captum_xg.nn.gated_relu import GatedReLU
from captum_xg.nn.multiplicative_positions import MultiplicativePositions
from captum_xg.nn.scale_preserving_norm import ScalePreservingNorm
from captum_xg.nn.transformer import HomogeneousTransformerEncoder, HomogeneousTransformerLayer

__all__ = [
    "CosineAttention",
    "GatedReLU",
    "HomogeneousTransformerEncoder",
    "HomogeneousTransformerLayer",
    "MultiplicativePositions",
    "ScalePreservingNorm",
]
