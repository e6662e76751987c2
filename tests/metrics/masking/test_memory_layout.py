"""Images are laid out as convolutions like them, and never where that changes anything but rounding."""

import pytest
import torch
from test_masking import KINDS, batch, make, network
from torch import nn

from captum_xg.metrics.masking.memory_layout import channels_last


class Watched(nn.Module):
    """Remembers the strides that it was called with."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.strides = []

    def forward(self, x):
        self.strides.append(x.stride()[1])
        return self.model(x)


class Viewed(nn.Module):
    """Flattens by view, which refuses channels last."""

    def __init__(self, model):
        super().__init__()
        self.convolution, self.linear = model[0], model[3]

    def forward(self, x):
        return self.linear(self.convolution(x).relu().view(len(x), -1))


class Careless(Viewed):
    """Reads memory as if it were in the default order."""

    def forward(self, x):
        h = self.convolution(x).relu()
        return self.linear(h.as_strided((len(h), h[0].numel()), (h[0].numel(), 1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_keeps_the_values(channels):
    x = torch.rand(2, channels, 4, 5)
    assert torch.equal(channels_last(x), x)
    assert channels_last(x).stride() == (20 * channels, 1, 5 * channels, channels)
    assert channels_last(x[0]).stride() == x[0].stride()


@pytest.mark.parametrize("channels", [1, 2])
def test_convolutions_in_float32_run_with_channels_last(channels):
    x, a, y = batch(3, channels, dtype=torch.float32)
    for model, expected in (
        (network(channels, dtype=torch.float32), {1}),
        (nn.Sequential(nn.Flatten(), nn.Linear(49 * channels, 4)), {49}),
    ):
        watched = Watched(model)
        make(KINDS[0], watched).update(x, a, y)
        assert set(watched.strides[-1:]) == expected
    watched = Watched(network(channels))
    make(KINDS[0], watched).update(x.double(), a, y)
    assert set(watched.strides) == {49}


@pytest.mark.parametrize("wrap", [Watched, Viewed, Careless])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_the_layout(kind, wrap):
    x, a, y = batch(4, dtype=torch.float32)
    found = make(kind, wrap(network(dtype=torch.float32))).scores(x, a, y)
    exact = make(kind, network()).scores(x.double(), a.double(), y)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
