"""Same top-1 counts predictions: an example's, a pixel's, a token's or a node's, along the dimension of classes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_xg import to_xdnn
from captum_xg.errors import ConversionError
from captum_xg.xdnn.agreement import compare, dimension_of_classes, largest_difference


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().double()
        for module in model.modules():
            if hasattr(module, "bias") and isinstance(module.bias, nn.Parameter):
                nn.init.normal_(module.bias, std=0.3)  # large enough to change predictions
    return model.eval()


def top1(before, after, classes):
    """One prediction after the other."""
    rows = [y.movedim(classes, -1).reshape(-1, y.shape[classes]).tolist() for y in (before, after)]
    return sum(a.index(max(a)) == b.index(max(b)) for a, b in zip(*rows, strict=True)) / len(rows[0])


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 1000), st.data())
def test_top1_is_the_share_of_predictions_along_the_dimension_of_classes(shape, seed, data):
    classes = data.draw(st.integers(1, len(shape) - 1))
    before, after = normal(*shape, seed=seed), normal(*shape, seed=seed + 1)
    result = compare("stage", 2, before, after, classes=classes)
    if shape[classes] == 1:
        assert result.top1 is None
        assert result.classes is None
    else:
        assert result.top1 == pytest.approx(top1(before, after, classes), abs=1e-12)
        assert result.predictions == math.prod(shape) // shape[classes]


DIMENSIONS = [
    # output, inputs, convolutional, dimension
    ((4, 3), [(4, 8)], False, 1),
    ((5, 2), [(1, 5, 3)], False, 1),  # several rows for one input
    ((5, 2), [(5, 3)], False, 1),
    ((4,), [(4, 8)], False, None),
    ((), [(4, 8)], False, None),
    ((4, 5, 8, 8), [(4, 3, 8, 8)], True, 1),
    ((4, 3, 8, 8), [(4, 3, 8, 8)], True, 1),
    ((4, 8, 8, 3), [(4, 3, 8, 8)], True, 3),
    ((4, 8, 8, 5), [(4, 8, 8, 3)], False, 3),
    ((4, 5, 2, 2), [(4, 3, 8, 8)], True, 1),
    ((4, 5, 16), [(4, 3, 16)], True, 1),
    ((4, 5, 8), [(4, 3, 16)], True, 1),
    ((4, 5, 16), [(4, 7)], False, 1),
    ((4, 6, 5), [(4, 6, 3)], False, 2),  # tokens, nodes
    ((1, 9, 3), [(1, 9, 3)], False, 2),
    ((4, 3, 9), [(4, 3, 9)], True, 1),
    ((2, 9, 4), [(2, 3, 16, 16)], True, 2),  # candidates of a detector
    ((4, 3, 2, 8, 8), [(4, 1, 2, 8, 8)], True, 1),
    ((4, 5, 16), [], True, 1),
]


@pytest.mark.parametrize(("shape", "inputs", "convolutional", "expected"), DIMENSIONS)
def test_the_dimension_of_classes_is_where_pytorch_or_the_input_says(shape, inputs, convolutional, expected):
    assert dimension_of_classes(shape, inputs, convolutional=convolutional) == expected


def test_the_layer_that_the_output_comes_from_says_where_classes_are():
    assert dimension_of_classes((4, 3, 5), [(4, 6, 8)], [nn.Linear(16, 5)]) == 2
    assert dimension_of_classes((4, 5, 3), [(4, 6, 8)], [nn.Linear(16, 5)]) == 1  # transposed
    assert dimension_of_classes((4, 5, 8), [(4, 8, 16)], [nn.Conv1d(8, 5, 3)], convolutional=False) == 1


class Module(nn.Module):
    def __init__(self, forward, **parts):
        super().__init__()
        self._run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self._run(self, x)


ADJACENCY = (normal(9, 9, seed=7) > 0.3).double()


def graph(s, x):
    return ADJACENCY @ s.b(torch.relu(ADJACENCY @ s.a(x)))


DENSE = {
    "pixels": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 1)), (4, 3, 8, 8), 1),
    "pixels, channels as many as classes": (lambda: nn.Conv2d(3, 3, 3, padding=1), (4, 3, 8, 8), 1),
    "coarser pixels": (lambda: nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.ReLU()), (4, 3, 8, 8), 1),
    "positions": (lambda: nn.Sequential(nn.Conv1d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv1d(6, 5, 1)), (4, 3, 8), 1),
    "tokens": (lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5)), (4, 7, 3), 2),
    "tokens, features as many as classes": (lambda: nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (4, 7, 3), 2),
    "nodes of one graph": (lambda: Module(graph, a=nn.Linear(3, 6), b=nn.Linear(6, 4)), (1, 9, 3), 2),
    "nodes as rows": (lambda: Module(graph, a=nn.Linear(3, 6), b=nn.Linear(6, 4)), (9, 3), 1),
    "nodes as rows of one input": (
        lambda: Module(lambda s, x: graph(s, x[0]), a=nn.Linear(3, 6), b=nn.Linear(6, 4)),
        (1, 9, 3),
        1,
    ),
    "reshaped": (lambda: nn.Sequential(nn.Linear(6, 15), nn.Unflatten(1, (3, 5))), (4, 6), 1),
    "examples": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), (7, 6), 1),
}


@pytest.mark.parametrize("name", DENSE)
def test_a_conversion_reports_the_share_of_predictions_that_stay(name):
    build, shape, classes = DENSE[name]
    model, x = made(build), normal(*shape)
    xdnn, report = to_xdnn(model, x)
    with torch.no_grad():
        before, after = model(x), xdnn(x)
    last = report.agreement[-1]
    assert last.classes == classes
    assert last.top1 == pytest.approx(top1(before, after, classes), abs=1e-12)
    assert 0 < last.top1 < 1 or last.predictions < 10  # the example tells right from wrong
    assert last.examples == len(x)
    positions = before.numel() // before.shape[classes]
    assert last.predictions == positions
    assert (f"{positions} predictions" in str(report)) == (positions != len(x))


ONE_OUTPUT = {
    "(N, 1)": lambda y: y,
    "(N,)": lambda y: y[:, 0],
    "(N, 1, H, W)": lambda y: y[:, :, None, None].expand(-1, -1, 2, 3) * 1.0,
}


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_one_output_has_no_top1(name):
    model = made(lambda: Module(lambda s, x: ONE_OUTPUT[name](s.l(x)), l=nn.Linear(4, 1)))
    _, report = to_xdnn(model, normal(6, 4))
    assert report.agreement[-1].top1 is None
    assert report.agreement[-1].correlation is not None or name == "(N, 1, H, W)"
    assert "–" in str(report)


HEADS = {
    "tuple": (lambda y, aux: (y, aux), ("[0]", "[1]")),
    "dict": (lambda y, aux: {"logits": y, "aux": aux}, ("['logits']", "['aux']")),
    "nested": (lambda y, aux: {"all": [y, (aux, None)]}, ("['all'][0]", "['all'][1][0]")),
}


@pytest.mark.parametrize("name", HEADS)
def test_each_of_several_outputs_is_compared_by_name(name):
    pack, names = HEADS[name]
    model = made(
        lambda: Module(lambda s, x: pack(s.a(x), s.b(x)[:, :, None]), a=nn.Linear(6, 4), b=nn.Linear(6, 1, bias=False))
    )
    x = normal(9, 6)
    xdnn, report = to_xdnn(model, x)
    last = report.agreement[-2:]
    assert tuple(each.output for each in last) == names
    with torch.no_grad():
        logits, other = model.a(x), xdnn.a(x)
    assert last[0].top1 == pytest.approx(top1(logits, other, 1))
    assert last[0].top1 < 1
    assert last[1].top1 is None
    assert last[1].difference == 0
    assert report.exact_difference == 0
    assert names[1] in str(report)


def test_regression_is_compared_by_difference_and_correlation_in_every_output():
    model = made(lambda: Module(lambda s, x: {"boxes": s.a(x), "score": s.b(x)}, a=nn.Linear(6, 4), b=nn.Linear(6, 1)))
    x = normal(9, 6)
    xdnn, report = to_xdnn(model, x)
    with torch.no_grad():
        before, after = model(x), xdnn(x)
    for each, key in zip(report.agreement[-2:], ("boxes", "score"), strict=True):
        change = sum(abs(float(v)) for v in (after[key] - before[key]).flatten())
        assert each.difference == pytest.approx(change / sum(abs(float(v)) for v in before[key].flatten()))


def test_a_recording_that_changes_another_output_is_not_used():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(12, 3)

        def forward(self, x):
            h = torch.nn.functional.gelu(self.l(x))
            return h, 2 * h if isinstance(x, torch.Tensor) else h  # which no symbol of torch.fx is

    with pytest.raises(ConversionError, match="does something else"):
        to_xdnn(made(Asking), normal(4, 12))


def test_differences_of_several_outputs_are_the_largest_and_infinite_where_they_are_not_the_same_ones():
    a, b = normal(3, 2), normal(3, 2, seed=5)
    assert largest_difference({"a": a, "b": a}, {"a": a, "b": 3 * a}) == pytest.approx(2)
    assert largest_difference({"a": a}, {"b": a}) == math.inf
    assert largest_difference({"a": a}, {"a": b[:2]}) == math.inf
    assert largest_difference({"a": a, "b": a}, {"a": a, "b": a * math.nan}) != 0
    assert largest_difference({"a": torch.complex(a, b)}, {"a": torch.complex(a, -b)}) > 0


def test_outputs_of_no_dimension_or_no_rows_have_no_top1():
    assert compare("", 0, torch.tensor(1.0), torch.tensor(2.0)).top1 is None
    assert compare("", 0, normal(3, 2) > 0, normal(3, 2) > 0).top1 == 1
    assert compare("", 0, torch.ones(0, 3), torch.ones(0, 3)).top1 is None
    assert compare("", 0, torch.ones(2, 0), torch.ones(2, 0)).top1 is None
    assert compare("", 0, torch.fft.fft(normal(2, 3)), torch.fft.fft(normal(2, 3))).top1 is None
