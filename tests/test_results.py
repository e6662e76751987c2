"""How results show themselves: all of them briefly, in a notebook as HTML with the same words, and as tables."""

import collections
import dataclasses
import importlib
import inspect
import pkgutil
import typing
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import captum_xg
from captum_xg import (
    AdaptiveIntegratedGradients,
    AttributionPriorLoss,
    ExactIntegratedGradients,
    JointXGradient,
    analysis,
    bias_ledger,
    certify,
    check_homogeneity,
    to_xdnn,
)
from captum_xg._core.text import Table, displayed, short
from captum_xg.homogeneity import Reason, Scaling, UnusedScale, Violation
from captum_xg.homogeneity.certificate.prove import Proof
from captum_xg.metrics import AttributionBenchmark, CompletenessGap, KeepPositiveMask, axiom_report
from captum_xg.priors import GiniSparsity
from captum_xg.repro import section
from captum_xg.repro.fair.statements import Cell
from captum_xg.repro.report.summary import Report
from captum_xg.repro.section import Claim, Finding
from captum_xg.repro.table3.ordering import Comparison
from captum_xg.xdnn import distance


def _modules():
    for file in pkgutil.walk_packages(captum_xg.__path__, "captum_xg."):
        if not file.name.endswith("__main__"):
            yield importlib.import_module(file.name)


def _is_record(value):
    return inspect.isclass(value) and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))


def _classes_in(hint):
    """The classes of captum_xg that a type is made of, without those that callables take."""
    if inspect.isclass(hint) and hint.__module__.startswith("captum_xg"):
        yield hint
    if typing.get_origin(hint) is not collections.abc.Callable:
        for part in typing.get_args(hint):
            yield from _classes_in(part)


def _hints(value, *names):
    """The types of these annotations, or all; those that only type checkers can resolve are left out."""
    found = []
    for name, annotation in getattr(value, "__annotations__", {}).items():
        if not names or name in names:
            try:
                scope = getattr(value, "__globals__", None) or vars(importlib.import_module(value.__module__))
                found.append(eval(annotation, scope) if isinstance(annotation, str) else annotation)
            except NameError:
                continue
    return found


def _public():
    for module in _modules():
        if not any(part.startswith("_") for part in module.__name__.split(".")):
            yield from (getattr(module, name) for name in getattr(module, "__all__", ()))


def _returned(value):
    """The records that a public function, or what is public of a class, returns."""
    if not inspect.isclass(value):
        return [c for hint in _hints(value, "return") for c in _classes_in(hint) if _is_record(c)]
    members = [getattr(m, "fget", m) for name, m in vars(value).items() if not name.startswith("_")]
    return [c for member in members if inspect.isfunction(member) for c in _returned(member)]


def _results():
    """The records that public functions and methods return, those that these are made of, and all that have a text."""
    waiting = [
        c for value in _public() if inspect.isclass(value) or inspect.isfunction(value) for c in _returned(value)
    ]
    waiting += [
        value
        for module in _modules()
        for value in vars(module).values()
        if _is_record(value) and value.__module__.startswith("captum_xg") and {"__str__", "_parts"} & vars(value).keys()
    ]
    found = set()
    # The algebra of degrees, which imports nothing of the package, has small records of its own; a proof is what the
    # cache keeps beside the certificate that is shown.
    while waiting:
        result = waiting.pop()
        if result not in found and result not in (Table, Scaling, Reason, Proof):
            found.add(result)
            waiting += [c for hint in _hints(result) for c in _classes_in(hint) if _is_record(c)] + _returned(result)
    return sorted(found, key=lambda c: (c.__module__, c.__name__))


RESULTS = _results()


