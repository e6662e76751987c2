"""Metrics declare what a benchmark must give them; one that compares attributions is a few lines of anybody."""

import inspect

import pytest
import torch
from benchmark_samples import Total, data, network

import captum_xg.metrics
from captum_xg.benchmark.metrics import KNOWN
from captum_xg.errors import OptionTypeError
from captum_xg.metrics import AttributionBenchmark
from captum_xg.metrics.agreement import AgreementMetric


class CosineSimilarity(AgreementMetric):
    """The cosine of the angle between attributions and reference attributions."""

    higher_is_better = True
    unit = "cosine of the angle to the reference"

    def scores(self, attributions, reference):
        given, wanted = self.rows(attributions, reference)
        return torch.nn.functional.cosine_similarity(given, wanted)


def test_a_metric_that_compares_attributions_is_fifteen_lines_at_most():
    assert len(inspect.getsource(CosineSimilarity).splitlines()) <= 15
    methods = {"same": "integrated_gradients_8", "doubled": lambda x, target: 2 * x, "input": lambda x, target: x}
    benchmark = AttributionBenchmark(network(), methods, [CosineSimilarity()], reference="same")
    result = benchmark.run(data(), progress=False)
    found = {name: result.scores[name, "CosineSimilarity"] for name in methods}
    torch.testing.assert_close(found["same"], torch.ones(10).double())
    torch.testing.assert_close(found["doubled"], found["input"])
    assert result.reference == "same"
    assert "CosineSimilarity ↑" in str(result)


def test_what_a_metric_is_given_is_declared_and_not_read_from_the_names_of_its_parameters():
    class Named(Total):
        def scores(self, attributions, reference, target=None, additional_forward_args=None):
            assert target is not None
            return reference.flatten(1).sum(1)  # the second is what other metrics call attributions

    result = AttributionBenchmark(network(), {"x": lambda x, target: 3 * x}, [Named()]).run(data(), progress=False)
    torch.testing.assert_close(result.scores["x", "Named"], torch.cat([3 * x.flatten(1).sum(1) for x, _ in data()]))


def test_a_metric_that_forgets_to_declare_what_it_takes_is_told_before_anything_runs():
    class Forgetful(Total):
        def scores(self, attributions, reference):
            return reference.flatten(1).sum(1)

    with pytest.raises(OptionTypeError, match=r"Forgetful\.scores must take .* compares_attributions = True"):
        AttributionBenchmark(network(), ["gradient"], [Forgetful()])


def test_masked_inputs_are_run_once_for_all_metrics_and_methods():
    model, rows = network(), []
    model.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    masking = ["KeepPositiveMask", "KeepNegativeMask", "KeepAbsoluteMask", "RemoveAbsoluteMask"]
    same = {name: lambda x, target: x.clone() for name in ("one", "other")}

    def examples_run(methods, metrics):
        rows.clear()
        AttributionBenchmark(model, methods, metrics).run(data(), progress=False)
        return sum(rows)

    apart = sum(examples_run({"one": same["one"]}, [metric]) for metric in masking)
    together = examples_run({"one": same["one"]}, masking)
    assert together < apart
    assert examples_run(same, masking) == together  # their attributions are equal


def test_every_metric_that_scores_examples_is_known_by_name():
    public = (getattr(captum_xg.metrics, name) for name in captum_xg.metrics.__all__)
    assert set(KNOWN.values()) == {each for each in public if isinstance(each, type) and hasattr(each, "scores")} - {
        captum_xg.metrics.BenchmarkResult
    }
    model = network()
    for name, kind in KNOWN.items():
        (metric,) = AttributionBenchmark(model, ["gradient"], [name]).metrics
        assert type(metric.metric) is kind
