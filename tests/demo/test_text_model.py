"""The text network that comes with the package is proven, small, and as good as its record says."""

import os
from pathlib import Path

import pytest
import torch

from captum_xg import LayerXGradient, certify
from captum_xg.assets import ASSETS
from captum_xg.datasets.sentiment import load_lexicon, load_sentences
from captum_xg.datasets.vocabulary import tokenise
from captum_xg.demo import demo_text_model
from captum_xg.demo.texts import TEXT_FILE, TEXT_LICENCE_FILE, retrain_text, text_record
from captum_xg.errors import FileError
from captum_xg.repro.texts.agreement import spearman
from captum_xg.repro.texts.data import divided
from captum_xg.repro.texts.explaining import by_word, x_gradient
from captum_xg.repro.texts.settings import PRESETS
from captum_xg.repro.texts.training import scored, scores

TEXTS = ["A superb, moving and funny film.", "Dull, stupid and far too long.", "xyzzy"]


def test_it_is_of_degree_1_and_its_tokens_sum_to_the_logit():
    model, vocabulary = demo_text_model()
    ids = vocabulary.encode(TEXTS)
    certificate = certify(model.from_embedding, model.embedding(ids), additional_forward_args=ids == 0)
    assert certificate.homogeneous
    assert certificate.degree == 1
    per_token = LayerXGradient(model, model.embedding).attribute(ids, target=1).sum(-1)
    torch.testing.assert_close(per_token.sum(1), model(ids)[:, 1], atol=1e-4, rtol=1e-4)
    assert model(ids).argmax(1).tolist()[:2] == [1, 0]


def test_it_is_small_and_has_words_and_no_sentences():
    assert (ASSETS / TEXT_FILE).stat().st_size < 150_000
    _, vocabulary = demo_text_model()
    assert all(tokenise(word) == [word] for word in vocabulary.words)
    assert "C.J. Hutto" in (ASSETS / TEXT_LICENCE_FILE).read_text()


def test_a_file_that_is_missing_or_another_is_refused(tmp_path):
    with pytest.raises(FileError, match=TEXT_FILE):
        demo_text_model(folder=tmp_path)
    torch.save({"words": "a\nb", "state_dict": {}}, tmp_path / TEXT_FILE)
    with pytest.raises(FileError, match="lacks record"):
        demo_text_model(folder=tmp_path)


@pytest.fixture(scope="module")
def folder():
    root = os.environ.get("CAPTUM_XG_DATA")
    if not root or not (Path(root) / "sentiment").is_dir():
        pytest.skip("CAPTUM_XG_DATA names no folder with sentiment, the rated sentences of vaderSentiment")
    return Path(root) / "sentiment"


def test_its_record_is_what_comes_out_on_sentences_that_it_was_not_trained_on(folder):
    model, vocabulary = demo_text_model()
    task = divided(load_sentences(folder), load_lexicon(folder), PRESETS["full"], known=False, least=5)
    assert task.vocabulary.words == vocabulary.words  # of the training sentences alone
    words = by_word(x_gradient(scored(model)), task.test.ids, task)
    assert scores(model, task.test.classified())["accuracy"] == pytest.approx(text_record()["accuracy"], abs=2e-3)
    assert float(spearman(words, task.valences)) == pytest.approx(text_record()["words"], abs=5e-3)


@pytest.mark.thorough
def test_it_can_be_trained_again(folder, tmp_path):
    record = retrain_text(folder, tmp_path)
    assert record == text_record(tmp_path)
    assert record["accuracy"] == pytest.approx(text_record()["accuracy"], abs=0.03)