class _Page(HTMLParser):
    """Tags, and the text between them, of a piece of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.texts = set(), [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert {name for name, _ in attrs} <= {"style"}
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def words(self):
        return " ".join(self.texts).split()


def _page(result):
    page = _Page(result._repr_html_())
    assert page.tags <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
    return page


def _inside(value):
    """A result and all results in it."""
    if type(value) in RESULTS:
        yield value
        names = value._fields if isinstance(value, tuple) else [f.name for f in dataclasses.fields(value)]
        for name in names:
            yield from _inside(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _inside(part)
    elif isinstance(value, dict):
        yield from _inside(list(value.values()))


def _section():
    """A section of a report with one of everything."""
    claim = Claim("a/b", "Table 1", "it is & so", "1.2", ("it is so at 1.2",))
    finding = Finding(claim, "1.3 [1.1, 1.5]", "confirmed", "the interval holds it")
    panels = (section.table("A table", [("a", "b"), ("<c>", "1")]), section.Panel("A picture", picture="a.png"))
    return section.Section("a", "A title", "A setting.", (finding,), panels, ("a note",), "captum-xg repro a", 1.0)


def _analysis():
    """What the analysis of attributions of a data set gives, with one of everything."""
    maps = analysis.MeanMaps(("<a>", "b"), *torch.ones(2, 2).long(), *torch.rand(3, 2, 4))
    scores = analysis.Scores(
        torch.arange(3), {"gini": torch.rand(3), "sum": torch.rand(3) * torch.nan}, ("a",), torch.zeros(3)
    )
    tokens = analysis.TokenShares(*torch.ones(6, 25), words=("<b>",) * 25)
    clusters = (
        analysis.Cluster("a/0", "a", 2, 1.0, None, 0.5, (1, 2)),
        analysis.Cluster("b/0", "b", 1, 1.0, 0.5, 0.0, (0,)),
    )
    region = analysis.Region((0,), (2,), "a/0", 0.5, 0.1, 0.3)
    return [
        analysis.Summary(maps, scores, tokens),
        analysis.Clusters(clusters, torch.arange(3), torch.tensor([1, 0, 0]), maps, torch.zeros(2)),
        analysis.Regions((region,), (4,), maps.share[:1]),
    ]


@pytest.fixture(scope="module")
def samples():
    """Real results of most kinds, good news and bad."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        good = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))
        bad = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        biased = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        normed = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.SiLU(), nn.Linear(5, 3)).eval()
        x, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    benchmark = AttributionBenchmark(
        bad, ["xgradient", "gradient"], [KeepPositiveMask(bad), CompletenessGap(bad)], resamples=100
    ).run(DataLoader(TensorDataset(x, y), batch_size=2), progress=False)
    results = [
        *(certify(model, x) for model in (good, bad, lambda x: x * float(x.sum()))),
        *(check_homogeneity(model, x, target=y) for model in (good, bad)),
        *(bias_ledger(model, x, target=y) for model in (bad, normed)),
        JointXGradient(biased).attribute(x, y),
        exact := ExactIntegratedGradients(biased).attribute(x, target=y, return_report=True)[-1],
        exact.line(0),
        ExactIntegratedGradients(biased).steps_needed(x, target=y, most=20),
        distance(biased, x, y),
        to_xdnn(normed, x)[1],
        to_xdnn(nn.Sequential(nn.Linear(6, 5), nn.Softmax(1)).eval(), x, strict=False)[1],
        AdaptiveIntegratedGradients(bad).attribute(x, target=y, return_report=True)[-1],
        AttributionPriorLoss(good, GiniSparsity())(x, y),
        benchmark,
        axiom_report(Saliency, n_cases=4),
        captum_xg.models.RELEASED["xvgg16"],
        captum_xg.models.LoadedCheckpoint("<file>", ("a & b",)),
        captum_xg.datasets.nhanes.MortalityTable(np.zeros((3, 2)), np.zeros(3, dtype=int), ("a", "b"), "<b>x</b>"),
        captum_xg.repro.estimate.estimate([1.0, 2.0]),
        UnusedScale(2.0**16, 1, "F(αx) > 1e38"),
        molecules := captum_xg.datasets.molecules.load_molecules(),
        molecules.graphs(),
        captum_xg.datasets.vocabulary.Vocabulary(("a", "<b>")),
        captum_xg.datasets.attributions.RefusedExample(3, "InputError", "<NaN>"),
        *_analysis(),
        captum_xg.viewer.Page(Path("page/index.html"), 3, ("<XGradient>",), 1200, ("1 example left out",)),
        Comparison("AlexNet", "KPM", "IG (128)", "Grad (1)"),
        Cell("holds", captum_xg.repro.estimate.estimate([1.0, 2.0])),
        Report((_section(),), {"torch": "<2>"}, "captum-xg repro all"),
    ]
    return [part for result in results for part in _inside(result)]


