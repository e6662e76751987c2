"""What is easily got wrong at first is refused in words that help, and what is easily given is taken."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map
from torch.utils.data import IterableDataset

from captum_xg.errors import DisconnectedAttributionError, OptionError, OptionTypeError, PriorError, TargetError
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, PriorLoss, RightForRightReasons, TotalVariation

X = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))


def test_a_prior_that_was_not_made_yet_is_refused_by_name():
    with pytest.raises(OptionError, match=r"`prior` is the class GiniSparsity. Pass an instance"):
        AttributionPriorLoss(network(), GiniSparsity)


@pytest.mark.parametrize("evaluate", [False, True])
def test_attributions_have_the_form_of_the_inputs_also_for_a_tuple_of_one(evaluate):
    loss = AttributionPriorLoss(network(), GiniSparsity()).train(not evaluate)
    (found,) = loss((X,), LABELS).attributions
    assert torch.equal(found.detach(), loss(X, LABELS).attributions.detach())


@pytest.mark.parametrize("weight", [np.float32(0.5), np.int64(2), torch.tensor([0.25])])
def test_numbers_of_numpy_and_torch_are_weights(weight):
    for given in (weight, lambda step: weight):
        found = AttributionPriorLoss(network(), GiniSparsity(), weight=given)(X, LABELS)
        torch.testing.assert_close(found.total, found.task + float(weight) * found.prior)


@pytest.mark.parametrize("weight", [torch.ones(2), np.nan, "1", True, None])
def test_what_is_no_number_is_no_weight(weight):
    with pytest.raises(OptionError, match="`weight` must be a finite number"):
        AttributionPriorLoss(network(), GiniSparsity(), weight=weight)


def test_fused_attention_is_refused_with_how_to_have_it_computed_otherwise():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(16, 3))
    loss = AttributionPriorLoss(model, GiniSparsity(), attribution="input_x_gradient")
    with pytest.raises(DisconnectedAttributionError, match=r"SDPBackend\.MATH"):
        loss(X[:, 0], LABELS)
    with sdpa_kernel(SDPBackend.MATH):
        loss(X[:, 0], LABELS).total.backward()
    assert all(bool(p.grad.abs().max() > 0) for p in layer.linear1.parameters())


def test_masks_without_channels_are_refused_with_how_to_write_them():
    mask = torch.zeros(6, 4, 4, dtype=torch.bool)
    loss = AttributionPriorLoss(network(), RightForRightReasons())
    with pytest.raises(PriorError, match=r"mask.unsqueeze\(1\)"):
        loss(X, LABELS, mask=mask)
    loss(X, LABELS, mask=mask.unsqueeze(1))


def test_a_label_beyond_the_classes_is_refused_with_what_unlabelled_positions_need():
    model = nn.Conv2d(3, 2, 1, bias=False)
    labels = torch.zeros(6, 4, 4, dtype=torch.int64)
    labels[0, 0, 0] = 255
    with pytest.raises(TargetError, match=r"from 0 to 255.*ignore_index"):
        AttributionPriorLoss(model, GiniSparsity())(X, labels)
    AttributionPriorLoss(model, GiniSparsity(), ignore_index=255)(X, labels)


@pytest.mark.parametrize("references", [torch.zeros(0, 3, 4, 4), []])
def test_no_references_at_all_are_refused(references):
    loss = AttributionPriorLoss(network(), GiniSparsity(), attribution="expected_gradients", references=references)
    with pytest.raises(OptionError, match="`references` is empty"):
        loss(X, LABELS)


def test_references_that_cannot_be_drawn_from_are_refused_at_once():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(X)

    with pytest.raises(OptionError, match="`references` must be"):
        AttributionPriorLoss(network(), GiniSparsity(), attribution="expected_gradients", references=Stream())


@pytest.mark.parametrize("name", ["backward", "item", "detach", "requires_grad", "grad_fn", "shape", "dtype", "cpu"])
def test_who_takes_the_result_for_a_tensor_is_told_of_total(name):
    found = AttributionPriorLoss(network(), GiniSparsity())(X, LABELS)
    assert not hasattr(found, name)
    with pytest.raises(AttributeError, match=rf"write loss\(x, y\)\.total\.{name}"):
        getattr(found, name)
    with pytest.raises(AttributeError, match=r"no attribute 'totl'\.$"):
        found.totl  # noqa: B018


def test_arithmetic_with_the_result_is_refused_with_what_is_meant_and_never_makes_a_longer_tuple():
    found = AttributionPriorLoss(network(), GiniSparsity())(X, LABELS)
    for wrong in (
        lambda: found + 1.0,
        lambda: found + found.task,
        lambda: found.task + found,
        lambda: sum([found, found]),
        lambda: found - 1,
        lambda: 1 - found,
        lambda: 2 * found,
        lambda: found * found.task,
        lambda: found / 4,
        lambda: -found,
        lambda: float(found),
        lambda: np.sqrt(float(found)),
    ):
        with pytest.raises(OptionTypeError, match=r"loss\(x, y\)\.total"):
            wrong()


def test_the_result_is_a_named_tuple_in_every_other_way():
    total, task, prior, outputs, attributions = found = AttributionPriorLoss(network(), GiniSparsity())(X, LABELS)
    assert found == (total, task, prior, outputs, attributions)
    assert found._fields == ("total", "task", "prior", "outputs", "attributions")
    assert found.__add__(("more",)) == (*found, "more")
    assert len(found) == 5
    plain = found._replace(**{name: i for i, name in enumerate(found._fields)})
    for other in (copy.copy(plain), copy.deepcopy(plain), pickle.loads(pickle.dumps(plain)), plain._make(plain)):
        assert type(other) is PriorLoss
        assert other == plain
    assert type(tree_map(lambda t: t, found)) is PriorLoss
    assert found._asdict()["total"] is total
    assert repr(plain) == "PriorLoss(total=0, task=1, prior=2, outputs=3, attributions=4)"


def test_a_loss_can_be_pickled_and_copied_and_goes_on_where_it_was():
    model = network()
    loss = AttributionPriorLoss(model, GiniSparsity() + 0.1 * TotalVariation(), weight=0.5)
    loss(X, LABELS)
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        torch.testing.assert_close(other(X, LABELS).total, loss.eval()(X, LABELS).total, check_stride=False)
        assert other.step == 2
        assert other.model is not model
