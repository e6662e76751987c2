"""In a collection metrics stay what they are, and clones look at the model itself."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchmetrics import MetricCollection

from captum_xg import XGradient
from captum_xg.errors import InputError, OptionTypeError
from captum_xg.metrics import (
    CompletenessGap,
    GaussianNoise,
    Infidelity,
    KeepPositiveMask,
    MaxSensitivity,
    MeanAbsoluteRelativeDifference,
    SensitivityN,
)
from captum_xg.metrics.agreement import AgreementMetric
from captum_xg.metrics.fingerprint import fingerprint_of
from captum_xg.metrics.maskers import Constant, Zero
from captum_xg.metrics.protocols import ComparesAttributions, NeedsAttributionFunction, ScoresExamples


def _sum(x):
    return x.sum(1)


def test_metrics_that_agree_on_the_first_batch_stay_two():
    x = torch.ones(2, 4)
    collection = MetricCollection({"absolute": CompletenessGap(_sum), "relative": CompletenessGap(_sum, relative=True)})
    collection.update(x, x)  # 0, for both
    collection.update(x, 2 * x)
    values = collection.compute()
    assert float(values["absolute"]) == 2.0
    assert float(values["relative"]) == 0.5


def test_metrics_of_two_models_that_agree_on_the_first_batch_stay_two():
    for kind in (CompletenessGap, SensitivityN):
        x = torch.tensor([[1.0, 2.0, 4.0]])
        collection = MetricCollection({"sum": kind(_sum), "magnitude": kind(lambda x: x.abs().sum(1))})
        collection.update(x, x)
        collection.update(-x, -x)
        alone = kind(lambda x: x.abs().sum(1))
        for each in (x, -x):
            alone.update(each, each)
        assert collection.compute()["magnitude"] == alone.compute()
        assert collection.compute()["sum"] != alone.compute()


def test_protocols_that_agree_on_the_first_batch_stay_two():
    x, kind = torch.tensor([[1.0, 2.0]]), MeanAbsoluteRelativeDifference
    collection = MetricCollection({"paper": kind(), "released": kind("released")})
    collection.update(x, x)
    collection.update(x, torch.tensor([[3.0, 2.0]]))
    values = collection.compute()
    torch.testing.assert_close(values["paper"], torch.tensor(1 / 6, dtype=torch.float64))
    torch.testing.assert_close(values["released"], torch.tensor(1 / 5, dtype=torch.float64))


MODEL = nn.Linear(4, 3, bias=False).eval()


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda: KeepPositiveMask(MODEL), lambda: KeepPositiveMask(MODEL, [0.0, 1.0])),
        (lambda: KeepPositiveMask(MODEL, masker=Zero()), lambda: KeepPositiveMask(MODEL, masker=Constant(1.0))),
        (lambda: KeepPositiveMask(MODEL), lambda: KeepPositiveMask(MODEL.forward)),
        (lambda: KeepPositiveMask(MODEL.forward), lambda: KeepPositiveMask(lambda x: MODEL(x))),
        (lambda: SensitivityN(MODEL, joint_dim=-1), lambda: SensitivityN(MODEL, joint_dim=-2)),  # of one hash in Python
        (lambda: CompletenessGap(MODEL, 0), lambda: CompletenessGap(MODEL, torch.zeros(1, 4))),
        (lambda: Infidelity(MODEL, GaussianNoise(1.0)), lambda: Infidelity(MODEL, GaussianNoise(2.0))),
        (lambda: MaxSensitivity(XGradient(MODEL).attribute), lambda: MaxSensitivity(XGradient(MODEL).attribute)),
    ],
)
def test_metrics_are_of_one_group_only_if_model_and_settings_are_one(make, other):
    one = make()
    assert fingerprint_of(one) == fingerprint_of(one.clone()) == fingerprint_of(copy.copy(one))
    assert fingerprint_of(one) != fingerprint_of(other())


def test_two_of_the_same_settings_are_updated_once_and_a_setting_that_changes_parts_them():
    calls = []

    def model(x):
        calls.append(len(x))
        return x

    x = torch.rand(2, 4)
    collection = MetricCollection({"a": CompletenessGap(model), "b": CompletenessGap(model)})
    for _ in range(2):
        collection.update(x, x, 0)
    assert len(calls) == 3 * 2  # two outputs for each of both, then for one alone
    one = CompletenessGap(model)
    other = one.clone()
    other.relative = True
    parted = MetricCollection({"one": one, "other": other})
    parted.update(x, x * 0, 0)
    parted.update(2 * x, x * 0, 0)
    assert parted.compute()["other"] == 1.0 != parted.compute()["one"]


class Jitter(nn.Module):
    """A perturbation that is a module, and so becomes a part of the metric."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return torch.full_like(x, self.scale), x - self.scale


