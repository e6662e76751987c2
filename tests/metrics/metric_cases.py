"""One small evaluation for every metric that captum_xg.metrics exports, whole or in parts."""

import functools
import inspect

import torch
from torch import nn
from torchmetrics import Metric

import captum_xg.metrics as package
from captum_xg import XGradient

N = 7
SIZE = 8


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 4, bias=False)
        ).double()


@functools.cache
def data():
    """Images, attributions, targets and reference attributions, float64."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, 2, SIZE, SIZE, generator=generator, dtype=torch.float64)
    target = torch.arange(N) % 4
    reference = XGradient(network()).attribute(x, target=target)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return x, reference + noise / 100, target, reference


def exported():
    """The names of all metrics of the package, so that none that is added goes without a test."""
    found = {name: getattr(package, name) for name in package.__all__}
    return sorted(name for name, value in found.items() if inspect.isclass(value) and issubclass(value, Metric))


CURVES_OVER_PROCESSES = {"SensitivityN"}
OPTIONS = {
    "SensitivityN": {"n_subsets": 6},
    "Infidelity": {"n_samples": 6},
    "MaxSensitivity": {"n_samples": 3},
    "CompletenessGap": {"relative": True},
}


def make(name):
    """The metric with few samples; one that masks removes to zero, as the default blur needs larger images."""
    kind = getattr(package, name)
    parameters = inspect.signature(kind).parameters
    options = dict(OPTIONS.get(name, {}))
    if "masker" in parameters:
        options["masker"] = torch.zeros_like
    if name == "MaxSensitivity":
        return kind(XGradient(network()).attribute, **options)
    return kind(network(), **options) if "forward_func" in parameters else kind(**options)


def feed(metric, examples):
    """Update with these examples of the data, given by their indices."""
    x, attributions, target, reference = (t[list(examples)] for t in data())
    if "reference" in inspect.signature(metric.update).parameters:
        metric.update(attributions, reference)
    else:
        metric.update(x, attributions, target)


def results(metric):
    """What the metric says after all examples: its value and, if it has one over all processes, its curve."""
    found = [metric.compute()]
    if type(metric).__name__ in CURVES_OVER_PROCESSES:
        found += list(metric.curve())
    return [torch.as_tensor(t).detach().clone() for t in found]
