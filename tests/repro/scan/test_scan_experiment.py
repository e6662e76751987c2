"""The scan experiment: its images, its ranks, its verdicts, and that a run goes on where it stopped."""

import argparse
import json
from itertools import product

import pytest
import torch
from effort import tries
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_xg.analysis import Region, Regions
from captum_xg.datasets.decoy import PATCH, grey_of
from captum_xg.errors import FileError, OptionError
from captum_xg.repro import scan
from captum_xg.repro.scan import claims, measure
from captum_xg.repro.scan.data import corners, images_of, with_patches
from captum_xg.repro.scan.report import findings
from captum_xg.repro.scan.results import Results
from captum_xg.repro.section import BEYOND

pytest.importorskip("sklearn")


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_images_with_the_patch_give_their_label_away_and_the_others_are_as_they_were(share):
    labels = torch.arange(400) % 10
    images = 0.5 * torch.rand(400, 1, 28, 28)
    found = with_patches(images, labels, share, 3)
    assert float(found.carries.double().mean()) == pytest.approx(share, abs=0.08)
    places = []
    for image, before, carries, label in zip(found.images, images, found.carries, labels, strict=True):
        changed = (image != before)[0].nonzero()
        if not carries:
            assert len(changed) == 0
            continue
        corner = tuple(changed.min(0).values.tolist())
        places.append(corner)
        assert len(changed) == PATCH**2
        box = image[0, corner[0] : corner[0] + PATCH, corner[1] : corner[1] + PATCH]
        assert bool((box == grey_of(label)).all())
    assert set(places) == (set(corners(28, 28)) if share else set())
    again, other = (with_patches(images, labels, share, seed).images for seed in (3, 4))
    assert torch.equal(again, found.images)
    assert torch.equal(other, images) == (share == 0)


def test_random_patches_say_nothing_of_the_label():
    labels = torch.zeros(500, dtype=torch.int64)
    found = with_patches(torch.zeros(500, 1, 28, 28), labels, 1.0, 0, informative=False)
    greys = found.images.amax((1, 2, 3))
    assert len(set(greys.tolist())) == 10


def test_no_image_trains_and_tests():
    images = images_of("shipped", 400, "shipped")
    train, test = ({each.numpy().tobytes() for each in part[0]} for part in images)
    assert (len(images.train[1]), len(images.test[1])) == (400, 100)
    assert not train & test
    with pytest.raises(OptionError, match="there are 400 to train on"):
        images_of("shipped", 401, "shipped")


@settings(max_examples=tries(20, 100))
@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24), st.integers(2, 6)), max_size=6))
def test_a_place_has_the_rank_of_the_first_region_that_half_coincides_with_it(boxes):
    regions = Regions(
        tuple(Region((row, column), (side, side), "a", 0.5, 0.1, 1.0) for row, column, side in boxes),
        (28, 28),
        torch.zeros(len(boxes), 28, 28),
    )
    for rank, (top, left) in zip(measure.ranks(regions), corners(28, 28), strict=True):
        place = set(product(range(top, top + PATCH), range(left, left + PATCH)))
        alike = []
        for row, column, side in boxes:
            box = set(product(range(row, row + side), range(column, column + side)))
            alike.append(2 * len(box & place) >= len(box | place))
        assert rank == (alike.index(True) + 1 if True in alike else None)


def unit(clean, patch=0.2, ranks=(1, 2, 3, 4), by_maps=(11, 12, None, None), after=None, after_patch=0.01):
    scores = {"clean": clean, "random": 0.5, "patch": patch, "found": patch}
    found = {"before": scores, "ranks": list(ranks), "ranks by maps": list(by_maps)}
    found |= {"regions": [{"score": 1.0}], "mask": {"covered": 1.0, "pixels": 64, "beside": 0}}
    return found if after is None else found | {"after": {**scores, "clean": after, "patch": after_patch}}