@pytest.mark.parametrize("result", RESULTS, ids=lambda c: f"{c.__module__.split('.')[-1]}.{c.__name__}")
def test_every_result_shows_itself(result):
    assert "_repr_html_" in vars(result), f"put @displayed on {result.__name__}"
    assert vars(result)["__repr__"] is displayed(type("Other", (), {})).__repr__


def test_the_walk_finds_what_is_known_to_be_a_result():
    names = {result.__name__ for result in RESULTS}
    known = (
        "Certificate Violation HomogeneityReport ScaleCheck EulerCheck Culprit BiasLedger LedgerRow ConversionReport"
    )
    known += " Change Unconverted Agreement BenchmarkResult MethodResult Cost Curve Estimate AxiomReport AxiomResult"
    known += " Counterexample PriorLoss LoadedCheckpoint ReleasedWeights MortalityTable"
    assert set(known.split()) <= names


def test_the_samples_are_of_all_kinds(samples):
    assert {type(sample) for sample in samples} == set(RESULTS)


def test_a_repr_is_one_short_line_that_names_the_class_and_its_fields(samples):
    for sample in samples:
        text = repr(sample)
        assert text.startswith(f"{type(sample).__name__}(")
        assert len(text) < 800, text
        assert "\n" not in text
        assert "tensor(" not in text
    certificate = samples[0]
    assert repr(certificate).startswith("Certificate(homogeneous=True, degree=1, violations=[], unsupported=[], n_ops=")


def test_a_notebook_shows_the_words_of_the_text(samples):
    for sample in samples:
        words = _page(sample).words
        if "__str__" in vars(type(sample)):
            assert words == [word for word in str(sample).split() if set(word) != {"─"}]
        else:
            assert words[0] == type(sample).__name__
            names = sample._fields if isinstance(sample, tuple) else [f.name for f in dataclasses.fields(sample)]
            assert [name for name in names if name in words] == list(names)


def test_tables_are_tables_in_a_notebook(samples):
    kinds = {type(sample).__name__ for sample in samples if "table" in _page(sample).tags}
    assert {"HomogeneityReport", "BiasLedger", "ConversionReport", "BenchmarkResult", "AxiomReport"} <= kinds


