"""Rank correlations are SciPy's, of resamples too, and words get the mean over their places."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from captum_xg.datasets.vocabulary import PADDING
from captum_xg.repro.texts.agreement import resampled, spearman, with_interval
from captum_xg.repro.texts.data import task_of
from captum_xg.repro.texts.explaining import (
    GRADIENT_X_INPUT,
    IG,
    X_GRADIENT,
    by_word,
    integrated_gradients,
    methods_of,
    x_gradient,
)
from captum_xg.repro.texts.networks import ARCHITECTURES, network
from captum_xg.repro.texts.settings import PRESETS
from captum_xg.repro.texts.steps import difference_from_integral, missing_sum, steps_needed
from captum_xg.repro.texts.training import scored


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=12))
def test_the_correlation_of_a_resample_is_that_of_its_pairs_written_out(triples):
    x, y, counts = (torch.tensor(each, dtype=torch.float64) for each in zip(*triples, strict=True))
    written = [np.repeat(each.numpy(), counts.long().numpy()) for each in (x, y)]
    found = float(spearman(x, y, counts[None])[0])
    if any(len(set(each)) < 2 for each in written):
        assert not abs(found) <= 1 or len(written[0]) == 0 or np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(*written).statistic, abs=1e-12)


def test_a_perfect_method_has_one_and_its_opposite_minus_one():
    valences = torch.tensor([-2.0, 0.5, 0.5, 3.0, 1.0, -1.0], dtype=torch.float64)
    found = resampled({"perfect": [valences, valences.exp()], "opposite": [-valences]}, valences)
    assert float(spearman(valences, valences)) == pytest.approx(1)
    assert with_interval(found["perfect"]).value == pytest.approx(1)
    assert with_interval(found["opposite"]).value == pytest.approx(-1)
    assert torch.allclose(found["perfect"], -found["opposite"], equal_nan=True)


@pytest.fixture(scope="module")
def task():
    return task_of(None, PRESETS["quick"])


def drawn(architecture, task, *, x):
    return scored(network(architecture, len(task.vocabulary), 2, PRESETS["quick"], x=x, seed=0))


def test_a_word_has_the_mean_of_its_places(task):
    ids = task.test.ids[:20]
    values = torch.randn(ids.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = {tuple(row): value for row, value in zip(ids.tolist(), values, strict=True)}
    padded = ids.shape[1]

    def attribute(part):
        whole = torch.nn.functional.pad(part, (0, padded - part.shape[1]))
        return torch.stack([rows[tuple(row)] for row in whole.tolist()])[:, : part.shape[1]]

    found = by_word(attribute, ids, task)
    for word, mean in zip(task.words, found.tolist(), strict=True):
        places = ids == task.vocabulary.ids[word]
        assert mean == pytest.approx(values[places].mean().item(), nan_ok=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_x_gradient_is_the_integral_and_sums_to_the_score_and_padding_has_none(architecture, task):
    score, ids = drawn(architecture, task, x=True), task.test.ids[:6]
    assert difference_from_integral(score, ids) < 1e-7
    assert missing_sum(score, ids) < 1e-5
    assert (x_gradient(score)(ids)[ids == PADDING] == 0).all()


def test_methods_are_those_that_are_right_for_the_network(task):
    assert X_GRADIENT in methods_of(drawn("bag", task, x=True), x=True)
    twins = methods_of(drawn("bag", task, x=False), x=False)
    assert {IG, GRADIENT_X_INPUT} <= set(twins)
    assert X_GRADIENT not in twins


def test_steps_are_the_least_from_which_on_the_error_stays_small(task):
    score, ids = drawn("cnn", task, x=False).double(), task.test.ids[:4]
    reference = integrated_gradients(score, ids, 64)
    for row, needed in enumerate(steps_needed(score, ids, 64)):
        for tried in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50):
            found = integrated_gradients(score, ids, tried)[row]
            error = (found - reference[row]).abs().sum() / reference[row].abs().sum()
            assert needed is None or tried < needed or error <= 0.01
