"""Every metric of the package in what torchmetrics does with metrics, by torchmetrics' own code."""

import copy
import functools
import inspect
import io
import pickle

import matplotlib
import pytest
import torch
from metric_cases import data, exported, feed, make
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers import BootStrapper, MetricTracker, MinMaxMetric, Running

from captum_xg.errors import OptionTypeError

matplotlib.use("Agg")
plt = matplotlib.pyplot

N = 4
PARTS = (range(2), range(2, N))
HAVE_A_CURVE = {"KeepPositiveMask", "KeepNegativeMask", "KeepAbsoluteMask", "RemoveAbsoluteMask", "SensitivityN"}

each = pytest.mark.parametrize("name", exported())


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def batches():
    """The data by the names of the arguments of all metrics."""
    x, attributions, target, reference = data()
    names = {"inputs": x, "attributions": attributions, "target": target, "reference": reference}
    return [{name: tensor[list(part)] for name, tensor in names.items()} for part in PARTS]


def everything():
    return {key: torch.cat([batch[key] for batch in batches()]) for key in batches()[0]}


@functools.cache
def _whole(name):
    metric = make(name)
    feed(metric, range(N))
    return metric


def whole(name):
    """The metric after all examples."""
    return _whole(name).clone()


def arguments_of(name, batch):
    return {key: batch[key] for key in inspect.signature(make(name).update).parameters if key in batch}


def call(metric, name, batch):
    return metric(**arguments_of(name, batch))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, check_dtype=False)


def as_tensor(value):
    return torch.tensor(value, dtype=torch.float64)


def points(axes):
    return [float(y) for line in axes.lines for y in line.get_ydata()]


def all_metrics(**options):
    return MetricCollection({name: make(name) for name in exported()}, **options)


# Plots


@each
def test_a_plot_shows_the_value_or_the_curve_whose_value_it_is(name):
    metric = whole(name)
    figure, axes = metric.plot()
    assert axes.figure is figure
    close(as_tensor(points(axes)), metric.curve()[1] if name in HAVE_A_CURVE else metric.compute()[None])
    assert axes.get_ylabel()
    _, other = make(name).plot(metric.compute())  # one that was given nothing knows of no curve
    close(as_tensor(points(other)), metric.compute()[None])


@each
def test_a_plot_of_a_value_computes_nothing(name):
    metric = whole(name)
    value = metric.compute()
    metric.compute = metric.sync = None  # which would wait for other processes
    _, axes = metric.plot(value)
    assert len(points(axes)) == (len(metric._curve_behind[1]) if name in HAVE_A_CURVE else 1)


@each
@pytest.mark.parametrize("kind", [torch.tensor, float, lambda v: torch.tensor([v], dtype=torch.float32)])
def test_values_of_several_steps_are_a_series(name, kind):
    _, axes = make(name).plot([kind(v) for v in (1.0, 0.5, 0.25)])
    assert points(axes) == [1.0, 0.5, 0.25]
    assert axes.get_xlabel() == "Step"


@each
def test_a_plot_goes_on_the_axes_it_is_given(name):
    metric = whole(name)
    figure, axes = plt.subplots()
    for result in (
        metric.plot(ax=axes),
        metric.plot(axes),
        metric.plot(None, axes),
        metric.plot(metric.compute(), axes),
    ):
        assert result[0] is figure
        assert result[1] is axes
    assert len(axes.lines) == 4


@each
@pytest.mark.parametrize("wrong", ["value", [], [None], {"a": 1.0}, torch.zeros(3), [torch.zeros(2)]])
def test_what_is_no_value_cannot_be_plotted(name, wrong):
    with pytest.raises(OptionTypeError, match=rf"{name}\.plot: `val` must be"):
        make(name).plot(wrong)


@each
def test_a_value_that_cannot_be_drawn_is_said(name):
    for value in (torch.tensor(torch.inf), [torch.tensor(1.0), torch.tensor(torch.nan)]):
        assert "not finite" in make(name).plot(value)[1].get_title()


def test_collections_plot_all_of_their_metrics():
    collection = all_metrics(prefix="val/", postfix="_epoch")
    values = [collection(**batch) for batch in batches()]
    assert len(collection.plot()) == len(collection)
    assert all(len(axes.lines) for _, axes in collection.plot(values))
    plt.close("all")
    axes = list(plt.subplots(1, len(collection))[1])
    assert [a for _, a in collection.plot(ax=axes)] == axes
    assert all(points(a) for a in axes)
    _, together = collection.plot(together=True)
    assert len(points(together)) == len(collection)
    _, together = collection.plot(values, together=True)
    assert len(points(together)) == 2 * len(collection)


