"""axiom_report finds the ticks and crosses of the paper's Table 1 by itself."""

import json
from dataclasses import FrozenInstanceError

import pytest
from axiom_names import AXIOMS, COMPLETE, EVERY, HOMOGENEOUS, IMPLEMENTATION, LINEAR, SYMMETRIC, A, B

from captum_xg.metrics import axiom_report, paper_methods
from captum_xg.metrics.axioms.results import Verdict

# Hesse et al. 2021, Table 1, from its text and the proofs of Appendix A: Expected Gradients "assuming convergence"
# satisfies what Integrated Gradients does, with one sample Sensitivity (b) only; (Input×)Gradient, one column, violates
# Sensitivity (a), hence Completeness, which implies it; X-Gradient satisfies all, for X-DNNs.
TABLE_1 = {
    "IG": EVERY,
    "EG": EVERY,
    "EG(1)": {B},
    "Gradient": {B, IMPLEMENTATION, LINEAR, SYMMETRIC},
    "Input×Gradient": {B, IMPLEMENTATION, LINEAR, SYMMETRIC},
    "X-Gradient": EVERY,
}


@pytest.fixture(scope="module")
def paper():
    return axiom_report(paper_methods(), models={"X-Gradient": "xdnn"}, n_cases=24, n_steps=32, n_samples=128)


@pytest.mark.thorough
@pytest.mark.parametrize("method", TABLE_1)
def test_the_computed_table_is_table_1_of_the_paper(paper, method):
    assert paper.methods == tuple(TABLE_1)
    assert paper.axioms == AXIOMS
    assert all(paper.result(axiom, method).holds is not None for axiom in AXIOMS)
    assert {axiom for axiom in EVERY if paper.result(axiom, method).holds} == TABLE_1[method]


def test_only_x_gradient_is_homogeneous_as_a_method_as_definition_3_6_says(paper):
    assert {m for m in paper.methods if paper.result(HOMOGENEOUS, m).holds} == {"X-Gradient"}


def test_gradients_fail_sensitivity_a_at_the_papers_own_example(paper):
    for method in ("Gradient", "Input×Gradient"):
        example = paper.result(A, method).counterexample
        assert (example.functions, example.x, example.baselines) == (("F(x) = 1 − relu(1 − x0)",), (2.0,), ((0.0,),))
        assert example.observed == "0"


def test_one_sample_is_exposed_by_calling_the_same_model_twice(paper):
    example = paper.result(IMPLEMENTATION, "EG(1)").counterexample
    assert example.functions[1] == "G = F, called again"
    assert "EG(1): random" in str(paper)


def test_a_sampled_method_holds_in_the_limit_only_and_says_so(paper):
    for axiom in (IMPLEMENTATION, COMPLETE, LINEAR):
        assert paper.result(axiom, "EG").verdict is Verdict.IN_THE_LIMIT
    assert paper.result(COMPLETE, "EG").effort == "n_samples=128"
    assert "in expectation" in str(paper)


def test_x_gradient_is_exact_and_integrated_gradients_complete_in_the_limit(paper):
    assert {paper.result(axiom, "X-Gradient").verdict for axiom in AXIOMS} == {Verdict.HOLDS}
    assert paper.result(COMPLETE, "IG").verdict is Verdict.IN_THE_LIMIT


def test_n_steps_that_change_nothing_are_no_effort(paper):
    assert paper.result(COMPLETE, "X-Gradient").effort == ""
    assert paper.result(COMPLETE, "IG").effort == "n_steps=32"


def test_counterexamples_are_small_integers_in_small_functions(paper):
    for result in paper.failures:
        example = result.counterexample
        numbers = [*example.x, *(value for baseline in example.baselines for value in baseline)]
        assert example.size <= 12
        assert all(value == round(value) and abs(value) <= 3 for value in numbers)
        assert 0 < result.violations <= result.cases


def test_what_holds_has_been_tried_and_has_no_counterexample(paper):
    for result in paper.results:
        assert (result.counterexample is None) == bool(result.holds)
        assert result.cases == 24
    assert "evidence and no proof" in str(paper)


def test_text_markdown_and_json_say_the_same(paper):
    text, markdown = str(paper), paper.to_markdown()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(AXIOMS)
    assert {row.count("|") for row in rows} == {len(paper.methods) + 2}
    read = json.loads(paper.to_json())
    assert read == paper.to_dict()
    assert len(read["results"]) == len(paper.results)
    for entry, result in zip(read["results"], paper.results, strict=True):
        assert entry["verdict"] == result.verdict.value
        assert result.cell in text
        assert result.cell in markdown
        if not result.holds:
            assert str(result.counterexample).splitlines()[0] in text
            assert str(result.counterexample).splitlines()[0] in markdown


def test_results_are_frozen(paper):
    with pytest.raises(FrozenInstanceError):
        paper.results[0].cases = 5
    with pytest.raises(KeyError):
        paper.result(A, "nothing")
