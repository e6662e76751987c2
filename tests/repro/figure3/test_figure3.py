"""Figure 3: relative differences, the number of steps for convergence, verdicts that turn with their numbers."""

import json
import math

import pytest
import torch

from captum_xg.cli.command_line import main
from captum_xg.repro.figure3 import claims, figure, measure
from captum_xg.repro.figure3.curves import curves_of
from captum_xg.repro.figure3.measure import RULES, STEPS
from captum_xg.repro.figure3.report import findings, network_of


def distances(error, scale=2.0):
    """Differences of a rule with a relative error of ``error(rule, n)``."""
    refused = {rule: 0 if rule == "gausslegendre" else 1 for rule in RULES}
    rules = {rule: [None if n <= refused[rule] else scale * error(rule, n) for n in STEPS] for rule in RULES}
    return {"scale": scale, "rules": rules}


def images(error, of_300=0.004, n=4):
    """Units of images that are a little different from each other."""
    found = []
    for i in range(n):
        each = distances(lambda rule, n, more=1 + 0.01 * i: more * error(rule, n))
        exact = {**each, "regions": 9000, "of_300": of_300 * each["scale"] * (1 + 0.01 * i)}
        found.append({"to_300": each, "exact": exact, "refusal": ""})
    return found


def falling(rule, n):
    return (0.5 if rule == "gausslegendre" else 1.0) / n


def rounding(_rule, _n):
    return 1e-8


def verdicts(regular, xdnn):
    found = findings(network_of("small_alexnet", regular), network_of("xsmall_alexnet", xdnn))
    return {each.claim.key: each for each in found}


def test_relative_differences_are_of_each_image_before_they_are_averaged():
    curves = curves_of([distances(falling, scale=1.0), distances(lambda rule, n: 3 * falling(rule, n), scale=100.0)])
    assert curves.relative("gausslegendre", 4).value == pytest.approx((0.5 / 4 + 1.5 / 4) / 2)
    assert curves.mean("gausslegendre")[2] == pytest.approx((0.5 / 4 + 150 / 4) / 2)
    assert math.isnan(curves.mean("riemann_left")[0])


@pytest.mark.parametrize("start", [1, 8, 128, 256])
def test_convergence_is_where_all_larger_numbers_of_steps_are_close_too(start):
    curves = curves_of([distances(lambda _, n: 0.009 if n >= start or n == 2 else 0.02)])
    assert curves.converged_at("gausslegendre") == start
    assert curves_of([distances(lambda *_: 0.02)]).converged_at("gausslegendre") is None
    assert curves_of([distances(lambda *_: 0.0)]).converged_at("riemann_left") == 2


def test_every_claim_has_one_finding_in_order():
    found = verdicts(images(falling), images(rounding))
    assert list(found) == [claim.key for claim in claims.CLAIMS]
    assert {each.verdict for each in found.values()} == {"confirmed"}


@pytest.mark.parametrize(
    ("regular", "xdnn", "claim"),
    [
        (images(lambda rule, n: 4 * falling(rule, n)), images(rounding), claims.SUFFICIENT),
        (images(lambda rule, n: 4 * falling(rule, n)), images(rounding), claims.EXACT),
        (images(lambda rule, n: falling(rule, n) / 100), images(rounding), claims.NECESSARY),
        (images(falling, of_300=1e-5), images(rounding), claims.REFERENCE),
        (images(falling), images(falling), claims.HOMOGENEOUS),
        (images(lambda _, n: 0.5 / n), images(rounding), claims.RULES),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_a_verdict_turns_with_its_numbers(regular, xdnn, claim):
    assert verdicts(regular, xdnn)[claim.key].verdict == "not confirmed"


def test_without_exact_integrals_what_is_about_them_is_not_run_and_says_why():
    regular = [{**each, "exact": None, "refusal": "softmax is no line"} for each in images(falling)]
    found = verdicts(regular, images(rounding))
    for claim in (claims.EXACT, claims.REFERENCE, claims.RULES):
        assert found[claim.key].verdict == "not run"
        assert found[claim.key].why == "softmax is no line"
    assert found[claims.SUFFICIENT.key].verdict == "confirmed"


def test_distances_are_those_of_captums_rules_to_the_exact_integral():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))

    class Chosen:
        models = "small"

        def batch(self, index, size):
            assert size == 1
            return torch.linspace(0.1, 1, 4).reshape(1, 1, 2, 2), torch.tensor([1])

    value = measure._of_image(Chosen(), model, 0, exact=True)
    x, wide = Chosen().batch(0, 1)[0].double(), model.double()
    alphas = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    points = (alphas[:, None, None, None] * x).requires_grad_()
    (gradients,) = torch.autograd.grad(wide(points)[:, 1].sum(), points)
    truth = x * gradients.mean(0)
    assert value["exact"]["scale"] == pytest.approx(float(truth.abs().mean()), rel=1e-4)
    middle = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    points = (middle[:, None, None, None] * x).requires_grad_()
    (gradients,) = torch.autograd.grad(wide(points)[:, 1].sum(), points)
    error = float((x * gradients.mean(0) - truth).abs().mean())
    found = value["exact"]["rules"]["riemann_middle"][STEPS.index(8)]
    assert found == pytest.approx(error, abs=1e-4 * value["exact"]["scale"])


def test_a_second_run_does_no_work_and_a_half_finished_one_goes_on_to_the_same_numbers(tmp_path, monkeypatch, capsys):
    def cheap(network, x, label, n, rule, points):
        x = x.clone().requires_grad_()
        network(x)[0, label].sum().backward()
        return (x * x.grad).detach().double() * (1 + 1 / n)

    monkeypatch.setattr(measure, "_integrated", cheap)
    arguments = ["repro", "figure3", "--images", "2", "--exact-images", "0", "--output", str(tmp_path)]
    assert main(arguments) == 0
    assert "NOT RUN" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "section.json").read_text())["numbers"]
    assert (tmp_path / "figure3.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(figure, "draw", lambda *_: None)
    (tmp_path / "units" / "small_alexnet image 1.json").unlink()
    assert main(arguments) == 0
    assert json.loads((tmp_path / "section.json").read_text())["numbers"] == numbers
    monkeypatch.setattr(measure, "_integrated", None)
    assert main(arguments) == 0
    assert json.loads((tmp_path / "section.json").read_text())["numbers"] == numbers
