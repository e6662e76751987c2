"""Tables, JSON and figures say what the result says."""

import json
import math
import re
import sys

import pytest
import torch
from benchmark_samples import Distance, Profile, Total, data, network

from captum_xg.errors import OptionError
from captum_xg.metrics import AttributionBenchmark


class Awkward(Total):
    """Infinite for the controls, and of a name that LaTeX and Markdown stumble over."""

    higher_is_better = None

    def scores(self, inputs, attributions, target=None, additional_forward_args=None):
        known = bool((attributions == inputs).all())
        return torch.full((len(inputs),), 1.0 if known else math.inf, dtype=torch.float64)


@pytest.fixture(scope="module")
def result():
    methods = {"own_100% & more": lambda x, target: x, "gradient": "gradient", "xgradient": "xgradient"}
    metrics = {"Total": Total(), "a|b_c": Awkward(), "Profile": Profile(), "Distance": Distance()}
    benchmark = AttributionBenchmark(
        network(bias=True), methods, metrics, reference="integrated_gradients_5", resamples=200
    )
    return benchmark.run(data(), progress=False)


def _cells(result, split, unescaped):
    """Return the rows of a table as lists of cells, the header first."""
    return [[unescaped(cell.strip()) for cell in split(line)] for line in result]


def _expected(result):
    """Return, for each method, the numbers that its row must show."""
    rows = []
    for method in result.methods.values():
        name = method.name + " (control)" * method.control
        if method.refusal:
            rows.append((name, ["refused"] * 4))
            continue
        cells = []
        for metric in result.metrics:
            found = method.estimates[metric]
            ends = "" if math.isnan(found.low) else f" [{found.low:.4g}, {found.high:.4g}]"
            cells.append(f"{found.value:.4g}{ends}")
        rows.append((name, cells))
    return rows


def test_markdown_parses_back_into_the_numbers(result):
    lines = result.to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    rows = _cells(
        [table[0], *table[2:]], lambda line: re.split(r"(?<!\\)\|", line)[1:-1], lambda c: c.replace("\\|", "|")
    )
    assert len({len(row) for row in rows}) == 1
    assert rows[0] == ["method", "Total ↑", "a|b_c", "Profile ↓", "Distance ↓", "gradients", "forwards", "ms"]
    assert [(row[0], row[1:5]) for row in rows[1:]] == _expected(result)


def test_latex_parses_back_into_the_numbers(result):
    text = result.to_latex()
    assert text.count("{") == text.count("}")
    body = text[text.index("\\begin{tabular}") :]
    assert body.startswith("\\begin{tabular}{lrrrrrrr}")
    assert body.rstrip().endswith("\\end{tabular}")

    def unescaped(cell):
        cell = cell.replace("{[}", "[").replace("{]}", "]").replace("$\\uparrow$", "↑").replace("$\\downarrow$", "↓")
        return re.sub(r"\\([&%_])", r"\1", cell)

    lines = [line.strip().removesuffix("\\\\") for line in body.splitlines() if line.rstrip().endswith("\\\\")]
    rows = _cells(lines, lambda line: re.split(r"(?<!\\)&", line), unescaped)
    assert rows[0][:5] == ["method", "Total ↑", "a|b_c", "Profile ↓", "Distance ↓"]
    assert [(row[0], row[1:5]) for row in rows[1:]] == _expected(result)
    assert all(line.startswith("%") for line in text[: text.index("\\begin")].splitlines())


def test_the_text_shows_every_number_and_fits_its_columns(result):
    lines = str(result).splitlines()
    for line, (name, cells) in zip(lines[2:], _expected(result), strict=False):
        assert line.startswith(name)
        assert re.split(r"\s{2,}", line)[1:5] == cells
    assert max(map(len, lines[2 : 2 + len(result.methods)])) <= len(lines[1])
    assert f"{result.n_examples} examples" in str(result)
    assert "compared with those of integrated_gradients_5" in str(result)


