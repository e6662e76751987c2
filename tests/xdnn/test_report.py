"""The report says what was changed, what that cost, and what is proven, in numbers that can be had otherwise."""

import itertools
import json
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_xg import ConversionReport, to_xdnn
from captum_xg.errors import ConversionError
from captum_xg.xdnn.agreement import compare
from captum_xg.xdnn.report import Change


def made(build, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().double()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        return model.eval()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network():
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3)
    )


# --- numbers, slowly -------------------------------------------------------------------------------------------------


def difference_of(before, after):
    change = sum(abs(float(b) - float(a)) for a, b in zip(before.flatten(), after.flatten(), strict=True))
    total = sum(abs(float(a)) for a in before.flatten())
    return change / total if change else 0.0


def top1_of(before, after):
    rows = list(zip(before.flatten(1).tolist(), after.flatten(1).tolist(), strict=True))
    return sum(a.index(max(a)) == b.index(max(b)) for a, b in rows) / len(rows)


def pearson(a, b):
    n = len(a)
    ma, mb = sum(a) / n, sum(b) / n
    cross = sum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return cross / math.sqrt(sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b))


def correlation_of(before, after):
    a, b = before.flatten(1).tolist(), after.flatten(1).tolist()
    if len(a[0]) == 1:
        return pearson([r[0] for r in a], [r[0] for r in b])
    rows = [pearson(x, y) for x, y in zip(a, b, strict=True) if len({*x}) > 1 and len({*y}) > 1]
    return sum(rows) / len(rows)


def constants_share_of(model, x):
    """1 − Σ|x·∂F/∂x| / (Σ|x·∂F/∂x| + Σ|b·∂F/∂b|), by autograd, one example after the other."""
    from_inputs = from_constants = 0.0
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    for row in x:
        leaf = row[None].clone().requires_grad_()
        y = model(leaf)
        gradients = torch.autograd.grad(y[0].max(), [leaf, *biases])
        from_inputs += abs(float((leaf * gradients[0]).sum()))
        from_constants += abs(sum(float((b * g).sum()) for b, g in zip(biases, gradients[1:], strict=True)))
    return 1 - from_inputs / (from_inputs + from_constants)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_the_comparison_of_outputs_is_what_its_words_say(n, outputs, seed):
    before, after = normal(n, outputs, seed=seed), normal(n, outputs, seed=seed + 1)
    result = compare("stage", 3, before, after)
    assert (result.stage, result.changes, result.examples) == ("stage", 3, n)
    assert result.difference == pytest.approx(difference_of(before, after), rel=1e-12)
    if outputs > 1:
        assert result.top1 == pytest.approx(top1_of(before, after))
    else:
        assert result.top1 is None
    if n * outputs > 1 and not (outputs == 1 and n == 1):
        assert result.correlation == pytest.approx(correlation_of(before, after), rel=1e-9, abs=1e-9)


def test_a_comparison_without_variation_or_values_is_no_number():
    same = torch.ones(3, 4)
    assert compare("", 0, same, same).correlation is None
    assert compare("", 0, same, same).difference == 0
    zero = torch.zeros(3, 4)
    assert compare("", 0, zero, zero).difference == 0
    assert compare("", 0, normal(1, 1), normal(1, 1)).correlation is None


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_the_last_agreement_is_that_of_the_result_with_the_original(seed):
    model, x = made(network, seed), normal(7, 4, seed=seed)
    xdnn, report = to_xdnn(model, x)
    with torch.no_grad():
        before, after = model(x), xdnn(x)
    last = report.agreement[-1]
    assert last.difference == pytest.approx(difference_of(before, after), rel=1e-9)
    assert last.top1 == pytest.approx(top1_of(before, after))
    assert last.correlation == pytest.approx(correlation_of(before, after), rel=1e-9)
    assert last.examples == 7
    assert report.exact_difference == report.agreement[0].difference <= 1e-13


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=15)
def test_the_share_of_constants_is_that_of_the_biases_in_the_predictions(seed, depth):
    widths = [4, 6, 5, 7][: depth + 1]
    parts = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    model = made(lambda: nn.Sequential(*parts, nn.Linear(widths[-1], 3)), seed)
    x = normal(5, 4, seed=seed)
    _, report = to_xdnn(model, x)
    assert report.constants_share == pytest.approx(constants_share_of(model, x), rel=1e-9)


def test_the_share_of_constants_is_none_where_none_were_dropped():
    model = made(lambda: nn.Sequential(nn.Linear(4, 5, bias=False), nn.GELU(), nn.Linear(5, 3, bias=False)))
    assert to_xdnn(model, normal(3, 4))[1].constants_share is None


# --- words -----------------------------------------------------------------------------------------------------------


