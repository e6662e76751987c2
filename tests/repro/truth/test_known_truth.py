"""Networks with known truth: that it is the truth, scores that are right, verdicts that follow from numbers."""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from math import factorial

import pytest
import torch
from effort import tries

from captum_xg.repro import truth
from captum_xg.repro.truth import claims, measure, methods, scores
from captum_xg.repro.truth.measure import KINDS
from captum_xg.repro.truth.results import Results
from captum_xg.repro.truth.verdict import findings

N = 3


def problem_of(kind, seed=0, count=N):
    return kind.make(torch.Generator().manual_seed(seed), count)


def score(problem, inputs):
    return problem.model(inputs)[:, 0].detach()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.key)
def kind(request):
    return request.param


def test_the_truth_adds_up_to_what_the_network_says(kind):
    for seed in range(tries(2, 10)):
        problem = problem_of(kind, seed)
        wanted = score(problem, problem.inputs) - score(problem, torch.zeros_like(problem.inputs))
        torch.testing.assert_close(problem.truth.sum(1), wanted, rtol=1e-12, atol=1e-12)


def test_only_networks_without_biases_are_homogeneous(kind):
    problem = problem_of(kind)
    scales = torch.equal(score(problem, 4 * problem.inputs), 4 * score(problem, problem.inputs))
    assert scales == kind.homogeneous


@pytest.mark.parametrize("key", ["sums", "homogeneous sums", "saturated", "pairs", "gates"])
def test_the_truth_is_the_shapley_value_of_groups(key):
    problem = problem_of(next(kind for kind in KINDS if kind.key == key))
    n = int(problem.groups.max()) + 1

    def value(players):
        there = torch.isin(problem.groups, torch.tensor(players, dtype=torch.long))
        return score(problem, problem.inputs * there)

    for group in range(n):
        others = [g for g in range(n) if g != group]
        total = torch.zeros(len(problem.inputs), dtype=torch.float64)
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for some in combinations(others, size):
                total += weight * (value([*some, group]) - value(list(some)))
        torch.testing.assert_close(total, problem.truth[:, group], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.has_region], ids=lambda kind: kind.key)
def test_nothing_outside_of_the_region_changes_the_network_between_zero_and_the_input(kind):
    problem = problem_of(kind)
    region = problem.region.reshape(problem.inputs.shape)
    generator = torch.Generator().manual_seed(5)
    for _ in range(tries(20, 200)):
        inside, outside = (
            torch.rand(problem.inputs.shape, generator=generator, dtype=torch.float64) ** power for power in (0.1, 1)
        )
        point = problem.inputs * torch.where(region, inside, outside)
        torch.testing.assert_close(score(problem, point), score(problem, point * region), rtol=1e-12, atol=1e-12)
    assert not torch.equal(score(problem, problem.inputs * ~region), score(problem, problem.inputs))


def test_the_five_pixels_of_a_template_can_change_places():
    problem = problem_of(next(kind for kind in KINDS if kind.key == "templates"))
    flat = problem.inputs.flatten(1)
    for row, region in zip(flat, problem.region, strict=True):
        inside = row[region]
        assert len(inside) == 5
        assert bool((inside == inside[0]).all())
    assert problem.truth[problem.region].min() > 0


def slow_rank(values):
    return [sum(v < w for v in values) + sum(v == w for v in values) / 2 for w in values]


