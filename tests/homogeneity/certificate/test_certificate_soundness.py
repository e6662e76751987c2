"""Certificates against Python and PyTorch as they are: aliases, detours, state, and what cannot be seen."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from captum_xg.homogeneity.certificate.certify import certify

torch.manual_seed(0)
W = torch.randn(4, 4, dtype=torch.float64)
LINEAR = nn.Linear(4, 4, bias=False).double()


def batch(n=3):
    return torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient


def written(x, value, index):
    y = x @ W
    y[index] = value
    return y


def buffer(create, x, *parts):
    y = create(len(x), 4, dtype=x.dtype)
    for part in parts:
        y[:, part] = 2 * x[:, part]
    return y @ W


def in_thread(function):
    def run(x):
        results = []
        thread = threading.Thread(target=lambda: results.append(function(x)))
        thread.start()
        thread.join()
        return results[0]

    return run


def without_gradient(function):
    def run(x):
        with torch.no_grad():
            return function(x)

    return run


def replaced_data(x):
    y = 2 * x
    y.data = 3 * x.detach()
    return y


def marked_anew(x):
    return (x.detach().requires_grad_().view(-1, 4) * 2) @ W


def inner_gradient(x):
    y = x @ W
    (gradient,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)  # of degree 1
    return gradient + y


def tensor_hook(x):
    y = x @ W
    y.register_hook(lambda gradient: 2 * gradient)
    return y


def through_view(operation):
    def run(x):
        y = x @ W
        operation(y.view(-1)[: y.numel() // 2].view(-1, 2))
        return y @ W

    return run


def as_int_bits(x):
    return x * (x.view(torch.int64) * 2).view(torch.float64)


class Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        with torch.enable_grad():
            return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient


class Wrapped(torch.Tensor):
    """A tensor that hides another one, and its operations."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        unwrapped = [a.inner if isinstance(a, Wrapped) else a for a in args]
        return Wrapped(func(*unwrapped, **(kwargs or {})))


def statistics_of_the_batch(x):
    mean, variance = torch.zeros(4, dtype=x.dtype), torch.ones(4, dtype=x.dtype)
    F.batch_norm(x, mean, variance, training=True)
    return x * mean.abs()


def grown(x):
    y = torch.cat([x, x**2], 1)
    with torch.no_grad():
        z = y.clone()
        z.resize_(z.numel() * 4)
    return z[: x.numel()]


def counted(x):
    return x * (1 + len((x > 0.3).nonzero()))


def zeros_over_unknown(x):
    pooled, places = torch.nn.functional.max_pool1d(x[:, None], 2, return_indices=True)
    v = torch.nn.functional.max_unpool1d(pooled, places, 2).clone()
    v.detach().zero_()
    return v


def twice_behind_autograd(x):
    v = x.clone()
    v.data.mul_(2)
    v.detach().zero_()
    return v


def halves_by_different_ways(x):
    y = torch.zeros_like(x)
    y[:, :2] = x[:, :2]
    y.detach()[:, 2:] = x[:, 2:]
    return y


def changed_after_it_was_saved(x):
    s = x.abs()
    y = x * s
    s.data.mul_(2)
    return y


def saved_by_hooks(x):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 2 * t):
        return x * x.abs()


def hook_on_a_node(x):
    y = x @ W
    y.grad_fn.register_prehook(lambda gradients: (2 * gradients[0],))
    return y


def written_over_what_is_read(x):
    y = x @ W
    y[:, 1:] += y[:, :-1]
    return y


def pieces(x, *, read_again):
    y = x @ W
    first, second = y.unsafe_chunk(2, 1)
    first.mul_(2)
    second.relu_()
    return torch.cat([first, second], 1) + (y if read_again else 0)


