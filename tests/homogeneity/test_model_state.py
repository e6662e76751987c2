"""Models that hold nothing to compute with are refused by name, and unused or legitimate infinities are not."""

import pytest
import torch
from torch import nn

from captum_xg.errors import CaptumXGError, ModelStateError
from captum_xg.homogeneity.modules import require_usable_state


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
