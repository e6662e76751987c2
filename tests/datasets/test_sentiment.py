"""Texts become ids and back, generated ratings are sums, and files that are not as described are refused."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.datasets.review_grammar import NEUTRAL, VALENCES, generated_reviews, true_valences
from captum_xg.datasets.sentiment import FILES, LEXICON, load_lexicon, load_sentences
from captum_xg.datasets.vocabulary import PADDING, UNKNOWN, Vocabulary, tokenise
from captum_xg.errors import FileError, OptionError, OptionTypeError


@given(st.text(max_size=40))
def test_tokens_are_all_of_a_text_but_its_blanks_and_capitals(text):
    plain = text.lower().replace("’", "'")
    kept = "".join(c for c in plain if not c.isspace() and c != "_")
    assert "".join(token for token in tokenise(text) if token != "_") == kept
    assert all(token == token.strip() and token for token in tokenise(text))


def test_words_keep_their_inner_apostrophes_and_punctuation_stands_alone():
    assert tokenise("It ISN’T 'dull'!?") == ["it", "isn't", "'", "dull", "'", "!", "?"]


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), min_size=1, max_size=5), st.integers(1, 4))
def test_ids_say_which_words_a_text_has_in_their_order(words, longest):
    texts, vocabulary = [" ".join(each) for each in words], Vocabulary(("a", "b", "c", "d"))
    ids = vocabulary.encode(texts, max_length=longest)
    for row, own in zip(ids.tolist(), words, strict=True):
        expected = [vocabulary.ids.get(word, UNKNOWN) for word in own[:longest]]
        assert row[: len(expected)] == expected
        assert set(row[len(expected) :]) <= {PADDING}
    assert len(vocabulary) == 6 > int(ids.max())
    assert ids.shape[1] == max(1, *(min(len(each), longest) for each in words))


def test_a_vocabulary_has_the_frequent_words_the_most_frequent_first():
    found = Vocabulary.of(["b a b", "b a c"], least=2)
    assert found.words == ("b", "a")
    assert "c" not in found
    with pytest.raises(OptionError, match="'a' is among the words more than once"):
        Vocabulary(("a", "b", "a"))
    with pytest.raises(OptionTypeError, match="a list of texts"):
        found.encode("b a")
    with pytest.raises(OptionError, match="there are no texts"):
        found.encode([])


@given(st.integers(0, 99))
def test_the_rating_of_a_generated_review_is_the_sum_of_its_words(seed):
    found, truth = generated_reviews(20, seed=seed), true_valences()
    assert len(set(found.texts)) == 20
    for text, rating in zip(found.texts, found.ratings.tolist(), strict=True):
        assert sum(truth[token] for token in tokenise(text)) == rating
    assert found.fingerprint() == generated_reviews(20, seed=seed).fingerprint()
    assert found.fingerprint() != generated_reviews(20, seed=seed + 1).fingerprint()


def test_words_that_contribute_nothing_still_go_along_with_ratings():
    """The trap: who counts what goes with high ratings gives them a contribution."""
    found = generated_reviews(2000)
    assert not set(NEUTRAL) & set(VALENCES)
    means = {
        word: found.ratings[torch.tensor([word in tokenise(text) for text in found.texts])].mean()
        for word in ("acting", "sequel")
    }
    assert means["acting"] > 0.5 > -0.5 > means["sequel"]


def test_classes_are_ratings_beyond_a_bound():
    found = generated_reviews(200)
    labels = found.labels(1.0)
    assert torch.equal(labels == 1, found.ratings > 1)
    assert torch.equal(labels == 0, found.ratings < -1)
    assert torch.equal(labels == -1, found.ratings.abs() <= 1)
    with pytest.raises(OptionError, match="`beyond`"):
        found.labels(-1)


@pytest.fixture(scope="module")
def folder():
    root = os.environ.get("CAPTUM_XG_DATA")
    if not root or not (Path(root) / "sentiment").is_dir():
        pytest.skip("CAPTUM_XG_DATA names no folder with sentiment, the rated sentences of vaderSentiment")
    return Path(root) / "sentiment"


def test_the_rated_sentences_and_the_lexicon(folder):
    films, products, lexicon = load_sentences(folder), load_sentences(folder, "products"), load_lexicon(folder)
    assert (len(films.texts), len(products.texts)) == (10_603, 3_697)
    assert len(set(films.texts)) == len(films.texts) == len(films.ratings)
    assert films.texts[2] == "Effective but too tepid biopic"
    assert films.ratings[2].item() == pytest.approx(-0.6)
    assert lexicon["good"] == 1.9
    assert lexicon["awful"] == -2.0
    assert len(lexicon) > 7000
    assert all(tokenise(word) == [word] for word in lexicon)


SENTENCE = "1\t2.5\tA fine film\n"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("movies", None, "there is no such file.*Give the folder of vaderSentiment 3.3.2"),
        ("movies", "", "it is empty"),
        ("movies", SENTENCE + "2\t1.0\n", "line 2 has not 3 columns"),
        ("movies", SENTENCE + "2\tmuch\tA film\n", "line 2 has the rating 'much'"),
        ("movies", SENTENCE + "2\tnan\tA film\n", "line 2 has the rating 'nan'"),
        ("movies", SENTENCE + "2\t4.5\tA film\n", "line 2 has the rating '4.5'"),
        ("movies", SENTENCE + "2\t1\t \n", "line 2 has no words"),
        ("lexicon", "good\t1.9\n", "line 1 has not 4 columns"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused_with_its_line(tmp_path, file, content, said):
    if content is not None:
        (tmp_path / FILES.get(file, LEXICON)).write_text(content)
    with pytest.raises(FileError, match=said):
        load_lexicon(tmp_path) if file == "lexicon" else load_sentences(tmp_path)


def test_of_equal_sentences_the_first_is_taken_and_other_reviews_are_refused(tmp_path):
    (tmp_path / FILES["movies"]).write_text(SENTENCE + "2\t-1.0\tA fine film\r\n3\t-1.0\tAnother\n", newline="")
    assert load_sentences(tmp_path).ratings.tolist() == [2.5, -1.0]
    with pytest.raises(OptionError, match="must be one of movies, products"):
        load_sentences(tmp_path, "books")