# Collections


def test_a_collection_takes_the_arguments_of_all_by_name_and_gives_what_each_gives_alone():
    nested = MetricCollection({"a": all_metrics(prefix="inner_"), "b": make("CompletenessGap")}, prefix="outer_")
    flat = all_metrics(postfix="_all").clone(prefix="copy_")
    collections = [flat, nested, pickle.loads(pickle.dumps(flat)), copy.deepcopy(flat)]
    for collection in collections:
        for batch in batches():
            collection.update(**batch)
        values = collection.compute()
        for name in exported():
            keys = [key for key in values if name in key]
            assert keys
            for key in keys:
                close(values[key], whole(name).compute())
        collection.reset()
        assert all(not metric.update_called for metric in collection.values())


@each
@pytest.mark.parametrize("groups", [True, [["one", "two"], ["three"]]])
def test_groups_of_copies_share_what_they_count(name, groups):
    one = make(name)
    members = {"one": one, "two": one.clone(), "three": make(name)}
    collection = MetricCollection(members, compute_groups=groups)
    for batch in batches():
        collection.update(**batch)
    for value in collection.compute().values():
        close(value, whole(name).compute())
    if groups is True:
        # The third has a model of its own, where it has one; else it measures the same as the other two.
        expected = [["one", "three", "two"]] if "Relative" in name else [["one", "two"], ["three"]]
        assert sorted(map(sorted, collection.compute_groups.values())) == expected


# Wrappers and arithmetic


@each
def test_a_tracker_finds_the_best_step_in_the_direction_of_the_metric(name):
    tracker = MetricTracker(make(name))
    for batch in batches():
        tracker.increment()
        call(tracker, name, batch)
    values = tracker.compute_all()
    best, step = tracker.best_metric(return_step=True)
    choose = torch.argmax if make(name).higher_is_better else torch.argmin
    assert step == int(choose(values))
    close(as_tensor(best), values[step])
    assert points(tracker.plot()[1]) == values.tolist()


def test_a_tracker_of_a_collection_goes_in_the_direction_of_each():
    tracker = MetricTracker(all_metrics())
    for batch in batches():
        tracker.increment()
        tracker.update(**batch)
    best = tracker.best_metric()
    for name, values in tracker.compute_all().items():
        close(as_tensor(best[name]), values.max() if make(name).higher_is_better else values.min())


