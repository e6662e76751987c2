"""What every metric of the package does as a torchmetrics.Metric."""

import pickle

import pytest
import torch
from metric_cases import N, data, exported, feed, make
from torchmetrics import MetricCollection

from captum_xg.errors import InputError

pytestmark = pytest.mark.parametrize("name", exported())


def test_calling_a_metric_gives_the_value_of_the_batch_and_adds_it(name):
    x, attributions, target, reference = data()
    metric, part = make(name), make(name)
    feed(metric, range(3))
    rest = slice(3, N)
    if name == "MeanAbsoluteRelativeDifference":
        value = metric(attributions[rest], reference[rest])
    else:
        value = metric(x[rest], attributions[rest], target[rest])
    feed(part, range(3, N))
    whole = make(name)
    feed(whole, range(N))
    torch.testing.assert_close(value, part.compute(), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(metric.compute(), whole.compute(), rtol=1e-12, atol=1e-13)


def test_scores_aggregate_to_the_value_and_change_no_state(name):
    x, attributions, target, reference = data()
    metric = make(name)
    before = {key: value.clone() for key, value in metric.metric_state.items()}
    if name == "MeanAbsoluteRelativeDifference":
        scores = metric.scores(attributions, reference)
    else:
        scores = metric.scores(x, attributions, target)
    assert len(scores) == N
    assert all(torch.equal(value, before[key]) for key, value in metric.metric_state.items())
    feed(metric, range(N))
    torch.testing.assert_close(metric.aggregate(scores), metric.compute(), rtol=1e-12, atol=1e-13)


def test_examples_in_another_order_and_other_batches_change_nothing(name):
    metrics = [make(name) for _ in range(2)]
    feed(metrics[0], range(N))
    for part in ([6, 2], [0], [5, 1, 3, 4]):
        feed(metrics[1], part)
    torch.testing.assert_close(metrics[1].compute(), metrics[0].compute(), rtol=1e-12, atol=1e-13)


def test_a_reset_forgets_and_a_copy_or_pickle_goes_on_alone(name):
    metric, expected = make(name), make(name)
    feed(metric, range(N))
    copies = [metric.clone(), pickle.loads(pickle.dumps(metric))]
    metric.reset()
    feed(metric, range(2))
    feed(expected, range(2))
    assert torch.equal(metric.compute(), expected.compute())
    feed(expected, range(2, N))
    for copy in copies:
        torch.testing.assert_close(copy.compute(), expected.compute(), rtol=1e-12, atol=1e-13)


def test_a_collection_gives_what_each_gives_alone(name):
    x, attributions, target, reference = data()
    compares = name == "MeanAbsoluteRelativeDifference"
    other = name if compares else "CompletenessGap"
    collection = MetricCollection({"one": make(name), "other": make(other)})
    for part in (slice(0, 3), slice(3, N)):
        if compares:
            collection.update(attributions[part], reference=reference[part])
        else:
            collection.update(x[part], attributions[part], target=target[part])
    for key, kind in (("one", name), ("other", other)):
        alone = make(kind)
        feed(alone, range(N))
        torch.testing.assert_close(collection.compute()[key], alone.compute(), rtol=1e-12, atol=1e-13)


def test_the_direction_is_declared_and_the_value_is_a_scalar(name):
    metric = make(name)
    feed(metric, range(2))
    assert isinstance(metric.higher_is_better, bool)
    assert not metric.is_differentiable
    assert not metric.full_state_update
    assert metric.compute().shape == ()


def test_without_examples_there_is_no_value(name):
    with pytest.raises(InputError, match="no example"), pytest.warns(UserWarning, match="before the ``update``"):
        make(name).compute()


def test_the_value_can_be_plotted(name):
    import matplotlib

    matplotlib.use("Agg")
    metric = make(name)
    feed(metric, range(2))
    figure, axes = metric.plot()
    assert axes.has_data()
    matplotlib.pyplot.close(figure)