HOMOGENEOUS = {
    "pieces that are written to": (lambda x: pieces(x, read_again=False), 1),
    "in-place product through a view": (through_view(lambda v: v.mul_(2)), 1),
    "in-place ReLU through a view": (through_view(lambda v: v.relu_()), 1),
    "in-place sum with what scales alike": (through_view(lambda v: v.add_(v.abs())), 1),
    "in-place sum with zero": (through_view(lambda v: v.add_(0)), 1),
    "a shift of a slice that is not used": (lambda x: written(x, 1.0, (slice(None), 0))[:, 1:], 1),
    "a slice overwritten by zero": (lambda x: written(x, 0.0, (slice(None), 0)), 1),
    "a slice overwritten by minus infinity before a maximum": (
        lambda x: written(x, -torch.inf, (slice(None), 0)).amax(1),
        1,
    ),
    "an empty buffer that is filled": (lambda x: buffer(torch.empty, x, slice(0, 2), slice(2, 4)), 1),
    "a buffer of zeros that is half filled": (lambda x: buffer(torch.zeros, x, slice(0, 2)), 1),
    "parts of different degree that are put apart again": (
        lambda x: (lambda y: y[:, :4] ** 2 + y[:, 4:])(torch.cat([x, x**2], 1)),
        2,
    ),
    "a constant beside the input that is cut away again": (
        lambda x: torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x], 1).flip(1)[:, :4].clone(),
        1,
    ),
    "views taken in place": (lambda x: (2 * x).unsqueeze_(0).squeeze_(0).t_().t(), 1),
    "pooling of channels-last memory": (
        lambda x: F.adaptive_avg_pool2d(x.view(-1, 4, 1, 1).to(memory_format=torch.channels_last), 1),
        1,
    ),
    "out=": (lambda x: x @ torch.mul(W, 2, out=torch.empty_like(W)), 1),
    "a mask computed without gradient": (lambda x: x * (x.detach() > 0), 1),
    "an index computed without gradient": (
        lambda x: x.gather(1, without_gradient(lambda y: y.argmax(1, keepdim=True))(x)),
        1,
    ),
    "a number read from a constant": (lambda x: x * W.sum().item(), 1),
    "a branch on a constant": (lambda x: x if W.sum() > 0 else 2 * x, 1),
    "anything of what the scale does not change": (lambda x: x * torch.exp(F.softmax(x / x.norm(), 1)), 1),
    "a ratio": (lambda x: (x @ W) / x.norm(), 0),
    "a reciprocal": (lambda x: 1 / x.norm(dim=1), -1),
    "a constant": (lambda x: torch.ones(len(x)), 0),
    "autocast": (lambda x: _autocast(x), 1),
    "vmap": (lambda x: torch.func.vmap(lambda row: (row @ W).relu())(x), 1),
    "checkpointing": (lambda x: checkpoint(lambda y: (y @ W).relu(), x, use_reentrant=False), 1),
    "a dict of lists": (lambda x: {"a": x, "b": [2 * x, x @ W]}, 1),
    "derivatives inside, with their graph": (inner_gradient, 1),
    "tied weights": (lambda x: LINEAR(LINEAR(x).relu()), 1),
    "a product of what was detached with zero": (lambda x: x + 0 * x.detach(), 1),
    "a jump, whose gradient is zero": (lambda x: x * torch.sign(x).round(), 1),
}


