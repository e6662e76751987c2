"""Every argument of the constructors of metrics, maskers, networks and data sets is checked at once, and named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from captum_xg import XGradient, metrics, models
from captum_xg.datasets.decoy import add_decoys
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.datasets.nhanes import load_mortality, load_nhanes_subset
from captum_xg.errors import BaselineError, OptionError, OptionTypeError
from captum_xg.metrics import maskers

NET = nn.Linear(3, 2, bias=False)
ELSEWHERE = {"AttributionBenchmark", "AxiomReport", "AxiomResult", "BenchmarkResult", "Estimate", "Masker"} | {
    "AttributionMetricCollection"  # whose arguments torchmetrics takes
}
NEEDED: dict[str, Any] = {
    "forward_func": NET,
    "vocab_size": 30,
    "nodes": torch.zeros(2, 29),
    "edges": torch.zeros(2, 6),
    "edge_index": torch.tensor([[0, 1], [1, 0]]),
    "graph": torch.zeros(2, dtype=torch.int64),
    "attribution_func": XGradient(NET).attribute,
    "dataset": range(4),
    "method": XGradient,
    "images": torch.zeros(2, 1, 8, 8),
    "labels": torch.zeros(2, dtype=torch.int64),
    "informative": True,
    "generator": torch.Generator(),
    "model": NET,
    "path_or_url": "nowhere",
    "root": "nowhere",
    "train": True,
    "path": "nowhere",
    "folder": "nowhere",
}
UNCHECKED = {
    ("axiom_report", name)  # these belong to a model of one's own, and are checked against its output
    for name in ("inputs", "target", "baselines", "additional_forward_args")
} | {("load_checkpoint", "map_location")}


def _constructors() -> Iterator[Callable[..., Any]]:
    for room in (metrics, maskers):
        yield from (getattr(room, name) for name in room.__all__ if name not in ELSEWHERE | {"paper_methods"})
    yield from (getattr(models, name) for name in models.__all__ if name.islower())
    yield from (add_decoys, load_fashion_mnist, load_mortality, load_nhanes_subset)


def _parameters() -> Iterator[tuple[Callable[..., Any], str]]:
    for make in _constructors():
        for name, parameter in inspect.signature(make).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD and (make.__name__, name) not in UNCHECKED:
                yield make, name


def _arguments(make: Callable[..., Any], **given: Any) -> dict[str, Any]:
    needed = {
        name: NEEDED[name]
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    return {**needed, **given}


CASES = [pytest.param(make, name, id=f"{make.__name__}-{name}") for make, name in _parameters()]


@pytest.mark.parametrize(("make", "name"), CASES)
def test_an_argument_of_the_wrong_type_is_refused_at_once_and_named(make: Callable[..., Any], name: str) -> None:
    with pytest.raises((OptionError, BaselineError), match=name if name == "method" else f"`{name}`"):
        make(**_arguments(make, **{name: object()}))


TAKE_CLASSES = ("method", "models", "baselines")  # a class makes methods and models, and no baselines: BaselineError


@pytest.mark.parametrize(("make", "name"), [case for case in CASES if case.values[1] not in TAKE_CLASSES])
def test_a_class_is_refused_where_an_object_is_needed(make: Callable[..., Any], name: str) -> None:
    class Dataset(list):  # even one that could be called, or has a length
        def __call__(self, *args: Any) -> Any:
            return args

    with pytest.raises(OptionTypeError):
        make(**_arguments(make, **{name: Dataset}))


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (metrics.Infidelity, {"perturb_func": metrics.RandomRemoval}, "is the class RandomRemoval"),
        (metrics.KeepPositiveMask, {"masker": maskers.Zero}, "must be a callable from inputs"),
        (metrics.KeepPositiveMask, {"masker": (maskers.Zero(), maskers.Zero)}, "must be a callable from inputs"),
        (metrics.MaxSensitivity, {"attribution_func": XGradient(NET)}, r"method\.attribute"),
        (metrics.CompletenessGap, {"forward_func": nn.Linear}, "is the class Linear"),
        (metrics.CompletenessGap, {"forward_func": (NET, NET)}, "Unpack it first"),
        (metrics.KeepAbsoluteMask, {"fractions": "01"}, "increasing numbers"),
        (metrics.SensitivityN, {"fractions": 0.5}, "numbers in"),
        (metrics.RandomRemoval, {"probability": True}, "must be a number in"),
        (metrics.GaussianNoise, {"sigma": "0.1"}, "must be a finite number > 0"),
        (maskers.GaussianBlur, {"dims": 2}, "must be a tuple of dimensions"),
        (maskers.GaussianBlur, {"kernel_size": 51.0}, "must be a positive integer"),
        (models.xalexnet, {"num_classes": 10.0}, "^xalexnet: `num_classes` must be a positive integer"),
        (models.xvgg16, {"dropout": 2}, "^xvgg16: `dropout` must be a probability"),
        (models.small_vgg, {"pretrained": "yes"}, "must be True or False"),
        (models.load_checkpoint, {"model": nn.Linear}, "is the class Linear"),
        (models.load_checkpoint, {"strict": "no"}, "must be True or False"),
    ],
)
def test_a_frequent_slip_is_refused_in_words_that_help(make: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        make(**_arguments(make, **options))


@pytest.mark.parametrize(
    ("make", "options", "attribute", "meant"),
    [
        (metrics.SensitivityN, {"fractions": np.array([0.5, 1.0])}, "fractions", (0.5, 1.0)),
        (metrics.SensitivityN, {"n_subsets": np.int64(7)}, "n_subsets", 7),
        (metrics.SensitivityN, {"seed": np.int32(3)}, "seed", 3),
        (metrics.SensitivityN, {"joint_dim": np.int64(-1)}, "joint_dim", -1),
        (metrics.KeepPositiveMask, {"fractions": torch.tensor([0.0, 1.0])}, "fractions", (0.0, 1.0)),
        (metrics.KeepPositiveMask, {"internal_batch_size": torch.tensor(8)}, "internal_batch_size", 8),
        (metrics.KeepPositiveMask, {"channel_dim": np.int64(1)}, "channel_dim", 1),
        (metrics.Infidelity, {"normalize": np.bool_(True)}, "normalize", True),
        (metrics.MaxSensitivity, {"norm_ord": torch.tensor(2)}, "norm_ord", 2.0),
        (metrics.CompletenessGap, {"relative": np.bool_(True)}, "relative", True),
        (metrics.UniformNoise, {"radius": torch.tensor(0.5)}, "radius", 0.5),
        (metrics.GaussianNoise, {"sigma": np.float32(0.5)}, "sigma", 0.5),
        (maskers.Constant, {"value": np.float64(2)}, "value", 2.0),
        (maskers.Noise, {"std": torch.tensor(0.5), "seed": np.int64(1)}, "std", 0.5),
        (maskers.GaussianBlur, {"sigma": np.float32(2.0), "dims": [1]}, "dims", (1,)),
        (maskers.NoisyLinear, {"tolerance": np.float64(1e-3)}, "tolerance", 1e-3),
    ],
)
def test_numbers_of_numpy_and_torch_are_taken(make: Any, options: dict[str, Any], attribute: str, meant: Any) -> None:
    value = getattr(make(**_arguments(make, **options)), attribute)
    assert value == meant
    assert isinstance(value, type(meant))
