"""The decoy experiment in a report: verdicts that follow from the numbers, and shipped images that never mix."""

import pytest
import torch
from decoy_samples import stored

from captum_xg.errors import OptionError
from captum_xg.repro.decoy.protocol import METHODS, SHIPPED_PRESETS, X_GRADIENT, Settings, shipped_split
from captum_xg.repro.decoy.results import Outcome
from captum_xg.repro.decoy.verdict import as_section, findings

pytest.importorskip("scipy")


def _outcomes(ours=0.8, share=0.01):
    def one(method):
        scores = {"test": ours, "patch_share": share} if method == X_GRADIENT else {"test": 0.6, "patch_share": 0.3}
        runs = tuple(stored(method.key, 1.0, seed, **{k: v + seed / 1e3 for k, v in scores.items()}) for seed in (0, 1))
        grid = {1.0: runs[:1]} if method.has_prior else {}
        return Outcome(method, 1.0, runs, grid, 0.001 if method == X_GRADIENT else 0.002)

    return {method: one(method) for method in METHODS}


def test_verdicts_flip_with_the_numbers():
    assert {f.verdict for f in findings(_outcomes())} == {"confirmed"}
    verdicts = {f.claim.key.split("/")[1]: f.verdict for f in findings(_outcomes(0.5, 0.9))}
    assert {key for key, verdict in verdicts.items() if verdict == "confirmed"} == {"fooled", "cost"}


def test_the_section_names_what_it_is_about():
    found = as_section(_outcomes(), "the 500 shipped images", {}, "quick --data shipped")
    assert found.command.endswith("--preset quick --data shipped")
    assert "the 500 shipped images" in str(found)
    assert [panel.picture for panel in found.panels if panel.picture] == ["decoy.png", "decoy_examples.png"]


def test_no_shipped_image_is_in_two_parts_and_all_are_used():
    split = shipped_split(SHIPPED_PRESETS["quick"], torch.device("cpu"))
    assert [len(labels) for _, labels in split] == [300, 100, 100]
    everything = torch.cat([images for images, _ in split]).flatten(1)
    assert len(everything.unique(dim=0)) == 500
    with pytest.raises(OptionError, match="leave none to test"):
        shipped_split(Settings(400, 100, 1, 10), torch.device("cpu"))