def test_scores_are_those_of_slow_references():
    found = torch.tensor([[1.0, -2.0, 1.0 + 1e-13, 4.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    wanted = torch.tensor([[2.0, -2.0, 1.0, 5.0], [1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    assert scores.relative_error(found, wanted).tolist() == pytest.approx([0.2, 1.0])
    assert scores.ranks(found)[0].tolist() == slow_rank([1, -2, 1, 4])
    pearson, rank = scores.correlation(found, wanted), scores.rank_correlation(found, wanted)
    assert float(pearson[0]) == pytest.approx(float(torch.corrcoef(torch.stack([found[0], wanted[0]]))[0, 1]))
    assert (float(pearson[1]), float(rank[1])) == (0, 0)
    both = torch.tensor([slow_rank([1, -2, 1, 4]), slow_rank([2, -2, 1, 5])])
    assert float(rank[0]) == pytest.approx(float(torch.corrcoef(both)[0, 1]))
    region = torch.tensor([[True, True, False, False]] * 2)
    assert scores.share(found, region).tolist() == pytest.approx([3 / 8, 0])


def synthetic(**errors):
    """Return results in which all errors are given ones; XG refuses where it should."""
    per_input = {"XG": 1e-16, "exact": 1e-16, "DeepLift": 1e-16, "IG": 0.01, "adaptive": 0.005}
    per_input |= {"EG1": 1.0, "EG32": 0.1, "occlusion": 0.5, "IxG": 0.5} | errors
    units = {}
    for kind in KINDS:
        unit = {}
        for method in methods.METHODS:
            error = per_input.get(method.key, 0.3)
            rank = [0.1, 0.2, 0.1] if method.key == "gradient" else [1.0, 1.0, 1.0]
            unit[method.key] = {"error": [error] * 3, "pearson": rank, "spearman": rank, "share": [1.0] * 3}
        if not kind.homogeneous and "XG" not in errors:
            unit["XG"] = {"refused": "it has biases"}
        units[f"{kind.key}, seed 0"] = unit
    return {each.claim: each.verdict for each in findings(Results.of(units))}


def test_verdicts_follow_the_numbers():
    there = synthetic()
    assert tuple(there) == claims.CLAIMS
    assert set(there.values()) == {"confirmed"}
    for wrong, claim in (
        ({"XG": 1e-8}, claims.HOMOGENEOUS),
        ({"XG": 1e-16}, claims.REFUSES),
        ({"exact": 1e-8}, claims.EXACT),
        ({"DeepLift": 1e-3}, claims.DEEP_LIFT),
        ({"IG": 0.03}, claims.QUADRATURE),
        ({"adaptive": 0.02}, claims.ADAPTIVE),
        ({"EG1": 0.05}, claims.ONE_DRAW),
        ({"EG32": 1.0}, claims.ONE_DRAW),
        ({"IxG": 0.01}, claims.INPUT_X_GRADIENT),
        ({"occlusion": 0.01}, claims.OCCLUSION),
    ):
        assert synthetic(**wrong)[claim] == "not confirmed", wrong


def test_what_is_measured_depends_on_kind_and_seed_alone():
    kind = KINDS[3]
    first = measure.measured(kind, 1, N, torch.device("cpu"))
    torch.manual_seed(77)
    assert measure.measured(kind, 1, N, torch.device("cpu")) == first
    assert measure.measured(kind, 2, N, torch.device("cpu")) != first


def test_a_wrong_truth_is_noticed():
    problem = problem_of(KINDS[0])
    found = problem.sums(methods.EXACT.attribute(problem, 0))
    assert float(scores.relative_error(found, problem.truth).max()) < 1e-12
    assert float(scores.relative_error(found, problem.truth.roll(1, 1)).min()) > 0.01


@pytest.mark.thorough
def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    def section():
        parser = argparse.ArgumentParser()
        truth.add_arguments(parser)
        return truth.section(parser.parse_args(["--output", str(tmp_path), "--images", "2", "--models", "small"]))

    monkeypatch.setattr("captum_xg.repro.truth.command._SEEDS", {"quick": 1})
    first = section()
    assert (tmp_path / "truth.png").stat().st_size < 120_000
    (tmp_path / "units" / "pairs, seed 0.json").unlink()
    done = []
    real = measure.measured
    monkeypatch.setattr(measure, "measured", lambda kind, *rest: done.append(kind.key) or real(kind, *rest))
    assert json.dumps(section().numbers) == json.dumps(first.numbers)
    assert done == ["pairs"]
    assert {each.claim for each in first.findings} == set(claims.CLAIMS)
