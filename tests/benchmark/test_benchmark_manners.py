"""The benchmark with what users hand to it: functions around models, methods that write, metrics that refuse."""

import copy
import pickle

import pytest
import torch
from benchmark_samples import network
from captum.attr import IntegratedGradients, Saliency
from torch import nn

from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.metrics import AttributionBenchmark, CompletenessGap, KeepPositiveMask, MaxSensitivity


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


class Centred:
    """An attribution method that can be pickled."""

    def __init__(self, model):
        self.model = model

    def __call__(self, x, target):
        return x - x.mean() + self.model(x).sum().detach() * 0


def test_a_benchmark_that_was_pickled_or_copied_gives_the_same_results_and_is_one_with_its_model():
    model, x, y = _batch()
    methods = {
        "s": Saliency(model),
        "ig": (IntegratedGradients(model), {"n_steps": 4}),
        "eg": "expected_gradients_2",
        "x": "xgradient",
        "own": Centred(model),
    }
    metrics = {"kpm": KeepPositiveMask(model, fractions=[0.5, 1.0]), "gap": "CompletenessGap", "mard": "MARD"}
    options = {"reference": "x", "references": x[:2], "resamples": 200, "seed": 3, "internal_batch_size": 8}
    benchmark = AttributionBenchmark(model, methods, metrics, **options)
    benchmark.seed = 5  # as it is, and not as it was made
    expected = benchmark.run([(x, y)], progress=False)
    for other in (pickle.loads(pickle.dumps(benchmark)), copy.deepcopy(benchmark), copy.copy(benchmark)):
        assert other.methods[0].name == "s"
        found = other.run([(x, y)], progress=False)
        assert found.scores.keys() == expected.scores.keys()
        assert all(torch.equal(found.scores[key], expected.scores[key]) for key in found.scores)
        assert [m.cost.gradient_evaluations for m in found.methods.values()] == [
            m.cost.gradient_evaluations for m in expected.methods.values()
        ]


def test_what_python_cannot_pickle_it_names():
    benchmark = AttributionBenchmark(network(), {"own": lambda x, target: x}, ["KPM"])
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(benchmark)
    assert copy.deepcopy(benchmark).methods[0].name == "own"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "", "cpu:x"])
def test_a_device_that_there_is_not_is_refused_at_once(device):
    with pytest.raises(OptionError, match=r"^AttributionBenchmark: `device`"):
        AttributionBenchmark(network(), ["gradient"], ["KPM"], device=device)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), None])
def test_devices_that_there_are_are_taken(device):
    assert AttributionBenchmark(network(), ["gradient"], ["KPM"], device=device).device == torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"forward_func": nn.Linear}, "forward_func"),
        ({"forward_func": (network(), "report")}, "forward_func"),
        ({"forward_func": "model"}, "forward_func"),
        ({"resamples": 1000.0}, "resamples"),
        ({"resamples": True}, "resamples"),
        ({"seed": None}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"internal_batch_size": "64"}, "internal_batch_size"),
        ({"reference": None}, "reference"),
        ({"reference": Saliency(network())}, "reference"),
        ({"references": [1, 2]}, "references"),
        ({"references": torch.zeros(0, 1, 6, 6)}, "references"),
        ({"device": 1.5}, "device"),
        ({"device": True}, "device"),
        ({"methods": 3}, "methods"),
        ({"methods": {"own": Saliency}}, "methods"),
        ({"methods": [3]}, "methods"),
        ({"methods": {"own": (Saliency(network()), 5)}}, "methods"),
        ({"metrics": 3}, "metrics"),
    ],
)
def test_options_of_another_type_are_refused_at_once(options, named):
    arguments = {"forward_func": network(), "methods": ["gradient"], "metrics": ["KPM"], **options}
    with pytest.raises(OptionTypeError, match=rf"^AttributionBenchmark: .*\b{named}\b"):
        AttributionBenchmark(**arguments)


@pytest.mark.parametrize(("options", "named"), [({"resume": 3}, "resume"), ({"progress": "no"}, "progress")])
def test_options_of_a_run_are_looked_at_before_anything_runs(options, named):
    model, x, y = _batch()
    with pytest.raises(OptionTypeError, match=rf"^AttributionBenchmark.run: `{named}`"):
        AttributionBenchmark(model, ["gradient"], ["KPM"]).run([(x, y)], **options)


def test_references_are_not_drawn_from_inputs_of_different_shapes():
    loader = [(torch.rand(2, 5), torch.zeros(2).long()), (torch.rand(2, 7), torch.zeros(2).long())]
    benchmark = AttributionBenchmark(lambda x: x[:, :3] * 2, ["expected_gradients"], ["CompletenessGap"])
    with pytest.raises(OptionError, match=r"different shapes.*`references`"):
        benchmark.run(loader, progress=False)


def test_inputs_may_have_other_shapes_in_other_batches():
    def model(x):
        return x[:, :3] * 2

    loader = [(torch.rand(2, 5), torch.tensor([0, 2])), (torch.rand(2, 7), torch.tensor([1, 2]))]
    found = AttributionBenchmark(model, ["input_x_gradient"], ["CompletenessGap"]).run(loader, progress=False)
    assert len(found.scores["input_x_gradient", "CompletenessGap"]) == 4