def test_metrics_that_differ_in_a_module_that_is_a_part_of_them_stay_two():
    x = torch.ones(1, 3)
    collection = MetricCollection({"small": Infidelity(_cubes, Jitter(0.5)), "large": Infidelity(_cubes, Jitter(-0.5))})
    collection.update(0 * x, 0 * x)  # the error is the square of an odd function: equal for both
    collection.update(x, 0 * x)
    values = collection.compute()
    assert values["small"] != values["large"]
    for name, scale in (("small", 0.5), ("large", -0.5)):
        alone = Infidelity(_cubes, Jitter(scale))
        alone.update(0 * x, 0 * x)
        alone.update(x, 0 * x)
        assert values[name] == alone.compute()


def _cubes(x):
    return (x**3).sum(1)


def test_metrics_from_another_process_are_not_taken_for_those_that_are_here():
    first, second = (nn.Linear(4, 3, bias=False).eval() for _ in range(2))
    arrived = pickle.loads(pickle.dumps(KeepPositiveMask(first)))
    assert fingerprint_of(arrived) not in (
        fingerprint_of(KeepPositiveMask(first)),
        fingerprint_of(KeepPositiveMask(second)),
    )
    arrived.fingerprint = torch.tensor(list(fingerprint_of(KeepPositiveMask(second))))  # as it could be by chance
    x = torch.rand(2, 4)
    arrived.update(x, x, 0)
    assert arrived.fingerprint.tolist() == list(fingerprint_of(arrived))


def test_whoever_aggregates_in_another_way_has_to_say_that_the_mean_is_enough():
    class Median(CompletenessGap):
        def aggregate(self, scores):
            return scores.median()

    class Twice(CompletenessGap):
        of_mean = True

        def aggregate(self, scores):
            return 2 * scores.mean()

    assert CompletenessGap.of_mean
    assert KeepPositiveMask.of_mean
    assert not Median.of_mean
    assert Twice.of_mean


def test_a_metric_that_compares_two_attributions_takes_a_few_lines():
    class CosineSimilarity(AgreementMetric):
        higher_is_better = True

        def scores(self, attributions, reference):
            return torch.cosine_similarity(*self.rows(attributions, reference))

    metric, a = CosineSimilarity(), torch.rand(3, 2, 2)
    metric.update(a, 2 * a)
    metric.update((a, a), (a, -a))
    assert float(metric.compute()) == pytest.approx(0.5)
    assert isinstance(metric, ScoresExamples)
    assert isinstance(metric, ComparesAttributions)
    assert not isinstance(CompletenessGap(_sum), ComparesAttributions)
    with pytest.raises(InputError, match=r"CosineSimilarity: .*same shapes"):
        metric.update(a, a[:, :1])


def test_a_metric_that_attributes_itself_can_be_had_for_another_method():
    x = torch.rand(2, 4)
    metric = MaxSensitivity(lambda x: x, n_samples=3)
    assert isinstance(metric, NeedsAttributionFunction)
    other = metric.bound_to(lambda x: x * 0 + 1)
    assert float(other.scores(x).max()) == 0.0
    assert float(metric.scores(x).min()) > 0.0
    with pytest.raises(OptionTypeError, match="attribution_func"):
        metric.bound_to(3)


def test_a_clone_evaluates_the_model_itself_and_not_one_of_the_day_it_was_cloned():
    model = nn.Linear(4, 3, bias=False).eval()
    explain = XGradient(model).attribute
    for metric in (KeepPositiveMask(model), CompletenessGap(model), MaxSensitivity(explain)):
        clones = [metric.clone(), copy.deepcopy(metric), *MetricCollection([metric]).clone(prefix="v_").values()]
        assert all(clone.forward_func == metric.forward_func for clone in clones)
    metric, x = KeepPositiveMask(model), torch.rand(2, 4)
    clone = metric.clone()
    with torch.no_grad():
        model.weight.mul_(2)
    metric.update(x, x, 0)
    clone.update(x.clone(), x, 0)
    assert clone.compute() == metric.compute()
    clone.reset()
    assert int(metric.count) == 2


def test_a_metric_that_is_copied_together_with_its_model_goes_with_the_copy():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Linear(4, 3, bias=False)
            self.metric = KeepPositiveMask(self.model)
            self.own = KeepPositiveMask(self.forward)

        def forward(self, x):
            return self.model(x)

    whole = copy.deepcopy(Whole())
    assert whole.metric.forward_func is whole.model
    assert whole.own.forward_func.__self__ is whole
