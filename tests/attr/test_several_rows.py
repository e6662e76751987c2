"""A single example with several rows of output, as the nodes of a graph are: F is their sum, as for Captum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from violations import nothing_changes, seeded

from captum_xg import XGradient, bias_ledger, certify, check_homogeneity
from captum_xg.errors import CrossExampleError, ForwardOutputError, HomogeneityError, TargetError
from captum_xg.metrics import CompletenessGap

NODES, FEATURES, CLASSES = 5, 3, 2


class Graph(nn.Module):
    """Two layers of sums over neighbours; (N, nodes, features) → (N · nodes, classes)."""

    def __init__(self, bias: bool = False, nodes: int = NODES) -> None:
        super().__init__()
        links = (torch.rand(nodes, nodes, generator=seeded(1)) < 0.5).double()
        self.register_buffer("links", links + torch.eye(nodes, dtype=torch.float64))
        self.first = nn.Linear(FEATURES, 4, bias=bias, dtype=torch.float64)
        self.second = nn.Linear(4, CLASSES, bias=bias, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(self.links @ x).relu()
        return self.second(self.links @ hidden).reshape(-1, CLASSES)


class MaskedEdges(nn.Module):
    """A graph network whose edges are weighted by a mask (1, E), as explainers of graph networks call it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(FEATURES, CLASSES, generator=seeded(2), dtype=torch.float64))
        self.register_buffer("x", torch.randn(NODES, FEATURES, generator=seeded(3), dtype=torch.float64))
        self.register_buffer("edges", torch.tensor([[0, 1, 1, 2, 3, 4, 4], [1, 0, 2, 3, 1, 2, 0]]))

    def forward(self, mask: Tensor, scale: float = 1.0) -> Tensor:
        source, destination = self.edges
        messages = (self.x @ self.weight)[source] * mask.reshape(-1, 1) * scale
        return torch.zeros(NODES, CLASSES, dtype=mask.dtype).index_add(0, destination, messages)


def nodes(n: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, NODES, FEATURES, generator=seeded(seed), dtype=dtype)


TARGETS: dict[str, Any] = {
    "int": 1,
    "negative int": -1,
    "0-dim tensor": torch.tensor(1),
    "tensor of one": torch.tensor([0]),
    "tuple": (1,),
    "list for each row": [0, 1, 1, 0, 1],
    "tensor for each row": torch.tensor([0, 1, 1, 0, 1]),
    "tuples for each row": [(0,), (1,), (1,), (0,), (1,)],
}
VALIDATIONS = ["numeric", "certificate", "off"]


def chosen_sum(function: Any, x: Tensor, target: Any) -> Tensor:
    """F by its definition: row by row, what the target chooses."""
    output = function(x)
    each = target if isinstance(target, list) else target.tolist() if isinstance(target, Tensor) else target
    columns = each if isinstance(each, list) and len(each) == len(output) else [each] * len(output)
    total = output.new_zeros(())
    for row, column in zip(output, columns, strict=True):
        total = total + row[column].reshape(())
    return total.detach()


@pytest.mark.parametrize("validate", VALIDATIONS)
@pytest.mark.parametrize("internal_batch_size", [None, 1])
@pytest.mark.parametrize("name", TARGETS)
def test_attributions_are_those_of_integrated_gradients(
    name: str, internal_batch_size: int | None, validate: str
) -> None:
    graph, x, target = Graph(), nodes(), TARGETS[name]
    expected = IntegratedGradients(graph).attribute(x, target=target, internal_batch_size=internal_batch_size)
    with nothing_changes(graph, x):
        ours = XGradient(graph, validate=validate).attribute(x, target=target, internal_batch_size=internal_batch_size)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 9), st.booleans())