def _autocast(x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.linear(x.float(), W.float()).relu().double()


# name: (F, verdicts that are true of it, what must be said)
NOT_CERTIFIED = {
    "pieces that are written to, and read as one again": (
        lambda x: pieces(x, read_again=True),
        {"unknown", "disproved"},
        "autograd's back",
    ),
    "a custom function that records": (
        Recorded.apply,
        {"unknown"},
        "custom autograd function Recorded",
    ),
    "a kind of tensor of its own": (lambda x: (Wrapped(x) * 2).inner, {"unknown"}, "works on Wrapped"),
    "statistics that training writes": (
        statistics_of_the_batch,
        {"unknown", "disproved"},
        "overwritten by statistics of the batch",
    ),
    "memory of two degrees that grows": (grown, {"unknown", "disproved"}, ""),
    "a length that depends on values": (counted, {"unknown", "disproved"}, "shape depends on values"),
    "numbers read by torch.tensor": (
        lambda x: x * torch.tensor([(x / x.norm())[0, i] for i in range(4)], dtype=x.dtype),
        {"unknown", "disproved"},
        "leave PyTorch through .tensor",
    ),
    "text of values": (lambda x: x * len(f"{x}"), {"unknown", "disproved"}, "leave PyTorch"),
    "a branch on allclose": (
        lambda x: 2 * x if torch.allclose(x, x.abs()) else x**2,
        {"unknown", "disproved"},
        "to Python",
    ),
    "the sign of zero": (lambda x: x + torch.signbit(0 * x), {"unknown", "disproved"}, "degree 0"),
    "infinities chosen by the input": (
        lambda x: x + torch.where(x > 0, torch.empty_like(x).fill_(-torch.inf), torch.zeros_like(x)).exp(),
        {"unknown", "disproved"},
        "degree 0",
    ),
    "noise that happens to be zero": (
        lambda x: x + torch.bernoulli(torch.full((4,), 1e-9)),
        {"unknown", "disproved"},
        "random",
    ),
    "two edits behind autograd's back": (twice_behind_autograd, {"disproved"}, "autograd"),
    "halves written by different ways": (halves_by_different_ways, {"unknown", "disproved"}, "autograd's back"),
    "a saved tensor changed through .data": (changed_after_it_was_saved, {"unknown", "disproved"}, "autograd's back"),
    "hooks on saved tensors": (saved_by_hooks, {"unknown"}, "hooks on the tensors that autograd saves"),
    "a hook on a node of the graph": (hook_on_a_node, {"unknown"}, "hook"),
    "a sum written over what it reads": (written_over_what_is_read, {"unknown", "disproved"}, "on top of itself"),
    "memory beyond a view, taken in place": (
        lambda x: (lambda v: x + (x < 0) * v.as_strided_((len(x), 4), (8, 1), 4))(
            torch.cat([x, torch.sigmoid(x)], 1)[:, :4]
        ),
        {"unknown", "disproved"},
        "memory beyond",
    ),
    "memory beyond a view": (lambda x: x[:, 0].as_strided((2,), (1,), 1), {"unknown"}, "memory beyond"),
    "a shift of a slice through a view": (
        through_view(lambda v: v.add_(1)),
        {"disproved"},
        "adds a constant of up to 1",
    ),
    "a slice overwritten by a constant": (
        lambda x: written(x, 1.0, (slice(None), 0)) @ W,
        {"disproved"},
        "writes into one tensor",
    ),
    "a buffer of ones that is half filled": (
        lambda x: buffer(torch.ones, x, slice(0, 2)),
        {"disproved"},
        "writes into one tensor",
    ),
    "parts of different degree that are brought together": (
        lambda x: torch.cat([x, x**2], 1).sum(1),
        {"disproved"},
        "joins what has degree 1 and degree 2",
    ),
    "outputs of different degree": (lambda x: (x, x**2), {"disproved"}, "returns what has degree 1 and degree 2"),
    "a branch on the input": (lambda x: 2 * x if x.sum() > 0 else x, {"unknown"}, "to Python"),
    "a number read from the input": (lambda x: x * x.sum().item(), {"unknown", "disproved"}, "to Python"),
    "a comparison in Python": (lambda x: x if torch.equal(x, x.abs()) else 2 * x, {"unknown"}, "to Python"),
    "a list of the input's values": (
        lambda x: x * torch.tensor(x.tolist(), dtype=x.dtype),
        {"unknown", "disproved"},
        "leave PyTorch through .tolist",
    ),
    "NumPy": (
        lambda x: x * torch.from_numpy(np.abs(x.detach().numpy())),
        {"unknown", "disproved"},
        "leave PyTorch through .numpy",
    ),
    "a shape that depends on values": (lambda x: x[x > 0].sum(), {"unknown"}, "shape"),
    "another thread": (in_thread(lambda x: x @ W), {"unknown"}, "not seen"),
    "another thread without gradient": (
        lambda x: x * in_thread(without_gradient(torch.sigmoid))(x),
        {"unknown"},
        "Something was not seen",
    ),
    "a detached factor": (lambda x: x * x.detach().abs(), {"disproved"}, "cut off from autograd"),
    "a detached factor of degree 0": (
        lambda x: x * (x / x.norm()).detach(),
        {"disproved"},
        "cut off from autograd",
    ),
    "a factor from .data": (lambda x: x * x.data.abs(), {"disproved"}, "cut off from autograd"),
    "a factor computed under no_grad": (
        lambda x: x * without_gradient(lambda y: (y @ W).abs())(x),
        {"disproved"},
        "cut off from autograd",
    ),
    "a view taken under no_grad": (
        lambda x: x[:, 1:] * without_gradient(lambda y: y[:, :1])(x),
        {"disproved"},
        "cut off from autograd",
    ),
    "everything detached": (lambda x: x.detach() @ W, {"disproved"}, "cut off from autograd"),
    "detached and marked anew": (marked_anew, {"disproved"}, "cut off from autograd"),
    "a straight-through estimator": (
        lambda x: x + (torch.sign(x) - x).detach(),
        {"disproved"},
        "cut off from autograd",
    ),
    "zeros written behind autograd's back over what is unknown": (
        zeros_over_unknown,
        {"disproved", "unknown"},
        "behind autograd's back",
    ),
    "zeros written behind autograd's back": (
        lambda x: (lambda y: (y.data[:, 0].zero_(), y)[1])((x @ W).relu()),
        {"disproved"},
        "behind autograd's back",
    ),
    "zeros written under no_grad": (
        lambda x: (lambda y: (without_gradient(lambda z: z[:, 0].zero_())(y), y)[1])(x @ W),
        {"disproved"},
        "behind autograd's back",
    ),
    "tensor.data = …": (replaced_data, {"unknown", "disproved"}, "behind autograd's back"),
    "a custom function that returns its input": (
        lambda x: Reversed.apply(x @ W),
        {"unknown"},
        "custom autograd function Reversed",
    ),
    "a custom function that computes": (
        lambda x: Doubled.apply(x @ W),
        {"unknown"},
        "custom autograd function Doubled",
    ),
    "reentrant checkpointing": (
        lambda x: checkpoint(lambda y: y @ W, x, use_reentrant=True),
        {"unknown"},
        "custom autograd function CheckpointFunction",
    ),
    "a hook on a tensor": (tensor_hook, {"unknown"}, "hook"),
    "random factors": (lambda x: x * torch.rand(4), {"disproved"}, "draws random numbers"),
    "dropout": (lambda x: F.dropout(x, training=True), {"disproved"}, "draws random numbers"),
    "rounding to integers": (lambda x: x.long().double(), {"disproved"}, ""),
    "bits read as integers": (as_int_bits, {"unknown", "disproved"}, "bits"),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_what_is_homogeneous_is_certified(name):
    function, degree = HOMOGENEOUS[name]
    certificate = certify(function, batch())
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == degree
    assert certificate.verdict == "homogeneous"
    assert not certificate.violations
    assert not certificate.unsupported


@pytest.mark.parametrize("name", NOT_CERTIFIED)
def test_what_is_not_shown_to_be_homogeneous_is_not_certified_and_said_why(name):
    if name == "hooks on saved tensors" and not hasattr(torch._C._autograd, "_top_saved_tensors_default_hooks"):
        pytest.skip("this version of PyTorch does not tell which hooks are in force")
    function, verdicts, says = NOT_CERTIFIED[name]
    certificate = certify(function, batch())
    assert not certificate.homogeneous, str(certificate)
    assert certificate.degree is None
    assert certificate.verdict in verdicts, str(certificate)
    found = certificate.violations + certificate.unsupported
    assert found
    assert says in str(certificate), str(certificate)
    assert all(v.location == "" or ".py:" in v.location for v in found)


@pytest.mark.parametrize("name", ["a branch on the input", "a detached factor", "a shift of a slice through a view"])
def test_the_line_that_does_it_is_named(name):
    function, _, _ = NOT_CERTIFIED[name]
    certificate = certify(function, batch())
    (found,) = certificate.violations + certificate.unsupported
    assert "test_certificate_soundness.py:" in found.location


class Planted(nn.Module):
    """A network with something at a known place."""

    def __init__(self, planted):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU())
        self.second = nn.ModuleDict({"planted": planted, "last": nn.Linear(8, 3, bias=False)})

    def forward(self, x):
        return self.second["last"](self.second["planted"](self.first(x)))


def planted(module=None):
    return Planted(module or nn.Identity()).double().eval()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("forward", "disproved"), ("forward_pre", "disproved")],
)
def test_forward_hooks_are_part_of_the_function(kind, expected):
    model = planted()
    assert certify(model, batch()).homogeneous
    layer = model.second["planted"]
    if kind == "forward":
        layer.register_forward_hook(lambda module, inputs, output: output + 1)
    else:
        layer.register_forward_pre_hook(lambda module, inputs: inputs[0] + 1)
    certificate = certify(model, batch())
    assert certificate.verdict == expected
    assert [violation.module for violation in certificate.violations] == ["second.planted"]


