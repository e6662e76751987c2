"""Every figure of the package can be read without the code, also where names are long and numbers awkward."""

import functools
import math
from itertools import permutations

import matplotlib
import numpy as np
import pytest
import torch
from figures import assert_attributions_have_a_colour_bar, assert_inside, assert_readable, grey_images
from matplotlib.figure import Figure
from torch import nn

from captum_xg import bias_ledger
from captum_xg._core.figures import method_style, new_figure, outline, scale_of, shortened, show_attributions, wrapped
from captum_xg.demo import conventional_model, demo_images, demo_model
from captum_xg.metrics import AttributionBenchmark

KNOWN = ("xgradient", "integrated_gradients", "input_x_gradient", "expected_gradients", "gradient", "rrr", "random")
LONG = "a_method_of_somebody_elses_with_a_long_name"


@pytest.fixture
def written(monkeypatch, tmp_path):
    """The figures that are saved meanwhile."""
    figures = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    return figures


# One look per method


def test_a_method_looks_the_same_whatever_else_is_drawn_and_in_whatever_order():
    names = ["xgradient", "a", "b", "integrated_gradients_32", "random"]
    alone = {name: method_style(name) for name in names}
    for order in permutations(names, 3):
        assert {name: method_style(name) for name in order} == {name: alone[name] for name in order}


def test_a_method_looks_the_same_in_every_run():
    # Python's own hashes of text change from run to run.
    found = method_style("ours, variant 2")
    assert (found.colour, found.line, found.marker) == ("#8c6bb1", (0, (4, 1, 1, 1)), "h")


@pytest.mark.parametrize(
    "names",
    [
        ("xgradient", "X-Gradient", "x_gradient", "XG"),
        ("integrated_gradients", "Integrated Gradients", "IntegratedGradients", "IG"),
        ("input_x_gradient", "Input×Gradient", "input × gradient", "InputXGradient"),
        ("expected_gradients_8", "Expected Gradients (8)", "EG(8)", "eg8"),
        ("rrr", "Right for the Right Reasons", "RRR"),
        ("blurred_input", "blurred input"),
    ],
)
def test_spellings_of_one_method_have_one_colour(names):
    assert len({method_style(name).colour for name in names}) == 1


def test_known_methods_have_different_colours_and_markers_and_others_none_of_theirs():
    styles = [method_style(name) for name in KNOWN]
    assert len({style.colour for style in styles}) == len({style.marker for style in styles}) == len(KNOWN)
    others = [method_style(f"method {i}") for i in range(200)]
    assert not {style.colour for style in styles} & {style.colour for style in others}
    assert len({(style.colour, style.line, style.marker) for style in others}) > 100


def test_more_steps_or_references_are_darker():
    def light(name):
        return sum(matplotlib.colors.to_rgb(method_style(name).colour))

    for family in ("integrated_gradients", "expected_gradients"):
        lights = [light(f"{family}_{n}") for n in (1, 2, 8, 32, 128, 512)]
        assert lights == sorted(lights, reverse=True)
        assert len(set(lights)) == len(lights)
    assert method_style("integrated_gradients_0") == method_style("integrated_gradients_0")


# Pieces


def test_colours_are_shares_of_the_largest_value_also_of_nothing():
    axes = new_figure(2, 2).add_subplot()
    values = np.array([[-3.0, 1.0]])
    drawn = show_attributions(axes, values, scale_of(values))
    assert drawn.get_array().tolist() == [[-1.0, 1 / 3]]
    assert (drawn.norm.vmin, drawn.norm.vmax) == (-1, 1)
    assert scale_of(np.zeros((2, 2))) == 1


def test_the_outline_goes_around_the_mask():
    mask = np.zeros((8, 9), bool)
    mask[5:8, 2:6] = True
    axes = new_figure(2, 2).add_subplot()
    outline(axes, mask)
    outline(axes, np.zeros((8, 9), bool))
    (frame,) = axes.patches
    assert frame.get_bbox().bounds == (1.5, 4.5, 4, 3)


@pytest.mark.parametrize("most", [8, 12, 20, 40])
def test_shortened_names_stay_different(most):
    names = [f"encoder.layers.{i}.{part}.bias (Linear)" for i in range(12) for part in ("self_attention", "linear1")]
    short = shortened([*names, "inputs"], most)
    assert len(set(short)) == len(names) + 1
    assert short[-1] == "inputs"
    assert max(map(len, short)) < max(map(len, names)) or most >= 40


def test_short_names_stay_as_they_are():
    assert shortened(["a", "bc"], 20) == ["a", "bc"]
    assert shortened(["one name, twice"] * 2, 8) == ["on…twice"] * 2
    assert shortened([], 8) == []


def test_wrapped_text_keeps_its_words():
    text = "one two three four five six seven\nand a line of its own"
    assert wrapped(text, 1.0, 10).split() == text.split()
    assert "\n" not in wrapped("short", 3, 10)


# Ledgers


class Negative(nn.Module):
    def forward(self, x):
        return -x