def test_attributions_add_up_to_the_sum_over_the_rows_and_so_does_the_delta(seed: int, rows: int, each: bool) -> None:
    graph = Graph(nodes=rows)
    x = torch.randn(1, rows, FEATURES, generator=seeded(seed), dtype=torch.float64)
    target: Any = torch.randint(0, CLASSES, (rows,), generator=seeded(seed)) if each else 1
    method = XGradient(graph)
    attributions, delta = method.attribute(x, target=target, return_convergence_delta=True)
    total = chosen_sum(graph, x, target)
    torch.testing.assert_close(attributions.sum(), total, rtol=1e-10, atol=1e-12)
    assert delta.shape == (1,)
    torch.testing.assert_close(delta, attributions.sum().reshape(1) - total, rtol=0, atol=1e-10)
    torch.testing.assert_close(method.compute_convergence_delta(attributions, 0, x, target=target), delta)
    off = method.compute_convergence_delta(attributions + 1, None, x, target=target)
    torch.testing.assert_close(off, delta + x.numel())


@pytest.mark.parametrize("validate", VALIDATIONS)
@pytest.mark.parametrize("target", [1, TARGETS["tensor for each row"], TARGETS["list for each row"]])
def test_masks_of_edges_are_explained_as_by_integrated_gradients(target: Any, validate: str) -> None:
    model, mask = MaskedEdges(), torch.rand(1, 7, generator=seeded(4), dtype=torch.float64)
    call = {"target": target, "additional_forward_args": (0.5,), "internal_batch_size": 1}
    expected = IntegratedGradients(model).attribute(mask, **call)
    ours = XGradient(model, validate=validate).attribute(mask, **call)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


def test_several_inputs_are_explained_as_by_integrated_gradients() -> None:
    graph, pair = Graph(), (nodes(), nodes(seed=1))
    both = lambda a, b: graph(a + 2 * b)
    target = TARGETS["list for each row"]
    expected = IntegratedGradients(both).attribute(pair, target=target)
    ours, delta = XGradient(both).attribute(pair, target=target, return_convergence_delta=True)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)
    assert delta.shape == (1,)


