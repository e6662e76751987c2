"""The fair Figure 1: paired, nothing chosen by test scores, resumable, and outcomes that follow from the numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captum_xg.datasets.nhanes import MortalityTable
from captum_xg.repro.fair import command
from captum_xg.repro.fair.choices import choices
from captum_xg.repro.fair.measure import Bench
from captum_xg.repro.fair.report import all_cells, findings
from captum_xg.repro.fair.statements import STATEMENTS, parts_of_the_difference
from captum_xg.repro.fair.trainings import Protocol, Trainings
from captum_xg.repro.fair.variants import Variant, variants
from captum_xg.repro.sparsity.networks import network, stacked
from captum_xg.repro.sparsity.protocol import Experiment, split
from captum_xg.repro.sparsity.training import Samples, prior_and_task

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
HIDDEN = (8, 5)
GRID = (0.001, 0.1, 1.0)


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(3)
    features = generator.normal(size=(260, 5))
    alive = (features[:, 0] + generator.normal(size=260) > 0).astype(np.int64)
    return MortalityTable(features, alive, tuple("abcde"), "made up: for a test")


@pytest.fixture(scope="module")
def bench(table):
    splits = [split(table, i) for i in range(3)]
    return Bench(Experiment(table, splits, 0, 6, torch.device("cpu"), HIDDEN), (0.1, 1.0), (3, 6))


@pytest.mark.parametrize(
    "variant",
    [Variant("xgradient", False), Variant("rrr", True), Variant("expected_gradients", True, "batch", 2)],
    ids=lambda v: v.name,
)
def test_all_strengths_and_epochs_from_one_stack_are_those_of_the_sparsity_experiment(variant, bench):
    found = bench.measure(variant, range(3))
    for strength in (0.1, 1.0):
        for epochs in (3, 6):
            alone = replace(bench.experiment, epochs=epochs).run(variant.method, strength, [0, 1, 2])
            pairs = found[f"{strength:g}"][str(epochs)]["best"]
            for (valid, test), expected in zip(pairs, alone, strict=True):
                assert valid == pytest.approx(expected.valid_auc, abs=2e-3)  # float32: a pair may change places
                assert test == pytest.approx(expected.test_auc, abs=2e-2)


@pytest.mark.parametrize("attribution", ["joint", "input_x_gradient"])
@pytest.mark.parametrize("over", ["batch", "example"])
def test_the_prior_is_that_of_a_plain_loop_over_examples(attribution, over):
    model = network(4, bias=True, seed=1, hidden=HIDDEN).double()
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 0, 1, 1, 0, 1], dtype=torch.float64)
    prior, _ = prior_and_task(stacked([model]), Samples(x[None], y[None], x[None], y[None]), attribution, None, over)
    rows = []
    for each in x:
        point = each.clone().requires_grad_()
        biases = [layer.bias for layer in model if hasattr(layer, "bias")]
        gradients = torch.autograd.grad(model(point).sum(), [point, *biases])
        products = [t * g for t, g in zip([point, *biases], gradients, strict=True)]
        rows.append(torch.cat(products if attribution == "joint" else products[:1]).abs())
        if attribution == "joint":  # homogeneous in inputs and biases together
            assert sum(p.sum() for p in products).item() == pytest.approx(model(each).item())
    sizes = torch.stack(rows).detach()
    pairwise = lambda a: float((a[:, None] - a[None]).abs().sum() / (2 * len(a) * a.sum()))
    expected = pairwise(sizes.mean(0)) if over == "batch" else np.mean([pairwise(row) for row in sizes])
    assert float(prior.detach()) == pytest.approx(-expected)


def _made_up(advantage=0.05, references=(1, 2, 16, 32, 64), grid=GRID, epochs=(50, 100), n=12):
    """Return trainings in which X-Gradient has an advantage over everything but EG(≥ 32), at the largest λ."""
    generator = np.random.default_rng(0)
    splits = generator.normal(0.7, 0.02, n)
    scores = {}
    for variant in variants(references):
        level = advantage if variant.attribution in ("xgradient", "input_x_gradient", "joint") else 0.0
        level += 0.012 * np.log2(variant.n_references) if variant.n_references else 0.0
        scores[variant] = {
            s: {
                str(e): {
                    when: [[v + level + s / 1e3, v + level] for v in splits + generator.normal(0, 1e-3, n)]
                    for when in ("best", "last")
                }
                for e in epochs
            }
            for s in variant.strengths(grid)
        }
    return Trainings(scores)


def test_outcomes_flip_when_the_numbers_do():
    chosen = choices(GRID, (50, 100), 100)
    verdicts = lambda trainings: {
        f.claim.key.split("/")[1]: f.verdict for f in findings(all_cells(trainings, chosen), chosen)
    }
    assert set(verdicts(_made_up()).values()) == {"confirmed"}
    worse = verdicts(_made_up(-0.05))
    assert {key for key, verdict in worse.items() if verdict == "not confirmed"} == {
        *("unregularised", "rrr", "grad", "eg1", "fewer")
    }
    few = verdicts(_made_up(references=(1, 2)))
    assert {key for key, verdict in few.items() if verdict == "not run"} == {"fewer", "match", "more"}


def test_the_strength_never_sees_the_test_scores():
    trainings, how = _made_up(), Protocol(GRID, 100)
    variant = Variant("xgradient", False)
    flipped = {
        s: {e: {w: [[v, 1 - t] for v, t in pairs] for w, pairs in by.items()} for e, by in scores.items()}
        for s, scores in trainings.scores[variant].items()
    }
    other = Trainings({**trainings.scores, variant: flipped})
    assert trainings.strength(variant, how) == other.strength(variant, how) == 1.0
    for by_split in (True, False):
        own = replace(how, by_split=by_split)
        both = [t.test(variant, own) for t in (trainings, other)]
        assert both[0] == pytest.approx([1 - value for value in both[1]])


def test_the_parts_of_the_difference_add_up_to_it():
    for choice in choices(GRID, (100,), 100)[-2:]:
        *parts, whole = parts_of_the_difference(_made_up(), choice)
        assert sum(found.value for _, found in parts) == pytest.approx(whole[1].value)


def test_more_references_than_one_take_the_strength_of_one_unless_they_have_their_own():
    paper, *others = choices(GRID, (100,), 100)
    own = next(choice for choice in others if choice.own_strength)
    trainings = _made_up()
    many = Variant("expected_gradients", True, "batch", 16)
    worse = {s: {e: {w: [[-s, s] for _ in p] for w, p in by.items()} for e, by in v.items()} for s, v in
             trainings.scores[many].items()}  # fmt: skip
    trainings = Trainings({**trainings.scores, many: worse})
    assert set(paper.test(trainings, many)) == {1.0}
    assert set(own.test(trainings, many)) == {0.1}


@pytest.fixture
def run(tmp_path, table, monkeypatch):
    from captum_xg.cli.command_line import main

    frame = pytest.importorskip("pandas").DataFrame(table.features, columns=list(table.names))
    frame.assign(alive=table.alive).to_csv(tmp_path / "data.csv", index=False)
    tiny = command.Preset(3, (1, 2), (0.1, 1.0), (1, 100), (4,), "tiny", few=True)
    monkeypatch.setattr(command, "PRESETS", {"quick": tiny})
    monkeypatch.setattr(command, "EPOCHS", 1)
    monkeypatch.setattr(command, "PRESETS", {"quick": tiny._replace(epochs=(1, 2))})
    monkeypatch.setattr("captum_xg.repro.fair.figure.draw", lambda *_: None)
    return lambda *more: main(
        ["repro", "fair", "--data", str(tmp_path / "data.csv"), "--output", str(tmp_path / "out"), *more]
    )


def test_an_interrupted_run_goes_on_to_the_same_numbers_and_a_second_does_nothing(run, tmp_path, monkeypatch):
    assert run() == 0
    whole = (tmp_path / "out" / "section.json").read_text()
    drop = lambda text: [line for line in text.splitlines() if '"seconds"' not in line]
    kept = sorted((tmp_path / "out" / "units").glob("[EG]*.json"))
    for path in kept:
        path.unlink()
    measured = []
    original = Bench.measure
    monkeypatch.setattr(Bench, "measure", lambda *a: measured.append(a[1].name) or original(*a))
    assert run() == 0
    assert len(measured) == len(kept) > 0
    assert drop((tmp_path / "out" / "section.json").read_text()) == drop(whole)
    assert run() == 0
    assert len(measured) == len(kept)
    assert run("--seed", "1") == 3


@pytest.mark.parametrize("wrong", [["--repetitions", "1"], ["--references", "2,4"], ["--references", "1"]])
def test_options_without_meaning_are_refused(run, wrong, tmp_path):
    assert run(*wrong) == 3
    assert not (tmp_path / "out" / "units").exists()


def test_claims_have_keys_of_their_own_and_quotes():
    keys = [statement.claim.key for statement in STATEMENTS]
    assert len(keys) == len(set(keys))
    assert all(statement.claim.quotes for statement in STATEMENTS)