class Deep(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        names = ("the_projection_of_the_residual_stream", "the_second_projection_of_the_stream")
        self.a_long_name_of_a_list_of_blocks = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(4, 4) for name in names}) for _ in range(blocks)
        )

    def forward(self, x):
        for block in self.a_long_name_of_a_list_of_blocks:
            for layer in block.values():
                x = torch.relu(layer(x)) + 0.3 * x
        return x


def _nothing():
    layer = nn.Linear(4, 2)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


LEDGERS = {
    "six layers": lambda x, y: bias_ledger(demo_model(bias=True), x, y),
    "one example": lambda x, y: bias_ledger(demo_model(bias=True), x[:1], y[:1]),
    "one layer": lambda x, y: bias_ledger(nn.Linear(4, 2), torch.rand(5, 4), 0),
    "no constants": lambda x, y: bias_ledger(demo_model(), x, y),
    "nothing at all": lambda x, y: bias_ledger(_nothing(), torch.rand(5, 4), 0),
    "negative": lambda x, y: bias_ledger(nn.Sequential(demo_model(bias=True), Negative()), x, y),
    "a remainder": lambda x, y: bias_ledger(conventional_model(), x, y),
    "long names": lambda x, y: bias_ledger(Deep(20), torch.randn(5, 4), 0),
    "huge numbers": lambda x, y: bias_ledger(demo_model(bias=True), 1e30 * x, y),
}


@functools.cache
def ledger(name):
    torch.manual_seed(0)
    return LEDGERS[name](*demo_images(6))


@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_can_be_read(name):
    axes = ledger(name).plot()
    assert_readable(axes.figure)
    assert axes.get_window_extent().width > 300  # names do not take the room of the bars


@pytest.mark.parametrize(
    ("name", "layout"),
    [("six layers", None), ("long names", None), ("long names", "constrained"), ("one layer", "tight")],
)
def test_a_ledger_in_the_axes_of_somebody_else_can_be_read(name, layout):
    figure = Figure(figsize=(11, 5.5), layout=layout)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        ledger(name).plot(axes)
    assert_readable(figure)


def test_a_ledger_leaves_axes_where_they_were_placed_by_hand():
    axes = Figure(figsize=(9, 6)).add_axes((0.3, 0.3, 0.4, 0.4))
    ledger("six layers").plot(axes)
    assert axes.get_position().bounds == pytest.approx((0.3, 0.3, 0.4, 0.4))


# Benchmarks


@pytest.fixture(scope="module")
def result():
    images, labels = demo_images(6)
    model = demo_model(bias=True)
    methods = {f"{LONG}_{i}": (lambda x, y, i=i: x * (-1) ** i) for i in range(8)}
    methods |= {name: name for name in ("gradient", "xgradient", "input_x_gradient", "integrated_gradients_2")}
    metrics = {"KeepPositiveMask": "KPM", "KAM, masked by something that has a long name": "KAM"}
    metrics |= {name: name for name in ("MeanAbsoluteRelativeDifference", "CompletenessGap")}
    benchmark = AttributionBenchmark(model, methods, metrics, reference="integrated_gradients_2", resamples=100)
    return benchmark.run([(images, labels)], progress=False)


def test_curves_of_a_benchmark_can_be_read(result):
    figure = result.plot_curves()
    assert_readable(figure)
    assert "xgradient" in figure.legends[0].get_title().get_text()  # refused, so it has no curve
    for axes in figure.axes:
        assert all(line.get_color() == method_style(line.get_label()).colour for line in axes.get_lines())


@pytest.mark.parametrize(("metrics", "cost"), [(None, "seconds"), (["KeepPositiveMask"], "gradient_evaluations")])
def test_costs_of_a_benchmark_can_be_read(result, metrics, cost):
    figure = result.plot_cost_quality(metrics, cost=cost)
    assert_readable(figure)
    drawn = {container.get_label() for axes in figure.axes for container in axes.containers}
    named = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert all(name in named.replace("\n", "") for name in drawn)


def test_every_metric_says_what_its_value_is():
    from captum_xg import metrics

    model = demo_model()
    found = [metrics.CompletenessGap(model), metrics.CompletenessGap(model, relative=True)]
    found += [metrics.MeanAbsoluteRelativeDifference(), metrics.SensitivityN(model), metrics.Infidelity(model)]
    found += [
        metrics.MaxSensitivity(lambda x, **_: x),
        metrics.KeepPositiveMask(model),
        metrics.KeepAbsoluteMask(model),
    ]
    assert len({metric.unit for metric in found}) == len(found)


@pytest.mark.parametrize("name", ["KeepPositiveMask", "RemoveAbsoluteMask", "SensitivityN"])
def test_the_plot_of_a_metric_can_be_read(name):
    from captum_xg import metrics

    images, labels = demo_images(2)
    metric = getattr(metrics, name)(demo_model())
    metric.update(images, images, labels)
    figure, _ = metric.plot()
    assert_readable(figure)
    matplotlib.pyplot.close(figure)