@settings(max_examples=40, deadline=None)
@given(st.text(), st.text())
def test_text_stays_text_in_a_notebook(one, two):
    violation = Violation(one, "op", two, "<script>alert('&lt;')</script>", f"</div>{one}")
    assert _page(violation).words == str(violation).split()
    change = captum_xg.xdnn.Change(one, two, "<b>", f'"{two}', True, "&amp;")
    expected = f'Change module {one} before {two} after <b> why "{two} exact True stage &amp;'
    assert _page(change).words == expected.split()
    assert _Page(Table([(one, two)]).html()).words == f"{one} {two}".split()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_columns_of_a_table_are_aligned(data):
    columns, left = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 4))
    cell = st.text("abc12", min_size=1, max_size=8)
    rows = data.draw(st.lists(st.tuples(*[cell] * columns), min_size=2, max_size=5))
    lines = str(Table(rows, left=left, indent=3, rule=True)).split("\n")
    assert len(lines) == len(rows) + 1
    assert lines.pop(1).strip(" ─") == ""
    assert [line.split() for line in lines] == [list(row) for row in rows]
    start = 3
    for j in range(columns):
        width = max(len(row[j]) for row in rows)
        cells = [line[start : start + width] for line in lines]
        for shown, row in zip(cells, rows, strict=True):
            assert shown.ljust(width) == (row[j].ljust(width) if j < left else row[j].rjust(width))
        start += width + 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.333333"),
        (float("nan"), "nan"),
        (True, "True"),
        (None, "None"),
        ("a" * 200, "'" + "a" * 45 + "…'"),
        ([1, 2.0, "x"], "[1, 2, 'x']"),
        ((1,), "(1,)"),
        ({}, "{}"),
        ({"a": 0.5}, "{'a': 0.5}"),
        (list(range(1000)), "<1000 int>"),
        (torch.tensor(0.25, requires_grad=True), "0.25"),
        (torch.zeros(2, 3), "float32 (2, 3)"),
        (torch.zeros((), device="meta"), "float32 ()"),
        (np.zeros(4), "float64 (4,)"),
        (torch.relu, "relu"),
        (nn.Linear, "Linear"),
    ],
)
def test_values_are_shown_briefly(value, text):
    assert short(value) == text


def test_what_is_as_by_default_is_left_out():
    @displayed
    @dataclasses.dataclass(frozen=True)
    class Found:
        value: float
        note: str = ""
        parts: tuple = ()
        tensor: torch.Tensor | None = None
        hidden: int = dataclasses.field(default=3, repr=False)

    assert repr(Found(1.5)) == "Found(value=1.5)"
    assert repr(Found(0.0, "a", (1,), torch.zeros(2))) == "Found(value=0, note='a', parts=(1,), tensor=float32 (2,))"
    assert "hidden" not in Found(1.5)._repr_html_()


def test_ipython_and_containers_use_the_short_form():
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    certificate = certify(nn.Linear(3, 1, bias=False), torch.rand(1, 3))
    assert pretty(certificate) == repr(certificate)
    assert repr([certificate]) == f"[{certificate!r}]"


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_result_shows_itself_though_what_it_holds_cannot():
    class Silent:
        def __repr__(self):
            raise RuntimeError

    class Shapeless:
        dtype = "none"

        @property
        def shape(self):
            raise ValueError

    inside: list[object] = []
    inside.append(inside)
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    for outputs in (Silent(), Shapeless(), inside, nested, {"a": Silent()}):
        loss = captum_xg.PriorLoss(*torch.ones(3), outputs, torch.ones(2, 4))
        assert repr(loss).startswith("PriorLoss(total=1, task=1, prior=1, outputs=")
        assert len(repr(loss)) < 200
        assert "outputs" in _page(loss).words
    assert (short(set()), short(frozenset())) == ("set()", "frozenset()")


def test_a_subclass_and_objects_of_other_people_are_shown_as_well():
    class Own(captum_xg.Certificate):
        pass

    class Odd(dict):
        def __getattr__(self, name):
            raise KeyError(name)

    certificate = certify(nn.Linear(3, 1, bias=False), torch.rand(1, 3))
    own = Own(**{f.name: getattr(certificate, f.name) for f in dataclasses.fields(certificate)})
    assert repr(own).startswith("Own(homogeneous=True")
    assert _page(own).words == str(own).split() == str(certificate).split()
    loss = captum_xg.PriorLoss(*torch.ones(3), Odd(logits=torch.ones(2, 3)), (torch.ones(2, 4),))
    shown = "outputs={'logits': float32 (2, 3)}, attributions=(float32 (2, 4),))"
    assert repr(loss) == f"PriorLoss(total=1, task=1, prior=1, {shown}"
    assert "logits:" in _page(loss).words
