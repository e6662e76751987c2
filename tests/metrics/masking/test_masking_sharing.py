"""Masking metrics run the model once for equal masked inputs, and never for answers that are out of date."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
import torchmetrics
from test_masking import KINDS, batch, make, network
from torch import nn

from captum_xg import metrics
from captum_xg.metrics import AttributionMetricCollection as MetricCollection
from captum_xg.metrics import (
    KeepAbsoluteMask,
    KeepNegativeMask,
    KeepPositiveMask,
    RemoveAbsoluteMask,
    maskers,
)
from captum_xg.metrics.collection import shared_evaluations


class Counted(nn.Module):
    """Counts the examples that go through, and the largest batch."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.n = self.largest = 0

    def forward(self, x):
        self.n += len(x)
        self.largest = max(self.largest, len(x))
        return self.model(x)


def four(model, collection=MetricCollection, **options):
    return collection([make(kind, model, **options) for kind in KINDS])


@pytest.mark.parametrize("collection", [MetricCollection, torchmetrics.MetricCollection])
def test_a_collection_gives_what_its_members_give_alone_on_every_batch(collection):
    model = network()
    together, alone = four(model, collection), {kind: make(kind, model) for kind in KINDS}
    for seed in range(3):
        x, a, y = batch(4, seed=seed)
        together.update(x, a, y)
        for metric in alone.values():
            metric.update(x.clone(), a.clone(), y.clone())
    values = together.compute()
    for kind in KINDS:
        torch.testing.assert_close(values[kind], alone[kind].compute(), rtol=1e-12, atol=1e-12)


def test_equal_values_on_the_first_batch_do_not_make_two_metrics_one():
    model = lambda x: torch.stack([x.sum(1), -x.sum(1)], 1)
    collection = MetricCollection([KeepAbsoluteMask(model), RemoveAbsoluteMask(model)])
    collection.update(torch.ones(2, 4), torch.ones(2, 4), 0)  # 100 % everywhere, for both
    x = torch.tensor([[3.0, -1.0, -1.0, -0.5]])
    collection.update(x, x, 0)
    values = collection.compute()
    assert values["KeepAbsoluteMask"] > values["RemoveAbsoluteMask"]


def test_equal_masks_are_run_once_in_one_metric_and_across_metrics():
    x, a, y = batch(3)
    model = Counted(network())
    KeepPositiveMask(model).update(x, a.abs(), y)
    distinct = len({int(f * 49) for f in metrics.KeepPositiveMask(model).fractions})
    assert model.n == 3 * distinct
    collection = four(model)
    model.n = 0
    collection.update(x.clone(), a.abs(), y)
    # All positive: KPM and KAM have the same masks, KNM only the empty one, and RAM shares the empty and the full one.
    assert model.n == 3 * (2 * distinct - 2)
    assert model.largest <= 32
    model.n = 0
    collection(x.clone(), a.abs(), y)  # forward, which torchmetrics asks every member for
    assert model.n == 3 * (2 * distinct - 2)
    model.n = 0
    with shared_evaluations(plain := four(model, torchmetrics.MetricCollection)):
        plain.update(x.clone(), a.abs(), y)
    assert model.n == 3 * (2 * distinct - 2)


def test_masks_that_change_no_number_are_not_run():
    x, a = torch.zeros(1, 100), torch.rand(1, 100)
    x[0, :2] = 1.0
    model = Counted(nn.Linear(100, 2))
    KeepAbsoluteMask(model, masker=maskers.Zero()).update(x, a, 0)
    assert model.n <= 3


def test_masked_values_are_computed_once_for_a_collection():
    calls = []

    def masker(x):
        calls.append(len(x))
        return x * 0

    x, a, y = batch(4)
    four(network(), masker=masker).update(x, a, y)
    assert calls == [4]


def test_no_forward_pass_is_larger_than_the_internal_batch_size():
    x, a, y = batch(5)
    for size in (1, 2, 7):
        model = Counted(network())
        four(model, internal_batch_size=size).update(x, a, y)
        assert model.largest == size


def _changed_weights(model):
    with torch.no_grad():
        model.model[0].weight.mul_(2)


def _written_through_data(model):
    model.model[0].weight.data.mul_(2)


def _replaced(model):
    model.model[3] = nn.Linear(125, 4).double()


def _new_scale(model):
    model.scale = 3.0


class Scaled(Counted):
    scale = 1.0

    def forward(self, x):
        return super().forward(x) * self.scale


