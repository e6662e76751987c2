"""The benchmark: every method on every example once, costs as counted, controls, refusals, resuming."""

import json
import math

import numpy as np
import pytest
import torch
from benchmark_samples import Distance, Median, Profile, Total, data, network
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import nn

from captum_xg import XGradient
from captum_xg.benchmark.evaluation import BatchEvaluation
from captum_xg.benchmark.store import Store
from captum_xg.errors import InputError, OptionError, TargetError, TrainingModeError
from captum_xg.metrics import AttributionBenchmark, MaxSensitivity

METHODS = ["random", "gradient", "expected_gradients_1", "integrated_gradients_20", "xgradient"]


def _numbers(result):
    """All numbers but those that a clock gives."""
    found = json.loads(result.to_json())
    for method in found["methods"].values():
        if method["cost"]:
            del method["cost"]["seconds"]
    return found


def _run(methods=None, metrics=None, *, model=None, loader=None, resume=None, **options):
    model = network() if model is None else model
    benchmark = AttributionBenchmark(model, methods or METHODS, metrics or [Total(), Profile()], **options)
    return benchmark.run(data() if loader is None else loader, resume, progress=False)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("gradient", lambda m, x, y: Saliency(m).attribute(x, target=y, abs=False)),
        ("input_x_gradient", lambda m, x, y: InputXGradient(m).attribute(x, target=y)),
        ("integrated_gradients", lambda m, x, y: IntegratedGradients(m).attribute(x, target=y, n_steps=128)),
        ("integrated_gradients_7", lambda m, x, y: IntegratedGradients(m).attribute(x, target=y, n_steps=7)),
        ("xgradient", lambda m, x, y: XGradient(m).attribute(x, target=y)),
    ],
)
def test_scores_are_those_of_the_method_called_by_hand_in_the_order_of_the_loader(name, reference):
    model = network()
    result = _run([name], model=model, internal_batch_size=8)
    expected = torch.cat([Total().scores(x, reference(model, x, y).detach()) for x, y in data()])
    torch.testing.assert_close(result.scores[name, "Total"], expected, rtol=1e-5, atol=1e-6)
    assert result.methods[name].estimates["Total"].value == pytest.approx(float(expected.mean()), rel=1e-5, abs=1e-6)


def test_expected_gradients_tend_to_their_definition():
    # For F(x) = Σ x², the mean over references r of (x − r)·∇F(r + α(x − r)) is x² − mean r² for each feature.
    x = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    references = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])
    loader = [(x, torch.zeros(2, dtype=torch.long))]
    result = AttributionBenchmark(
        lambda x: (x**2).sum(1), ["expected_gradients_20000"], [Total()], target="none", references=references
    ).run(loader, progress=False)
    expected = (x**2).sum(1) - (references**2).sum(1).mean()
    torch.testing.assert_close(result.scores["expected_gradients_20000", "Total"], expected.double(), rtol=0, atol=0.08)


@pytest.mark.parametrize(
    ("method", "gradients", "forwards"),
    [
        ("gradient", 1, 1),
        ("integrated_gradients", 128, 128),
        ("integrated_gradients_20", 20, 20),
        ("expected_gradients_1", 1, 1),
        ("expected_gradients_6", 6, 6),
        ("xgradient", 1, 3),
        ("random", 0, 0),
        ("blurred_input", 0, 0),
    ],
)
@pytest.mark.parametrize("module", [True, False])
def test_passes_are_counted_exactly(method, gradients, forwards, module):
    weight = torch.rand(36, 3)
    model = network() if module else lambda x: x.flatten(1) @ weight
    result = _run([method], model=model, internal_batch_size=10)
    cost = result.methods[method].cost
    assert (cost.gradient_evaluations, cost.forward_passes) == (gradients, forwards)
    assert cost.seconds > 0
    assert cost.peak_memory is None


