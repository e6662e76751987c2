"""Results of the decoy experiment: the choice of λ, storage, tables."""

import json
import math

import pytest
import torch
from decoy_samples import SMALL, stored
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.errors import OptionError
from captum_xg.repro.decoy.protocol import (
    RRR,
    X_GRADIENT,
)
from captum_xg.repro.decoy.report import as_markdown, as_text
from captum_xg.repro.decoy.results import Outcome, choose, recovered
from captum_xg.repro.decoy.store import SCORES, Run, Store
from captum_xg.repro.decoy.training import network


def test_recovered_is_nothing_without_effect_and_everything_on_par_with_clean_images():
    def outcome(*test):
        return Outcome(X_GRADIENT, 1.0, tuple(stored(test=t) for t in test), {}, 1.0)

    none, clean = outcome(0.4, 0.6), outcome(0.9, 0.9)
    assert recovered(none, none, clean) == 0
    assert recovered(clean, none, clean) == 1
    assert recovered(outcome(0.6, 0.8), none, clean) == pytest.approx(0.5)
    assert math.isnan(recovered(none, none, none))


# The choice of λ


EIGHTHS = st.integers(0, 8).map(lambda n: n / 8)  # of which means are exact, and often equal


@given(st.dictionaries(st.sampled_from([0.1, 1.0, 10.0, 100.0]), st.lists(EIGHTHS, min_size=2, max_size=2), min_size=1))
def test_the_chosen_weight_has_the_largest_mean_and_is_the_smallest_of_equals(accuracies):
    grid = {w: [stored(weight=w, validation=v) for v in values] for w, values in accuracies.items()}
    means = {w: sum(values) / 2 for w, values in accuracies.items()}
    assert choose(grid, lambda run: run.validation) == min(w for w in means if means[w] == max(means.values()))


def test_the_choice_is_made_on_random_decoys_and_what_the_others_would_choose_is_told():
    grid = {
        1.0: [stored(validation=0.5, confounded=0.99)],
        100.0: [stored(weight=100.0, validation=0.8, confounded=0.9)],
    }
    outcome = Outcome(X_GRADIENT, choose(grid, lambda run: run.validation), (), grid, 1.0)
    assert outcome.weight == 100.0
    assert outcome.confounded_weight == 1.0
    assert outcome.at_the_edge


def test_a_weight_whose_training_diverged_is_never_chosen():
    good, bad = stored(weight=1.0, validation=0.1), Run("xg", 10.0, 0, None)
    assert choose({1.0: [good], 10.0: [bad, stored(weight=10.0, validation=1.0)]}, lambda run: run.validation) == 1.0
    with pytest.raises(OptionError, match="diverged"):
        choose({10.0: [bad]}, lambda run: run.validation)


def test_no_mean_is_given_over_seeds_of_which_one_diverged():
    outcome = Outcome(X_GRADIENT, 1.0, (stored(), Run("xg", 1.0, 1, None)), {}, 1.0)
    with pytest.raises(OptionError, match="seed 1: training diverged"):
        outcome.values("test")


# What is on the disk


def test_what_is_stored_is_what_is_read(tmp_path):
    store = Store(tmp_path, {"epochs": 2, "hidden": (50, 30)})
    weights = network(SMALL, bias=False, seed=0).state_dict()
    store.add(X_GRADIENT, stored(weight=0.01, test=0.25), weights)
    again = Store(tmp_path, {"epochs": 2, "hidden": (50, 30)})
    assert again.run(X_GRADIENT, 0.01, 0) == stored(weight=0.01, test=0.25)
    model = network(SMALL, bias=False, seed=1)
    assert again.load(model, X_GRADIENT, 0.01, 0)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    for method, weight, seed in ((X_GRADIENT, 0.1, 0), (X_GRADIENT, 0.01, 1), (RRR, 0.01, 0)):
        assert again.run(method, weight, seed) is None
        assert not again.load(model, method, weight, seed)


def test_a_folder_with_other_settings_is_refused_and_named(tmp_path):
    Store(tmp_path, {"epochs": 2, "batch_size": 4})
    with pytest.raises(OptionError, match=r"epochs 2 there and 3 now"):
        Store(tmp_path, {"epochs": 3, "batch_size": 4})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"method": "xg", "weight": 2.0, "seed": 0, "scores": null}',
        '{"method": "xg", "weight": 1.0, "seed": 0, "scores": {"test": 0.5}}',
        json.dumps({"method": "xg", "weight": 1.0, "seed": 0, "scores": dict.fromkeys(SCORES, float("nan"))}),
        json.dumps({"method": "xg", "weight": 1.0, "seed": 0, "scores": dict.fromkeys(SCORES, 1.5)}),
    ],
)
def test_a_file_that_is_no_training_is_refused(tmp_path, content):
    store = Store(tmp_path, {})
    store.add(X_GRADIENT, stored())
    (file,) = (tmp_path / "runs").glob("xg*.json")
    file.write_text(content)
    with pytest.raises(OptionError, match="Delete it"):
        store.run(X_GRADIENT, 1.0, 0)


# Tables


def test_a_table_has_the_same_cells_in_text_and_in_markdown():
    rows = [["method", "λ", "test"], ["a, b", "1*", ""], ["c", "", "90.1 ± 0.2"]]
    text = as_text(rows).splitlines()
    assert text[0].split() == rows[0]
    assert [line.split("  ")[0].strip() for line in text[2:]] == ["a, b", "c"]
    header, rule, *rest = [[cell.strip() for cell in line.split("|")[1:-1]] for line in as_markdown(rows).splitlines()]
    assert rule == ["---", "---:", "---:"]
    assert [header, *rest] == [rows[0], ["a, b", r"1\*", ""], rows[2]]