@each
def test_bootstraps_differ_and_their_mean_is_told(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrapped = BootStrapper(make(name), num_bootstraps=4, raw=True, sampling_strategy="multinomial")
        wrapped.update(*arguments_of(name, everything()).values())
    found = wrapped.compute()
    assert found["raw"].shape == (4,)
    assert len(set(found["raw"].tolist())) == 4
    close(found["mean"], found["raw"].mean())
    assert wrapped.plot()[1].has_data()
    wrapped.reset()


@each
def test_running_and_extreme_values_are_those_of_the_batches(name):
    running, extremes = Running(make(name), window=1), MinMaxMetric(make(name))
    values = []
    for batch, part in zip(batches(), PARTS, strict=True):
        alone = make(name)
        feed(alone, part)
        values.append(alone.compute())
        close(call(running, name, batch), values[-1])
        extremes.update(**arguments_of(name, batch))
        found = extremes.compute()
    close(running.compute(), values[-1])
    close(found["raw"], whole(name).compute())
    close(torch.stack([found["min"], found["max"]]), torch.stack([values[0], found["raw"]]).sort().values)


@each
def test_arithmetic_of_metrics_is_that_of_their_values(name):
    one, two = make(name), make(name)
    combined = {"sum": one + two, "difference": one - two, "scaled": 2 * one, "size": abs(one)}
    (one + two)  # nothing happens to the operands
    total = combined["sum"]
    for batch in batches():
        total.update(**arguments_of(name, batch))
    value = whole(name).compute()
    close(total.compute(), 2 * value)
    close(combined["difference"].compute(), 0 * value)
    close(combined["scaled"].compute(), 2 * value)
    close(combined["size"].compute(), value.abs())
    total.reset()
    assert not one.update_called


# States


@each
def test_partial_states_give_what_the_full_ones_give(name):
    found = []
    for full in (True, False):
        metric = make(name)
        metric.__class__ = type(type(metric).__name__, (type(metric),), {"full_state_update": full})
        found.append([*(call(metric, name, batch) for batch in batches()), metric.compute()])
    close(found[0], found[1])


@each
def test_two_equal_processes_give_what_one_gives(name):
    metric = whole(name)
    alone = metric.compute().clone()
    before = {key: value.clone() for key, value in metric.metric_state.items()}
    metric.sync(dist_sync_fn=lambda state, group: [state, state], distributed_available=lambda: True)
    assert int(metric.count) == 2 * N
    metric._computed = None
    close(metric._mean(), whole(name)._mean())
    metric.unsync()
    assert all(torch.equal(value, before[key]) for key, value in metric.metric_state.items())
    with metric.sync_context(dist_sync_fn=lambda state, group: [state], distributed_available=lambda: True):
        assert int(metric.count) == N
    close(metric.compute(), alone)
    at_once = make(name)
    at_once.distributed_available_fn, at_once.dist_sync_fn = lambda: True, lambda state, group: [state, state]
    feed(at_once, range(N))
    close(at_once.compute(), alone)
    assert int(at_once.count) == N


@pytest.mark.parametrize("name", sorted(HAVE_A_CURVE))
def test_a_curve_within_a_synchronised_block_leaves_it_synchronised(name):
    metric = whole(name)
    alone = metric.curve()[1]
    two = {"dist_sync_fn": lambda state, group: [state, state], "distributed_available": lambda: True}
    with metric.sync_context(**two):
        close(metric.curve()[1], alone)
        assert int(metric.count) == 2 * N
    assert int(metric.count) == N
    metric.dist_sync_fn, metric.distributed_available_fn = two["dist_sync_fn"], two["distributed_available"]
    close(metric.curve()[1], alone)
    assert int(metric.count) == N


@pytest.mark.skipif(not hasattr(Metric, "merge_state"), reason="torchmetrics before 1.5")
@each
def test_merging_is_seeing_the_examples_of_both(name):
    parts = [make(name) for _ in PARTS]
    for metric, part in zip(parts, PARTS, strict=True):
        feed(metric, part)
    parts[0].merge_state(parts[1])
    close(parts[0].compute(), whole(name).compute())


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dtype_that_is_set_is_that_of_the_value(name, dtype):
    metric = make(name).set_dtype(dtype)
    for part in PARTS:
        feed(metric, part)
    torch.testing.assert_close(metric.compute().double(), whole(name).compute(), rtol=1e-5, atol=1e-5)
    assert metric.total.dtype == dtype
    metric.reset()
    feed(metric, PARTS[0])
    kept = make(name).half().to("cpu").float().cpu()
    feed(kept, range(N))
    close(kept.compute(), whole(name).compute())  # torchmetrics leaves states alone unless set_dtype is called
    assert "Float" not in str(kept.total.type()) or kept.total.dtype == torch.float64


@each
def test_states_that_are_persistent_are_saved_and_loaded(name):
    metric = whole(name)
    assert not metric.state_dict()
    metric.persistent(True)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    other = make(name)
    other.persistent(True)
    other.load_state_dict(torch.load(file, weights_only=True))
    other._update_count = 1
    close(other.compute(), metric.compute())


@each
def test_a_metric_that_was_saved_whole_goes_on(name):
    metric = make(name)
    feed(metric, PARTS[0])
    file = io.BytesIO()
    torch.save(metric, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    for other in (again, copy.copy(metric)):
        feed(other, PARTS[1])
        close(other.compute(), whole(name).compute())


@each
def test_options_of_torchmetrics_are_taken(name):
    kind = type(make(name))
    arguments = {} if "Relative" in name else {"forward_func": data}
    if name == "MaxSensitivity":
        arguments = {"attribution_func": data}
    metric = kind(**arguments, compute_on_cpu=True, compute_with_cache=False, sync_on_compute=False)
    assert metric.compute_on_cpu
    with pytest.raises(ValueError, match="Unexpected keyword"):
        kind(**arguments, no_such_option=True)
    assert len({hash(kind(**arguments)) for _ in range(3)}) == 3
    assert name in repr(metric)
