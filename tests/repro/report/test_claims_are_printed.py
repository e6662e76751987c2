"""What the report quotes from the paper stands in the paper, number by number."""

import os
import re
from pathlib import Path

import pytest

from captum_xg.repro.report.collection import ENTRIES, claims_of
from captum_xg.repro.section import BEYOND

CLAIMS = [claim for entry in ENTRIES for claim in claims_of(entry.module)]
PRINTED = [claim for claim in CLAIMS if claim.source != BEYOND]
RELEASED = "released results"
"""The source of numbers that the paper draws in Figure 1 and its authors' files of results print."""


def plain(text):
    """Text without the differences that typesetting makes."""
    return " ".join(text.replace("−", "-").replace("–", "-").replace("’", "'").split())


@pytest.fixture(scope="module")
def sources():
    data = os.environ.get("CAPTUM_XG_DATA")
    if not data or not (Path(data).parent / "seeds").is_dir():
        pytest.skip("CAPTUM_XG_DATA does not name a folder beside the text of the paper")
    paper = next((Path(data).parent / "seeds").glob("000_*.txt"))
    return {"paper": plain(paper.read_text()), RELEASED: plain((Path(data).parent / "design.md").read_text())}


def test_every_claim_has_a_name_of_its_own():
    keys = [claim.key for claim in CLAIMS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.quotes], ids=lambda claim: claim.key)
def test_a_claim_quotes_the_paper_word_for_word(claim, sources):
    for quote in claim.quotes:
        assert plain(quote) in sources["paper"]


@pytest.mark.parametrize("claim", PRINTED, ids=lambda claim: claim.key)
def test_what_is_said_to_be_the_papers_has_a_passage(claim):
    assert claim.quotes or RELEASED in claim.source


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.printed], ids=lambda claim: claim.key)
def test_every_printed_number_is_in_a_quoted_passage(claim, sources):
    numbers = re.findall(r"N/A|(?<![\w.])\d+(?:\.\d+)?", claim.printed)
    quoted = sources[RELEASED] if RELEASED in claim.source else " ".join(map(plain, claim.quotes))
    assert numbers or claim.printed in quoted
    for number in numbers:  # typesetting repeats some, as in 1.121.121.12
        assert re.search(rf"(?<![\d.]){re.escape(number)}", quoted), number