def test_passes_of_ones_own_methods_are_counted_if_the_model_is_a_module():
    model = network()

    def twice(x, target):
        for _ in range(2):
            leaf = x.clone().requires_grad_()
            gradient = torch.autograd.grad(model(leaf).gather(1, target[:, None]).sum(), leaf)[0]
        return gradient

    numeric = XGradient(model, validate="numeric")
    methods = {"off": XGradient(model, validate="off"), "numeric": numeric, "ig": IntegratedGradients(model)}
    result = _run({**methods, "ig 9": (IntegratedGradients(model), {"n_steps": 9}), "twice": twice}, model=model)
    counted = {m.name: (m.cost.gradient_evaluations, m.cost.forward_passes) for m in result.methods.values()}
    assert counted["off"] == (1, 1)
    # All that it does: of 4, 4 and 2 examples it sees for the first and the last that they are separate, by a gradient
    # and two values, or one.
    assert counted["numeric"] == (1.6, 4.6)
    assert counted["ig"] == (50, 50)
    assert counted["ig 9"] == (9, 9)
    assert counted["twice"] == (2, 2)


def test_what_cannot_be_counted_is_not_given_a_number():
    def function(x):
        return x.flatten(1)[:, :3] * 2

    result = _run({"own": lambda x, target: torch.ones_like(x), "xgradient": "xgradient"}, model=function)
    assert result.methods["own"].cost.gradient_evaluations is None
    assert result.methods["xgradient"].cost.gradient_evaluations == 1
    assert "Not counted" in str(result)


def test_counting_does_not_disturb_a_proof_and_leaves_no_hook():
    model = network()
    result = _run({"proven": XGradient(model, validate="certificate")}, model=model, loader=data(12, 4))
    assert result.methods["proven"].refusal is None
    few = _run({"proven": XGradient(model, validate="certificate")}, model=model, loader=data(4, 4))
    # One proof for all three batches of one shape; and while it stands, single examples are looked at now and then.
    extra = [
        12 * (result.methods["proven"].cost.forward_passes - 1),
        4 * (few.methods["proven"].cost.forward_passes - 1),
    ]
    assert extra[1] - 1e-3 <= extra[0] <= extra[1] + 2 + 1e-3
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_are_taken_off_when_a_method_fails():
    model = network()

    def fails(x, target):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        _run({"fails": fails}, model=model)
    assert not any(module._forward_hooks for module in model.modules())


def test_controls_are_always_there_and_know_nothing_of_the_model():
    results = [_run(["gradient"], model=network(seed=seed)) for seed in (0, 1)]
    for result in results:
        assert list(result.methods) == ["gradient", "random", "blurred_input"]
        assert [method.control for method in result.methods.values()] == [False, True, True]
    for control in ("random", "blurred_input"):
        assert torch.equal(*(result.scores[control, "Profile"] for result in results))
    assert list(_run(["random", "gradient"]).methods) == ["random", "gradient", "blurred_input"]


def test_blurring_keeps_a_constant_image_and_smooths_others():
    constant = [(torch.full((2, 1, 6, 6), 0.7), torch.zeros(2, dtype=torch.long))]
    result = _run(["gradient"], loader=constant)
    torch.testing.assert_close(
        result.scores["blurred_input", "Total"], torch.full((2,), 0.7 * 36).double(), rtol=1e-5, atol=0
    )

    class Roughness(Total):
        def scores(self, inputs, attributions, target=None, additional_forward_args=None):
            def rough(a):
                return a.diff(dim=-1).abs().flatten(1).sum(1)

            return (rough(attributions) / rough(inputs)).double()

    assert bool((_run(["gradient"], [Roughness()]).scores["blurred_input", "Roughness"] < 0.9).all())


