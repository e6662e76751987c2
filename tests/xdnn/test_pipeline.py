"""The pipeline: each round settles something, and nothing is settled twice, so that it ends."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from captum_xg import to_xdnn
from captum_xg.xdnn import pipeline


class Block(nn.Module):
    """Calls of every stage, one of which shows itself only after another was converted."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x):
        g = torch.sigmoid(self.a(x))
        return self.norm(g * F.silu(self.b(x)) + (1 - g) * x) + 0.5


MODELS = {
    "blocks": lambda: nn.Sequential(Block(), nn.BatchNorm1d(4), Block(), nn.Linear(4, 3)),
    "refused": lambda: nn.Sequential(Block(), nn.Softmax(1), nn.Linear(4, 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_round_settles_what_no_other_round_did(name, monkeypatch):
    settled = []

    def watched(step):
        def run(model, evidence):
            result = step(model, evidence)
            if result is not None:
                settled.append(
                    [*(("outcome", p) for p in result.outcomes), *(("forward", p) for p in result.recordings)]
                )
            return result

        return run

    monkeypatch.setattr(pipeline, "LIFT", watched(pipeline.LIFT))
    monkeypatch.setattr(pipeline, "INEXACT", tuple(map(watched, pipeline.INEXACT)))
    torch.manual_seed(0)
    to_xdnn(MODELS[name]().eval(), torch.randn(5, 4), strict=False)
    assert settled
    assert all(settled)
    everything = [each for result in settled for each in result]
    assert len(everything) == len(set(everything))


class Shifted(nn.Module):
    """Its shift shows itself only once what comes in grows with α, so that it is recorded after a conversion."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(x + 1)


def test_sizes_stay_those_of_the_original_when_a_forward_is_recorded_after_a_conversion():
    torch.manual_seed(0)
    model, x, sizes = nn.Sequential(nn.Softsign(), Shifted(), nn.Linear(4, 2)).eval(), 30 * torch.randn(6, 4), []
    model[1].norm.register_forward_pre_hook(lambda _, args: sizes.append(float(args[0].square().mean(1).sqrt().mean())))
    model(x)
    model[1].norm._forward_pre_hooks.clear()
    xdnn, report = to_xdnn(model, x)
    stages = list(dict.fromkeys(change.stage for change in report.changes))
    assert stages.index("functional calls") < stages.index("activations")  # exact ones come first in a report
    assert float(xdnn[1].norm.radius) == pytest.approx(sizes[0], rel=1e-6)