def test_rows_of_one_number_need_no_target() -> None:
    graph = Graph()
    one = lambda x: graph(x)[:, 0]
    expected = IntegratedGradients(one).attribute(nodes())
    torch.testing.assert_close(XGradient(one).attribute(nodes()), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("target", [0, 1, torch.tensor([1, 0, 1]), [1, 0, 1], [(1,), (0,), (1,)]])
def test_several_examples_are_explained_one_at_a_time(target: Any) -> None:
    graph, x = Graph(), nodes(3)
    ours, delta = XGradient(graph).attribute(x, target=target, internal_batch_size=1, return_convergence_delta=True)
    assert delta.shape == (3,)
    for i in range(3):
        own = int(torch.as_tensor(target).flatten()[i]) if not isinstance(target, int) else target
        alone = IntegratedGradients(graph).attribute(x[i : i + 1], target=own)
        torch.testing.assert_close(ours[i : i + 1], alone, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("validate", VALIDATIONS)
@pytest.mark.parametrize("internal_batch_size", [None, 2])
def test_rows_that_cannot_be_told_apart_are_refused_with_the_way_out(
    internal_batch_size: int | None, validate: str
) -> None:
    graph, x = Graph(), nodes(3)
    with nothing_changes(graph, x), pytest.raises(ForwardOutputError, match="internal_batch_size=1"):
        XGradient(graph, validate=validate).attribute(x, target=1, internal_batch_size=internal_batch_size)


def test_no_rows_at_all_and_fewer_rows_than_examples_are_refused() -> None:
    graph = Graph()
    with pytest.raises(ForwardOutputError, match="for 1 examples"):
        XGradient(lambda x: graph(x)[:0]).attribute(nodes(), target=1)
    with pytest.raises(ForwardOutputError, match="for 3 examples") as caught:
        XGradient(lambda x: graph(x)[:1]).attribute(nodes(3), target=1)
    assert "several rows" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (None, "no `target` says which"),
        (7, "out of range"),
        ([0, 1], "2 entries for 5 rows of the output"),
        (torch.tensor([0, 1, 0]), "one index per row of the output"),
        ([0, 1, 0, 1, 2], "out of range"),
        (torch.tensor([0, 1, 0, 1, 2]), "must lie in"),
    ],
)
def test_targets_that_do_not_fit_the_rows_are_refused(target: Any, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        XGradient(Graph()).attribute(nodes(), target=target)


@pytest.mark.parametrize("validate", ["numeric", "certificate"])
def test_a_bias_in_a_model_with_several_rows_is_refused_and_named(validate: str) -> None:
    graph = Graph(bias=True)
    with pytest.raises(HomogeneityError, match=r"first \(Linear\): adds a bias"):
        XGradient(graph, validate=validate).attribute(nodes(), target=TARGETS["list for each row"])


def test_rows_that_break_homogeneity_where_others_do_not_are_refused() -> None:
    graph = Graph()
    shifted = lambda x: graph(x) + torch.eye(NODES, CLASSES, dtype=torch.float64)  # in two rows only
    with pytest.raises(HomogeneityError):
        XGradient(shifted).attribute(nodes(), target=1)


@pytest.mark.parametrize("target", [1, TARGETS["list for each row"], TARGETS["tensor for each row"]])
def test_the_check_sums_the_rows_too(target: Any) -> None:
    graph = Graph()
    report = check_homogeneity(graph, nodes(), target)
    assert (report.homogeneous, report.degree, report.examples) == (True, 1.0, 1)
    assert report.euler.expected == pytest.approx(float(chosen_sum(graph, nodes(), target)), rel=1e-12)
    assert not check_homogeneity(Graph(bias=True), nodes(), target).homogeneous


@pytest.mark.parametrize("target", [1, TARGETS["list for each row"], TARGETS["tensor for each row"]])
def test_the_ledger_sums_the_rows_too(target: Any) -> None:
    graph = Graph(bias=True)
    ledger = bias_ledger(graph, nodes(), target)
    torch.testing.assert_close(ledger.values, chosen_sum(graph, nodes(), target).reshape(1))
    assert ledger.exact
    assert [row.name for row in ledger.rows] == ["first.bias", "second.bias"]
    contributions = sum(row.contributions for row in ledger.rows)
    torch.testing.assert_close(ledger.input_part + contributions, ledger.values)


def test_a_graph_whose_nodes_are_the_first_dimension_is_explained_as_the_refusal_says() -> None:
    graph, x = Graph(), nodes()[0]
    unbatched = lambda x: graph(x[None])
    with pytest.raises(CrossExampleError, match=r"lambda x: model\(x\[0\]\)"):
        XGradient(unbatched).attribute(x, target=1)
    with pytest.raises(ForwardOutputError, match=r"lambda x: model\(x\[0\]\)"):
        XGradient(lambda x: unbatched(x).sum(0, keepdim=True)).attribute(x, target=1)
    with pytest.warns(UserWarning, match="Internal batch size"):
        expected = IntegratedGradients(unbatched).attribute(x, target=1, internal_batch_size=1)
    ours = XGradient(lambda x: unbatched(x[0])).attribute(x.unsqueeze(0), target=1)[0]
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)


def test_a_certificate_speaks_of_every_row() -> None:
    assert certify(Graph(), nodes()).degree == 1
    assert not certify(Graph(bias=True), nodes()).homogeneous


def test_the_gap_of_completeness_is_that_of_the_sum() -> None:
    graph, x, target = Graph(), nodes(), TARGETS["list for each row"]
    metric = CompletenessGap(graph)
    metric.update(x, XGradient(graph).attribute(x, target=target), target)
    assert float(metric.compute()) < 1e-12


def test_captums_own_convergence_delta_agrees_where_every_example_has_one_row() -> None:
    graph, x = Graph(), nodes(4)
    pooled = lambda x: graph(x).reshape(len(x), NODES, CLASSES).sum(1)
    for target in (1, [0, 1, 1, 0], torch.tensor([1, 1, 0, 0])):
        given = torch.randn(x.shape, generator=seeded(5), dtype=torch.float64)
        ours = XGradient(pooled).compute_convergence_delta(given, x * 0.5, x, target=target)
        theirs = IntegratedGradients(pooled).compute_convergence_delta(given, x * 0.5, x, target=target)
        torch.testing.assert_close(ours, theirs)


def test_a_noise_tunnel_around_single_examples_agrees() -> None:
    graph, x = Graph(), nodes()
    results = []
    for method in (XGradient, IntegratedGradients):
        torch.manual_seed(0)
        tunnel = NoiseTunnel(method(graph))
        results.append(tunnel.attribute(x, target=1, nt_samples=3, nt_samples_batch_size=1, stdevs=0.1))
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-8)