def test_a_method_that_refuses_has_a_row_that_says_so_and_ends_nothing():
    result = _run(["gradient", "xgradient"], model=network(bias=True))
    refused = result.methods["xgradient"]
    assert refused.refusal.startswith("HomogeneityError")
    assert "adds a bias" in refused.refusal
    assert refused.estimates == {}
    assert refused.cost is None
    row = next(line for line in str(result).splitlines() if line.startswith("xgradient "))
    assert row.split() == ["xgradient", "refused", "refused", "–", "–", "–"]
    assert "xgradient refused: HomogeneityError" in str(result)
    assert math.isfinite(result.methods["gradient"].estimates["Total"].value)
    with pytest.raises(OptionError, match="xgradient refused"):
        result.difference("xgradient", "gradient", "Total")


def test_a_method_that_refuses_one_batch_only_is_refused():
    def picky(x, target):
        return x if len(x) == 4 else x * math.nan

    result = _run({"picky": picky, "gradient": "gradient"})
    assert "NaN" in result.methods["picky"].refusal
    assert "batch 2" in result.methods["picky"].refusal
    assert ("picky", "Total") not in result.scores


def test_metrics_that_compare_are_given_the_reference_method_whether_or_not_it_is_among_the_methods():
    model = network()
    by_hand = torch.cat(
        [
            Distance().scores(
                Saliency(model).attribute(x, target=y, abs=False).detach(),
                IntegratedGradients(model).attribute(x, target=y, n_steps=20),
            )
            for x, y in data()
        ]
    )
    for methods in (["gradient"], ["gradient", "integrated_gradients_20"], ["integrated_gradients_20", "gradient"]):
        result = _run(methods, [Distance()], model=model, reference="integrated_gradients_20")
        torch.testing.assert_close(result.scores["gradient", "Distance"], by_hand, rtol=1e-5, atol=1e-6)
        assert result.reference == "integrated_gradients_20"
        if "integrated_gradients_20" in methods:
            assert result.methods["integrated_gradients_20"].estimates["Distance"].value == 0
    assert result.methods["gradient"].cost.gradient_evaluations == 1


def test_a_metric_that_attributes_itself_is_given_each_method_in_turn():
    model = network()
    result = _run(["gradient", "xgradient"], [MaxSensitivity(lambda x, **_: x, n_samples=3)], model=model)
    for name, method in {"gradient": Saliency(model), "xgradient": XGradient(model)}.items():
        options = {"abs": False} if name == "gradient" else {}

        def attribute(x, target, method=method, options=options):
            return method.attribute(x, target=target, **options)

        metric = MaxSensitivity(attribute, n_samples=3)
        expected = torch.cat([metric.scores(x, None, y) for x, y in data()])
        torch.testing.assert_close(result.scores[name, "MaxSensitivity"], expected, rtol=1e-5, atol=1e-7)


def test_paired_differences_are_sharper_than_the_intervals_suggest():
    result = _run(
        {"a": lambda x, target: x, "b": lambda x, target: x + 0.01}, loader=data(40, 10), metrics=[Total(), Median()]
    )
    found = result.difference("b", "a", Total())
    assert found.value == pytest.approx(0.36, rel=1e-4)
    assert found.low == pytest.approx(0.36, rel=1e-4)
    assert found.excludes_zero
    single = result.methods["a"].estimates["Total"]
    assert single.high - single.low > 0.5
    assert result.difference("a", "a", "Median").value == 0


def test_the_target_may_be_the_label_the_predicted_class_or_none():
    model = network()
    inputs = [x for x, _ in data()]
    predicted = [(x, model(x).argmax(1)) for x in inputs]
    expected = _run(["gradient"], model=model, loader=predicted)
    for loader in (inputs, data()):
        result = _run(["gradient"], model=model, loader=loader, target="predicted")
        assert torch.equal(result.scores["gradient", "Total"], expected.scores["gradient", "Total"])
    single = _run(["gradient"], model=lambda x: model(x)[:, 1], loader=inputs, target="none")
    ones = _run(["gradient"], model=model, loader=[(x, torch.ones(len(x), dtype=torch.long)) for x in inputs])
    assert torch.equal(single.scores["gradient", "Total"], ones.scores["gradient", "Total"])
    with pytest.raises(TargetError, match="inputs only"):
        _run(["gradient"], model=model, loader=inputs)


