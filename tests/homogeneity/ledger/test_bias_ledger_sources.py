"""Which constants the ledger sees, and what it says of networks that constants do not explain."""

import pytest
import torch
from cases import POWERS, VIOLATIONS, mlp
from ledgers import Tied, assert_balanced, double, reference
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from captum_xg.homogeneity.ledger.bias_ledger import bias_ledger

# --- which constants are seen ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Fixup(nn.Module):
    """Parameters that are added in forward, and one that multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.randn(1))
        self.scale, self.linear = nn.Parameter(torch.tensor(2.0)), nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x + self.before) * self.scale + self.after).sum(1)


def test_parameters_that_a_forward_adds_are_listed_by_name_and_factors_are_not():
    ledger = bias_ledger(Fixup().double(), double(3, 4))
    assert [row.name for row in ledger.rows] == ["before", "after"]
    assert_balanced(ledger)


class Tokens(nn.Module):
    """A class token that is concatenated, a positional embedding, and a buffer that is added to a view, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 5, 4))
        self.register_buffer("offset", torch.randn(4))
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position[:, : x.shape[1] + 1]
        x = torch.relu(self.linear(x))
        x = 1.5 - x
        x[:, 0] += self.offset
        return x.amax(1).mean(1)


def test_tokens_positions_numbers_and_buffers_added_in_place_are_listed():
    ledger = bias_ledger(Tokens().double(), double(3, 2, 4))
    assert [row.name for row in ledger.rows] == ["token", "position", "linear.bias", "constant 1.5", "offset"]
    assert all(bool(row.contributions.any()) for row in ledger.rows)
    assert_balanced(ledger)


class _Doubled(torch.autograd.Function):
    """What only autograd knows to depend on the input."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(2 * x.detach().numpy())

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def _added_to_a_view(x: Tensor) -> Tensor:
    x = 2 * x
    x[:, :2].add_(0.7)
    return x.relu().sum(1)


def _constant_that_changes_afterwards(x: Tensor) -> Tensor:
    constant = torch.ones(4, dtype=x.dtype)
    x = (x + constant).relu()
    constant.mul_(3)
    return x.sum(1)


_LINEAR = nn.Linear(4, 3).double()
_BILINEAR = nn.Bilinear(4, 2, 3).double()
_CONVOLUTION_1D, _CONVOLUTION_3D = nn.Conv1d(1, 2, 2).double(), nn.Conv3d(1, 2, 2).double()
_WEIGHT_NORM = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)).double()
_IN_PLACE = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)).double()
_FROZEN = nn.Linear(4, 3).double().requires_grad_(False)
FUNCTIONS = {
    "x + number": lambda x: (x + 0.7).relu().sum(1),
    "number + x": lambda x: (0.7 + x).relu().sum(1),
    "x - number": lambda x: (x - 0.7).relu().sum(1),
    "number - x": lambda x: (0.7 - x).relu().sum(1),
    "add with alpha": lambda x: torch.add(x, torch.full((4,), 0.3, dtype=x.dtype), alpha=2).relu().sum(1),
    "sub with alpha": lambda x: torch.sub(x, torch.full((4,), 0.3, dtype=x.dtype), alpha=2).relu().sum(1),
    "rsub": lambda x: torch.rsub(x, 0.7).relu().sum(1),
    "add_": lambda x: (2 * x).add_(0.7).relu().sum(1),
    "-=": lambda x: (2 * x).sub_(0.7).relu().sum(1),
    "add_ to the input": lambda x: x.add_(0.7).relu().sum(1),
    "add_ to a view": _added_to_a_view,
    "overwritten afterwards": _constant_that_changes_afterwards,
    "beside a custom function": lambda x: torch.relu(_LINEAR(x) + _Doubled.apply(x)[:, :3]).sum(1),
    "a view that is overwritten": lambda x: torch.relu_(_LINEAR(x[:, None].repeat(1, 2, 1))).sum((1, 2)),
    "a view that is added to": lambda x: _LINEAR(x[:, None].repeat(1, 2, 1)).mul_(2).relu().sum((1, 2)),
    "accumulated in a buffer": lambda x: torch.ones(len(x), 4, dtype=x.dtype).add_(x).relu().sum(1),
    "addmm": lambda x: torch.addmm(_LINEAR.bias, x, _LINEAR.weight.T, beta=0.5).relu().sum(1),
    "functional linear": lambda x: F.linear(x, _LINEAR.weight, bias=_LINEAR.bias).relu().sum(1),
    "bilinear in x and a constant": lambda x: _BILINEAR(x, torch.ones(len(x), 2, dtype=x.dtype)).relu().sum(1),
    "stack": lambda x: torch.stack([x, torch.full_like(x.detach(), 0.2)], 1).amax((1, 2)),
    "where": lambda x: torch.where(x > 0, x, 1.1).sum(1),
    "masked_fill": lambda x: x.masked_fill(x < 0, -1.1).sum(1),
    "masked_fill with infinity": lambda x: torch.cat([x, x.masked_fill(x < 0, -torch.inf)], 1).amax(1) + 1,
    "pad": lambda x: F.pad(x, (1, 1), value=0.1).relu().sum(1),
    "1d convolution": lambda x: _CONVOLUTION_1D(x[:, None]).relu().sum((1, 2)),
    "3d convolution": lambda x: (
        _CONVOLUTION_3D(x[:, None, :, None, None].repeat(1, 1, 1, 2, 2)).relu().sum((1, 2, 3, 4))
    ),
    "constant branch": lambda x: torch.relu(_LINEAR(x) + _LINEAR(torch.ones(4, dtype=x.dtype))).sum(1),
    "under a weight norm": lambda x: _WEIGHT_NORM(x).relu().sum(1),
    "checkpointed": lambda x: checkpoint(_IN_PLACE, x, use_reentrant=False).sum(1),
    "frozen": lambda x: _FROZEN(x).relu().sum(1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_constant_is_seen_wherever_it_enters(name):
    ledger = bias_ledger(FUNCTIONS[name], double(3, 4))
    assert ledger.rows, ledger
    assert_balanced(ledger)


class Folded(nn.Module):
    """Positions become examples of their own for a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, 4), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.relu(self.inner(x.reshape(-1, 2))).reshape(len(x), -1))


