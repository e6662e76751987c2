"""Ids of tokens, categories and nodes cannot be attributed to: whatever looks them up, the refusal says what can be."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import (
    IntegratedGradients,
    LayerIntegratedGradients,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from torch import Tensor, nn
from violations import nothing_changes, seeded

from captum_xg import LayerXGradient, XGradient, bias_ledger, certify, check_homogeneity
from captum_xg.errors import GradientError, InputError, IntegrationNotice

WORDS, WIDTH, LENGTH = 7, 3, 5
TABLE = torch.randn(WORDS, WIDTH, generator=seeded(0))
ROW = TABLE[:, 0]
IDS = torch.randint(0, WORDS, (4, LENGTH), generator=seeded(1))


class Text(nn.Module):
    """The mean of the embeddings, through a linear layer without bias."""

    def __init__(self, embedding: nn.Module | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH) if embedding is None else embedding
        self.head = nn.Linear(WIDTH, 2, bias=False)

    def forward(self, ids: Tensor, numbers: Tensor | None = None) -> Tensor:
        words = self.embedding(ids)
        pooled = words if words.dim() == 2 else words.mean(1)
        return self.head(pooled if numbers is None else pooled + numbers)


def checked_by_hand(ids: Tensor) -> Tensor:
    if ids.dtype != torch.int64:
        raise ValueError("ids must be integers")
    return TABLE[ids].mean(1)


LOOKUPS: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "nn.Embedding": Text,
    "nn.EmbeddingBag": lambda: Text(nn.EmbeddingBag(WORDS, WIDTH)),
    "scripted": lambda: torch.jit.script(Text()),
    "bound method": lambda: Text().forward,
    "F.embedding": lambda: lambda x: F.embedding(x, TABLE).mean(1),
    "F.embedding_bag": lambda: lambda x: F.embedding_bag(x, TABLE),
    "F.one_hot": lambda: lambda x: F.one_hot(x, WORDS).float().mean(1) @ TABLE,
    "table[x]": lambda: lambda x: TABLE[x].mean(1),
    "index_select": lambda: lambda x: TABLE.index_select(0, x.flatten()).reshape(*x.shape, WIDTH).mean(1),
    "gather": lambda: lambda x: ROW.expand(len(x), WORDS).gather(1, x),
    "take": lambda: lambda x: torch.take(TABLE, x),
    "take_along_dim": lambda: lambda x: torch.take_along_dim(ROW.expand(len(x), WORDS), x, 1),
    "scatter": lambda: lambda x: torch.zeros(len(x), WORDS).scatter(1, x, 1.0) @ TABLE,
    "scatter_add": lambda: lambda x: torch.zeros(len(x), WORDS).scatter_add(1, x, torch.ones(x.shape)) @ TABLE,
    "index_add": lambda: lambda x: torch.stack([torch.zeros(WORDS).index_add(0, r, torch.ones(LENGTH)) for r in x]),
    "bincount": lambda: lambda x: torch.stack([torch.bincount(r, minlength=WORDS).float() for r in x]) @ TABLE,
    "a list": lambda: lambda x: torch.stack([sum(list(TABLE)[i] for i in r.tolist()) for r in x]),
    "bits": lambda: lambda x: (x & 3).float(),
    "an error of the model": lambda: checked_by_hand,
}
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "XGradient": lambda f, x: XGradient(f).attribute(x, target=1),
    "XGradient by certificate": lambda f, x: XGradient(f, validate="certificate").attribute(x, target=1),
    "XGradient unchecked": lambda f, x: XGradient(f, validate="off").attribute(x, target=1),
    "certify": lambda f, x: certify(f, x),
    "check_homogeneity": lambda f, x: check_homogeneity(f, x, 1),
    "bias_ledger": lambda f, x: bias_ledger(f, x, 1),
}


def refused(name: str, function: Callable[..., Tensor], inputs: Any) -> InputError:
    """Return the refusal; hold that it carries what went wrong and that nothing changed."""
    things = (function, *(inputs if isinstance(inputs, tuple) else (inputs,)))
    watched = [thing for thing in things if isinstance(thing, (Tensor, nn.Module))]
    with nothing_changes(*watched), pytest.raises(InputError, match="Ids cannot be attributed to") as caught:
        FUNCTIONS[name](function, inputs)
    assert caught.value.__cause__ is not None
    assert str(caught.value).startswith(name.split(" ", maxsplit=1)[0])
    return caught.value


@pytest.mark.parametrize("lookup", LOOKUPS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_ids_are_refused_whatever_looks_them_up(lookup: str, name: str) -> None:
    if lookup == "scripted" and name in ("certify", "XGradient by certificate"):
        pytest.skip("nothing is run: scripted modules are unknown to certificates")
    refused(name, LOOKUPS[lookup](), IDS)


@pytest.mark.parametrize(
    "ids",
    [
        IDS.int(),
        IDS.to(torch.uint8),
        IDS.to(torch.int16),
        IDS.float(),
        IDS.double(),
        IDS + 1000,
        -IDS - 1,
        torch.randn(4, LENGTH, generator=seeded(2)),
    ],
    ids=["int32", "uint8", "int16", "float32", "float64", "out of the vocabulary", "negative", "numbers"],
)
@pytest.mark.parametrize("lookup", ["nn.Embedding", "F.one_hot", "gather"])
def test_ids_are_refused_in_every_form(lookup: str, ids: Tensor) -> None:
    refused("XGradient", LOOKUPS[lookup](), ids)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("numbers", [torch.randn(4, WIDTH, generator=seeded(3)), torch.ones(4, WIDTH)])
@pytest.mark.parametrize("as_floats", [False, True])
def test_among_several_inputs_the_ids_are_named(name: str, numbers: Tensor, as_floats: bool) -> None:
    error = refused(name, Text(), (IDS.float() if as_floats else IDS, numbers))
    assert "`inputs[0]` as integers" in str(error)
    assert "inputs[1]" not in str(error)
    assert "pass `inputs[0]` as additional_forward_args" in str(error)


def test_the_embedding_is_named() -> None:
    model = nn.Sequential(nn.Embedding(WORDS, WIDTH), nn.Flatten(), nn.Linear(LENGTH * WIDTH, 2, bias=False))
    assert "LayerXGradient(model, model.get_submodule('0'), on_violation='integrate')" in str(
        refused("XGradient", model, IDS)
    )


def test_other_inputs_are_explained_when_the_ids_are_passed_on_as_the_refusal_says() -> None:
    model, numbers = Text(nn.Embedding(WORDS, WIDTH).requires_grad_(False)), torch.randn(4, WIDTH, generator=seeded(3))
    nn.init.zeros_(model.embedding.weight)
    numbers_first = lambda numbers, ids: model(ids, numbers)
    ours = XGradient(numbers_first).attribute(numbers, target=1, additional_forward_args=IDS)
    theirs = IntegratedGradients(numbers_first).attribute(numbers, target=1, additional_forward_args=IDS)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("row_of_padding", [0.0, 1.0])  # of the second, one gradient is not enough
def test_embeddings_are_explained_as_the_refusal_says(row_of_padding: float) -> None:
    model = Text()
    with torch.no_grad():
        model.embedding.weight[0] = row_of_padding
    says = re.search(r"LayerXGradient\(.*?\)", str(refused("XGradient", model, IDS))).group()
    method = eval(says, {"LayerXGradient": LayerXGradient, "model": model})
    expected = LayerIntegratedGradients(model, model.embedding).attribute(IDS, baselines=IDS * 0, target=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationNotice)
        found = method.attribute(IDS, target=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_embeddings_are_explained_without_their_layer() -> None:
    model = Text()
    with torch.no_grad():
        model.embedding.weight[0] = 0  # the layer's baseline is the embedding of token 0; make it zero
    expected = LayerIntegratedGradients(model, model.embedding).attribute(IDS, baselines=IDS * 0, target=1)
    layer = configure_interpretable_embedding_layer(model, "embedding")
    try:
        embedded = layer.indices_to_embeddings(IDS).detach()
        for validate in ("numeric", "certificate"):
            ours = XGradient(model, validate=validate).attribute(embedded, target=1)
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    finally:
        remove_interpretable_embedding_layer(model, layer)


@pytest.mark.parametrize("name", ["XGradient", "XGradient unchecked", "check_homogeneity", "bias_ledger"])
@pytest.mark.parametrize("cast", [Tensor.long, Tensor.int, lambda x: x.round().long()])
def test_ids_that_the_model_casts_itself_are_refused_with_the_same_advice(name: str, cast: Callable) -> None:
    with pytest.raises(GradientError, match="whole numbers ids that an embedding looks up"):
        FUNCTIONS[name](lambda x: TABLE[cast(x)].mean(1), IDS)


def test_other_detached_inputs_get_no_advice_on_ids() -> None:
    with pytest.raises(GradientError) as caught:
        XGradient(lambda x: x.detach() * TABLE[0]).attribute(torch.rand(4, WIDTH), target=1)
    assert "ids" not in str(caught.value)


@pytest.mark.parametrize("name", ["certify", "XGradient", "check_homogeneity", "bias_ledger"])
def test_additional_arguments_that_must_be_integers_are_named(name: str) -> None:
    shifted, x = (lambda x, words: x * TABLE[words]), torch.rand(4, WIDTH)
    calls = {
        "certify": lambda ids: certify(shifted, x, additional_forward_args=ids),
        "XGradient": lambda ids: XGradient(shifted).attribute(x, target=1, additional_forward_args=ids),
        "check_homogeneity": lambda ids: check_homogeneity(shifted, x, 1, additional_forward_args=ids),
        "bias_ledger": lambda ids: bias_ledger(shifted, x, 1, additional_forward_args=ids),
    }
    calls[name](IDS[:, 0])
    with pytest.raises(InputError, match=r"`additional_forward_args\[0\]` as integers.*ids\.long\(\)"):
        calls[name](IDS[:, 0].float())


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "broken",
    [
        lambda x: x @ torch.ones(99, 2),
        lambda x: {}["missing"],
        lambda x: TABLE[99] * x.sum(),
        lambda x: (x @ torch.ones(LENGTH, 2)).undefined,
    ],
    ids=["shapes", "KeyError", "IndexError", "AttributeError"],
)
def test_errors_of_other_kinds_come_through_as_they_are(name: str, broken: Callable) -> None:
    with pytest.raises((RuntimeError, KeyError, IndexError, AttributeError)) as caught:
        FUNCTIONS[name](broken, IDS)
    assert not isinstance(caught.value, InputError)


def test_a_model_that_fails_only_at_other_scales_is_not_taken_for_one_of_ids() -> None:
    def guarded(x: Tensor) -> Tensor:
        assert x.abs().max() <= WORDS
        return x.float() @ torch.ones(LENGTH, 2)

    with pytest.raises(AssertionError):
        XGradient(guarded).attribute(IDS, target=1)


def _of_limited_size(x: Tensor) -> Tensor:
    if x.abs().max() > 1:
        raise ValueError("scale the inputs to [-1, 1]")
    return x * torch.ones(3)


@pytest.mark.parametrize(
    "look",
    [
        lambda x: XGradient(_of_limited_size).attribute(x, target=0),
        lambda x: certify(_of_limited_size, x),
        lambda x: check_homogeneity(_of_limited_size, x, 0),
    ],
)
def test_an_error_about_the_size_of_numbers_is_not_one_about_ids(look: Any) -> None:
    with pytest.raises(ValueError, match="scale the inputs"):
        look(torch.full((2, 3), 2.5))
