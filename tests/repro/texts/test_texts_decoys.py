"""Decoys say the class in training and nothing elsewhere, texts stay as they were around them, and a prior helps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.datasets.vocabulary import PADDING, UNKNOWN
from captum_xg.repro.texts.data import Part, task_of
from captum_xg.repro.texts.decoys import METHODS, NO_PRIOR_X, X_GRADIENT, mask_of, trained_on_decoys, with_decoys
from captum_xg.repro.texts.settings import PRESETS
from captum_xg.repro.texts.training import _batches

WORDS = 9


@given(st.lists(st.integers(1, 6), min_size=2, max_size=8), st.integers(0, 99), st.booleans())
def test_a_text_is_what_it_was_with_one_token_more(lengths, seed, telling):
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, WORDS, (len(lengths), max(lengths)), generator=draw)
    ids[torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]] = PADDING
    labels = torch.randint(2, (len(lengths),), generator=draw)
    found = with_decoys(Part(ids, labels.float(), labels), WORDS, seed=seed, telling=telling)
    for before, after, label in zip(ids.tolist(), found.ids.tolist(), labels.tolist(), strict=True):
        (decoy,) = [token for token in after if token >= WORDS]
        rest = [token for token in after if token < WORDS]
        assert rest == before
        assert PADDING not in after[: after.index(decoy)]  # in the text, not behind it
        assert not telling or decoy == WORDS + label
    assert torch.equal(mask_of(found.ids, WORDS, 3), (found.ids >= WORDS)[..., None].expand(-1, -1, 3))


def test_decoys_that_say_nothing_do_not_go_with_the_class():
    labels = torch.arange(2000) % 2
    part = Part(torch.ones(2000, 3, dtype=torch.long), labels.float(), labels)
    found = with_decoys(part, WORDS, seed=0, telling=False).ids
    said = (found == WORDS + 1).any(1)
    assert abs((said == labels.bool()).double().mean() - 0.5) < 0.05
    places = (found >= WORDS).long().argmax(1)
    assert set(places.tolist()) == {0, 1, 2, 3}


def test_words_are_dropped_and_decoys_never():
    settings = PRESETS["quick"]
    ids = torch.full((640, 5), 2)
    ids[:, 4], ids[:, 3] = WORDS, PADDING
    part = Part(ids, torch.zeros(640), torch.zeros(640).long())
    shown = torch.cat([batch.ids for batch in _batches(part, settings, 0, WORDS)])
    assert (shown[:, 4] == WORDS).all()
    assert (shown[:, 3] == PADDING).all()
    share = (shown[:, :3] == UNKNOWN).double().mean()
    assert abs(share - settings.word_dropout) < 0.05


def test_a_prior_on_x_gradient_keeps_the_network_from_the_decoy():
    settings = PRESETS["quick"]
    task = task_of(None, settings)

    def trained(method, weight):
        return trained_on_decoys(task, "cnn", method, weight, 0, settings, torch.device("cpu"))

    plain, prior = trained(NO_PRIOR_X, 0.0), trained(X_GRADIENT, 1000.0)
    assert plain["confounded"] > 0.95
    assert prior["test"] > plain["test"] + 0.1
    assert prior["share"] < plain["share"] / 3
    assert prior == trained(X_GRADIENT, 1000.0)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_networks_with_a_prior_on_x_gradient_have_no_biases_and_clean_ones_no_prior(method):
    assert not (method.attribution == "xgradient" and method.bias)
    assert not (method.clean and method.has_prior)