# The demo and the experiments


def test_the_picture_of_the_demo_can_be_read(written):
    from captum_xg.demo.comparison import compare
    from captum_xg.demo.figure import draw

    images, labels = demo_images(7)
    sides = [
        compare(demo_model(bias=bias), images, labels, n_steps=4, validated=not bias, title="")
        for bias in (False, True)
    ]
    draw("unused", images, labels, *sides)
    draw("unused", images[:1], labels[:1], *sides)
    for figure in written:
        assert_readable(figure)
        assert_attributions_have_a_colour_bar(figure)
    assert all((drawn == image.numpy()).all() for drawn, image in zip(grey_images(written[1]), images[0], strict=True))


def _outcomes():
    from captum_xg.repro.decoy.protocol import METHODS, WEIGHTS
    from captum_xg.repro.decoy.results import Outcome
    from captum_xg.repro.decoy.store import SCORES, Run

    def run(method, weight, seed, score):
        return Run(method.key, weight, seed, dict.fromkeys(SCORES, score))

    found = {}
    for i, method in enumerate(METHODS):
        weight = 10.0 if method.attribution else 0.0
        runs = tuple(run(method, weight, seed, 0.4 + 0.05 * i + 0.01 * seed) for seed in range(3))
        grid = {w: [run(method, w, 1000, 0.5 + 0.05 * math.log10(w))] for w in WEIGHTS} if method.attribution else {}
        found[method] = Outcome(method, weight, runs, grid, 0.001 * (i + 1))
    return found


def test_the_pictures_of_the_decoy_experiment_can_be_read(written):
    from captum_xg.datasets.decoy import add_decoys
    from captum_xg.repro.decoy.figure import draw_accuracies, draw_examples
    from captum_xg.repro.decoy.protocol import METHODS, PRESETS, Labelled
    from captum_xg.repro.decoy.training import network

    draw_accuracies(
        "unused", _outcomes(), "Decoys, 50,000 training images, 3 seeds, on a device with a long name. " * 2
    )
    assert_readable(written[0])
    drawn = {line.get_label(): line.get_color() for axes in written[0].axes[1:] for line in axes.get_lines()}
    assert drawn["X-Gradient, without biases (X-DNN)"] == method_style("xgradient").colour
    assert not [label for label in drawn if label.startswith(("EG", "XG", "RRR"))]

    images, labels = demo_images(3)
    decoyed = add_decoys(images, labels, informative=False, generator=torch.Generator().manual_seed(0))
    models = {m: network(PRESETS["quick"], bias=m.bias, seed=0) for m in METHODS if not m.clean}
    draw_examples("unused", models, Labelled(decoyed.images, labels, decoyed.patch))
    draw_examples("unused", dict([*models.items()][:1]), Labelled(decoyed.images[:1], labels[:1], decoyed.patch[:1]))
    for figure in written[1:]:
        assert_readable(figure)
        assert_attributions_have_a_colour_bar(figure)
        panels = [axes for axes in figure.axes if axes.get_images() and not hasattr(axes, "_colorbar")]
        assert all(axes.patches for axes in panels)  # the decoy is framed, in the image as well
    assert (grey_images(written[2])[0] == decoyed.images[0, 0].numpy()).all()


@pytest.mark.parametrize(("left", "right"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("paper", [True, False])
def test_the_picture_of_the_sparsity_experiment_can_be_read(written, left, right, paper):
    from captum_xg.repro.sparsity.figure import draw
    from captum_xg.repro.sparsity.protocol import LEFT_PANEL, Result, expected_gradients_with
    from captum_xg.repro.sparsity.results import Outcome

    def outcome(method, strength, mean):
        fields = dict.fromkeys(Result.__dataclass_fields__, 0.0)
        return Outcome(
            method, strength, {strength: [Result(**{**fields, "test_auc": mean + 0.01 * i}) for i in range(3)]}, ""
        )

    methods = [outcome(m, 0.0 if m.attribution == "none" else 0.1, 0.7 + 0.01 * i) for i, m in enumerate(LEFT_PANEL)]
    several = [outcome(expected_gradients_with(k), 1.0, 0.74) for k in (1, 2, 4, 8, 16, 32, 64, 128)]
    title = "NHEFS: 1,629 people, 115 columns, 20 % died; 200 repetitions with 100 training examples each"
    draw("unused", methods * left, several * right, methods[-1], title=title, paper=paper)
    assert_readable(written[0])
    words = [text.get_text() for axes in written[0].axes for text in axes.get_xticklabels()]
    assert not [word for word in words if word.startswith(("Unreg", "Grad", "EG", "XG"))]


def test_text_that_leaves_a_figure_is_found():
    figure = new_figure(3, 2)
    figure.set_layout_engine("none")
    figure.add_subplot().set_title("a title that is far too long for three inches of paper", loc="left")
    figure.canvas.draw()
    with pytest.raises(AssertionError, match="leaves the figure"):
        assert_inside(figure)
