"""Models that hold nothing to compute with are refused by name, and unused or legitimate infinities are not."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from captum_xg import XGradient, bias_ledger, certify, check_homogeneity
from captum_xg._core.model_state import require_usable_state
from captum_xg.errors import CaptumXGError, GradientError, ModelStateError

VALIDATIONS = ("numeric", "off", "certificate")


def _attributed(forward, x, validate="numeric"):
    return XGradient(forward, validate=validate).attribute(x, target=0)


def _checkpointed(run, net, use_reentrant, x):
    return (
        run(net, input=x, use_reentrant=use_reentrant)
        if run is not checkpoint
        else run(net, x, use_reentrant=use_reentrant)
    )


def _net():
    return nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.BatchNorm1d(2)).eval()


def _spoilt(name, value):
    net = _net()
    with torch.no_grad():
        net.state_dict()[name].view(-1)[0] = value
    return net


def test_names_what_is_on_the_meta_device_and_touches_no_data():
    net = _net()
    net[2] = net[2].to("meta")
    with pytest.raises(ModelStateError, match=r"(?s)^Here: .*2\.weight \(parameter\).*2\.running_var \(buffer\).*meta"):
        require_usable_state(net, "Here", finite=False)


def test_says_of_lazy_layers_to_run_one_batch_first():
    net = nn.Sequential(nn.LazyLinear(2), nn.LazyBatchNorm1d())
    with pytest.raises(ModelStateError, match=r"(?s)0\.weight.*1\.running_mean.*run one batch first"):
        require_usable_state(net, "Here", finite=False)
    net(torch.rand(4, 3))
    require_usable_state(net, "Here")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "2.weight", "2.bias", "2.running_mean", "2.running_var"])
def test_counts_what_is_not_finite(name, value):
    net = _spoilt(name, value)
    kind = "NaN" if value != value else "infinite"
    with pytest.raises(ModelStateError, match=rf"{name} .*1 {kind} of {net.state_dict()[name].numel()} entries"):
        require_usable_state(net, "Here")
    require_usable_state(net, "Here", finite=False)


def test_lists_at_most_ten():
    with torch.device("meta"):
        net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(6)))
    with pytest.raises(ModelStateError) as caught:
        require_usable_state(net, "Here")
    assert str(caught.value).count("(parameter)") == 10
    assert "… and 2 more" in str(caught.value)
    assert isinstance(caught.value, CaptumXGError)


@pytest.mark.filterwarnings("ignore:.*jit:FutureWarning")
def test_finds_the_modules_behind_functions_and_scripts():
    net = _spoilt("0.weight", float("nan"))
    traced = torch.jit.trace(net, torch.rand(1, 3))
    for forward in (lambda x: net(x), net.forward, torch.jit.script(net), traced):
        with pytest.raises(ModelStateError, match=r"0\.weight"):
            require_usable_state(forward, "Here")


def test_takes_infinities_where_they_belong():
    class Masked(nn.Sequential):
        pass

    net = Masked(_net())
    net.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    net.register_buffer("smallest_seen", torch.tensor(torch.inf))
    net.register_buffer("unused", torch.tensor(torch.nan))
    net.register_parameter("mask_as_parameter", nn.Parameter(torch.tensor([0.0, -torch.inf]), requires_grad=False))
    require_usable_state(net, "Here")
    net.mask_as_parameter.requires_grad_()
    with pytest.raises(ModelStateError, match=r"mask_as_parameter .*1 infinite"):
        require_usable_state(net, "Here")


@pytest.mark.filterwarnings("ignore")
def test_looks_at_every_kind_of_tensor():
    net = _net()
    for i, tensor in enumerate(
        (
            torch.eye(3).to_sparse(),
            torch.eye(3).to_sparse_csr(),
            torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8),
            torch.tensor([True]),
            torch.empty(0),
            torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
            torch.rand(3).to(torch.float8_e4m3fn),
        )
    ):
        net.register_buffer(f"buffer{i}", tensor)
        net.register_parameter(f"parameter{i}", nn.Parameter(tensor, requires_grad=False))
    require_usable_state(net, "Here")
    for spoilt in (torch.tensor([1j * torch.nan]), torch.diag(torch.tensor([1, torch.nan])).to_sparse()):
        net.register_parameter("spoilt", nn.Parameter(spoilt))
        with pytest.raises(ModelStateError, match="spoilt"):
            require_usable_state(net, "Here")


def test_leaves_alone_what_accelerate_brings_in_for_each_call():
    net = nn.Linear(2, 2).to("meta")
    net._hf_hook = object()
    require_usable_state(net, "Here")


X = torch.linspace(-1, 1, 12).reshape(4, 3)
PROOFS = (
    certify,
    partial(check_homogeneity, target=0),
    partial(bias_ledger, target=0),
    partial(_attributed, validate="certificate"),
)


def _layer(shape=(3, 3), value=None):
    layer = nn.Linear(*shape, bias=False)
    if value is not None:
        layer.weight.data[0, 0] = value
    return layer


@pytest.mark.parametrize("look", PROOFS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_nothing_is_proven_of_weights_that_are_not_finite(look, value):
    net = nn.Sequential(_layer(), nn.ReLU(), _layer((3, 1), value))
    with pytest.raises(ModelStateError, match=r"2\.weight \(parameter\)"):
        look(net, X)


@pytest.mark.parametrize("look", PROOFS)
def test_nothing_is_proven_of_models_without_values(look):
    for net in (
        _layer((3, 1)).to("meta"),
        nn.Sequential(nn.LazyLinear(1)),
        nn.Sequential(_layer(), nn.LazyBatchNorm1d()).eval(),
    ):
        with pytest.raises(ModelStateError, match="Nothing was run"):
            look(net, X)


@pytest.mark.parametrize("look", PROOFS)
def test_nothing_is_proven_of_captured_tensors_without_values(look):
    weight = torch.ones(3, 1, device="meta")
    layer = _layer((3, 1))
    layer.scale = weight
    for forward in (lambda x: x @ weight, partial(torch.mm, mat2=weight), lambda x, options=[weight]: x, layer):
        with pytest.raises(ModelStateError, match="on the meta device"):
            look(forward, X)


def test_a_lazy_layer_is_not_initialised_on_the_way():
    net = nn.Sequential(nn.LazyLinear(1))
    with pytest.raises(ModelStateError):
        certify(net, X)
    assert nn.parameter.is_lazy(net[0].weight)


class Holding(nn.Module):
    """Does something with a buffer."""

    def __init__(self, buffer, combine):
        super().__init__()
        self.net = nn.Sequential(_layer(), nn.ReLU())
        self.register_buffer("buffer", torch.tensor(buffer))
        self.combine = combine

    def forward(self, x):
        return self.combine(self.net(x), self.buffer)


SPOILING = {
    "product": ([1.0, torch.nan, 1.0], torch.mul),
    "infinite factor": ([1.0, torch.inf, 1.0], torch.mul),
    "derived": ([1.0, torch.nan, 1.0], lambda h, b: h * (2 * b).abs()),
    "matrix": ([[1.0], [torch.nan], [1.0]], torch.mm),
    "fused": ([[1.0], [torch.inf], [1.0]], lambda h, b: torch.addmm(torch.zeros(1), h, b)),
    "quotient": ([1.0, torch.nan, 1.0], torch.div),
    "slope": ([torch.nan], nn.functional.prelu),
    "interpolation": ([1.0, torch.nan, 1.0], lambda h, b: torch.lerp(torch.zeros(3), h, b)),
    "power of it": ([1.0, torch.nan, 1.0], lambda h, b: torch.einsum("ni,i->n", h, b)),
    "slope of a leaky ReLU": ([torch.nan], lambda h, b: nn.functional.leaky_relu(h, b.item()).relu()),
    "scale of a norm": (
        [1.0, torch.nan, 1.0],
        lambda h, b: nn.functional.batch_norm(h, torch.zeros(3), torch.ones(3), weight=b),
    ),
    "variance": ([1.0, torch.nan, 1.0], lambda h, b: nn.functional.batch_norm(h, torch.zeros(3), b)),
    "bilinear": (
        [1.0, torch.nan, 1.0],
        lambda h, b: nn.functional.bilinear(h, torch.ones(len(h), 3), b.expand(1, 3, 3)),
    ),
    "quotient of products": ([1.0, torch.inf, 1.0], lambda h, b: torch.addcdiv(0 * h, b, torch.ones(3)) + h),
    "alpha": ([torch.nan], lambda h, b: torch.add(h, h, alpha=b.item())),
    "joined and left out": ([[torch.nan]], lambda h, b: torch.cat([h, b.expand(len(h), 1)], 1)[:, :3]),
    "infinities that cancel": ([0.0, torch.inf, 0.0], lambda h, b: (h + b) - b),
    "infinity hidden by ReLU": ([-torch.inf, -torch.inf, -torch.inf], lambda h, b: torch.relu(h * b)),
}


@pytest.mark.parametrize("name", SPOILING)
def test_buffers_that_spoil_the_output_leave_the_verdict_unknown(name):
    certificate = certify(Holding(*SPOILING[name]), X)
    assert certificate.verdict == "unknown"
    assert "NaN" in str(certificate)


CONSTANTS = {
    "product with NaN": lambda x: x.sum(1) * torch.nan,
    "infinite factor hidden by ReLU": lambda x: (x.abs().sum(1) * -torch.inf).relu(),
    "divisor of zero": lambda x: x / torch.zeros(3),
    "divisor of zero as a number": lambda x: x / 0.0,
    "divisor with NaN": lambda x: x.div(torch.nan),
    "slope": lambda x: nn.functional.leaky_relu(x, torch.nan),
    "slopes": lambda x: nn.functional.prelu(x, torch.tensor([torch.nan])),
    "fused": lambda x: torch.addcmul(torch.zeros(3), x, torch.ones(3), value=torch.nan),
    "in place": lambda x: torch.full_like(x, torch.nan).mul_(x),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_that_leave_no_finite_gradient_leave_the_verdict_unknown(name):
    assert certify(CONSTANTS[name], X).verdict == "unknown"


def _filled(x):
    y = torch.full_like(x, torch.nan)  # as new memory may be
    y[:, :1], y[:, 1:] = x[:, 2:], x[:, :2]
    return y


def test_what_is_overwritten_may_have_been_nan():
    assert certify(_filled, X).degree == 1
    assert certify(lambda x: torch.full_like(x, torch.nan).copy_(x), X).degree == 1


def test_weights_that_become_nan_on_the_way_are_looked_at_again():
    layer = _layer()

    def spoilt(x):
        with torch.no_grad():
            weight = layer.weight.clone()
            layer.weight.mul_(torch.nan)
        result = layer(x).relu().nansum(1)
        with torch.no_grad():
            layer.weight.copy_(weight)
        return result

    assert certify(spoilt, X).verdict == "unknown"


MASKING = {
    "unused": ([torch.nan], lambda h, b: h),
    "sum": ([0.0, -torch.inf, 0.0], lambda h, b: torch.relu(h + b)),
    "sum at the output": ([0.0, -torch.inf, 0.0], torch.add),
    "maximum": ([-torch.inf], lambda h, b: torch.maximum(h, b).relu()),
    "limits": ([-torch.inf, torch.inf], lambda h, b: h.clamp(b[0], b[1])),
    "choice": ([-torch.inf], lambda h, b: torch.where(h > 0, h, b).amax(1).relu()),
    "divisor": ([1.0, torch.inf, 1.0], torch.div),
    "attention": (
        [0.0, -torch.inf, 0.0],
        lambda h, b: torch.softmax(nn.functional.normalize(h, eps=0.0) * 0 + b, 1) * h,
    ),
}


@pytest.mark.parametrize("name", MASKING)
def test_masks_and_unused_buffers_are_no_obstacle(name):
    torch.manual_seed(0)  # a net whose layer is not zero on any example: 0 / 0 in the attention is rightly unknown
    model = Holding(*MASKING[name])
    x = X.abs() + 0.1
    assert certify(model, x).homogeneous
    assert check_homogeneity(model, x, target=None if model(x).dim() == 1 else 0).homogeneous


def test_an_example_that_gives_nan_says_nothing_against_a_model_of_finite_numbers():
    net = _layer()
    assert certify(lambda x: net(x) / net(x).norm(dim=1, keepdim=True), torch.zeros(4, 3)).degree == 0


def _doubled(forward, x):
    return forward(x) * 2


def _script(net):
    return torch.jit.script(net.eval())


SCRIPTS = {
    "script": _script,
    "frozen": lambda net: torch.jit.freeze(_script(net)),
    "optimised": lambda net: torch.jit.optimize_for_inference(_script(net)),
    "trace": lambda net: torch.jit.trace(net.eval(), X),
    "frozen trace": lambda net: torch.jit.freeze(torch.jit.trace(net.eval(), X)),
    "frozen part": lambda net: nn.Sequential(torch.jit.freeze(_script(net)), nn.ReLU()),
    "frozen method": lambda net: torch.jit.freeze(_script(net)).forward,
    "in a function": lambda net: partial(_doubled, _script(net).forward),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_tested_and_not_proven(name):
    net = nn.Sequential(_layer(), nn.ReLU(), nn.BatchNorm1d(3, affine=False), _layer()).eval()
    model = SCRIPTS[name](net)
    expected = _attributed(lambda x: model(x), X, validate="off")
    torch.testing.assert_close(_attributed(model, X), expected)
    assert check_homogeneity(model, X, target=0).homogeneous
    assert bias_ledger(model, X, 0).exact
    certificate = certify(model, X)
    assert certificate.verdict == "unknown"
    assert len(certificate.unsupported) == 1
    assert "torch.jit" in str(certificate)
    assert not certificate.is_stale(model)


def _made_in_inference_mode():
    with torch.inference_mode():
        return nn.Sequential(_layer(), nn.ReLU(), _layer((3, 1)))


def _buffer_from_inference_mode():
    with torch.inference_mode():
        return Holding([1.0, 2.0, 3.0], torch.mul)


def _norm_from_inference_mode():
    with torch.inference_mode():
        norm = nn.BatchNorm1d(3, affine=False)
    return nn.Sequential(_layer(), norm).eval()


def _captured_in_inference_mode():
    with torch.inference_mode():
        weight = torch.ones(3, 1)
    return lambda x: x @ weight


EVERY_LOOK = (*PROOFS[:2], partial(bias_ledger, target=0), *(partial(_attributed, validate=v) for v in VALIDATIONS))


@pytest.mark.parametrize("look", EVERY_LOOK)
@pytest.mark.parametrize(
    "make",
    [_made_in_inference_mode, _buffer_from_inference_mode, _norm_from_inference_mode, _captured_in_inference_mode],
)
def test_what_was_made_in_inference_mode_is_refused_with_advice_that_helps(make, look):
    model = make()
    with pytest.raises(GradientError, match=r"inference_mode.*copy\.deepcopy"):
        look(model, X)
    if isinstance(model, nn.Module):
        assert certify(copy.deepcopy(model), X).homogeneous


def test_inference_tensors_that_autograd_does_not_keep_are_no_obstacle():
    net = _layer()
    with torch.inference_mode():
        net.register_buffer("unused", torch.ones(3))
        zero = torch.zeros(3)
    assert certify(lambda x: net(x) + zero, X).homogeneous
    assert check_homogeneity(lambda x: net(x) + zero, X, target=0).homogeneous


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_reentrant_checkpoints_are_refused_and_others_are_not():
    net = nn.Sequential(_layer(), nn.ReLU(), _layer())
    for run in (checkpoint, partial(checkpoint_sequential, segments=2)):
        reentrant = partial(_checkpointed, run, net, True)
        for look in EVERY_LOOK[1:-2]:
            with pytest.raises(GradientError, match="use_reentrant=False"):
                look(reentrant, X)
        assert "use_reentrant=False" in str(certify(reentrant, X))
        other = partial(_checkpointed, run, net, False)
        assert certify(other, X).homogeneous
        torch.testing.assert_close(_attributed(other, X), _attributed(net, X))


KINDS = {
    "fx": torch.fx.symbolic_trace,
    "exported": lambda net: torch.export.export(net, (X,)).module(),
    "data parallel": nn.DataParallel,
    "parametrised": lambda net: nn.utils.parametrizations.weight_norm(net[0]) and net,
    "old weight norm": lambda net: nn.utils.weight_norm(net[0]) and net,
    "spectral norm": lambda net: nn.utils.parametrizations.spectral_norm(net[0]).eval() and net,
    "functional": lambda net: partial(torch.func.functional_call, net, dict(net.named_parameters())),
    "vmap": torch.vmap,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_models_of_other_makes_are_proven(name):
    model = KINDS[name](nn.Sequential(_layer(), nn.ReLU(), _layer()).eval())
    assert certify(model, X).homogeneous
    assert check_homogeneity(model, X, target=0).homogeneous
    assert bias_ledger(model, X, 0).exact
    torch.testing.assert_close(_attributed(model, X, validate="certificate"), _attributed(model, X))