@pytest.mark.parametrize("change", [_changed_weights, _written_through_data, _replaced])
def test_answers_are_not_shared_once_the_model_has_changed(change):
    x, a, y = batch(3)
    model = Scaled(network())
    KeepPositiveMask(model).update(x, a, y)
    change(model)
    after = KeepNegativeMask(model).scores(x, a, y)
    assert torch.equal(after, KeepNegativeMask(model).scores(x.clone(), a, y))


def test_the_same_metric_asks_the_model_again():
    x, a, y = batch(3)
    model = Scaled(network())
    metric = KeepPositiveMask(model)
    before = metric.scores(x, a, y)
    _new_scale(model)
    torch.testing.assert_close(metric.scores(x, a, y), before * 3)


def test_answers_are_not_shared_once_a_tensor_has_changed():
    model = network()
    x, a, y = batch(3)
    KeepPositiveMask(model).update(x, a, y)
    x.mul_(2)
    assert torch.equal(KeepAbsoluteMask(model).scores(x, a, y), KeepAbsoluteMask(model).scores(x.clone(), a, y))
    y.sub_(y)
    assert torch.equal(KeepNegativeMask(model).scores(x, a, y), KeepNegativeMask(model).scores(x, a, y.clone()))


def test_answers_are_not_shared_with_another_question():
    x, a, y = batch(3)
    model, other = network(), network(classes=4).double()
    with torch.no_grad():
        other[0].weight.neg_()
    for first, second in (
        (KeepPositiveMask(model), KeepNegativeMask(other)),
        (KeepPositiveMask(model, masker=maskers.Zero()), KeepNegativeMask(model, masker=maskers.Constant(1.0))),
        (KeepPositiveMask(model, channel_dim=None), KeepNegativeMask(model)),
    ):
        with shared_evaluations(first, second):
            first.update(x, a, y)
            shared = second.scores(x, a, y)
        assert torch.equal(shared, second.clone().scores(x.clone(), a, y))
    metrics = KeepPositiveMask(model), KeepNegativeMask(model)
    for target in (0, 1):
        with shared_evaluations(*metrics):
            metrics[0].update(x, a, target)
            shared = metrics[1].scores(x, a, 2)
        assert torch.equal(shared, KeepNegativeMask(model).scores(x.clone(), a, 2))


def test_other_attributions_of_the_same_inputs_share_what_is_equal():
    x, a, y = batch(3)
    model = Counted(network())
    metric = KeepAbsoluteMask(model)
    with shared_evaluations(metric):
        metric.update(x, a, y)
        before = model.n
        metric.update(x, a.flip(0), y)
        first = model.n - before
        metric.update(x.clone(), a.flip(0), y)
    assert first < model.n - before - first
    assert torch.equal(
        metric.total, sum(KeepAbsoluteMask(model).scores(x, b, y).sum(0) for b in (a, a.flip(0), a.flip(0)))
    )


def test_nothing_is_kept_of_a_batch_that_is_gone():
    x, a, y = batch(3)
    collection = four(network(), masker=lambda x: x.clone())
    collection.update(x, a, y)
    alive = [weakref.ref(t) for t in (x, a, y)]
    del x, a, y
    gc.collect()
    assert not any(r() for r in alive)


@pytest.mark.parametrize("call", ["update", "forward"])
def test_a_collection_asks_the_model_again_in_every_call(call):
    x, a, y = batch(3)
    model = Counted(network())
    collection = four(model)
    for _ in range(2):
        getattr(collection, call)(x, a, y)
        _written_through_data(model)  # what leaves no trace on the tensor
        x.numpy()[:] *= 2
    expected = [x / 4, x / 2]
    for kind in KINDS:
        metric, again = make(kind, model), Counted(network())
        sums = 0
        for own in expected:
            sums = sums + make(kind, again).scores(own, a, y).sum(0)
            _written_through_data(again)
        torch.testing.assert_close(collection[kind].total, sums, rtol=1e-12, atol=1e-12)
        assert metric._shared is None