@pytest.mark.parametrize(
    "register", ["register_full_backward_hook", "register_full_backward_pre_hook", "register_backward_hook"]
)
def test_modules_with_backward_hooks_are_unknown_and_named(register):
    model = planted()
    getattr(model.second["planted"], register)(lambda *arguments: None)
    certificate = certify(model, batch())
    assert certificate.verdict == "unknown"
    assert "second.planted" in [v.module for v in certificate.unsupported]
    assert "has a backward hook" in str(certificate)


@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.BatchNorm1d(8)], ids=str)
def test_layers_in_training_mode_are_named(module):
    model = planted(module)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert certify(model, batch()).homogeneous
    model.second["planted"].train()
    certificate = certify(model, batch())
    assert not certificate.homogeneous
    assert [violation.module for violation in certificate.violations] == ["second.planted"]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items()), "buffers are put back"


def test_dropout_without_probability_is_certified():
    model = planted(nn.Dropout(0.0))
    model.second["planted"].train()
    assert certify(model, batch()).homogeneous


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.LSTMCell], ids=lambda cell: cell.__name__)
def test_recurrent_cells_are_named_for_what_they_do_and_nothing_is_unknown(cell):
    certificate = certify(cell(4, 3).double(), batch())
    assert [violation.type for violation in certificate.violations] == [cell.__name__]
    assert not certificate.unsupported


