"""Where no loss is given there is one rule for training with a prior and without: what is not plain is refused."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from captum_xg import AttributionPriorLoss, fine_tune
from captum_xg._core.losses import default_loss
from captum_xg.errors import ForwardOutputError, GradientError, InputError, OptionError, TargetError
from captum_xg.priors import LpNorm

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
BITS = torch.tensor([0, 1, 1, 0, 1, 0])
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])
IMAGES = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
MAP = torch.arange(50).reshape(2, 5, 5) % 3


def linear(n):
    torch.manual_seed(0)
    return nn.Linear(4, n, bias=False)


def pixels(n):
    torch.manual_seed(0)
    return nn.Conv2d(1, n, 1, bias=False)


def masked(y, labels=(1, 4), ignored=-100):
    y = y.clone()
    y.view(-1)[list(labels)] = ignored
    return y


def bce(o, y):
    return F.binary_cross_entropy_with_logits(o.reshape(-1), y.reshape(-1).to(o.dtype))


SOFT = torch.tensor([[0.7, 0.2, 0.1]] * 6)
MEANT = {
    "indices": (lambda: linear(3), X, CLASSES, F.cross_entropy),
    "indices of 32 bits": (lambda: linear(3), X, CLASSES.int(), lambda o, y: F.cross_entropy(o, y.long())),
    "two classes by truth": (lambda: linear(2), X, BITS.bool(), lambda o, y: F.cross_entropy(o, y.long())),
    "indices, some ignored": (lambda: linear(3), X, masked(CLASSES), F.cross_entropy),
    "probabilities": (lambda: linear(3), X, SOFT, F.cross_entropy),
    "one hot": (lambda: linear(3), X, F.one_hot(CLASSES, 3).float(), lambda o, y: F.cross_entropy(o, y.argmax(1))),
    "segmentation": (lambda: pixels(3), IMAGES, MAP, F.cross_entropy),
    "segmentation, some ignored": (lambda: pixels(3), IMAGES, masked(MAP, [0, 7]), F.cross_entropy),
    "soft segmentation": (lambda: pixels(3), IMAGES, torch.full((2, 3, 5, 5), 1 / 3), F.cross_entropy),
    "one logit (N, 1), floats": (lambda: linear(1), X, BITS[:, None].float(), bce),
    "one logit (N, 1), float64": (lambda: linear(1), X, BITS[:, None].double(), bce),
    "one logit (N, 1), integers": (lambda: linear(1), X, BITS[:, None], bce),
    "one logit (N, 1), truths": (lambda: linear(1), X, BITS[:, None].bool(), bce),
    "one logit, labels (N,)": (lambda: linear(1), X, BITS, bce),
    "one logit, floats (N,)": (lambda: linear(1), X, BITS.float(), bce),
    "one logit (N,)": (lambda: nn.Sequential(linear(1), nn.Flatten(0)), X, BITS, bce),
    "one logit (N,), labels (N, 1)": (lambda: nn.Sequential(linear(1), nn.Flatten(0)), X, BITS[:, None], bce),
    "one logit, all labels 0": (lambda: linear(1), X, torch.zeros(6, 1), bce),
    "mask": (lambda: pixels(1), IMAGES, MAP % 2, bce),
    "mask (N, 1, H, W)": (lambda: pixels(1), IMAGES, (MAP % 2)[:, None].float(), bce),
    "one logit, some ignored": (
        lambda: linear(1),
        X,
        masked(BITS),
        lambda o, y: bce(o[[0, 2, 3, 5]], y[[0, 2, 3, 5]]),
    ),
}
SEVERAL = torch.tensor([[1.0, 1, 0]] * 6)
REFUSED = {
    "regression of one output": (lambda: linear(1), X, torch.randn(6, 1), OptionError),
    "regression (N,)": (lambda: linear(1), X, torch.rand(6), OptionError),
    "probability of one output": (lambda: linear(1), X, torch.full((6, 1), 0.5), OptionError),
    "smoothed": (lambda: linear(1), X, BITS[:, None] * 0.9 + 0.05, OptionError),
    "NaN": (lambda: linear(1), X, torch.full((6, 1), math.nan), OptionError),
    "regression of three outputs": (lambda: linear(3), X, torch.randn(6, 3), OptionError),
    "several labels": (lambda: linear(3), X, SEVERAL, OptionError),
    "several labels as integers": (lambda: linear(3), X, SEVERAL.long(), TargetError),
    "several labels as truths": (lambda: linear(3), X, SEVERAL.bool(), TargetError),
    "indices as floats": (lambda: linear(3), X, CLASSES.float(), OptionError),
    "indices of three for one logit": (lambda: linear(1), X, CLASSES, TargetError),
    "signs": (lambda: linear(1), X, 2 * BITS - 1, TargetError),
    "out of range": (lambda: linear(3), X, CLASSES + 1, TargetError),
    "negative": (lambda: linear(3), X, CLASSES - 1, TargetError),
    "indices with a dimension": (lambda: linear(3), X, CLASSES[:, None], TargetError),
    "too few": (lambda: linear(3), X, CLASSES[:4], TargetError),
    "too few for one logit": (lambda: linear(1), X, BITS[:4], TargetError),
    "labels in a row for one logit": (lambda: linear(1), X, BITS[None], TargetError),
    "of examples for pixels": (lambda: pixels(3), IMAGES, MAP[:, 0, 0], TargetError),
    "a label that wraps around to one that is ignored": (lambda: linear(1), X, (BITS * 156).byte(), TargetError),
    "all ignored": (lambda: linear(3), X, torch.full((6,), -100), TargetError),
    "all ignored, one logit": (lambda: linear(1), X, torch.full((6,), -100), TargetError),
    "255": (lambda: pixels(3), IMAGES, masked(MAP, [0], 255), TargetError),
    "no tensor": (lambda: linear(3), X, [0, 1, 2, 0, 1, 2], OptionError),
    "nothing": (lambda: linear(3), X, None, OptionError),
    "complex": (lambda: linear(1), X, torch.ones(6, 1, dtype=torch.complex64), OptionError),
    "classes as outputs": (lambda: nn.Sequential(linear(3), Argmax()), X, CLASSES, ForwardOutputError),
    "no outputs": (lambda: nn.Sequential(linear(3), Nothing()), X, CLASSES, ForwardOutputError),
}


class Argmax(nn.Module):
    def forward(self, x):
        return x.argmax(1)


class Nothing(nn.Module):
    def forward(self, x):
        return None


@pytest.mark.parametrize(("make", "x", "y", "loss"), MEANT.values(), ids=MEANT)
def test_the_loss_that_is_meant_is_the_same_with_a_prior_without_and_by_hand(make, x, y, loss):
    model = make()
    expected = loss(model(x), y)
    found = AttributionPriorLoss(model, LpNorm(), target="predicted", attribution="gradient")(x, y).task
    torch.testing.assert_close(found, expected)
    before = [p.clone() for p in model.parameters()]
    (mean,) = fine_tune(model, [(x, y)], progress=False)
    assert mean == pytest.approx(expected.item(), rel=1e-6)
    assert mean > 0
    assert any(bool((p != q).any()) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(("make", "x", "y", "error"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_tell_the_loss_is_refused_and_nothing_is_trained(make, x, y, error):
    model = make()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(error, match=r"^fine_tune, epoch 1, batch 0: ") as caught:
        fine_tune(model, [(x, y)], progress=False)
    if error is OptionError:
        assert "Pass loss, a function" in str(caught.value)
    with pytest.raises(error, match=r"^AttributionPriorLoss: "):
        AttributionPriorLoss(model, LpNorm(), target="predicted", attribution="gradient")(x, y)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_regression_is_trained_with_a_loss_of_its_own():
    model, y = linear(1), torch.randn(6, 1)
    losses = fine_tune(model, [(X, y)], epochs=50, lr=0.1, loss=F.mse_loss, progress=False)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "loss", [F.cross_entropy, nn.CrossEntropyLoss(label_smoothing=0.1), partial(F.cross_entropy, label_smoothing=0.1)]
)
@pytest.mark.parametrize("make", [lambda: linear(1), lambda: pixels(1)])
def test_cross_entropy_of_a_single_class_is_always_0_and_is_refused(make, loss):
    x = X if isinstance(make(), nn.Linear) else IMAGES
    y = torch.zeros(len(x), *x.shape[2:], dtype=torch.int64)
    with pytest.raises(OptionError, match=r"`loss` is cross entropy.*one class"):
        fine_tune(make(), [(x, y)], loss=loss, progress=False)
    with pytest.raises(OptionError, match=r"`task_loss` is cross entropy.*one class"):
        AttributionPriorLoss(make(), LpNorm(), task_loss=loss, attribution="gradient")(x, y)
    fine_tune(nn.Linear(4, 3), [(X, CLASSES)], loss=loss, progress=False)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, y: (o.argmax(1) != y).float().mean(),
        lambda o, y: o.round().sum(),
        lambda o, y: F.cross_entropy(o.detach(), y),
        lambda o, y: torch.zeros((), requires_grad=True),
    ],
)
def test_a_loss_that_no_gradient_leads_back_from_is_refused(loss):
    with pytest.raises(GradientError, match=r"^fine_tune, epoch 1, batch 0: no gradient of the loss reaches"):
        fine_tune(linear(3), [(X, CLASSES)], loss=loss, progress=False)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_where_nothing_is_recorded_is_refused(mode):
    with mode(), pytest.raises(GradientError, match="no_grad"):
        fine_tune(linear(3), [(X, CLASSES)], progress=False)


@pytest.mark.parametrize("loss", [lambda o, y: o, lambda o, y: 0.5, lambda o, y: None, lambda o, y: o.argmax()])
def test_a_loss_that_is_no_number_is_refused(loss):
    with pytest.raises(ForwardOutputError, match="fine_tune, epoch 1, batch 0: loss must return one"):
        fine_tune(linear(3), [(X, CLASSES)], loss=loss, progress=False)


def test_a_loss_of_shape_1_is_one_number():
    assert len(fine_tune(linear(3), [(X, CLASSES)], loss=lambda o, y: o.sum().reshape(1).square(), progress=False)) == 1


def test_a_label_beyond_the_classes_in_a_later_batch_leaves_what_was_trained_before():
    one, other = linear(3), linear(3)
    batches = [(X, CLASSES), (X, CLASSES), (X, CLASSES + 7)]
    with pytest.raises(TargetError, match=r"^fine_tune, epoch 1, batch 2: .* from 7 to 9"):
        fine_tune(one, batches, optimizer=torch.optim.SGD(one.parameters(), lr=0.1), progress=False)
    schedule = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(InputError, match="loss is nan"):
        fine_tune(other, [*batches[:2], (X * math.nan, CLASSES)], optimizer=schedule, progress=False)
    assert torch.equal(one.weight, other.weight)


def test_probabilities_in_half_precision_may_sum_to_nearly_1():
    y = torch.softmax(torch.randn(64, 30, generator=torch.Generator().manual_seed(0)), 1).bfloat16()
    assert float(default_loss(torch.zeros(64, 30), y, "test", "loss")) == pytest.approx(math.log(30), rel=1e-2)


@pytest.mark.parametrize("y", [SOFT[:0], CLASSES[:0], BITS[:0].float()])
def test_no_examples_have_no_mean_loss(y):
    with pytest.raises(TargetError, match="no labels"):
        default_loss(torch.zeros(0, 3), y, "here", "loss")


@pytest.mark.parametrize("outputs", [torch.zeros(3), torch.zeros(1, 3)])
def test_a_single_example_is_told_from_a_batch(outputs):
    with pytest.raises(TargetError, match="single example"):
        default_loss(outputs, CLASSES[0], "here", "loss")
