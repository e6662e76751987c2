"""Every constructor of a prior, and of the loss, looks at the types of what it is given, and says which is wrong."""

import math

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_xg.errors import BaselineError, OptionError, OptionTypeError
from captum_xg.priors import (
    AttributionPriorLoss,
    EnergyInRegion,
    GiniSparsity,
    GraphSmoothness,
    GroupSparsity,
    HighFrequency,
    LpNorm,
    RightForRightReasons,
    TotalVariation,
    WeightedSum,
)

NET = nn.Linear(4, 3, bias=False)
EDGES = torch.tensor([[0], [1]])


def loss(**options):
    return AttributionPriorLoss(options.pop("model", NET), options.pop("prior", LpNorm()), **options)


WRONG = {
    "model": [
        lambda v=v: loss(model=v)
        for v in (None, "net", nn.Linear, (NET, "report"), 3, NET.weight, IntegratedGradients(NET))
    ],
    "prior": [lambda v=v: loss(prior=v) for v in (None, "gini", GiniSparsity, torch.ones(3), [LpNorm()])],
    "weight": [lambda v=v: loss(weight=v) for v in (None, "1", True, torch.ones(2), [1.0])],
    "task_loss": [lambda v=v: loss(task_loss=v) for v in ("mse", nn.MSELoss, 1)],
    "attribution": [lambda v=v: loss(attribution=v) for v in (None, IntegratedGradients, IntegratedGradients(NET), 3)],
    "ignore_index": [lambda v=v: loss(ignore_index=v) for v in (None, 1.5, "255", True)],
    "layer": [lambda v=v: loss(layer=v) for v in (3, nn.Linear, [NET], True)],
    "output": [lambda v=v: loss(output=v) for v in (1.5, True, ["a"], dict)],
    "n_samples": [lambda v=v: loss(attribution="expected_gradients", n_samples=v) for v in (1.5, True, "2", None)],
    "references": [lambda v=v: loss(attribution="expected_gradients", references=v) for v in (3, {1}, dict)],
    "generator": [lambda v=v: loss(attribution="expected_gradients", generator=v) for v in (3, torch.Generator)],
    "n_steps": [lambda v=v: loss(attribution="integrated_gradients", n_steps=v) for v in (1.5, True, "2", None)],
    "across_processes": [
        lambda v=v, p=p: p(across_processes=v)
        for v in (None, "yes", 2, NET)
        for p in (GiniSparsity, lambda **o: GraphSmoothness(EDGES, **o))
    ],
    "process_group": [
        lambda v=v, p=p: p(process_group=v)
        for v in ("all", 2, [0, 1])
        for p in (GiniSparsity, lambda **o: GraphSmoothness(EDGES, **o))
    ],
    "dims": [lambda v=v, p=p: p(dims=v) for v in (1.5, "2", True, (2, 3)) for p in (TotalVariation, HighFrequency)],
    "power": [
        lambda v=v, p=p: p(power=v)
        for v in ("2", True, None)
        for p in (TotalVariation, lambda **o: GraphSmoothness(EDGES, **o))
    ],
    "wrap": [lambda v=v: TotalVariation(wrap=v) for v in (None, "no", 2)],
    "normalise": [lambda v=v: HighFrequency(normalise=v) for v in (None, "no", 2)],
    "cutoff": [lambda v=v: HighFrequency(v) for v in (None, "0.25", True, (0.1, 0.2))],
    "band": [lambda v=v: HighFrequency(band=v) for v in (0.25, "ab", (0.1,), (0.1, "b"), (False, True))],
    "p": [lambda v=v: LpNorm(v) for v in (None, "2", True, (2,))],
    "positive": [lambda v=v: EnergyInRegion(positive=v) for v in (None, "yes", torch.ones(2))],
    "region": [lambda v=v: EnergyInRegion(v) for v in ([True], np.ones(3), 1)],
    "mask": [lambda v=v: RightForRightReasons(v) for v in ([True], np.ones(3), 1)],
    "graph": [lambda v=v: GraphSmoothness(v) for v in (None, [[0, 1]], np.ones((2, 2)))],
    "index": [lambda v=v: LpNorm().of(v) for v in (None, 1.0, True, "0")],
    "a weight": [lambda v=v: WeightedSum((v, LpNorm())) for v in (None, "1", True, torch.ones(2))],
}
CASES = [(name, make) for name, makes in WRONG.items() for make in makes]


@pytest.mark.parametrize(("name", "make"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_what_has_another_type_is_refused_at_once_by_name(name, make):
    said = {"a weight": "weight"}.get(name, name)
    with pytest.raises(OptionTypeError, match=rf"^\w+(\.of)?: .*\b{said}\b"):
        make()
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("baselines", ["zero", None, (0, "a"), nn.Linear])
def test_what_is_no_baseline_is_refused_at_once(baselines):
    with pytest.raises(BaselineError, match="`baselines` must be"):
        loss(attribution="integrated_gradients", baselines=baselines)


@pytest.mark.parametrize(
    "make",
    [
        lambda: loss(reduction="none"),
        lambda: loss(target="labels"),
        lambda: loss(target=nn.Linear),
        lambda: loss(validate="yes"),
        lambda: loss(validate=True),
        lambda: loss(weight=math.nan),
        lambda: GiniSparsity(over="rows"),
        lambda: GiniSparsity(over=True),
        lambda: GraphSmoothness(EDGES, of="rows"),
        lambda: HighFrequency(math.nan),
        lambda: HighFrequency(-0.1),
        lambda: TotalVariation(4),
        lambda: TotalVariation(power=3),
        lambda: LpNorm(0.5),
        lambda: LpNorm(math.nan),
        lambda: GroupSparsity([[True, False]]),
        lambda: GroupSparsity([["a"]]),
        lambda: LpNorm().of(-1),
    ],
)
def test_what_has_no_such_value_is_refused_at_once(make):
    with pytest.raises(OptionError):
        make()


@pytest.mark.parametrize(
    ("make", "attribute", "value"),
    [
        (lambda: TotalVariation(np.int64(2), power=np.int64(2), wrap=np.True_), "power", 2),
        (lambda: TotalVariation(power=2.0), "power", 2),
        (lambda: LpNorm(np.float32(2)), "p", 2.0),
        (lambda: LpNorm(torch.tensor(3.0)), "p", 3.0),
        (lambda: HighFrequency(np.float64(0.1)), "band", (0.1, math.inf)),
        (lambda: HighFrequency(band=[0, 0.25]), "band", (0, 0.25)),
        (lambda: GroupSparsity([[np.int64(0), 1]]), "n_groups", 1),
        (lambda: EnergyInRegion(positive=1), "positive", True),
        (lambda: GiniSparsity(across_processes=np.False_), "across_processes", False),
        (lambda: LpNorm().of(np.int64(1)), "index", 1),
        (lambda: np.float32(0.5) * LpNorm(), "weights", [0.5]),
        (lambda: loss(weight=torch.tensor([0.5])), "weight", 0.5),
        (lambda: loss(ignore_index=np.int64(255)), "step", 0),
        (lambda: loss(degree=np.float64(1)), "step", 0),
        (lambda: loss(attribution="integrated_gradients", n_steps=np.int64(5), baselines=np.float32(0)), "step", 0),
        (lambda: loss(layer=NET, output=("a", 1)), "step", 0),
    ],
)
def test_numbers_and_truths_of_numpy_and_torch_are_taken(make, attribute, value):
    assert getattr(make(), attribute) == value
