"""Figure 2: distances and ranks against slow references, and verdicts that turn with the numbers."""

import itertools

import pytest
import torch
from torch import nn

from captum_xg.errors import HomogeneityError
from captum_xg.repro.figure2 import claims
from captum_xg.repro.figure2.accuracy import CONTRASTS, LINEAR, POWERS, Accuracy, predictions
from captum_xg.repro.figure2.attributions import PAIRS, at_both, compared, distance, rank_correlation
from captum_xg.repro.figure2.comparisons import Comparisons, findings
from captum_xg.repro.figure2.maps import decoded_image, decoded_map, encoded_image, encoded_map
from captum_xg.repro.figure2.verdict import accuracy_findings
from captum_xg.repro.figure4.command import one_of_each_class
from captum_xg.repro.units import Unit


def network(bias):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, bias=bias)
        return nn.Sequential(*layers).eval()


IMAGES, LABELS = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])


def slow_ranks(values):
    return [sum(other < v for other in values) + (sum(other == v for other in values) - 1) / 2 for v in values]


def test_rank_correlation_is_that_of_mean_ranks():
    a = torch.tensor([[[[3.0, 0, 0], [0, -1, 2]]]])
    b = torch.tensor([[[[1.0, 0, 2], [0, -3, 2]]]])
    x, y = (torch.tensor(slow_ranks(each.flatten().tolist())) for each in (a, b))
    expected = torch.corrcoef(torch.stack([x, y]))[0, 1]
    assert float(rank_correlation(a, b)) == pytest.approx(float(expected))
    assert float(rank_correlation(a, torch.zeros_like(a))) == 0


def test_distance_is_0_up_to_a_factor_and_1_with_nothing_in_common():
    a = torch.tensor([[1.0, -2, 0, 0]])
    assert float(distance(a, 7 * a)) == pytest.approx(0, abs=1e-7)
    assert float(distance(a, -a)) == pytest.approx(1)
    assert float(distance(a, torch.tensor([[0.0, 0, 5, 1]]))) == pytest.approx(1)
    assert float(distance(a, torch.tensor([[1.0, 0, 0, 0]]))) == pytest.approx(2 / 3)


def test_contrast_only_scales_what_an_xdnn_attributes():
    xdnn, regular = (compared(at_both(network(bias), IMAGES, LABELS, xdnn=not bias)) for bias in (False, True))
    assert xdnn["halved"] == [True] * 5
    assert regular["halved"] == []
    for pair in PAIRS:
        assert max(xdnn[pair]["distance"]) < 1e-12
        assert min(xdnn[pair]["correlation"]) > 0.99
        assert max(regular[pair]["distance"]) > 1e-3


def test_a_network_with_biases_is_no_xdnn():
    with pytest.raises(HomogeneityError):
        at_both(network(True), IMAGES, LABELS, xdnn=True)


def accuracy(bias):
    return Accuracy.of([Unit("", predictions(network(bias), IMAGES, LABELS), 0.0, "")])


def test_an_xdnn_says_the_same_at_every_contrast():
    found = accuracy(False)
    assert list(found.classes) == list(CONTRASTS)
    assert {len(found.changed(contrast)) for contrast in CONTRASTS} == {0}


def told(classes, labels=(1, 0) * 20, lead=1.0):
    """Accuracy with classes by contrast."""
    return Accuracy(labels, [lead] * len(labels), {contrast: classes(contrast, labels) for contrast in CONTRASTS})


def right(_, labels):
    return labels


def wrong_below(bound):
    return lambda contrast, labels: [1 - label if contrast < bound else label for label in labels]


def test_verdicts_on_accuracy_turn_with_the_numbers():
    held = [each.verdict for each in accuracy_findings(told(right), told(wrong_below(0.5)))]
    assert held == ["confirmed"] * 3
    turned = [each.verdict for each in accuracy_findings(told(wrong_below(0.5)), told(right))]
    assert turned == ["not confirmed"] * 3


@pytest.mark.parametrize(("at", "lead", "verdict"), [(POWERS[3], 0, "not"), (LINEAR[0], 0, ""), (LINEAR[0], 1, "not")])
def test_a_changed_prediction_counts_unless_it_is_a_tie_at_no_power_of_two(at, lead, verdict):
    labels = (1, 0) * 20

    def once(contrast, labels):
        return [0, *labels[1:]] if contrast == at else labels

    _, every, _ = accuracy_findings(told(once, labels, lead), told(right))
    assert every.claim is claims.EVERY_IMAGE
    assert every.verdict == f"{verdict} confirmed".strip()


def test_verdicts_on_attributions_turn_with_the_numbers():
    def apart(value):
        numbers = {pair: {"distance": [value, value], "correlation": [1.0, 1.0]} for pair in PAIRS}
        return Comparisons(numbers, [True, True], [0.0, 0.0])

    near, far = apart(1e-6), apart(0.3)
    assert [each.verdict for each in findings(claims.FOUR, near, far)] == ["confirmed"] * 4
    assert [each.verdict for each in findings(claims.FOUR, far, near)] == ["not confirmed"] * 4


def test_maps_and_images_come_back_to_what_is_seen():
    map_, image = torch.linspace(-1, 1, 36).reshape(1, 6, 6), torch.rand(1, 6, 6)
    shown = torch.tensor(decoded_map(encoded_map(map_)))
    assert float((shown - map_[0]).abs().max()) < 0.03
    assert float((torch.tensor(decoded_image(encoded_image(image))) - image[0]).abs().max()) <= 0.5 / 255 + 1e-6
    assert decoded_image(encoded_image(torch.zeros(3, 6, 6))).shape == (6, 6, 3)


def test_each_class_comes_once_before_any_comes_twice():
    labels = [4, 4, 1, 4, 1, 2, 2, 1]
    chosen = one_of_each_class(labels, 6)
    assert chosen[:3] == [1, 2, 5]
    assert [labels[i] for i in chosen] == [4, 1, 2, 4, 1, 2]
    assert all(len(set(chosen)) == len(chosen) for chosen in (one_of_each_class(labels, n) for n in range(1, 8)))
    assert one_of_each_class([3], 2) == [0]
    assert list(itertools.islice(one_of_each_class(range(9), 2), 5)) == [1, 2]
