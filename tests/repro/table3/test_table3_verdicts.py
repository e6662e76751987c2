"""Table 3: verdicts follow the numbers, the paper's own confirm the paper, and turned around they do not."""

import pytest
from table3_samples import MASKINGS, as_printed, scores_like

from captum_xg.repro.table3 import claims
from captum_xg.repro.table3.ordering import Comparison, fates, of_the_table
from captum_xg.repro.table3.printed import GRAD, IG, METHODS, METRICS, NETWORKS, QUOTES, XG, printed
from captum_xg.repro.table3.verdict import findings


def verdicts(values, why_not="", **options):
    return {each.claim.key: each.verdict for each in findings(scores_like(values, **options), MASKINGS, why_not)}


def test_rows_are_the_numbers_of_their_quotes():
    for method, quote in QUOTES.items():
        numbers = [float(word) for word in quote.split()[-8:] if word != "N/A"]
        assert numbers == [n for network in NETWORKS for n in printed(network, method).values()]


def test_61_pairs_are_ordered_in_print_and_ties_are_not():
    told = of_the_table()
    assert len(told) == 61
    assert Comparison("X-AlexNet", "KAM", XG, IG) in told
    assert not [c for c in told if {c.better, c.worse} == {IG, XG} and c.metric != "KAM"]
    assert Comparison("X-AlexNet", "RAM", GRAD, XG) in told  # less is better


def test_the_papers_numbers_confirm_the_paper():
    found = verdicts(as_printed)
    assert set(found.values()) == {"confirmed"}


def test_printed_numbers_are_not_compared_in_another_setting():
    found = verdicts(as_printed, "another setting")
    rows = {claim.key for claim in claims.ROWS.values()}
    assert {key for key, verdict in found.items() if verdict == "not comparable"} == rows
    assert len(rows) == 9


def test_turned_around_nothing_about_an_order_is_confirmed():
    def turned(network, method):
        return {metric: -number for metric, number in as_printed(network, method).items()}

    found = verdicts(turned)
    for claim in (*claims.STATEMENTS, claims.ORDER, *claims.ROWS.values()):
        assert found[claim.key] == "not confirmed"


def test_wide_intervals_decide_nothing():
    found = fates(of_the_table(), scores_like(as_printed, reach=100), "paper")
    assert len(found["open"]) == 61


@pytest.mark.parametrize("metric", METRICS)
def test_on_par_is_lost_by_one_metric(metric):
    def apart(network, method):
        row = dict(as_printed(network, method))
        if row and method == XG:
            row[metric] += 0.02 * (max(v := [printed(network, m)[metric] for m in METHODS]) - min(v))
        return row

    assert verdicts(apart)["table3/on-par"] == "not confirmed"


def test_x_gradient_on_the_regular_network_is_not_what_the_paper_says():
    def never_refuses(network, method):
        return as_printed(network, IG if method == XG else method)

    assert verdicts(never_refuses)["table3/refuses"] == "not confirmed"