def test_several_inputs_and_additional_arguments_reach_methods_and_metrics():
    class Both(Total):
        def scores(self, inputs, attributions, target=None, additional_forward_args=None):
            assert additional_forward_args.shape == (3,)
            return sum(a.double().flatten(1).sum(1) for a in attributions)

    def model(a, b, factor):
        return (a * b).sum(1) * factor

    a, b, factor = torch.rand(3, 4), torch.rand(3, 4), torch.tensor([1.0, 2.0, 3.0])
    methods = ["input_x_gradient", "integrated_gradients", "expected_gradients_2"]
    result = AttributionBenchmark(model, methods, [Both()], target="none").run([((a, b), None, factor)], progress=False)
    torch.testing.assert_close(result.scores["input_x_gradient", "Both"], 2 * model(a, b, factor).double())
    torch.testing.assert_close(
        result.scores["integrated_gradients", "Both"], model(a, b, factor).double(), rtol=1e-5, atol=0
    )


def test_the_batch_size_and_other_methods_change_no_number():
    alone = _run(["xgradient"], loader=data(10, 10))
    among = _run(METHODS, loader=data(10, 3))
    torch.testing.assert_close(
        alone.scores["xgradient", "Profile"], among.scores["xgradient", "Profile"], rtol=1e-5, atol=1e-6
    )
    assert _numbers(_run(["random"]))["methods"]["random"] == _numbers(_run(METHODS))["methods"]["random"]


def test_global_random_states_are_put_back():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    benchmark = AttributionBenchmark(nn.Flatten(), METHODS, [Total()])
    benchmark.run(data(4, 2), progress=False)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


# ---- resuming


@pytest.mark.parametrize("interrupted_after", [1, 6, 13])
def test_an_interrupted_run_goes_on_to_the_same_numbers(interrupted_after, tmp_path, monkeypatch):
    expected = _numbers(_run())
    kept, add = [], Store.add

    def stops(self, *part):
        if len(kept) == interrupted_after:
            raise KeyboardInterrupt
        add(self, *part)
        kept.append(part)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "add", stops)
        with pytest.raises(KeyboardInterrupt):
            _run(resume=tmp_path)
    assert len(list(tmp_path.glob("*.pt"))) == interrupted_after
    added = []
    monkeypatch.setattr(Store, "add", lambda self, *part: (added.append(part), add(self, *part)))
    assert _numbers(_run(resume=tmp_path)) == expected
    assert len(added) == 3 * (len(METHODS) + 1) - interrupted_after
    assert not list(tmp_path.glob("*.part"))


def test_a_finished_run_is_read_without_calling_any_method(tmp_path, monkeypatch):
    first = _run(resume=tmp_path)
    monkeypatch.setattr(BatchEvaluation, "_part", lambda *_: pytest.fail("called again"))
    second = _run(resume=tmp_path)
    assert second.to_json() == first.to_json()  # times included


def test_methods_metrics_and_batches_may_be_added_to_a_folder(tmp_path):
    _run(["gradient"], [Total()], loader=data()[:2], resume=tmp_path)
    result = _run(METHODS, resume=tmp_path)
    assert _numbers(result) == _numbers(_run())
    # And asking for less again finds it all.
    assert _numbers(_run(["gradient"], [Total()], resume=tmp_path)) == _numbers(_run(["gradient"], [Total()]))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": network(seed=1)}, "model"),
        ({"seed": 1}, "seed"),
        ({"target": "predicted"}, "target"),
        ({"references": torch.zeros(2, 1, 6, 6)}, "references"),
        ({"methods": {**dict.fromkeys(METHODS), "xgradient": "gradient"}}, "method xgradient"),
        ({"metrics": {"Total": Median(), "Profile": Profile()}}, "metric Total"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_configuration_is_refused_and_named(changes, named, tmp_path):
    _run(resume=tmp_path)
    if "methods" in changes:
        changes = {"methods": {name: given or name for name, given in changes["methods"].items() if name != "random"}}
    with pytest.raises(OptionError, match=rf"changed: {named}\."):
        _run(**changes, resume=tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        lambda model: {"ig": (IntegratedGradients(model), {"n_steps": 6})},
        lambda model: {"ig": (IntegratedGradients(model, multiply_by_inputs=False), {"n_steps": 5})},
        lambda model: {"ig": (IntegratedGradients(network(seed=3)), {"n_steps": 5})},
        lambda model: {"ig": lambda x, target: x},
    ],
)
def test_changed_options_of_a_method_are_noticed(changed, tmp_path):
    model = network()
    _run({"ig": (IntegratedGradients(model), {"n_steps": 5})}, model=model, resume=tmp_path)
    _run({"ig": (IntegratedGradients(model), {"n_steps": 5})}, model=model, resume=tmp_path)
    with pytest.raises(OptionError, match="changed: method ig"):
        _run(changed(model), model=model, resume=tmp_path)


