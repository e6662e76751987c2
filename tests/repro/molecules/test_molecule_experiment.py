"""The experiment on molecules: numbers against slow references, verdicts that flip, and units that are done once."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg._core.estimate import Estimate
from captum_xg.cli.command_line import main
from captum_xg.repro.molecules import attributions, claims, tasks
from captum_xg.repro.molecules.generated import generated_molecules
from captum_xg.repro.molecules.measure import correlation, moments, rank_correlations
from captum_xg.repro.molecules.report import findings
from captum_xg.repro.molecules.results import Errors, Results

pytestmark = pytest.mark.filterwarnings("ignore")


def atoms_of(seed, n=4):
    generator = torch.Generator().manual_seed(seed)
    real = torch.rand(n, 6, generator=generator) < 0.7
    real[:, :2] = True
    numbers, truth = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    return numbers, truth.round(decimals=0), real  # with ties


@given(seed=st.integers(0, 999))
def test_correlation_is_that_over_all_atoms(seed):
    numbers, truth, real = atoms_of(seed)
    expected = np.corrcoef(numbers[real], truth[real])[0, 1]
    np.testing.assert_allclose(correlation(moments(numbers, truth, real)), expected, atol=1e-10)


@given(seed=st.integers(0, 999))
def test_rank_correlation_is_scipys_within_each_molecule(seed):
    stats = pytest.importorskip("scipy.stats")
    numbers, truth, real = atoms_of(seed)
    for i, found in enumerate(rank_correlations(numbers, truth, real)):
        own = truth[i][real[i]]
        if (own == own[0]).all():
            assert found is None
        else:
            np.testing.assert_allclose(found, stats.spearmanr(numbers[i][real[i]], own).statistic, atol=1e-10)


def test_half_of_a_bond_goes_to_each_of_its_atoms_and_none_to_padding():
    atoms, bonds = torch.tensor([[[1.0], [2.0], [0.0]]]), torch.tensor([[[4.0], [0.5], [8.0]]])
    ends = torch.tensor([[[0, 1], [1, 0], [-1, -1]]])
    assert attributions.per_atom(atoms, bonds, ends).tolist() == [[3.25, 4.25, 0.0]]


def test_no_molecule_is_in_both_parts():
    molecules = generated_molecules(40, seed=0)
    drawn = dataclasses.replace(
        molecules,
        smiles=np.array([f"C{i % 25}" for i in range(40)]),
        part=np.array(["freesolv"] * 40),
        value=np.arange(40.0),
    )
    found = tasks.tasks_of(drawn)
    assert set(found) == {tasks.LOG_P, tasks.FREESOLV}
    log_p = found[tasks.LOG_P]
    assert not set(log_p.train.smiles) & set(log_p.test.smiles)
    assert len(log_p.train) + len(log_p.test) == 25
    measured = found[tasks.FREESOLV]
    assert sorted([*measured.train.value, *measured.test.value]) == list(range(40))
    assert float(measured.targets(measured.train).mean()) == pytest.approx(0)


def results(value):
    """Return results in which all numbers speak for the claims for 1, and against them for 0."""
    sure = Estimate(value, value - 0.01, value + 0.01)
    error = Estimate(-value, -value - 0.01, 0.06 - value)
    gap = {
        attributions.X_GRADIENT: Estimate(1 - value, 1 - value, 1 - value),
        attributions.INPUT_X_GRADIENT: sure,
    }
    errors = {task: Errors(9, 1.0, {"gin": (1.0,), "xgin": (1.0,)}, error) for task in claims.AS_GOOD}
    methods = [each for several in attributions.METHODS.values() for each in several]
    lead = dict.fromkeys(methods, Estimate(value - 0.5, value - 0.51, value - 0.49))
    return Results(
        errors, dict.fromkeys(methods, sure), dict.fromkeys(methods, sure), gap, lead, (1 - value,), (1 + value,) * 3
    )


def test_every_verdict_flips_when_the_numbers_do():
    for value, verdict in ((1, "confirmed"), (0, "not confirmed")):
        found = findings(results(value))
        assert {each.claim.key for each in found} == {claim.key for claim in claims.CLAIMS}
        assert {each.verdict for each in found} == {verdict}
    nothing = findings(Results({}))
    assert {each.verdict for each in nothing} == {"not run"}
    assert len(nothing) == len(claims.CLAIMS)


def test_a_run_in_parts_ends_in_the_same_report_and_a_second_one_does_no_work(tmp_path, capsys, monkeypatch):
    data = tmp_path / "molecules.npz"
    generated_molecules(30, seed=1).save(data)
    call = ["repro", "molecules", "--data", str(data), "--seeds", "0"]
    monkeypatch.setattr(attributions, "_REFERENCE", 24)
    monkeypatch.setattr(attributions, "TRIED", (1, 16))
    one, parts = tmp_path / "one", tmp_path / "parts"
    assert main([*call, "--output", str(parts), "--only", "log P, gin"]) == 0
    assert len(list((parts / "units").glob("log*.json"))) == 1
    for folder in (one, parts):
        assert main([*call, "--output", str(folder)]) == 0
    written = [json.loads((folder / "section.json").read_text())["numbers"] for folder in (one, parts)]
    assert written[0] == written[1]
    before = {path: path.stat().st_mtime_ns for path in (one / "units").iterdir()}
    assert main([*call, "--output", str(one)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (one / "units").iterdir()}
    assert (one / "molecules.png").stat().st_size < 120_000
    assert "X-Gradient" in capsys.readouterr().out
    assert main([*call, "--output", str(one), "--only", "no such unit"]) != 0
