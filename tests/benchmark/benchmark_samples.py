"""Small models, data and metrics for the tests of the benchmark."""

import torch
from torch import nn
from torchmetrics import Metric


def network(*, bias=False, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3, bias=bias)]
    return nn.Sequential(*layers).eval()


def data(n=10, batch_size=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 6, 6, generator=generator)
    labels = torch.randint(3, (n,), generator=generator)
    return list(zip(images.split(batch_size), labels.split(batch_size), strict=True))


class Total(Metric):
    """The sum of the attributions, a number per example that needs no model."""

    higher_is_better = True

    def update(self, inputs, attributions, target=None): ...

    def compute(self): ...

    def scores(self, inputs, attributions, target=None, additional_forward_args=None):
        return attributions.double().flatten(1).sum(1)

    def aggregate(self, scores):
        return scores.double().mean()


class Profile(Total):
    """A curve per example, and the area under its mean."""

    higher_is_better = False
    fractions = (0.1, 0.5, 1.0)
    unit = "sum"

    def curve(self): ...

    def scores(self, inputs, attributions, target=None, additional_forward_args=None):
        rows = attributions.double().flatten(1)
        return torch.stack([rows[:, : int(f * rows.shape[1])].sum(1) for f in self.fractions], 1)

    def aggregate(self, scores):
        return torch.trapezoid(scores.double().mean(0), torch.tensor(self.fractions, dtype=torch.float64))


class Median(Total):
    """No function of the mean over examples."""

    def aggregate(self, scores):
        return scores.double().median()


class Distance(Total):
    """Compares attributions with reference attributions."""

    compares_attributions = True
    higher_is_better = False

    def update(self, attributions, reference): ...

    def scores(self, attributions, reference):
        return (attributions - reference).double().abs().flatten(1).sum(1)