def test_a_module_that_runs_often_is_named_once():
    shared = nn.GELU()
    model = nn.Sequential(nn.Linear(4, 4, bias=False), shared, nn.Linear(4, 4, bias=False), shared).double()
    assert [v.module for v in certify(model, batch()).violations] == ["1"]


def test_violations_that_do_not_reach_the_output_do_not_count():
    def function(x):
        torch.sigmoid(x).sum()
        return x @ W

    assert certify(function, batch()).homogeneous


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda m: torch.jit.trace(m, batch()), id="traced"),
        pytest.param(torch.compile, id="compiled"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_scripted_and_compiled_models_are_unknown_and_it_is_said_what_to_do(wrap):
    certificate = certify(wrap(planted()), batch())
    assert certificate.verdict == "unknown"
    assert "Certify the model before torch." in str(certificate)


def test_data_parallel_on_one_device_is_certified():
    assert certify(nn.DataParallel(planted()), batch()).homogeneous


def test_data_parallel_on_several_devices_is_unknown():
    model = nn.DataParallel(planted())
    model.device_ids = [0, 1]
    certificate = certify(model, batch())
    assert certificate.verdict == "unknown"
    assert "model.module" in str(certificate)


def test_several_inputs_are_scaled_together_and_additional_arguments_stay():
    product = lambda x, y: x * y
    x, y = batch(), batch() + 1
    assert certify(product, x, y).degree == 2
    assert certify(product, (x, y)).degree == 2
    assert certify(product, x, additional_forward_args=y).degree == 1
    assert certify(lambda x, k: x**k, x, additional_forward_args=3).degree == 3


def test_additional_arguments_made_in_inference_mode_are_taken():
    with torch.inference_mode():
        weight = torch.randn(4, dtype=torch.float64)
    assert certify(lambda x, w: x * w, batch(), additional_forward_args=weight).degree == 1


def test_a_chosen_output_is_what_is_certified():
    function = lambda x: {"logits": x @ W, "extra": (torch.sigmoid(x), x**2)}
    x = batch()
    assert certify(function, x, output="logits").degree == 1
    assert certify(function, x, output=("extra", 1)).degree == 2
    assert not certify(function, x, output=("extra", 0)).homogeneous
    assert certify(function, x, output=lambda result: result["logits"].sum(1)).degree == 1
    with pytest.raises(ValueError, match="`output` = 'missing' is not in"):
        certify(function, x, output="missing")


def test_the_proof_is_of_all_inputs_not_only_of_the_example():
    # Both agree at this example: no entry reaches 6, and the branch is not taken.
    x = batch().clamp(-1, 1)
    assert not certify(F.relu6, x).homogeneous
    assert not certify(lambda x: F.threshold(x, -100.0, 0.0), x).homogeneous


def test_what_cancels_is_unknown_not_disproved():
    certificate = certify(lambda x: torch.where(x > torch.inf, x + 1, x), batch())
    assert certificate.verdict == "unknown"
    assert certificate.violations


def test_identically_zero_fits_every_degree():
    certificate = certify(lambda x: x * 0, batch())
    assert certificate.homogeneous
    assert certificate.identically_zero
    assert certificate.degree is None
    assert certificate.covers(1)
    assert certificate.covers(2.5)


def test_nothing_outside_is_touched():
    model, x = planted(nn.BatchNorm1d(8)), batch().requires_grad_()
    before, random = x.detach().clone(), torch.get_rng_state()
    certify(model, x)
    assert torch.equal(x, before)
    assert x.grad is None
    assert x.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.training
    certify(lambda y: y.mul_(2), x)
    assert torch.equal(x, before)