def test_blocks_end_with_their_last_line_whatever_happens_in_them():
    x, a, y = batch(3)
    model = Counted(network())
    metrics = KeepPositiveMask(model), KeepAbsoluteMask(model)

    def fails():
        with shared_evaluations(*metrics):
            with shared_evaluations(*metrics):
                metrics[0].scores(x, a.abs(), y)
            before = model.n
            metrics[1].scores(x, a.abs(), y)  # the inner block leaves what the outer one shares
            assert model.n == before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    before = model.n
    metrics[1].scores(x, a.abs(), y)
    assert model.n > before


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_a_copy_made_within_a_block_shares_nothing_and_outlives_it_without_old_answers(copied):
    x, a, y = batch(3)
    metric = KeepPositiveMask(_tripled)
    with shared_evaluations(metric):
        metric.update(x, a, y)
        other = copied(metric)
    assert other._shared is None
    before = other.scores(x, a, y)
    x.numpy()[:] *= 2
    torch.testing.assert_close(other.scores(x, a, y), KeepPositiveMask(_tripled).scores(x.clone(), a, y))
    assert not torch.equal(before, other.scores(x, a, y))


def _tripled(x):
    return 3 * x.flatten(1)[:, :4]


def test_an_error_in_the_middle_leaves_nothing_wrong_behind():
    x, a, y = batch(3)
    model = network()

    class Fails(nn.Module):
        left = 1

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("out of memory")
            return self.model(x)

    failing, a = Fails(), a.abs()  # for which KPM and KAM have the same masks
    failing.left = 3
    first, second = (kind(failing, internal_batch_size=4) for kind in (KeepPositiveMask, KeepAbsoluteMask))
    with shared_evaluations(first, second):
        with pytest.raises(RuntimeError, match="out of memory"):
            first.update(x, a, y)
        shared = second.scores(x, a, y)
    assert torch.equal(shared, KeepAbsoluteMask(model, internal_batch_size=4).scores(x, a, y))


class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 2.0, 4.0]]))
        self.scale = 1.0

    def forward(self, x):
        return x * self.weight * self.scale


def _times_three(tensor):
    tensor.numpy()[:] *= 3


@pytest.mark.parametrize(
    "change",
    [
        lambda model, x: setattr(model, "scale", 3.0),
        lambda model, x: model.register_forward_hook(lambda module, args, output: 3 * output),
        lambda model, x: model.weight.data.mul_(3),
        lambda model, x: model.weight.data.copy_(model.weight.data.flip(1)),
        lambda model, x: model.weight.data.neg_(),
        lambda model, x: x.data.mul_(3),
        lambda model, x: _times_three(x),
    ],
    ids=["attribute", "hook", "data", "data moved", "data negated", "input data", "input in NumPy"],
)
def test_what_leaves_no_version_behind_is_noticed_when_new_attributions_come(change):
    model, x, a = Weighed().eval(), torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    metric = KeepPositiveMask(model)
    metric.scores(x, a, 0)
    change(model, x)
    found = metric.scores(x, a.clone(), 0)
    torch.testing.assert_close(found, KeepPositiveMask(model).scores(x.clone(), a, 0))
    assert found[0, -1] == model(x)[0, 0]


class Settable:
    value = 0.0

    def __call__(self, x):
        return torch.full_like(x, self.value)


def test_settings_of_maskers_that_change_are_noticed():
    x, a = torch.rand(2, 6), torch.randn(2, 6)
    own, means = Settable(), torch.zeros(6)
    for masker, change in ((own, lambda: setattr(own, "value", 5.0)), (maskers.Mean(means), lambda: means.add_(5.0))):
        metric = KeepPositiveMask(lambda x: x, masker=masker)
        metric.scores(x, a, 0)
        change()
        expected = KeepPositiveMask(lambda x: x, masker=maskers.Constant(5.0)).scores(x.clone(), a, 0)
        torch.testing.assert_close(metric.scores(x, a.clone(), 0), expected)


def test_targets_and_lists_of_tensors_that_change_are_noticed():
    x, a, target, extra = torch.rand(2, 6), torch.randn(2, 6), torch.tensor([0, 0]), torch.ones(1, 6)
    metric = KeepPositiveMask(lambda x, more: x * more[0])
    first = metric.scores(x, a, target, ([extra],))
    torch.testing.assert_close(metric.scores(x, a.clone(), target, ([2 * extra],)), 2 * first)
    extra.mul_(3)
    torch.testing.assert_close(metric.scores(x, a.clone(), target, ([extra],)), 3 * first)
    plain = KeepPositiveMask(lambda x: x)
    plain.scores(x, a, target)
    target.numpy()[:] = 1
    torch.testing.assert_close(plain.scores(x, a.clone(), target), plain.scores(x.clone(), a, 1))
