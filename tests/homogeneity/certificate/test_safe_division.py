"""Division by a norm that may be zero, in the ways in which people guard it; and in ways that do not guard."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, where
from torch.nn import functional as F
from truth import truth_of

from captum_xg.homogeneity.certificate.certify import certify

pytestmark = pytest.mark.filterwarnings("ignore")

W = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
V = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or (4, 4)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_zeros(seed: int, *shape: int) -> Tensor:
    """Rows of zeros, columns of zeros, and zeros among others, one kind each in a third of the rows."""
    x = drawn(seed, *shape)
    x[0] = 0
    x[-1] = x[-1] * (drawn(seed + 50, *x[-1].shape) > 0)
    x[1, ..., 0] = 0
    return x


def length(x: Tensor) -> Tensor:
    return x.norm(dim=1, keepdim=True)


def squares(x: Tensor) -> Tensor:
    return (x * x).sum(1, keepdim=True)


def guarded(n: Tensor) -> Tensor:
    return where(n > 0, n, 1)


def by(norm, division):
    """The division of x by a norm of x."""
    return lambda x: division(x, norm(x))


def in_place(x: Tensor) -> Tensor:
    n = x.abs().sum(1, keepdim=True)
    n[n == 0] = 1
    return x / n


def filled_in_place(x: Tensor) -> Tensor:
    n = x.abs().sum(1, keepdim=True)
    n.masked_fill_(n == 0, 1.0)
    return x / n


def attention(x: Tensor) -> Tensor:
    def safe(t: Tensor) -> Tensor:
        n = length(t)
        return t / where(n > 0, n, torch.ones_like(n))

    return (5 * safe(x @ W) @ safe(x @ V).T).softmax(-1) @ x


def response_norm(x: Tensor) -> Tensor:
    g = x.norm(dim=(1, 2), keepdim=True)
    m = g.mean(-1, keepdim=True)
    return x + W[0] * x * (g / guarded(m))


def twice(x: Tensor) -> Tensor:
    for _ in range(2):
        n = length(x)
        x = torch.relu(x @ W) / guarded(n)
    return x


IDIOMS = {
    "where, where": (0, by(length, lambda x, n: where(n > 0, x / where(n > 0, n, 1), 0))),
    "where": (0, by(length, lambda x, n: x / where(n > 0, n, 1))),
    "where with ones": (0, by(length, lambda x, n: x / where(n > 0, n, torch.ones_like(n)))),
    "where as a method": (0, by(length, lambda x, n: x / n.where(n > 0, torch.ones_like(n)))),
    "root after": (0, by(squares, lambda x, s: where(s > 0, x / where(s > 0, s, 1).sqrt(), 0))),
    "root after, alone": (1, by(squares, lambda x, s: where(s > 0, where(s > 0, s, 1).sqrt(), 0))),
    "rsqrt": (0, by(squares, lambda x, s: where(s > 0, x * where(s > 0, s, 1).rsqrt(), 0))),
    "rsqrt, once": (0, by(squares, lambda x, s: x * where(s > 0, s, 1).rsqrt())),
    "added mask": (0, by(length, lambda x, n: x / (n + (n == 0)))),
    "added mask as float": (0, by(length, lambda x, n: x / (n + (n == 0).to(n)))),
    "added choice": (0, by(length, lambda x, n: x / (n + where(n == 0, 1.0, 0.0)))),
    "fill": (0, by(length, lambda x, n: x / n.masked_fill(n == 0, 1))),
    "fill by not": (0, by(length, lambda x, n: x / n.masked_fill(~(n > 0), 1))),
    "fill by logical_not": (0, by(length, lambda x, n: x / n.masked_fill(torch.logical_not(n > 0), 1))),
    "fill by bool": (0, by(length, lambda x, n: x / n.masked_fill(~n.bool(), 1))),
    "fill in place": (0, filled_in_place),
    "index in place": (0, in_place),
    "x itself where zero": (0, by(length, lambda x, n: where(n == 0, x, x / n))),
    "not equal": (0, by(length, lambda x, n: x / where(n != 0, n, 1))),
    "other order": (0, by(length, lambda x, n: x / where(n.eq(0.0), torch.tensor(1.0), n))),
    "factor": (0, by(length, lambda x, n: x * where(n > 0, 1 / where(n > 0, n, 1), 0))),
    "factor, once": (0, by(length, lambda x, n: x * where(n > 0, 1 / n, 0))),
    "quotient chosen": (0, by(length, lambda x, n: where(n > 0, x / n, 0))),
    "cloned mask": (0, by(length, lambda x, n: where((n > 0).clone(), x / where(n > 0, n, 1), 0))),
    "norm computed twice": (0, lambda x: x / where(length(x) > 0, length(x), 1)),
    "sum of absolutes": (0, by(lambda x: x.abs().sum(1, keepdim=True), lambda x, n: x / guarded(n))),
    "largest absolute": (0, by(lambda x: x.abs().amax(1, keepdim=True), lambda x, n: x / guarded(n))),
    "largest absolute, max": (0, by(lambda x: x.abs().max(1, keepdim=True).values, lambda x, n: x / guarded(n))),
    "root mean square": (0, by(lambda x: x.square().mean(1, keepdim=True).sqrt(), lambda x, n: x / guarded(n))),
    "fourth powers": (0, by(lambda x: (x**4).sum(1, keepdim=True) ** 0.25, lambda x, n: x / guarded(n))),
    "by column": (0, by(lambda x: x.norm(dim=0), lambda x, n: x / guarded(n))),
    "of all": (0, by(torch.norm, lambda x, n: x / guarded(n))),
    "squeezed": (0, by(lambda x: x.norm(dim=1), lambda x, n: x / guarded(n)[:, None])),
    "squeezed, masked": (
        0,
        by(lambda x: x.norm(dim=1), lambda x, n: where((n > 0)[:, None], x / guarded(n)[:, None], 0)),
    ),
    "expanded": (0, by(lambda x: x.norm(dim=1), lambda x, n: x / guarded(n).unsqueeze(1).expand_as(x))),
    "transposed": (0, by(lambda x: x.norm(dim=1), lambda x, n: (x.T / guarded(n)).T)),
    "einsum": (0, lambda x: x / guarded(torch.einsum("bi,bi->b", x, x))[:, None].sqrt()),
    "hypot": (0, by(lambda x: torch.hypot(x, x.flip(1)), lambda x, n: x / guarded(n))),
    "two norms": (0, lambda x: x / guarded(length(x) + x.abs().sum(1, keepdim=True))),
    "squares over squares": (0, by(squares, lambda x, s: x * x / guarded(s))),
    "shares": (0, lambda x: x.relu() / guarded(x.relu().sum(1, keepdim=True))),
    "hidden": (0, lambda x: (lambda h: h / guarded(length(h)))((x @ W).relu())),
    "weighted": (0, by(length, lambda x, n: x * W[0] / guarded(n))),
    "linear": (0, by(length, lambda x, n: (x @ W) / guarded(n))),
    "centred": (0, lambda x: (lambda c: c / guarded(c.pow(2).mean(1, keepdim=True).sqrt()))(x - x.mean(1, True))),
    "cosines": (0, by(lambda x: x.norm(dim=1), lambda x, n: x @ x.T / (guarded(n)[:, None] * guarded(n)))),
    "times a size": (1, by(length, lambda x, n: x.abs().mean() * x / guarded(n))),
    "squash": (1, by(length, lambda x, n: n * x / guarded(n))),
    "attention": (1, attention),
    "response norm": (1, response_norm),
    "layer after layer": (0, twice),
    # Not what was meant, and homogeneous all the same: NaN at rows of zeros, as 0 / 0 is; and zero at them.
    "inverted": (1, by(length, lambda x, n: x / where(n > 0, 1, n))),
    "x itself where not": (1, by(length, lambda x, n: where(n == 0, x / n, x))),
    "other dimension of the mask": (0, by(lambda x: x.norm(dim=1), lambda x, n: x / where((n > 0)[:, None], n, 1))),
    "smaller where positive": (0, by(length, lambda x, n: x / where(n > 0, n - x[:, :1].abs(), 1))),
}


def kinks(f) -> list[tuple[Tensor, ...]]:
    shape = (3, 4, 5, 4) if f is response_norm else ()
    return [(with_zeros(seed, *shape),) for seed in (1, 2)]


def example(f) -> Tensor:
    return drawn(3, 3, 4, 5, 4) if f is response_norm else drawn(3)


@pytest.mark.parametrize("name", IDIOMS)
def test_guarded_division_is_proven_and_right(name: str) -> None:
    degree, f = IDIOMS[name]
    for x in (example(f), 0 * example(f), example(f).abs() + 0.1):
        certificate = certify(f, x)
        assert certificate.homogeneous, str(certificate)
        assert certificate.degree == degree
    truth = truth_of(f, [(example(f),), (2 * drawn(5, *example(f).shape),)], kinks(f))
    assert truth.values == "yes", truth
    assert truth.gradient in ("yes", "not finite"), truth
    assert truth.fits(degree)


def mask_edited(x: Tensor) -> Tensor:
    n = length(x)
    m = n > 0
    m[0] = False
    return x / where(m, n, 1)


def norm_edited(x: Tensor) -> Tensor:
    n = length(x)
    n[:, 0] = x[:, 0].abs()
    return x / guarded(n)


def numerator_edited(x: Tensor) -> Tensor:
    y = x.clone()
    n = length(y)
    y[:, 0] = x[:, 1].abs().flip(0)
    return y / guarded(n)


UNGUARDED = {
    "norm of something else": lambda x: x / guarded(length((x @ W).relu() * (x > 0))),
    "norm of another row": lambda x: x / guarded(length(x.flip(0))),
    "norm of a part": lambda x: x / guarded(length(x[:, :2])),
    "norm of the positive part": lambda x: x / guarded(length(x.relu())),
    "signed sum": by(lambda x: x.sum(1, keepdim=True), lambda x, n: x / where(n != 0, n, 1)),
    "signed maximum": lambda x: x / guarded(x.amax(1, keepdim=True)),
    "signed sum where positive": lambda x: x / guarded(x.sum(1, keepdim=True)),
    "smallest absolute": lambda x: x / guarded(x.abs().amin(1, keepdim=True)),
    "spread": lambda x: x / guarded(x.std(1, keepdim=True)),
    "product": lambda x: x.abs() ** 4 / guarded(x.abs().prod(1, keepdim=True)),
    "other mask": by(length, lambda x, n: x / where(length(x[:, :1]) > 0, n, 1)),
    "mask of another row": by(length, lambda x, n: x / where(n.flip(0) > 0, n, 1)),
    "threshold": by(length, lambda x, n: x / where(n > 1e-6, n, 1)),
    "negative threshold": by(length, lambda x, n: x / where(n > -1e-6, n + 1, 1)),
    "clamped": by(length, lambda x, n: x / n.clamp_min(1e-6)),
    "eps": by(length, lambda x, n: x / (n + 1e-12)),
    "added mask, inverted": by(length, lambda x, n: x / (n + (n != 0))),
    "added mask of another": lambda x: x / (length(x) + (length(x[:, :1]) == 0)),
    "other dimension": by(lambda x: x.norm(dim=1), lambda x, n: x / guarded(n)),
    "transposed norm": by(length, lambda x, n: x / guarded(n).T),
    "norm of the transpose": lambda x: x / guarded(length(x.T)),
    "a constant in the sum": by(length, lambda x, n: (x + 1) / guarded(n)),
    "norm plus a constant": lambda x: (lambda n: x / where(n > 0, n, 1))(length(x) + 0.1),
    "norm of order −1": lambda x: x / guarded(torch.linalg.vector_norm(x, -1, dim=1, keepdim=True)),
    "norm that may be NaN": lambda x: x / guarded(length(x * x / x.abs())),
    "difference of norms": lambda x: x / guarded(length(x) - x.abs().amax(1, keepdim=True)),
    "rounded": lambda x: x / guarded(length(x).round()),
    "of whole numbers": lambda x: x / guarded(length(x).to(torch.int64)),
    "mask edited": mask_edited,
    "norm written to": norm_edited,
    "numerator written to": numerator_edited,
    "cut": by(length, lambda x, n: x / guarded(n.detach())),
    "detached x": by(length, lambda x, n: x.detach() / guarded(n)),
    "random mask": by(length, lambda x, n: x / where(torch.rand_like(n) > 0.5, n, 1)),
}


@pytest.mark.parametrize("name", UNGUARDED)
def test_what_guards_nothing_is_not_proven(name: str) -> None:
    f = UNGUARDED[name]
    for x in (drawn(3), 0 * drawn(3), drawn(3).abs() + 0.1, with_zeros(1)):
        assert not certify(f, x).homogeneous


@pytest.mark.parametrize("name", ["threshold", "clamped", "eps", "norm plus a constant"])
def test_thresholds_other_than_zero_are_disproved(name: str) -> None:
    assert certify(UNGUARDED[name], drawn(3)).verdict == "disproved"


@pytest.mark.parametrize("name", UNGUARDED)
def test_they_are_wrong_somewhere(name: str) -> None:
    """Each of them is one of the kinds that must not be proven, by values or by its gradient."""
    f = UNGUARDED[name]
    if name in ("random mask", "mask of another row", "spread", "signed sum"):
        return  # nothing fixed; right but for rows of zeros; wrong where numbers cancel exactly, which rounding hides
    where_zero = [with_zeros(seed) for seed in range(4)]
    special = [torch.cat([x[:2], torch.tensor([[0.0, 0, 1, 2], [0, -1, 1, 0]], dtype=x.dtype)]) for x in where_zero]
    special += [x * torch.tensor([1.0, 0, 1, 1]) for x in where_zero]
    special += [-x.abs() for x in special] + [torch.eye(4, dtype=torch.float64), 1 + 0 * drawn(1), -drawn(2).abs()]
    truth = truth_of(f, [(drawn(3),)], [(x,) for x in [*where_zero, *special]])
    assert truth.values == "no" or truth.gradient == "no", truth


def test_cosine_similarity_without_eps_is_proven() -> None:
    assert certify(lambda x: F.cosine_similarity(x, x @ W, eps=0), drawn(3)).degree == 0
    assert not certify(lambda x: F.cosine_similarity(x, x @ W), drawn(3)).homogeneous