def test_what_a_callable_holds_and_does_is_noticed(tmp_path):
    def scaled(factor):
        return lambda x, target: factor * x

    _run({"own": scaled(2)}, resume=tmp_path)
    _run({"own": scaled(2)}, resume=tmp_path)
    with pytest.raises(OptionError, match="changed: method own"):
        _run({"own": scaled(3)}, resume=tmp_path)


def test_numbers_in_an_array_that_a_callable_holds_are_noticed(tmp_path):
    def scaled(factors):
        return lambda x, target: float(factors[0]) * x

    _run({"own": scaled(np.array([2.0]))}, resume=tmp_path)
    _run({"own": scaled(np.array([2.0]))}, resume=tmp_path)
    with pytest.raises(OptionError, match="changed: method own"):
        _run({"own": scaled(np.array([3.0]))}, resume=tmp_path)


def test_what_a_method_has_proven_meanwhile_is_no_option_of_it(tmp_path):
    model = network()
    own = XGradient(model, validate="certificate")
    first = _run({"own": own}, model=model, resume=tmp_path)
    for again in (own, XGradient(model, validate="certificate")):
        assert _numbers(_run({"own": again}, model=model, resume=tmp_path)) == _numbers(first)
    with pytest.raises(OptionError, match="changed: method own"):
        _run({"own": XGradient(model, validate="off")}, model=model, resume=tmp_path)


def test_a_changed_option_of_a_metric_is_noticed(tmp_path):
    _run(["gradient"], [MaxSensitivity(lambda x, **_: x, n_samples=2)], resume=tmp_path)
    with pytest.raises(OptionError, match="changed: metric MaxSensitivity"):
        _run(["gradient"], [MaxSensitivity(lambda x, **_: x, n_samples=3)], resume=tmp_path)


@pytest.mark.parametrize("order", ["other data", "other order", "other batches"])
def test_other_examples_are_noticed(order, tmp_path):
    _run(["gradient"], resume=tmp_path)
    loader = {"other data": data(seed=9), "other order": data()[::-1], "other batches": data(batch_size=5)}[order]
    with pytest.raises(OptionError, match="other examples"):
        _run(["gradient"], loader=loader, resume=tmp_path)


def test_a_file_that_is_broken_is_named(tmp_path):
    _run(["gradient"], resume=tmp_path)
    path = sorted(tmp_path.glob("*.pt"))[0]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OptionError, match=path.name):
        _run(["gradient"], resume=tmp_path)
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(OptionError, match=r"settings\.json"):
        _run(["gradient"], resume=tmp_path)


