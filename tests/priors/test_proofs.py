"""Proofs while training: what they rest on besides the model, and where a refusal says that something is."""

import pytest
import torch
from torch import nn

from captum_xg.errors import HomogeneityError, TrainingModeError
from captum_xg.priors import AttributionPriorLoss, LpNorm

X = torch.rand(6, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
WRAPPINGS = {
    "tensor": lambda t: t,
    "dict": lambda t: {"only": t},
    "list": lambda t: [t],
    "nested": lambda t: {"outer": [{"inner": t}]},
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))


def unwrapped(value):
    while not isinstance(value, torch.Tensor):
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return value


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, shift):
        return self.net(x) + unwrapped(shift)


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_a_proof_stands_for_new_containers_and_falls_with_the_values_it_asked_about(wrap):
    loss = AttributionPriorLoss(Shifted(), LpNorm())
    for _ in range(3):
        loss(X, LABELS, wrap(torch.zeros(6, 1)))
    assert loss._attribution.n_proofs == 1
    with pytest.raises(HomogeneityError, match="adds a constant"):
        loss(X, LABELS, wrap(torch.ones(6, 1)))


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_a_score_of_targets_in_containers_is_proven_once_and_again_for_targets_that_decide_what_runs(wrap):
    def score(outputs, target):
        labels = unwrapped(target)
        picked = outputs.gather(1, labels[:, None])[:, 0]
        return picked if int(labels[0]) == 0 else picked + 1

    loss = AttributionPriorLoss(network(), LpNorm(), target=score, task_loss=lambda outputs, target: outputs.sum())
    for _ in range(3):
        loss(X, wrap(torch.zeros(6, dtype=torch.int64)))
    assert loss._attribution.n_proofs == 1
    with pytest.raises(HomogeneityError, match="adds a constant"):
        loss(X, wrap(torch.ones(6, dtype=torch.int64)))


def test_containers_of_another_structure_have_a_proof_of_their_own():
    class Either(Shifted):
        def forward(self, x, shift):
            return self.net(x) if "a" in shift else self.net(x) + 1

    loss = AttributionPriorLoss(Either(), LpNorm())
    loss(X, LABELS, {"a": torch.zeros(6, 1)})
    with pytest.raises(HomogeneityError, match="adds a constant"):
        loss(X, LABELS, {"b": torch.zeros(6, 1)})


def test_a_refusal_names_no_line_of_ours():
    biased = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    with pytest.raises(HomogeneityError, match="adds a bias") as refused:
        AttributionPriorLoss(biased, LpNorm())(X, LABELS)
    assert "captum_xg/" not in str(refused.value)


def test_batch_norm_that_trains_is_refused_with_what_one_can_train_instead():
    model = nn.Sequential(nn.Linear(10, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3, bias=False))
    with pytest.raises(TrainingModeError, match=r"(?s)1 \(BatchNorm1d\).*to_xdnn.*another attribution"):
        AttributionPriorLoss(model, LpNorm())(X, LABELS)


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_per_example_arguments_are_repeated_for_every_reference_wherever_they_stand(wrap):
    class Gated(Shifted):
        def forward(self, x, gate):
            return self.net(x * unwrapped(gate))

    gates = torch.rand(6, 10, generator=torch.Generator().manual_seed(1))
    options = {"attribution": "expected_gradients", "n_samples": 4, "references": torch.zeros(1, 10)}
    model = Gated()
    # F is homogeneous, so that every path from zero gives x·∇F: a gate of another example would show.
    found = AttributionPriorLoss(model, LpNorm(), **options)(X, LABELS, wrap(gates))
    expected = AttributionPriorLoss(model, LpNorm())(X, LABELS, gates)
    torch.testing.assert_close(found.attributions, expected.attributions)


def test_tensors_in_a_target_that_are_not_per_example_are_not_repeated():
    def score(outputs, target):
        return (outputs * target["class weights"]).gather(1, target["labels"][:, None])[:, 0]

    target = {"labels": LABELS, "class weights": torch.tensor([1.0, 2.0, 3.0])}
    loss = AttributionPriorLoss(
        network(),
        LpNorm(),
        attribution="expected_gradients",
        n_samples=4,
        target=score,
        task_loss=lambda outputs, target: nn.functional.cross_entropy(outputs, target["labels"]),
    )
    assert loss(X, target).attributions.shape == X.shape


def test_a_step_in_which_the_gradient_is_not_that_of_what_was_proven_is_refused():
    loss = AttributionPriorLoss(network(), LpNorm())
    for _ in range(2):
        loss(X, LABELS)
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda t: 2 * t if t.dtype.is_floating_point else t, lambda t: t),
        pytest.raises(HomogeneityError, match=r"Σ x·∂F = .* F has changed since"),
    ):
        loss(X, LABELS)
    loss(X, LABELS)
    assert loss._attribution.n_proofs == 1