class Transposed(nn.Module):
    """Steps come first, as many as examples."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.inner, self.outer, self.steps = nn.Linear(4, 4), nn.Linear(4, 1), steps

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.stack([(i + 1) * x for i in range(self.steps)])
        return self.outer(torch.relu(self.inner(steps)).sum(0))


@pytest.mark.parametrize("build", [Folded, lambda: Transposed(5), lambda: Transposed(3)])
def test_constants_find_their_examples_where_dimension_0_does_not_count_them(build):
    model, inputs = build().double(), double(3, 4)
    ledger = bias_ledger(model, inputs)
    assert_balanced(ledger)
    _, _, parts = reference(model, inputs, 0)
    for path, expected in parts.items():
        assert torch.allclose(ledger.by_module[path], expected, rtol=1e-10)


def test_a_layer_that_is_no_longer_what_its_class_says_is_still_right():
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model, inputs = nn.Sequential(Doubled(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)).double(), double(3, 4)
    ledger = bias_ledger(model, inputs, 1)
    assert_balanced(ledger)
    assert torch.allclose(ledger.by_module["0"], reference(model, inputs, 1)[2]["0"], rtol=1e-10)


def test_a_compiled_model_has_the_ledger_of_the_model():
    model, inputs = mlp(4, 5, 2, bias=True).double(), double(3, 4)
    one, other = bias_ledger(model, inputs, 1), bias_ledger(torch.compile(model, backend="eager"), inputs, 1)
    assert torch.equal(one.constant_part, other.constant_part)
    assert [row.name.removeprefix("_orig_mod.") for row in other.rows] == [row.name for row in one.rows]


def test_a_layer_that_the_explained_output_does_not_use_is_not_listed():
    heads = nn.ModuleDict({"used": nn.Linear(4, 1), "unused": nn.Linear(4, 1)}).double()
    ledger = bias_ledger(lambda x: (heads["unused"](x), heads["used"](x))[1], double(3, 4))
    assert [row.name for row in ledger.rows] == ["used.bias"]


def test_tied_layers_are_one_row_that_sums_over_the_calls():
    model, inputs = nn.Sequential(Tied(nn.Linear(4, 4), 3), nn.Linear(4, 1)).double(), double(3, 4)
    ledger = bias_ledger(model, inputs)
    assert [row.name for row in ledger.rows] == ["0.layer.bias", "1.bias"]
    assert torch.allclose(ledger.by_module["0.layer"], reference(model, inputs, 0)[2]["0.layer"], rtol=1e-10)


# --- what is not of the class ----------------------------------------------------------------------------------------

OTHERS = [case for case in VIOLATIONS if case.name in ("gelu", "tanh", "softmax_output", "layer_norm", "relu6", "elu")]


@pytest.mark.parametrize("case", [*OTHERS, *(case for case in POWERS if case.degree != 1)], ids=str)
def test_what_constants_do_not_explain_is_a_remainder_in_words(case):
    ledger = bias_ledger(case.model(), case.inputs(size=40.0 if case.name == "relu6" else 1.0), 0)
    assert not ledger.exact
    assert "a remainder that is NOT rounding" in str(ledger)
    assert "F is not homogeneous of degree 1" in str(ledger)
    assert torch.allclose(ledger.values, ledger.input_part + ledger.constant_part + ledger.remainder)


def test_a_detached_path_is_no_constant():
    ledger = bias_ledger(lambda x: (x + x.detach()).sum(1), double(3, 4))
    assert ledger.rows == ()
    assert not ledger.exact
    assert torch.allclose(ledger.remainder, ledger.values / 2)


def test_values_that_leave_pytorch_are_noted():
    ledger = bias_ledger(lambda x: x.sum(1) + x.abs().max().item(), double(1, 4))
    assert "Tensor.item" in str(ledger)


def test_biases_inside_of_fused_layers_and_scripts_are_left_in_the_remainder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rnn = nn.RNN(4, 3, nonlinearity="relu", batch_first=True).double()
        script = torch.jit.script(nn.Linear(4, 3).double())
    assert not bias_ledger(lambda x: rnn(x)[0][:, -1].sum(1), double(3, 2, 4)).exact
    assert not bias_ledger(lambda x: script(x).sum(1), double(3, 4)).exact


def test_a_model_that_fails_on_one_example_alone_keeps_the_ledger_of_the_batch():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1)).double()
    ledger = bias_ledger(model.eval(), double(3, 4))
    assert not ledger.exact
    assert "one example alone fails (ValueError" in str(ledger)
