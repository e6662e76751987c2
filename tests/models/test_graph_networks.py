"""Message passing of degree 1: by proof, against loops, against PyTorch Geometric, and against Captum."""

import pytest
import torch
from captum.attr import IntegratedGradients
from effort import thorough
from graph_references import gin_reference
from hypothesis import given
from hypothesis import strategies as st

from captum_xg import XGradient, certify, models
from captum_xg._core.reading import read_json
from captum_xg.assets import ASSETS
from captum_xg.datasets.molecules import ATOM_FEATURES, BOND_FEATURES, load_molecules
from captum_xg.errors import CheckpointError, HomogeneityError, InputError, OptionError
from captum_xg.models import graph as graphs_of
from captum_xg.models import padded_graphs

pytestmark = pytest.mark.filterwarnings("ignore")

D, C = 5, 2


def lists(seed, count=3, largest=6, dtype=torch.float64):
    """Return random graphs as PyTorch Geometric keeps them: nodes, edges, edge_index, graph."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, largest + 1, (count,), generator=generator).tolist()
    ends, features, start = [], [], 0
    for size in sizes:
        for i in range(size):
            for j in range(i):
                if torch.rand((), generator=generator) < 0.5:
                    feature = torch.randn(C, generator=generator, dtype=dtype)
                    ends += [(start + i, start + j), (start + j, start + i)]
                    features += [feature, feature]
        start += size
    order = torch.randperm(len(ends), generator=generator)
    edge_index = torch.tensor(ends, dtype=torch.int64).reshape(-1, 2)[order].T
    edges = torch.stack(features)[order] if features else torch.zeros(0, C, dtype=dtype)
    nodes = torch.randn(start, D, generator=generator, dtype=dtype)
    return nodes, edges, edge_index, torch.repeat_interleave(torch.arange(count), torch.tensor(sizes))


def network(name="xgin", seed=0, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    model = getattr(models, name)(D, C, width=8, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval().to(dtype)


def explained(model, graphs, **options):
    return XGradient(model, **options).attribute(graphs.inputs, target=0, additional_forward_args=graphs.structure)


@pytest.mark.parametrize("name", ["gin", "xgin"])
@given(seed=st.integers(0, 2**16))
def test_outputs_are_those_of_the_formula_padded_or_in_lists(name, seed):
    model, given_lists = network(name, seed, num_outputs=2, num_layers=2), lists(seed)
    expected = gin_reference(model, *given_lists)
    torch.testing.assert_close(model.of_lists(*given_lists), expected)
    torch.testing.assert_close(model(*padded_graphs(*given_lists)), expected)


@pytest.mark.parametrize("seed", [0, *thorough(range(1, 6))])
def test_layers_are_those_of_pytorch_geometric(seed):
    nn = pytest.importorskip("torch_geometric.nn")
    nodes, edges, edge_index, graph = lists(seed)
    for name in ("gin", "xgin"):
        model = network(name, seed)
        layer = model.layers[0]
        perceptron = torch.nn.Sequential(layer.first, torch.nn.ReLU(), layer.second)
        convolution = nn.GINEConv(perceptron, train_eps=True, edge_dim=None).double()
        convolution.eps = layer.eps
        h = model.node(nodes)
        expected = h + convolution(h, edge_index, layer.edge(edges))
        actual = layer(h, edges, lambda h: h[edge_index[0]], lambda m: graphs_of._sums(m, edge_index[1], len(nodes)))
        torch.testing.assert_close(actual, expected)
        sums = nn.global_add_pool(h, graph)
        torch.testing.assert_close(graphs_of._sums(h, graph, int(graph.max()) + 1), sums)
        # Behind a ReLU, and where edges have no features, GINE is GIN.
        plain = nn.GINConv(perceptron, train_eps=True).double()
        plain.eps = layer.eps
        positive, nothing = h.relu(), torch.zeros_like(edges)
        if name == "xgin":
            there = layer(
                positive, nothing, lambda h: h[edge_index[0]], lambda m: graphs_of._sums(m, edge_index[1], len(nodes))
            )
            torch.testing.assert_close(there, positive + plain(positive, edge_index))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, *thorough([torch.float64])])
def test_degree_1_in_nodes_and_edges_together_is_proven_and_of_the_twin_disproved(dtype):
    graphs = padded_graphs(*lists(1, dtype=dtype))
    certificate = certify(network(dtype=dtype), *graphs.inputs, additional_forward_args=graphs.structure)
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == 1
    twin = certify(network("gin", dtype=dtype), *graphs.inputs, additional_forward_args=graphs.structure)
    assert not twin.homogeneous


def test_in_the_nodes_alone_it_has_no_degree_and_x_gradient_refuses():
    graphs, model = padded_graphs(*lists(1)), network()
    rest = (graphs.edges, *graphs.structure)
    assert not certify(model, graphs.nodes, additional_forward_args=rest).homogeneous
    with pytest.raises(HomogeneityError):
        XGradient(model).attribute(graphs.nodes, target=0, additional_forward_args=rest)


@pytest.mark.parametrize("seed", [1, *thorough([0, *range(2, 8)])])
def test_x_gradient_is_integrated_gradients_and_sums_to_the_output_graph_by_graph(seed):
    graphs, model = padded_graphs(*lists(seed)), network(seed=seed)
    expected = IntegratedGradients(model).attribute(
        graphs.inputs, target=0, additional_forward_args=graphs.structure, n_steps=64, method="gausslegendre"
    )
    actual = explained(model, graphs)
    largest = max(each.abs().max().item() for each in expected)
    for ours, captums in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, captums, rtol=0, atol=1e-6 * largest)
    torch.testing.assert_close(sum(each.sum((1, 2)) for each in actual), model(*graphs)[:, 0].detach())
    # A graph by itself has the attributions that it has among others, and padding has none.
    alone = graphs.take(torch.tensor([1]))
    for inside, own in zip(actual, explained(model, alone), strict=True):
        torch.testing.assert_close(inside[1:2, : own.shape[1]], own)
        assert not inside[1, own.shape[1] :].any()
    assert not actual[0][graphs.padding].any()


@pytest.mark.parametrize("name", ["gin", "xgin"])
@given(seed=st.integers(0, 2**16), more=st.integers(1, 3))
def test_more_padding_changes_nothing(name, seed, more):
    graphs, model = padded_graphs(*lists(seed)), network(name, seed)
    pad = torch.nn.functional.pad
    larger = graphs_of.Graphs(
        pad(graphs.nodes, (0, 0, 0, more)),
        pad(graphs.edges, (0, 0, 0, more)),
        pad(graphs.ends, (0, 0, 0, more), value=-1),
        pad(graphs.padding, (0, more), value=True),
    )
    torch.testing.assert_close(model(*larger), model(*graphs))


def test_gradients_and_second_derivatives_are_finite_where_nodes_are_zero():
    graphs, model = padded_graphs(*lists(2)), network()
    graphs.nodes[0] = 0
    attributions = explained(model, graphs)
    assert all(each.isfinite().all() for each in attributions)
    explainer = XGradient(model)
    wanted = explainer.attribute(graphs.inputs, target=0, additional_forward_args=graphs.structure, create_graph=True)
    penalty = sum(each.square().sum() for each in wanted)
    gradients = torch.autograd.grad(penalty, list(model.parameters()), allow_unused=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_a_network_is_saved_and_exported_for_other_graphs():
    graphs, model, other = padded_graphs(*lists(3)), network(), network(seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(*graphs), model(*graphs))
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(model, tuple(graphs), dynamic_shapes=(free,) * 4)
    others = padded_graphs(*lists(4, count=4, largest=8))
    torch.testing.assert_close(exported.module()(*others), model(*others))


def test_an_x_dnn_has_no_biases_and_sizes_are_those_of_molecules_by_default():
    assert not [name for name, _ in models.xgin().named_parameters() if name.endswith("bias")]
    counts = [sum(p.numel() for p in build().parameters()) for build in (models.xgin, models.gin)]
    assert counts == [27843, 28484]
    assert (len(ATOM_FEATURES), len(BOND_FEATURES)) == (graphs_of.NODE_FEATURES, graphs_of.EDGE_FEATURES)


def test_shipped_weights_predict_shipped_molecules_and_x_gradient_is_their_integral():
    molecules, record = load_molecules(), read_json(ASSETS / "molecules.json")
    graphs = molecules.graphs(torch.float64)
    for name in ("gin", "xgin"):
        model = getattr(models, name)(pretrained=True).double()
        error = (model(*graphs)[:, 0].detach() - torch.from_numpy(molecules.totals)).square().mean().sqrt()
        # Two dozen molecules have not the error of a thousand, but one of its size.
        assert error < 2 * record["root_mean_square_errors"][name][0]
    certificate = certify(model, *graphs.inputs, additional_forward_args=graphs.structure)
    assert certificate.homogeneous, str(certificate)
    actual = explained(model, graphs)
    expected = IntegratedGradients(model).attribute(
        graphs.inputs, target=0, additional_forward_args=graphs.structure, n_steps=64
    )
    for ours, captums in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, captums, rtol=0, atol=1e-6 * captums.abs().max().item())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: models.xgin(0, 1), OptionError, "a positive integer"),
        (lambda: models.xgin(5, 2, pretrained=True), CheckpointError, "does not fit"),
        (lambda: network()(*lists(0)), InputError, "padded_graphs"),
        (lambda: network()(*padded_graphs(*lists(0))[:2], torch.zeros(3, 1, 2), torch.zeros(3, 6)), InputError, "GIN"),
        (
            lambda: padded_graphs(
                torch.zeros(2, D), torch.zeros(1, C), torch.tensor([[0], [1]]), torch.zeros(2).long()
            ),
            InputError,
            "there and back",
        ),
        (
            lambda: padded_graphs(
                torch.zeros(2, D), torch.zeros(0, C), torch.zeros(2, 0, dtype=torch.int64), torch.tensor([1, 0])
            ),
            InputError,
            "in order",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
