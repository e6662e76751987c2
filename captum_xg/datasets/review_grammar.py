"""Reviews drawn from a small grammar: the rating is the sum of what each word contributes, and nothing else.

So the true attribution of every word is known, which no text that people write can offer. Each review has one clause or
two of the form *the acting is quite superb*, and an end. Words that judge carry the whole rating. Things that are
judged carry nothing, but each is found with praise more often than with blame, or the other way round: a method that
counts what goes together with high ratings goes wrong there. There is no negation and no irony: no single word would
have a contribution of its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch

from captum_xg._core.options import integer, positive_integer
from captum_xg.datasets.sentiment import RatedTexts

VALENCES: Mapping[str, float] = {
    **dict.fromkeys(("superb", "brilliant", "stunning", "masterful"), 3.0),
    **dict.fromkeys(("wonderful", "moving", "gripping", "hilarious", "beautiful"), 2.0),
    **dict.fromkeys(("good", "clever", "charming", "lively", "fresh"), 1.0),
    **dict.fromkeys(("pleasant", "solid", "decent"), 0.5),
    **dict.fromkeys(("uneven", "plain", "long"), -0.5),
    **dict.fromkeys(("dull", "slow", "clumsy", "stale", "thin"), -1.0),
    **dict.fromkeys(("boring", "tiresome", "ugly", "pointless", "lifeless"), -2.0),
    **dict.fromkeys(("awful", "dreadful", "unbearable", "atrocious"), -3.0),
    **dict.fromkeys(("hooray", "bravo"), 1.5),
    **dict.fromkeys(("alas", "ugh"), -1.5),
}
"""What each word that judges contributes to the rating."""

_WITH_PRAISE = ("acting", "camera", "score", "cast", "heroine", "dialogue", "photography")
_WITH_BLAME = ("plot", "sequel", "script", "villain", "ending", "remake", "effects")
_EITHER = ("story", "director", "pace", "comedy", "drama", "film")
_BEFORE = ("is", "was", "seems", "is quite", "is often", "is at times", "was rather")
_BETWEEN = ("and", "while", "but")
_ENDS = (".", ".", "in the end .", "this time .", "to me .", "as one of my friends said .")
_CRIES = ("hooray", "bravo", "alas", "ugh")
_TILT = 0.8
"""The share of the things found with praise (or blame) that are of the kind found with it."""
_NEUTRAL = (*_WITH_PRAISE, *_WITH_BLAME, *_EITHER, *_BEFORE, *_BETWEEN, *_ENDS, "the", ",")
NEUTRAL = tuple(sorted({word for text in _NEUTRAL for word in text.split()}))
"""Words that contribute nothing."""


def true_valences() -> dict[str, float]:
    """Return word → contribution of every word there is, 0 for those that contribute nothing."""
    return {**VALENCES, **dict.fromkeys(NEUTRAL, 0.0)}


def generated_reviews(n: int, *, seed: int = 0) -> RatedTexts:
    """Return ``n`` different reviews with the sum of their words' contributions as rating.

    Args:
        n: How many.
        seed: Of the draws.

    Source: Own construction.
    """
    where = "generated_reviews"
    wanted, draw = positive_integer(n, "n", where), random.Random(integer(seed, "seed", where))
    texts: dict[str, float] = {}
    while len(texts) < wanted:
        text = _review(draw)
        texts[text] = sum(VALENCES.get(word, 0.0) for word in text.split())
    ratings = torch.tensor(list(texts.values()), dtype=torch.float32)
    return RatedTexts(tuple(texts), ratings, "generated reviews, rated by the sum of their words' contributions")


def _review(draw: random.Random) -> str:
    clauses = [_clause(draw)]
    if draw.random() < 0.7:
        clauses += [draw.choice(_BETWEEN), _clause(draw)]
    cry = [draw.choice(_CRIES), ","] if draw.random() < 0.15 else []
    return " ".join([*cry, *clauses, draw.choice(_ENDS)])


def _clause(draw: random.Random) -> str:
    judgement = draw.choice([word for word in VALENCES if word not in _CRIES])
    likely, unlikely = (_WITH_PRAISE, _WITH_BLAME) if VALENCES[judgement] > 0 else (_WITH_BLAME, _WITH_PRAISE)
    things = _EITHER if draw.random() < 0.3 else likely if draw.random() < _TILT else unlikely
    return f"the {draw.choice(things)} {draw.choice(_BEFORE)} {judgement}"
