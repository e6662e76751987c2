"""That examples are separate is seen for every pairing of rows, and asked again after a model was written to."""

from itertools import permutations

import pytest
import torch
from effort import thorough, tries
from torch import nn

from captum_xg import XGradient
from captum_xg.errors import CrossExampleError, HomogeneityError, HomogeneityWarning

MODES = ("auto", "numeric", "certificate")


def rows(n, features=3):
    return torch.randn(n, features, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


class Gated(nn.Module):
    """A row plus what the direction of another one gives, times a gate."""

    def __init__(self, gate):
        super().__init__()
        self.gate = nn.Parameter(torch.tensor(gate, dtype=torch.float64))

    def forward(self, x):
        direction = (x / x.norm(dim=1, keepdim=True)).flip(0)
        return (x + self.gate * x.norm(dim=1, keepdim=True) * direction).sum(1)


@pytest.mark.parametrize("validate", ["numeric", *thorough(["auto", "certificate"])])
@pytest.mark.parametrize("detached", [False, True])
def test_every_partner_is_found(validate, detached):
    for n in range(2, tries(5, 7)):
        x = rows(n)
        for order in list(permutations(range(n)))[1:]:

            def mixing(x, order=order):
                partner = x[list(order)]
                partner = partner.detach() if detached else partner
                return x.norm(dim=1) * partner[:, 0] / partner.norm(dim=1)

            # A proof sees that the partner is cut off from autograd, and no further.
            cut = detached and validate == "certificate"
            with pytest.raises(HomogeneityError if cut else CrossExampleError):
                XGradient(mixing, validate=validate).attribute(x)


@pytest.mark.parametrize("n", [8, 16, 31])
def test_pairs_among_many_rows_are_found(n):
    x = rows(n)
    for i in range(0, n, 3):
        for j in range(i + 1, n):
            order = list(range(n))
            order[i], order[j] = j, i
            with pytest.raises(CrossExampleError):
                XGradient(lambda x, o=order: x.norm(dim=1) * x[o, 0] / x[o].norm(dim=1), validate="numeric").attribute(
                    x
                )


@pytest.mark.parametrize("validate", MODES)
def test_a_gate_that_opens_is_seen(validate):
    model, x = Gated(0.0).eval(), rows(4)
    explainer = XGradient(model, validate=validate)
    for _ in range(2):
        explainer.attribute(x)
    with torch.no_grad():
        model.gate.fill_(1.0)
    with pytest.raises(CrossExampleError):
        explainer.attribute(x)


@pytest.mark.parametrize("features", [1, 3])
def test_rows_that_are_all_alike_change_their_direction(features):
    x = torch.ones(4, features, dtype=torch.float64)
    with pytest.raises(CrossExampleError):
        XGradient(lambda x: x.norm(dim=1) * (x / x.norm(dim=1, keepdim=True)).sum(1).flip(0)).attribute(x)


class PickyError(Exception):
    """An error that nobody else knows."""


def test_rows_that_are_not_taken_say_nothing():
    x = rows(4).abs()

    def own_rows_alone(x):
        # At every scale of these rows, and at no others.
        with torch.no_grad():
            unit = x / x.norm(dim=1, keepdim=True)
            if not torch.allclose(unit, own):
                raise PickyError
        return x.sum(1)

    own = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(XGradient(own_rows_alone, validate="numeric").attribute(x), x)


def test_negative_numbers_are_not_tried_where_others_do():
    smallest = []

    def looked_at(x):
        smallest.append(float(x.detach().min()))
        return x.sum(1)

    XGradient(looked_at, validate="numeric").attribute(rows(4).abs())
    assert min(smallest) >= 0


def test_without_a_proof_that_stands_it_is_asked_once():
    class Counting(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    model = nn.Sequential(Counting(3, 1, bias=False)).double().eval()
    explainer, passes = XGradient(model), []
    for _ in range(4):
        before = model[0].calls
        explainer.attribute(rows(4), target=0)
        passes.append(model[0].calls - before)
    assert passes[1:] == [3, 3, 3]


@pytest.mark.parametrize("validate", ["auto", "certificate"])
def test_a_contradicted_proof_is_refused_without_a_way_out_by_the_numeric_check(validate, monkeypatch):
    from captum_xg.homogeneity.certificate import prove as proofs
    from captum_xg.homogeneity.scaling.confrontation import Confrontation

    original = proofs.confront

    def contradicted(subject):
        found: Confrontation = original(subject)
        object.__setattr__(found, "contradiction", "at α = 2^-4 the gradient of example 0 is another")
        return found

    monkeypatch.setattr(proofs, "confront", contradicted)
    model = nn.Sequential(nn.Linear(3, 1, bias=False)).double().eval()
    explainer = XGradient(model, validate=validate)
    for _ in range(2):
        with pytest.raises(HomogeneityError, match="the gradient of example 0 is another") as caught:
            explainer.attribute(rows(4), target=0)
        assert "validate='numeric'" not in str(caught.value)
        assert caught.value.certificate.verdict == "unknown"
    with pytest.warns(HomogeneityWarning, match="example 0 is another"):
        XGradient(model, validate=validate, on_violation="warn").attribute(rows(4), target=0)
