"""Dataflow: whose result feeds what, as what it is used, and how large it is."""

import weakref

import pytest
import torch
from torch import nn

from captum_xg.xdnn.dataflow import Role
from captum_xg.xdnn.dataflow_observer import observe


class Net(nn.Module):
    """A linear layer, a sigmoid, a norm, and a forward."""

    def __init__(self, forward):
        super().__init__()
        self.l, self.s, self.n, self._run = nn.Linear(4, 4), nn.Sigmoid(), nn.BatchNorm1d(4), forward

    def forward(self, x):
        return self._run(self, x)


def flow_of(forward):
    model, x = Net(forward).eval(), torch.randn(3, 4)
    return observe(model, (x,), lambda: model(x)), x


GATES = {
    "as it is": lambda s, x: x * s.s(s.l(x)),
    "one less it": lambda s, x: x * (1 - s.s(s.l(x))),
    "as a view": lambda s, x: (x[:, None] * s.s(s.l(x)).unsqueeze(1)).flatten(1),
    "in a matrix product": lambda s, x: torch.bmm(s.s(s.l(x))[:, None], x[:, :, None]).flatten(1),
}
NO_GATES = {
    "returned": lambda s, x: s.s(s.l(x)),
    "of a constant": lambda s, x: 2 * s.s(s.l(x)),
    "of what came from it": lambda s, x: (g := s.s(s.l(x))) * s.n(g),
    "used otherwise, too": lambda s, x: x * (g := s.s(s.l(x))) + g.tanh(),
    "two at once": lambda s, x: x * (s.s(s.l(x)) + s.s(x)).tanh(),
}


@pytest.mark.parametrize("name", GATES)
def test_what_multiplies_what_depends_on_the_input_is_a_gate(name):
    assert flow_of(GATES[name])[0]["s"].is_gate


@pytest.mark.parametrize("name", NO_GATES)
def test_what_is_used_in_any_other_way_is_none(name):
    assert not flow_of(NO_GATES[name])[0]["s"].is_gate


def test_a_result_that_goes_nowhere_else_has_one_follower_which_has_one_source():
    flow, _ = flow_of(lambda s, x: s.n(s.l(x)).relu())
    assert (flow["l"].only_follower, flow["n"].only_source) == ("n", "l")
    for elsewhere in (lambda s, x: s.n(y := s.l(x)) + y, lambda s, x: (s.n(y := s.l(x)), y)):
        assert flow_of(elsewhere)[0]["l"].only_follower is None
    assert flow_of(lambda s, x: s.n(s.l(x)[:, [1, 0, 2, 3]]))[0]["n"].only_source is None


def test_roles_of_what_is_returned_divided_by_and_overwritten():
    flow, _ = flow_of(lambda s, x: s.n(x) / s.l(x).sqrt())
    assert Role.DENOMINATOR in flow["l"].roles
    assert Role.DENOMINATOR not in flow["n"].roles
    assert Role.RETURNED in flow_of(lambda s, x: {"y": [s.s(x) * 255]})[0]["s"].roles
    assert Role.OVERWRITTEN in flow_of(lambda s, x: s.n(s.l(x).add_(1)))[0]["l"].roles


def test_sizes_shapes_and_arguments_are_those_of_the_calls():
    flow, x = flow_of(lambda s, x: s.l(x) + s.l(2 * x))
    assert flow["l"].rms == pytest.approx(1.5 * float(x.square().mean(1).sqrt().mean()))
    assert flow["l"].shapes == [x.shape, x.shape]
    assert flow["l"].passed == {"input"}
    assert flow["n"].rms is None
    assert not flow["n"].sources


def test_parameters_that_something_else_reads_are_exposed():
    assert flow_of(lambda s, x: s.l(x) @ s.l.weight)[0].exposed == {"l"}
    assert not flow_of(lambda s, x: s.l(x))[0].exposed


def test_no_activation_outlives_the_operations_that_need_it():
    seen = []

    def forward(s, x):
        y = s.l(x)
        seen.append(weakref.ref(y.untyped_storage()))
        z = y.relu()
        del y
        assert seen[0]() is None
        return z

    flow_of(forward)


class GatedInPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.gate = nn.Linear(4, 4), nn.Hardsigmoid(inplace=True)

    def forward(self, x):
        return x * self.gate(self.linear(x))


def test_what_a_layer_writes_over_its_input_is_its_own_result():
    x = torch.randn(3, 4)
    model = GatedInPlace()
    flow = observe(model, (x,), lambda: model(x))
    assert flow["gate"].is_gate
    assert not flow["linear"].is_gate
