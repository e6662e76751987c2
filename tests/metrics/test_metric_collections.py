"""In a collection metrics stay what they are, and clones look at the model itself."""

import copy

import torch
from torch import nn
from torchmetrics import MetricCollection

from captum_xg import XGradient
from captum_xg.metrics import (
    CompletenessGap,
    KeepPositiveMask,
    MaxSensitivity,
    MeanAbsoluteRelativeDifference,
    SensitivityN,
)


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
