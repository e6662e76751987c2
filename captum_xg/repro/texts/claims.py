"""What is said of networks of degree 1 on texts; none of it is the paper's."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim


def _claim(key: str, says: str) -> Claim:
    return Claim(f"texts/{key}", BEYOND, says)


CLASSES = _claim("classes", "text networks of degree 1 are at most one percentage point less accurate than their twins")
RATING = _claim("rating", "they predict ratings with an error that is at most 2 % larger than that of their twins")
EQUAL = _claim("equal", "on them X-Gradient is Integrated Gradients, by one gradient")
SUMS = _claim("sums", "the attributions of the tokens sum to the score")
STEPS = _claim("steps", "on the twins Integrated Gradients needs more than one gradient for an error of 1 %")
WORDS_IG = _claim(
    "words/ig", "X-Gradient ranks words by their known valence no worse than Integrated Gradients (50) of the twin"
)
WORDS_RANDOM = _claim("words/random", "X-Gradient ranks words by their known valence better than chance")
WORDS_GRADIENT = _claim("words/gradient", "X-Gradient ranks words by their known valence better than the gradient")
WORDS_INPUT = _claim(
    "words/input", "X-Gradient ranks words by their known valence better than gradient × input of the twin"
)
PRIOR = _claim("prior", "a prior on X-Gradient keeps networks from a token that gives the label away in training")
PRIOR_INPUT = _claim("prior/input", "with it they are more accurate than with a prior on input × gradient of the twin")
PRIOR_EG = _claim("prior/eg", "with it they are more accurate than with a prior on Expected Gradients (1) of the twin")
CLAIMS = (
    *(CLASSES, RATING, EQUAL, SUMS, STEPS),
    *(WORDS_IG, WORDS_RANDOM, WORDS_GRADIENT, WORDS_INPUT),
    *(PRIOR, PRIOR_INPUT, PRIOR_EG),
)
