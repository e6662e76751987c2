"""The remedy fits the place: at the output, within the network, for arguments, and one for each unknown operation."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from captum_xg import XGradient, certify
from captum_xg.errors import HomogeneityError

X = torch.linspace(-1, 1, 12).reshape(4, 3)
RELU = "put nn.ReLU"
AT_THE_OUTPUT = "Leave it out at the output, and explain the"


def _net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))


def _remedies(forward, argument=None):
    certificate = certify(forward, X, additional_forward_args=argument)
    assert not certificate.homogeneous
    return [found.remedy for found in certificate.violations + certificate.unsupported]


OUTPUTS = {
    "sigmoid": (nn.Sigmoid(), "logit"),
    "log sigmoid": (nn.LogSigmoid(), "logit"),
    "hard sigmoid": (nn.Hardsigmoid(), "logit"),
    "tanh": (nn.Tanh(), "value"),
    "softplus": (nn.Softplus(), "value"),
    "ReLU6": (nn.ReLU6(), "value"),
    "moved": (lambda h: torch.sigmoid(h).unsqueeze(1)[:, 0, 1:].clone(), "logit"),
    "scaled": (lambda h: 100 * torch.sigmoid(h), "logit"),
    "added up": (lambda h: torch.tanh(h).sum(1), "value"),
    "joined": (lambda h: torch.cat([torch.sigmoid(h), torch.sigmoid(2 * h)], 1), "logit"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_squashes_the_output_is_to_be_left_out(name):
    squash, what = OUTPUTS[name]
    net = _net()
    assert _remedies(lambda x: squash(net(x))) == [f"{AT_THE_OUTPUT} {what} before it"]


OF_PROBABILITIES = {
    "kept from 0 and 1": lambda p: p.clamp(1e-6, 1 - 1e-6),
    "logarithm": lambda p: (p + 1e-6).log(),
    "logit": torch.logit,
    "rounded": torch.round,
    "squared": torch.square,
}


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_so_is_what_squashes_it_where_something_is_done_with_probabilities(name):
    net = _net()
    remedies = ". ".join(_remedies(lambda x: OF_PROBABILITIES[name](torch.sigmoid(net(x)))))
    assert f"{AT_THE_OUTPUT} logit before it" in remedies
    assert RELU not in remedies


@pytest.mark.parametrize("squash", [nn.Sigmoid(), nn.Tanh(), nn.Softplus()])
def test_within_the_network_the_same_layer_is_to_become_a_relu(squash):
    first = nn.Linear(3, 3, bias=False)
    (remedy,) = _remedies(nn.Sequential(first, squash, _net()))
    assert RELU in remedy
    within, outside = _remedies(nn.Sequential(first, squash, _net(), type(squash)()))
    assert RELU in within
    assert AT_THE_OUTPUT in outside


def test_softmax_is_to_be_left_out_at_the_output_only():
    (at_the_output,) = _remedies(nn.Sequential(_net(), nn.Softmax(1)))
    assert at_the_output == "Explain the logits instead"
    (within,) = _remedies(nn.Sequential(nn.Linear(3, 3, bias=False), nn.Softmax(1), _net()))
    assert "within the network use HomogeneousExtension" in within


def test_the_numeric_refusal_says_the_same():
    with pytest.raises(HomogeneityError, match="explain the logit before it") as caught:
        XGradient(nn.Sequential(_net(), nn.Sigmoid())).attribute(X, target=1)
    assert RELU not in str(caught.value)


ADDED = {
    "sum": lambda h, a: h + a,
    "difference": lambda h, a: a - h,
    "derived": lambda h, a: h + 2 * a.abs(),
    "joined": lambda h, a: torch.cat([h, a], 1),
    "maximum": torch.maximum,
    "chosen": lambda h, a: torch.where(h > 0, h, a),
    "bias": lambda h, a: nn.functional.linear(h, torch.eye(3), a[0]),
}


@pytest.mark.parametrize("name", ADDED)
def test_an_additional_argument_is_not_to_be_set_to_zero(name):
    net, combine = _net(), ADDED[name]
    (found,) = certify(lambda x, a: combine(net(x), a), X, additional_forward_args=torch.ones(4, 3)).violations
    assert "an additional forward argument, held constant" in found.reason
    assert "among the inputs" in found.remedy
    assert "zero" not in found.remedy


@pytest.mark.parametrize("taken", [lambda t: t, lambda t: t.float() / 2])
def test_an_argument_of_integers_is_one_as_well(taken):
    net, steps = _net(), torch.tensor([1, 2, 3])
    (found,) = certify(lambda x, t: net(x) + taken(t), X, additional_forward_args=steps).violations
    assert "an additional forward argument" in found.reason


def test_what_a_table_holds_for_ids_is_no_argument():
    net, table = _net(), nn.Embedding(5, 3)
    ids = torch.tensor([0, 4, 1, 1])
    (found,) = certify(lambda x, ids: net(x) + table(ids), X, additional_forward_args=ids).violations
    assert "adds a constant" in found.reason


def test_an_argument_in_a_structure_is_one_as_well():
    net = _net()
    (found,) = certify(lambda x, a: net(x) + a["b"][0], X, additional_forward_args={"b": [torch.ones(3)]}).violations
    assert "an additional forward argument" in found.reason


@pytest.mark.parametrize(
    "combine", [lambda h, a: h * a + torch.ones(3), lambda h, a: torch.where(a > 0, h, 1.0), lambda h, a: a * (h + 1)]
)
def test_other_constants_beside_an_argument_stay_constants(combine):
    net = _net()
    (found,) = certify(lambda x, a: combine(net(x), a), X, additional_forward_args=X.flip(1)).violations
    assert "a constant" in found.reason
    assert "argument" not in found.reason


def test_the_numeric_refusal_tells_arguments_from_constants():
    net = _net()
    with pytest.raises(HomogeneityError, match="additional forward argument"):
        XGradient(lambda x, a: net(x) + a).attribute(X, target=0, additional_forward_args=torch.ones(4, 3))


@torch.library.custom_op("captum_xg_advice::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


twice.register_autograd(lambda ctx, gradient: 2 * gradient)


class Own(torch.autograd.Function):
    """A Python function around an operation that nobody knows."""

    @staticmethod
    def forward(ctx, x):
        return twice(x)

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Layer(nn.Module):
    def forward(self, x):
        return twice(x)


@pytest.mark.parametrize("op", [twice, Layer()])
def test_an_unknown_operation_is_one_finding(op):
    net = _net()
    (found,) = certify(lambda x: op(net(x)), X).unsupported
    assert "captum_xg_advice::twice, for which there is no rule" in found.reason
    assert "degree_rule" in found.remedy
    assert "PyTorch's own" not in found.remedy


def test_an_unknown_operation_in_a_python_function_is_one_finding():
    net = _net()
    (found,) = certify(lambda x: Own.apply(net(x)), X).unsupported
    assert "custom autograd function Own" in found.reason
    assert not found.further
    assert found.remedy.startswith("Write it with PyTorch's own operations")


def test_both_kinds_are_two_findings():
    net = _net()
    found = certify(lambda x: Own.apply(twice(net(x))), X).unsupported
    text = "\n".join(map(str, found))
    assert "no rule" in text
    assert "custom autograd function Own" in text


def test_checkpoints_are_to_be_made_without_reentry():
    net = _net()
    (remedy,) = _remedies(lambda x: checkpoint(net, x, use_reentrant=True))
    assert "use_reentrant=False" in remedy