# ---- what is refused before anything runs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"methods": ["gradints"]}, "Did you mean gradient"),
        ({"methods": ["gradient", "gradient"]}, "twice"),
        ({"methods": {"random": lambda x, target: x}}, "kept for that control"),
        ({"methods": {"random": "gradient"}}, "kept for that control"),
        ({"methods": {"own": 3}}, "callable"),
        ({"methods": "gradient"}, "list of names"),
        ({"methods": ["integrated_gradients_0"]}, "no method"),
        ({"metrics": ["KeepPositivMask"]}, "no metric"),
        ({"metrics": [Total]}, "instance"),
        ({"metrics": [Total(), Total()]}, "twice"),
        ({"metrics": [object()]}, "scores, aggregate"),
        ({"target": "lable"}, "'label'"),
        ({"resamples": 10}, "at least 100"),
        ({"seed": -1}, "seed"),
        ({"reference": "nothing"}, "no method 'nothing'"),
    ],
)
def test_options_without_meaning_are_refused(arguments, said):
    with pytest.raises(OptionError, match=said):
        AttributionBenchmark(network(), **{"metrics": [Total()], **arguments})


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(TrainingModeError, match="Dropout"):
        _run(["gradient"], model=nn.Sequential(nn.Dropout(0.5), *network()))


@pytest.mark.parametrize("loader", [[], [{"x": 1}], [(torch.rand(2, 1, 6, 6),)]])
def test_a_loader_without_pairs_is_refused(loader):
    with pytest.raises(InputError):
        _run(["gradient"], loader=loader)


def test_references_are_not_taken_from_a_loader_that_can_be_gone_through_once():
    with pytest.raises(OptionError, match="references"):
        _run(["expected_gradients_1"], loader=iter(data()))
    assert _run(["expected_gradients_1"], loader=iter(data()), references=data()[0][0]).n_examples == 10


def test_attributions_of_another_shape_are_refused():
    with pytest.raises(InputError, match="'own' returns"):
        _run({"own": lambda x, target: x[:, :, :3]})


def test_a_metric_without_a_value_per_example_is_refused():
    class Wrong(Total):
        def scores(self, inputs, attributions, target=None, additional_forward_args=None):
            return attributions.sum()

    with pytest.raises(OptionError, match="one value, or one row, per example"):
        _run(["gradient"], [Wrong()])


# ---- draws and counts that the tests above cannot tell apart


def test_equal_batches_get_other_draws_and_so_does_another_seed():
    batch = data()[0]
    result = _run(["random"], loader=[batch, batch])
    first, second = result.scores["random", "Total"].split(len(batch[0]))
    assert not torch.equal(first, second)
    other = _run(["random"], loader=[batch, batch], seed=1)
    assert not torch.equal(result.scores["random", "Total"], other.scores["random", "Total"])


def test_a_gradient_of_several_outputs_at_once_counts_once_and_a_repeated_one_again():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(36))

        def forward(self, x):
            rows = x.flatten(1) * self.weight
            return rows.sum(1), (rows**2).sum(1)

    model = Two().eval()

    def scalar(x):
        first, second = model(x)
        return first + second

    def twice(x, target):
        leaf = x.clone().requires_grad_()
        values = scalar(leaf).sum()
        torch.autograd.grad(values, leaf, retain_graph=True)
        return torch.autograd.grad(values, leaf)[0]

    result = _run({"gradient": "gradient", "twice": twice}, model=scalar, target="none")
    counted = {m.name: (m.cost.gradient_evaluations, m.cost.forward_passes) for m in result.methods.values()}
    assert counted["gradient"] == (1, 1)
    assert counted["twice"] == (2, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_an_accelerator_memory_is_measured_and_numbers_are_those_of_the_cpu():
    cpu = _run(METHODS, model=network())
    gpu = _run(METHODS, model=network().cuda())
    for name, method in gpu.methods.items():
        assert (method.cost.peak_memory > 0) or name == "blurred_input"
        assert method.cost.gradient_evaluations == cpu.methods[name].cost.gradient_evaluations
        torch.testing.assert_close(gpu.scores[name, "Total"], cpu.scores[name, "Total"], rtol=1e-3, atol=1e-3)
    assert gpu.methods["integrated_gradients_20"].cost.peak_memory > gpu.methods["xgradient"].cost.peak_memory
    assert "Peak memory" in str(gpu)
