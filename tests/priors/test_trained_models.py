"""Models of all sorts get, with a prior, the gradients of the same loss written out."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from training_cases import (
    CLOSE,
    DEVICES,
    LOOPS,
    assert_same,
    attributions_of,
    batch,
    by_hand,
    gradients,
    hand_gradients,
    network,
    options_of,
    seeded,
    train,
)

from captum_xg.errors import DisconnectedAttributionError, GradientError, HomogeneityError
from captum_xg.priors import AttributionPriorLoss, TotalVariation


class Checkpointed(nn.Module):
    """Some of the layers are run once more in the backward pass."""

    def __init__(self, layers, start, stop, reentrant):
        super().__init__()
        self.layers, self.start, self.stop, self.reentrant = layers, start, stop, reentrant

    def forward(self, x):
        x = self.layers[: self.start](x)
        x = checkpoint(self.layers[self.start : self.stop], x, use_reentrant=self.reentrant)
        return self.layers[self.stop :](x)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = network()
        self.square = nn.Linear(72, 72, bias=False, dtype=torch.float64)

    def forward(self, x):
        once = self.square(x.flatten(1)).relu()
        return self.layers(self.square(once).relu().reshape(x.shape))


class LowRank(nn.Module):
    """W + BA with W frozen."""

    def __init__(self, layer, rank=2):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, layer.in_features, generator=seeded(), dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank, dtype=torch.float64))

    def forward(self, x):
        return self.layer(x) + F.linear(F.linear(x, self.a), self.b)


def weight_normed():
    model = network()
    parametrizations.weight_norm(model[0])
    parametrizations.weight_norm(model[4])
    return model


def frozen_backbone():
    model = network()
    model[0].requires_grad_(False)
    model[4].requires_grad_(False)
    return model


def frozen_head():
    model = network()
    model[6].requires_grad_(False)
    return model


def low_rank():
    model = network().requires_grad_(False)
    model[4], model[6] = LowRank(model[4]), LowRank(model[6])
    return model


MODELS = {
    "plain": network,
    "first layer checkpointed": lambda: Checkpointed(network(), 0, 2, False),
    "head checkpointed": lambda: Checkpointed(network(), 4, 7, False),
    "all checkpointed": lambda: Checkpointed(network(), 0, 7, False),
    "weight norm": weight_normed,
    "shared weights": Shared,
    "frozen backbone": frozen_backbone,
    "frozen head": frozen_head,
    "low rank": low_rank,
}


@pytest.mark.parametrize("attribution", ["xgradient", "input_x_gradient"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_loss_written_out_and_nothing_frozen_gets_one(name, attribution):
    x, y = batch()
    torch.manual_seed(3)
    model = MODELS[name]()
    loss = AttributionPriorLoss(model, TotalVariation(), attribution=attribution)
    for _ in range(2):  # the second time from what is remembered
        model.zero_grad()
        loss(x, y).total.backward()
        assert_same(gradients(model.parameters()), hand_gradients(model, model.parameters(), x, y))
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize(
    ("attribution", "kind"), [("xgradient", HomogeneityError), ("input_x_gradient", GradientError)]
)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpointing_that_cannot_be_differentiated_twice_is_refused(attribution, kind, start):
    loss = AttributionPriorLoss(Checkpointed(network(), start, 7, True), TotalVariation(), attribution=attribution)
    with pytest.raises(kind, match=r"use_reentrant=False|CheckpointFunction"):
        loss(*batch())


@pytest.mark.parametrize("device", DEVICES)
def test_in_channels_last_numbers_are_the_same_and_gradients_keep_the_format(device):
    x, y = (t.to(device) for t in batch())
    model, strided = network().to(device), network().to(device)
    model.to(memory_format=torch.channels_last)
    last = x.to(memory_format=torch.channels_last)
    result = AttributionPriorLoss(model, TotalVariation())(last, y)
    result.total.backward()
    found = gradients(model.parameters())
    assert_same(found, hand_gradients(strided, strided.parameters(), x, y))
    plain = hand_gradients(model, model.parameters(), last, y)
    if device == "cpu":  # on a GPU the layout of autograd's own gradients depends on the kernels
        assert [g.stride() for g in found] == [g.stride() for g in plain]
    assert result.attributions.stride() == attributions_of(model, last, y).stride()
    if device == "cpu":
        assert found[0].is_contiguous(memory_format=torch.channels_last)
        assert result.attributions.is_contiguous(memory_format=torch.channels_last)


def test_gradients_reach_what_the_inputs_were_computed_from():
    x, y = batch()
    model, before = network(), nn.Conv2d(2, 2, 3, padding=1, dtype=torch.float64)
    parameters = [*before.parameters(), *model.parameters()]
    AttributionPriorLoss(model, TotalVariation())(before(x), y).total.backward()
    assert_same(gradients(parameters), torch.autograd.grad(by_hand(model, before(x), y), parameters))


def test_inputs_that_require_a_gradient_get_that_of_the_loss_written_out_and_keep_their_mark():
    x, y = batch()
    model = network()
    given = x.clone().requires_grad_()
    AttributionPriorLoss(model, TotalVariation())(given, y).total.backward()
    own = x.clone().requires_grad_()
    torch.testing.assert_close(given.grad, torch.autograd.grad(by_hand(model, own, y), own)[0], **CLOSE)
    AttributionPriorLoss(model, TotalVariation())(x, y).total.backward()
    assert not x.requires_grad
    assert x.grad is None


def test_an_averaged_copy_can_be_looked_at_while_the_model_trains():
    x, y = batch()
    model = network()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    loss = AttributionPriorLoss(model, TotalVariation())
    watched = AttributionPriorLoss(average, TotalVariation()).eval()
    optimizer = LOOPS["sgd"](model.parameters())
    for _ in range(3):
        train(model, lambda: loss(x, y).total, optimizer, 1)
        average.update_parameters(model)
        with torch.no_grad():
            found = watched(x, y)
        assert not found.total.requires_grad
        torch.testing.assert_close(found.total, by_hand(average.module, x, y).detach())
    assert all(p.grad is None for p in average.parameters())


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("attribution", ["xgradient", "gradient", "expected_gradients"])
def test_parameters_handed_to_functional_call_are_trained(attribution, frozen):
    x, y = batch()
    model = network().requires_grad_(not frozen)
    own = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    options = options_of(attribution, x)
    called = AttributionPriorLoss(
        lambda inputs: torch.func.functional_call(model, own, (inputs,)),
        TotalVariation(),
        attribution=attribution,
        **options,
    )
    called(x, y).total.backward()
    plain = network()
    AttributionPriorLoss(plain, TotalVariation(), attribution=attribution, **options_of(attribution, x))(
        x, y
    ).total.backward()
    assert_same([p.grad for p in own.values()], gradients(plain.parameters()))


def whole(model, backend):
    return torch.compile(model, backend=backend)


def in_place(model, backend):
    model.compile(backend=backend)
    return model


def one_layer(model, backend):
    model[4].compile(backend=backend)
    return model


def of_a_function(model, backend):
    return torch.compile(lambda x: model(x), backend=backend)


COMPILED = {"whole": whole, "in place": in_place, "one layer": one_layer, "function": of_a_function}


@contextlib.contextmanager
def fresh_compiler():
    torch._dynamo.reset()
    try:
        yield
    finally:
        torch._dynamo.reset()


@pytest.mark.parametrize("how", COMPILED)
def test_models_compiled_to_pytorchs_own_operations_train_as_they_would_uncompiled(how):
    x, y = batch()
    with fresh_compiler():
        model = network()
        loss = AttributionPriorLoss(COMPILED[how](model, "eager"), TotalVariation(), attribution="input_x_gradient")
        for _ in range(2):
            model.zero_grad()
            loss(x, y).total.backward()
        assert_same(gradients(model.parameters()), expected_gradients())


def expected_gradients():
    model = network()
    return hand_gradients(model, model.parameters(), *batch())


@pytest.mark.parametrize("attribution", ["xgradient", "input_x_gradient"])
@pytest.mark.parametrize("how", COMPILED)
def test_models_whose_backward_pass_is_compiled_are_refused_unless_they_ran_uncompiled(how, attribution):
    with fresh_compiler():
        model = network()
        loss = AttributionPriorLoss(COMPILED[how](model, "aot_eager"), TotalVariation(), attribution=attribution)
        refusal = None
        try:
            loss(*batch()).total.backward()
        except (DisconnectedAttributionError, HomogeneityError) as error:
            refusal = str(error)
        if refusal is None:  # some versions of PyTorch give up compiling and run the model as it is
            assert_same(gradients(model.parameters()), expected_gradients())
        else:
            assert "compile" in refusal
            assert all(p.grad is None for p in model.parameters())
