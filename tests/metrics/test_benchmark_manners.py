"""The benchmark with what users hand to it: functions around models, methods that write, metrics that refuse."""

import pytest
import torch
from benchmark_samples import network
from captum.attr import Saliency

from captum_xg.metrics import AttributionBenchmark, CompletenessGap, MaxSensitivity


def _batch():
    torch.manual_seed(0)
    model = network()
    x = torch.rand(4, 1, 6, 6)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


@pytest.mark.parametrize("way", ["forward", "lambda", "parts"])
def test_runs_that_go_past_the_hooks_of_the_model_are_counted_and_where_they_cannot_be_it_says_so(way):
    model, x, y = _batch()

    def parts(x):
        for layer in model:
            x = layer(x)
        return x

    function = {"forward": model.forward, "lambda": lambda x: model(x), "parts": parts}[way]
    methods = {"gradient": "gradient", "ig": "integrated_gradients_4", "own": Saliency(function)}
    result = AttributionBenchmark(function, methods, ["CompletenessGap"]).run([(x, y)], progress=False)
    counts = {name: method.cost.gradient_evaluations for name, method in result.methods.items()}
    own = 1.0 if way == "lambda" else None
    assert counts == {"gradient": 1.0, "ig": 4.0, "own": own, "random": 0.0, "blurred_input": 0.0}


def test_a_method_that_writes_to_its_inputs_changes_nothing_for_the_others():
    model, x, y = _batch()
    before = x.clone()
    methods = {"writes": lambda x, target: x.mul_(0) + 1, "after": "input_x_gradient"}
    result = AttributionBenchmark(model, methods, ["KPM"]).run([(x, y)], progress=False)
    alone = AttributionBenchmark(model, {"after": "input_x_gradient"}, ["KPM"]).run([(before, y)], progress=False)
    assert torch.equal(x, before)
    first, second = (r.scores["after", "KeepPositiveMask"] for r in (result, alone))
    torch.testing.assert_close(first, second)  # other masked inputs in a batch, other rounding


def test_a_model_that_writes_to_its_inputs_does_not_write_to_the_data():
    model, x, y = _batch()
    x = x - 0.5
    before = x.clone()
    AttributionBenchmark(lambda x: model(x.relu_()), {"own": lambda x, target: x}, ["KPM"]).run(
        [(x, y)], progress=False
    )
    assert torch.equal(x, before)


def test_what_a_metric_made_a_method_refuse_is_forgotten_without_that_metric(tmp_path):
    model, x, y = _batch()
    methods = {"alone": lambda inputs, target: inputs if len(inputs) == len(x) else inputs * float("nan")}
    first = AttributionBenchmark(model, methods, ["KPM", "MaxSensitivity"]).run([(x, y)], tmp_path, progress=False)
    assert "MaxSensitivity" in first.methods["alone"].refusal
    again = AttributionBenchmark(model, methods, ["KPM"]).run([(x, y)], tmp_path, progress=False)
    assert again.methods["alone"].refusal is None
    assert set(again.methods["alone"].estimates) == {"KeepPositiveMask"}


def test_a_metric_that_aggregates_in_its_own_way_is_resampled_in_that_way():
    class MedianGap(CompletenessGap):
        def aggregate(self, scores):
            return scores.median()

    x = torch.ones(21, 3)
    x[0] = 1e6
    benchmark = AttributionBenchmark(
        lambda x: x.sum(1), {"zero": lambda x, _: 0 * x}, [MedianGap(lambda x: x.sum(1))], target="none"
    )
    found = benchmark.run([(x,)], progress=False).methods["zero"].estimates["MedianGap"]
    assert (found.value, found.low, found.high) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize("targets", [torch.tensor([0, 1]), [0, 1], 1])
def test_sensitivity_of_a_function_that_differentiates_by_itself_and_chooses_by_row(targets):
    weight = torch.tensor([[1.0, 2.0], [3.0, -1.0]])

    def explain(x, target):
        x = x.detach().requires_grad_()
        rows = torch.as_tensor(target).expand(len(x))
        chosen = (x**2 @ weight)[torch.arange(len(x)), rows]
        assert isinstance(target, int) or len(target) == len(x)
        return torch.autograd.grad(chosen.sum(), x)[0]

    x = torch.ones(2, 2)
    found = MaxSensitivity(explain).scores(x, None, targets)
    assert bool((found > 0).all())
    assert bool((found <= 0.021).all())  # a linear attribution changes by no more than its input does
