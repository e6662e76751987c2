"""Methods of Captum's form: their baselines, their random numbers, and models in the wrong mode."""

import random

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLiftShap,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    KernelShap,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from scan_cases import examples, explained, network, whole
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xg import XGradient
from captum_xg.datasets import Attributions
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.datasets.attributions.shard import OpenShard
from captum_xg.errors import FileError, TrainingModeError
from captum_xg.scan.batch import Batch


def loader(n=10, size=4):
    return DataLoader(TensorDataset(*examples(n)), batch_size=size)


class Tunnel(NoiseTunnel):
    """A tunnel that says which model it is for."""

    def __init__(self, model):
        super().__init__(InputXGradient(model))
        self.forward_func = model


@pytest.mark.parametrize("method", [InputXGradient, Saliency, FeatureAblation])
def test_a_model_in_training_mode_is_refused_whatever_the_method(tmp_path, method):
    model = nn.Sequential(network(), nn.Dropout(0.5)).train()
    with pytest.raises(TrainingModeError, match=r"Call model\.eval"):
        explained(method(model), loader(), tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (GradientShap, {"baselines": examples(3, seed=9)[0]}),
        (KernelShap, {"n_samples": 9}),
        (Tunnel, {"nt_samples": 2}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_methods_that_draw_give_the_same_numbers_in_every_run(tmp_path, method, options):
    model, found = network(), []
    for name in "ab":
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        runs = explained(method(model), loader(), tmp_path / name, options=options, shard_size=4)
        assert random.getstate() == before[0]
        assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
        torch.manual_seed(5), np.random.seed(6), random.seed(7)  # noqa: NPY002
        if name == "b":  # from another place on, one shard alone
            (tmp_path / name / "shards" / "00000004.safetensors").unlink()
            runs = explained(method(model), loader(), tmp_path / name, options=options, shard_size=4)
        found.append(runs)
    assert torch.equal(whole(found[0]), whole(found[1]))
    assert found[0].digest == found[1].digest
    assert not torch.equal(whole(found[0])[:4], whole(found[0])[4:8])


def test_batches_of_the_same_examples_draw_other_numbers(tmp_path):
    x, y = examples(4)
    twice = DataLoader(TensorDataset(x.repeat(2, 1), y.repeat(2)), batch_size=4)
    found = whole(
        explained(GradientShap(network()), twice, tmp_path / "a", options={"baselines": examples(3, seed=9)[0]})
    )
    assert not torch.equal(found[:4], found[4:])


@pytest.mark.parametrize("baselines", [1.0, -0.5, "row", None])
def test_the_gap_is_to_the_baselines_that_were_given(tmp_path, baselines):
    model, (x, _) = nn.Linear(6, 4).eval(), examples(8)
    given = {"row": examples(1, seed=3)[0]}.get(baselines, baselines)
    options = {} if given is None else {"baselines": given}
    found = explained(FeatureAblation(model), loader(8), tmp_path, options=options)
    end = torch.zeros_like(x) if given is None else torch.as_tensor(given).expand(4, 6).repeat(2, 1)
    change = (model(x) - model(end)).gather(1, found.targets)
    torch.testing.assert_close(found.gaps, (whole(found).sum(2) - change).detach(), atol=1e-5, rtol=0)
    assert float(found.gaps.abs().max()) < 1e-5


def test_the_gap_of_what_is_compared_with_a_sample_is_to_its_mean(tmp_path):
    model, baselines = nn.Sequential(network(bias=True)).eval(), examples(3, seed=3)[0]
    found = explained(DeepLiftShap(model), loader(8), tmp_path, options={"baselines": baselines}, targets=1)
    assert len(found) == 8
    assert float(found.gaps.abs().max()) < 1e-5


def test_a_gap_that_nobody_knows_is_no_number(tmp_path):
    found = explained(GradientShap(network()), loader(), tmp_path, options={"baselines": lambda: examples(2)[0]})
    assert found.gaps.isnan().all()
    assert isinstance(found, Attributions)


def test_occlusion_with_a_baseline_for_each_of_several_inputs(tmp_path):
    class Two(nn.Module):
        def forward(self, x, z):
            return torch.cat([x.sum(1, keepdim=True), z.sum(1, keepdim=True)], 1)

    x, z = examples(4)[0], examples(4, seed=7)[0]
    options = {"baselines": (1.0, 2.0), "sliding_window_shapes": ((1,), (1,))}
    found = explained(Occlusion(Two()), [((x, z), torch.zeros(4).long())], tmp_path, options=options, targets=[0, 1])
    assert float(found.gaps.abs().max()) < 1e-5


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x, mask, factor):
        return self.inner(x * mask) * factor


def test_what_follows_the_inputs_belongs_to_the_example(tmp_path):
    x, y = examples(8)
    mask, constant = torch.ones(8, 6), torch.tensor([1.0])

    def found(name, mask, factor):
        batches = [(x[i : i + 4], y[i : i + 4], (mask[i : i + 4], factor)) for i in (0, 4)]
        found = explained(XGradient(Masked().eval()), batches, tmp_path / name)
        shard = OpenShard(tmp_path / name / "shards" / "00000000.safetensors")
        assert torch.equal(found.digests, example_digests((x,)))  # which those who look at them compare
        return shard.rows("arguments").clone()

    first, other = found("a", mask, constant), mask.clone()
    other[5, 2] = 0
    assert (found("b", other, constant) == first).tolist() == [True] * 5 + [False, True, True]
    assert not (found("c", mask, constant * 2) == first).any()
    mask[2] = 0
    with pytest.raises(FileError, match=r"the data \(digest\)"):
        found("a", mask, constant)


@pytest.mark.parametrize("further", [torch.ones(4, 2, 3), torch.ones(1, 5), torch.ones(()), 2.5, None, "word"])
def test_the_digest_of_what_follows_is_the_same_alone(further):
    batch = Batch(tuple(range(4)), (examples(4)[0],), None, (further,))
    alone = torch.cat([batch.of([i]).argument_digests() for i in range(4)])
    assert torch.equal(batch.argument_digests(), alone)
    without = Batch(batch.positions, batch.inputs, None)
    assert not (without.argument_digests() == alone).any()
