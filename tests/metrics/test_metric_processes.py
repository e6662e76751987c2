"""Two processes under torchrun with parts of the data get the numbers of one process with all of it."""

import pathlib

import pytest
import torch
from metric_cases import N, data, exported, feed, make, results
from metric_worker import PARTS, whole_numbers
from two_processes import results_of

from captum_xg.errors import OptionError
from captum_xg.metrics import CompletenessGap, MeanAbsoluteRelativeDifference, UnpaddedDistributedSampler

# Sums of float64 in another order, of values that the model rounds differently in batches of another size.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return results_of(pathlib.Path(__file__).parent / "metric_worker.py", folder)


@pytest.mark.thorough
@pytest.mark.parametrize("parts", [*PARTS, "sampler", "sampler, again"])
@pytest.mark.parametrize("name", exported())
def test_every_metric_accumulates_to_the_numbers_of_one_process(processes, name, parts):
    metric = make(name)
    feed(metric, range(N))
    expected = results(metric)
    for found in processes:
        torch.testing.assert_close(found[name, parts], expected, **CLOSE)


@pytest.mark.parametrize("name", exported())
def test_leaving_out_or_repeating_an_example_would_be_seen(name):
    metrics = [make(name) for _ in range(3)]
    for metric, examples in zip(metrics, ([*range(N)], [*range(N - 1)], [*range(N), 0]), strict=True):
        feed(metric, examples)
    whole, without, repeated = (torch.cat([t.flatten() for t in results(metric)]) for metric in metrics)
    assert not torch.allclose(whole, without, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(whole, repeated, rtol=1e-9, atol=1e-9)


def test_sums_that_are_exact_are_the_same_to_the_last_bit(processes):
    metric = CompletenessGap(lambda x: x.sum(1))
    metric.update(*whole_numbers())
    assert all(torch.equal(found["exact"], metric.compute()) for found in processes)


def test_the_released_difference_is_the_mean_over_the_batches_of_all_processes(processes):
    attributions, reference = data()[1::2]
    metric = MeanAbsoluteRelativeDifference("released")
    for part in ([0, 1, 2], [3, 4], [5, 6]):
        metric.update(attributions[part], reference[part])
    for found in processes:
        torch.testing.assert_close(found["released"], metric.compute(), **CLOSE)


def test_each_of_7_examples_is_counted_once_by_two_processes(processes):
    parts = [found["unpadded"][0] for found in processes]
    assert parts == [[0, 2, 4, 6], [1, 3, 5]]
    assert all(float(found["unpadded"][1]) == pytest.approx(sum(range(7)) / 8 / 7, rel=1e-15) for found in processes)


def test_the_sampler_of_torch_counts_one_of_them_twice(processes):
    seen = sorted(i for found in processes for i in found["padded"][0])
    assert seen == [0, 0, 1, 2, 3, 4, 5, 6]
    assert all(float(found["padded"][1]) == pytest.approx(sum(range(7)) / 8 / 8, rel=1e-15) for found in processes)


@pytest.mark.parametrize("n", range(10))
@pytest.mark.parametrize("replicas", range(1, 5))
def test_the_parts_are_the_dataset_and_as_equal_as_can_be(n, replicas):
    samplers = [UnpaddedDistributedSampler(range(n), replicas, rank) for rank in range(replicas)]
    assert sorted(i for sampler in samplers for i in sampler) == list(range(n))
    lengths = [len(sampler) for sampler in samplers]
    assert lengths == [len(list(sampler)) for sampler in samplers]
    assert max(lengths) - min(lengths) <= 1


def test_without_processes_the_part_is_everything():
    assert list(UnpaddedDistributedSampler(range(5))) == list(range(5))


@pytest.mark.parametrize(("replicas", "rank"), [(2, 2), (2, -1), (0, 0), (2.0, 0), (2, True), (None, 1)])
def test_a_rank_that_no_process_has_is_refused(replicas, rank):
    with pytest.raises(OptionError, match="`rank` must be"):
        UnpaddedDistributedSampler(range(5), replicas, rank)