def test_json_gives_all_numbers_back(result, tmp_path):
    text = result.to_json(tmp_path / "result.json")
    content = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert content == json.loads(text) == result.to_dict()

    def number(value):
        return math.nan if value is None else float(value)

    for name, method in result.methods.items():
        entry = content["methods"][name]
        assert entry["refusal"] == method.refusal
        assert entry["control"] == method.control
        assert set(entry["estimates"]) == set(method.estimates)
        for metric, found in method.estimates.items():
            written = [number(entry["estimates"][metric][key]) for key in ("value", "low", "high")]
            assert written == pytest.approx([found.value, found.low, found.high], rel=0, nan_ok=True)
        for metric, curve in method.curves.items():
            assert entry["curves"][metric]["fractions"] == list(curve.fractions)
            assert [p["value"] for p in entry["curves"][metric]["values"]] == [v.value for v in curve.values]
        if method.cost:
            assert entry["cost"]["seconds"] == method.cost.seconds
            assert entry["cost"]["gradient_evaluations"] == method.cost.gradient_evaluations
    assert (content["n_examples"], content["resamples"], content["confidence"]) == (10, 200, 0.95)


def test_a_dataframe_has_a_row_per_method_and_the_same_numbers(result):
    pytest.importorskip("pandas")
    frame = result.to_dataframe()
    assert list(frame.index) == list(result.methods)
    for name, method in result.methods.items():
        for metric, found in method.estimates.items():
            values = frame.loc[name, [metric, f"{metric}_low", f"{metric}_high"]].astype(float).tolist()
            assert values == pytest.approx([found.value, found.low, found.high], rel=0, nan_ok=True)
    assert frame["Total"].isna().tolist() == [m.refusal is not None for m in result.methods.values()]


def test_without_pandas_the_dataframe_says_what_to_do(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="pip install pandas"):
        result.to_dataframe()


def test_curves_are_the_means_of_the_scores_and_their_area_is_the_value(result):
    for name, method in result.methods.items():
        if method.refusal:
            continue
        curve = method.curves["Profile"]
        assert [v.value for v in curve.values] == pytest.approx(result.scores[name, "Profile"].mean(0).tolist())
        values, fractions = (
            torch.tensor(t, dtype=torch.float64) for t in ([v.value for v in curve.values], curve.fractions)
        )
        assert float(torch.trapezoid(values, fractions)) == pytest.approx(method.estimates["Profile"].value)
        # One interval per point, that of the mean of these scores.
        spread = 1.96 * result.scores[name, "Profile"].std(0, unbiased=False) / math.sqrt(result.n_examples)
        assert [(v.high - v.low) / 2 for v in curve.values] == pytest.approx(spread.tolist(), rel=0.25, abs=1e-12)


def test_the_curve_plot_draws_every_curve_with_its_points(result):
    figure = result.plot_curves()
    (axes,) = figure.axes
    assert axes.get_title().startswith("Profile")
    drawn = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    assert set(drawn) == {name for name, method in result.methods.items() if not method.refusal}
    for name, points in drawn.items():
        curve = result.methods[name].curves["Profile"]
        assert points[:, 0].tolist() == list(curve.fractions)
        assert points[:, 1].tolist() == [v.value for v in curve.values]
    assert len({tuple(line.get_color()) for line in axes.get_lines()}) == len(drawn)
    with pytest.raises(OptionError, match="Total has no curve"):
        result.plot_curves(["Total"])


@pytest.mark.parametrize("cost", ["seconds", "gradient_evaluations", "forward_passes"])
def test_the_cost_plot_places_methods_at_their_cost_and_value(result, cost):
    figure = result.plot_cost_quality(["Total", "a|b_c"], cost=cost)
    first, second = figure.axes
    for axes, metric in ((first, "Total"), (second, "a|b_c")):
        places = {c.get_label(): c.lines[0].get_xydata()[0].tolist() for c in axes.containers}
        expected = {}
        for name, method in result.methods.items():
            spent = None if method.cost is None else getattr(method.cost, cost)
            # What is infinite, refused or not counted has no place.
            if spent is not None and math.isfinite(method.estimates[metric].value):
                expected[name] = [1000 * spent if cost == "seconds" else spent, method.estimates[metric].value]
        assert places == expected
    with pytest.raises(OptionError, match="'seconds'"):
        result.plot_cost_quality(cost="money")
    with pytest.raises(OptionError, match="no metric 'KPM'"):
        result.plot_cost_quality(["KPM"])


def test_figures_leave_pyplot_alone(result):
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    result.plot_curves()
    result.plot_cost_quality()
    assert plt.get_fignums() == before
