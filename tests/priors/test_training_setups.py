"""Ordinary training loops give, with a prior, what a plain loop with the same loss written out gives."""

import io

import pytest
import torch
from training_cases import LOOPS, assert_same, batch, by_hand, gradients, hand_gradients, network, train

from captum_xg.priors import AttributionPriorLoss, GiniSparsity, TotalVariation


@pytest.mark.parametrize("attribution", ["xgradient", "gradient", "rrr", "integrated_gradients"])
def test_gradients_of_micro_batches_add_up_to_those_of_the_whole_batch_for_priors_of_single_examples(attribution):
    x, y = batch()
    whole, parts = network(), network()
    AttributionPriorLoss(whole, TotalVariation(), attribution=attribution)(x, y).total.backward()
    loss = AttributionPriorLoss(parts, TotalVariation(), attribution=attribution)
    for rows in torch.arange(8).split(2):
        (loss(x[rows], y[rows]).total / 4).backward()
    assert_same(gradients(parts.parameters()), gradients(whole.parameters()))
    assert loss.step == 4


def pairwise_gini(a):
    mean = a.abs().mean(0).flatten()
    return -(mean[:, None] - mean[None]).abs().sum() / (2 * len(mean) * mean.sum())


def test_a_prior_of_the_batch_mean_is_one_of_each_micro_batch_when_gradients_are_accumulated():
    x, y = batch()
    model = network()
    loss = AttributionPriorLoss(model, GiniSparsity())
    for rows in torch.arange(8).split(4):
        (loss(x[rows], y[rows]).total / 2).backward()
    halves = [
        hand_gradients(model, model.parameters(), x[i], y[i], prior=pairwise_gini) for i in torch.arange(8).split(4)
    ]
    assert_same(gradients(model.parameters()), [(a + b) / 2 for a, b in zip(*halves, strict=True)])
    together = hand_gradients(model, model.parameters(), x, y, prior=pairwise_gini)
    assert not torch.allclose(together[0], gradients(model.parameters())[0], rtol=1e-3)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize(
    ("name", "clip", "closure"), [("sgd", 0.05, False), ("adam", None, True), ("lbfgs", None, True)]
)
def test_loops_with_clipping_closures_and_zeroed_gradients_train_as_the_loss_written_out(
    name, clip, closure, set_to_none
):
    x, y = batch()
    mine, theirs = network(), network()
    loss = AttributionPriorLoss(mine, TotalVariation(), weight=0.3)
    options = {"clip": clip, "closure": closure, "set_to_none": set_to_none}
    found = train(mine, lambda: loss(x, y).total, LOOPS[name](mine.parameters()), 3, **options)
    hand = train(theirs, lambda: by_hand(theirs, x, y, weight=0.3), LOOPS[name](theirs.parameters()), 3, **options)
    assert_same(found, hand, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(found[0], network()[0].weight, rtol=1e-3)
    assert loss._attribution.n_proofs == 1


def test_a_scheduled_weight_is_taken_at_the_step_and_calls_count_steps():
    x, y = batch()
    loss = AttributionPriorLoss(network(), TotalVariation(), weight=lambda step: step / 10)
    for step in range(3):
        result = loss(x, y)
        torch.testing.assert_close(result.total, result.task + step / 10 * result.prior)
    loss.eval()(x, y)
    assert loss.step == 3
    result = loss.train()(x, y, step=50)
    torch.testing.assert_close(result.total, result.task + 5 * result.prior)
    assert loss.step == 51


def test_training_that_is_resumed_from_a_checkpoint_goes_on_as_if_it_had_not_stopped():
    x, y = batch()

    def new():
        model = network()
        loss = AttributionPriorLoss(model, TotalVariation(), weight=lambda step: 0.1 * step)
        return {"model": model, "optimizer": LOOPS["sgd"](model.parameters()), "loss": loss}

    def run(parts, steps):
        return train(parts["model"], lambda: parts["loss"](x, y).total, parts["optimizer"], steps)

    expected = run(new(), 4)
    first, stored = new(), io.BytesIO()
    run(first, 2)
    torch.save({name: part.state_dict() for name, part in first.items()}, stored)
    stored.seek(0)
    second = new()
    for name, state in torch.load(stored).items():
        second[name].load_state_dict(state)
    assert second["loss"].step == 2
    assert_same(run(second, 2), expected, rtol=0, atol=0)


def test_the_loss_holds_no_parameters_and_no_tensors_of_the_model():
    loss = AttributionPriorLoss(network(), TotalVariation())
    assert not list(loss.parameters())
    assert not any(isinstance(value, torch.Tensor) for value in loss.state_dict().values())