def results(**changes):
    """Return results in which all claims are right, with some numbers changed: those of all seeds, at a share."""
    units = {}
    for seed in range(3):
        noise = 0.001 * seed
        for share in claims.SHARES:
            numbers = {"clean": 0.8 + noise, "ranks": (None, 30, 40, None)}
            if share:
                numbers = {"clean": 0.5 + noise, "patch": 0.2 + noise, "after": 0.8 + 2 * noise}
            units[f"{claims.percent(share)}, seed {seed}"] = unit(**numbers)
    for name, value in units.items():
        for path, number in changes.get(name.partition("%")[0], {}).items():
            at, _, key = path.partition(".")
            if key:
                value[at][key] = number
            else:
                value[at] = number
    return Results(units, 3)


def test_verdicts_follow_the_numbers():
    there = {each.claim: each.verdict for each in findings(results())}
    assert tuple(there) == claims.CLAIMS
    assert set(there.values()) == {"confirmed"}
    assert {each.source for each in claims.CLAIMS} == {BEYOND}
    for share, change, claim in (
        ("100", {"before.clean": 0.9}, claims.FOOLED),
        ("100", {"ranks": [1, 2, 3, 11]}, claims.FOUND[1.0]),
        ("30", {"ranks": [1, 2, 3, None]}, claims.FOUND[0.3]),
        ("10", {"ranks": [1, 2, 3, 11]}, claims.FOUND[0.1]),
        ("100", {"ranks by maps": [1, 9, 9, 9]}, claims.BEFORE_MAPS),
        ("0", {"ranks": [10, None, None, None]}, claims.NO_ALARM),
        ("100", {"after.patch": 0.3}, claims.LOOKS_AWAY[1.0]),
        ("30", {"after.patch": 0.3}, claims.LOOKS_AWAY[0.3]),
        ("10", {"after.patch": 0.3}, claims.LOOKS_AWAY[0.1]),
        ("100", {"after.clean": 0.4}, claims.CURED),
        ("100", {"after.clean": 0.75}, claims.AS_CLEAN),
    ):
        changed = {each.claim: each.verdict for each in findings(results(**{share: change}))}
        assert changed[claim] == "not confirmed", (share, change)


def test_shares_that_were_not_tried_are_said_not_to_have_been_run():
    whole = results()
    some = Results({name: value for name, value in whole.units.items() if name.startswith(("100%", "0%"))}, 3)
    verdicts = {each.claim: each.verdict for each in findings(some)}
    not_run = {claim for claim, verdict in verdicts.items() if verdict == "not run"}
    assert not_run == {
        each for found in (claims.FOUND, claims.LOOKS_AWAY) for s, each in found.items() if s in (0.3, 0.1)
    }


@pytest.mark.thorough
def test_a_run_goes_on_where_it_stopped_and_other_settings_are_refused(tmp_path, monkeypatch):
    def section(*more):
        parser = argparse.ArgumentParser()
        scan.add_arguments(parser)
        given = ["--output", str(tmp_path), "--images", "200", "--seeds", "2", *more]
        return scan.section(parser.parse_args(given))

    monkeypatch.setattr("captum_xg.repro.scan.command.OF_SHIPPED", ((1.0, 0.0), 4, 50))
    first = section()
    assert tuple(each.claim for each in first.findings) == claims.CLAIMS
    for panel in first.panels:
        if panel.picture:
            assert 5_000 < (tmp_path / panel.picture).stat().st_size < 120_000
    (tmp_path / "units" / "100%25, seed 1.json").unlink()
    done, real = [], measure.measured
    monkeypatch.setattr(measure, "measured", lambda *given: done.append(given[:2]) or real(*given))
    again = section()
    assert done == [(1.0, 1)]
    assert again.numbers == first.numbers
    assert section().numbers == again.numbers == json.loads(json.dumps(again.numbers))
    assert len(done) == 1
    with pytest.raises(FileError, match="weight"):
        section("--weight", "7")
    with pytest.raises(OptionError, match="at least 2 --seeds"):
        section("--weight", "0")
