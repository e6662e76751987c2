"""Arguments that would break homogeneity, or make no sense, are refused with what to do."""

import re

import pytest
import torch
from torch import nn

from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.nn import (
    CosineAttention,
    GatedReLU,
    HomogeneousTransformerEncoder,
    HomogeneousTransformerLayer,
    MultiplicativePositions,
    ScalePreservingNorm,
)

Layer, Encoder = HomogeneousTransformerLayer, HomogeneousTransformerEncoder


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Layer(8, 2, bias=True), "`bias` must be False"),
        (lambda: Layer(8, 2, layer_norm_eps=1e-5), "`layer_norm_eps` must be 0"),
        (lambda: Layer(8, 2, batch_first=False), "`batch_first` must be True"),
        (lambda: Layer(8, 2, activation="gelu"), "'relu' or 'gated_relu' but is 'gelu'"),
        (lambda: Layer(8, 2, activation=nn.functional.gelu), "but is gelu"),
        (lambda: Layer(8, 2, activation=nn.GELU()), "but is GELU"),
        (lambda: Layer(8, 3), "`embed_dim` = 8 must be a multiple of `num_heads` = 3"),
        (lambda: Layer(8, 2, dropout=1.5), "a probability in [0, 1]"),
        (lambda: Layer(8, 2, positions="learned"), "'rotary', 'relative' or None"),
        (lambda: Layer(8, 2, positions="relative"), "needs `max_length`"),
        (lambda: Layer(8, 2, positions="rotary", max_length=4), "`max_length` is for positions='relative'"),
        (lambda: CosineAttention(6, 2, positions="rotary"), "a head has 3"),
        (lambda: CosineAttention(0, 2), "a positive integer"),
        (lambda: ScalePreservingNorm(1.5), "a positive integer"),
        (lambda: MultiplicativePositions(0, 3), "a positive integer"),
        (lambda: GatedReLU("last"), "an integer"),
        (lambda: Encoder(Layer(8, 2), 0), "a positive integer"),
        (lambda: Encoder(nn.TransformerEncoderLayer(8, 2), 2), "to_xdnn"),
        (lambda: Encoder(Layer, 2), "the class HomogeneousTransformerLayer"),
        (lambda: Encoder(Layer(8, 2), 2, nn.LayerNorm(8)), "does not keep the scale"),
        (lambda: Encoder(Layer(8, 2), 2, enable_nested_tensor=True), "no nested tensors"),
    ],
)
def test_what_breaks_homogeneity_is_refused_when_it_is_built(build, words):
    with pytest.raises(OptionError, match=re.escape(words)):
        build()


def test_wrong_types_are_type_errors():
    with pytest.raises(OptionTypeError):
        Encoder(nn.Identity(), 2)


x = torch.randn(2, 5, 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Layer(8, 2)(torch.randn(5, 8)), "x.unsqueeze(0)"),
        (lambda: Layer(8, 2)(torch.randn(2, 5, 7)), "of shape (N, …, 8)"),
        (lambda: CosineAttention(8, 2)(torch.ones(2, 5, 8, dtype=torch.int64)), "floating-point"),
        (lambda: CosineAttention(8, 2)(x, torch.zeros(2, 4, dtype=torch.bool)), "must be of shape (2, 5)"),
        (lambda: CosineAttention(8, 2)(x, torch.zeros(2, 5)), "must be a tensor of booleans"),
        (lambda: CosineAttention(8, 2)(x, attn_mask=torch.zeros(4, 5)), "(5, 5), or (4, 5, 5)"),
        (lambda: CosineAttention(8, 2)(x, attn_mask=torch.zeros(5, 5, dtype=torch.int64)), "added to the logits"),
        (lambda: CosineAttention(8, 2, positions="relative", max_length=4)(x), "there are 5 tokens"),
        (lambda: MultiplicativePositions(4, 8)(x), "there are 5 tokens"),
        (lambda: GatedReLU()(torch.randn(2, 5)), "of even size"),
        (lambda: GatedReLU(3)(x), "of even size"),
        (lambda: ScalePreservingNorm(8)(torch.randn(8)), "(N, …, 8)"),
        (lambda: ScalePreservingNorm(8)([1.0]), "list"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(call, words):
    with pytest.raises(InputError, match=re.escape(words)):
        call()


@pytest.mark.parametrize("activation", ["relu", "gated_relu", nn.ReLU(), nn.functional.relu, torch.relu, GatedReLU()])
def test_activations_of_degree_one_are_taken(activation):
    assert Layer(8, 2, 16, activation=activation)(x).shape == x.shape