def test_every_changed_module_is_in_the_text_and_in_the_dictionary():
    model = made(network)
    xdnn, report = to_xdnn(model, normal(3, 4))
    changed = {name for name, m in model.named_modules() if name and type(m) is not type(xdnn.get_submodule(name))}
    dropped = {n for n, m in model.named_modules() if isinstance(m, nn.Linear) and xdnn.get_submodule(n).bias is None}
    assert {c.module for c in report.changes} == changed | dropped
    text = str(report)
    for change in report.changes:
        assert change.module in text
        assert change.before in text
        assert change.after in text
        assert change.why in text
    assert "proven, degree 1" in text
    assert "Sequential" in text
    assert f"{report.constants_share:.1%}" in text if report.constants_share is not None else True
    for stage in report.agreement:
        assert stage.stage in text
        assert f"{stage.correlation:.4f}" in text


@pytest.mark.parametrize("depth", [1, 2, 6, 7, 8, 15])
def test_many_changes_of_a_kind_are_all_shown_or_counted(depth):
    parts = [part for _ in range(depth) for part in (nn.Linear(3, 3), nn.GELU())]
    _, report = to_xdnn(made(lambda: nn.Sequential(*parts)), normal(2, 3))
    text = str(report)
    for kind in ("GELU", "Linear"):
        changes = [c for c in report.changes if c.before == kind]
        assert len(changes) == depth
        assert depth == 1 or f"{depth} × {kind}" in text
    lines = text.splitlines()
    shown = sum(":" in line and line.split(":")[0].strip().isdigit() for line in lines)
    listed = sum(
        len([p for p in line.split(",") if p.strip().isdigit()])
        for line in lines
        if "→" not in line and ":" not in line
    )
    more = sum(int(line.split("and ")[1].split()[0]) for line in lines if "… and" in line)
    assert shown + listed + more == 2 * depth


def test_the_report_is_json_and_pickles_and_is_frozen():
    model = made(network)
    _, report = to_xdnn(model, normal(3, 4))
    data = json.loads(report.to_json())
    assert data == json.loads(json.dumps(report.to_dict()))
    assert data["homogeneous"] is True
    assert data["model"] == "Sequential"
    assert data["certificate"]["degree"] == 1
    assert [c["module"] for c in data["changes"]] == [c.module for c in report.changes]
    assert [s["stage"] for s in data["agreement"]] == [s.stage for s in report.agreement]
    assert str(pickle.loads(pickle.dumps(report))) == str(report)
    with pytest.raises(AttributeError):
        report.model = "other"


@pytest.mark.parametrize("zero", [False, True])
def test_json_holds_only_numbers_that_json_knows(zero):
    model = made(lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2)))
    if zero:
        nn.init.zeros_(model[2].weight)
        nn.init.zeros_(model[2].bias)
    _, report = to_xdnn(model, normal(3, 4))
    strict = json.loads(report.to_json(), parse_constant=lambda c: pytest.fail(f"{c} in JSON"))
    assert strict["model"] == "Sequential"


def test_an_output_that_was_zero_and_is_not_still_has_a_report_in_json():
    class Cancelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x):
            return nn.functional.relu6(self.a(x) - 1e6)

    _, report = to_xdnn(made(Cancelled), normal(3, 4))
    json.loads(report.to_json(), parse_constant=lambda c: pytest.fail(f"{c} in JSON"))


def test_exact_changes_come_first_and_a_report_of_only_exact_ones_is_exact():
    _, report = to_xdnn(made(network), normal(3, 4))
    flags = [c.exact for c in report.changes]
    assert flags == sorted(flags, reverse=True)
    assert True in flags
    assert not report.exact
    _, unchanged = to_xdnn(made(lambda: nn.Linear(4, 3, bias=False)), normal(3, 4))
    assert unchanged.exact
    assert unchanged.changes == ()
    assert unchanged.agreement == ()
    assert "as it is" in str(unchanged)


def test_what_could_not_be_converted_is_in_the_text_with_what_to_do():
    model = made(lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3), nn.Softmax(1)))
    with pytest.raises(ConversionError) as error:
        to_xdnn(model, normal(3, 4))
    report = error.value.report
    assert isinstance(report, ConversionReport)
    assert not report.homogeneous
    (unconverted,) = report.unconverted
    assert (unconverted.module, unconverted.type) == ("3", "Softmax")
    for text in (str(report), str(error.value)):
        assert "3 (Softmax)" in text
        assert unconverted.reason in text
        assert unconverted.remedy in text
    assert "NOT converted" in str(report)
    assert pickle.loads(pickle.dumps(error.value)).report.unconverted == report.unconverted
    assert json.loads(report.to_json())["unconverted"][0]["module"] == "3"


def test_changes_of_the_model_itself_are_named_so():
    change = Change("", "Linear", "Linear without bias", "why", False, "constants")
    _, report = to_xdnn(made(lambda: nn.Linear(4, 3)), normal(3, 4))
    assert report.changes[0].module == change.module
    assert "the model itself" in str(report)
