"""Molecules as numbers: features of atoms and bonds, measured values, and Crippen's contributions of atoms to log P.

All is kept in plain arrays, so that what rdkit has prepared once (``captum_xg.datasets.molecule_files``) is read and
trained on without it. Atoms are those without hydrogens; what hydrogens contribute is added to the atom that they
are bound to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.files import whole_file
from captum_xg._core.options import file_path
from captum_xg._core.reading import read_arrays, unreadable
from captum_xg._core.text import displayed
from captum_xg.assets import ASSETS
from captum_xg.models.graph import Graphs

ELEMENTS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
ATOM_FEATURES = (
    *ELEMENTS,
    "another element",
    *(f"{n} neighbours" for n in range(5)),
    *(f"{n} hydrogens" for n in range(5)),
    *("negative", "positive"),
    *("sp", "sp2", "sp3"),
    *("aromatic", "in a ring"),
)
"""0 or 1 each. At least the element of an atom is 1, so that no atom is zero, which is what no atom is."""
BOND_FEATURES = ("single", "double", "triple", "aromatic", "conjugated", "in a ring")
SHIPPED = ASSETS / "molecules.npz"
"""Some molecules of the test part, which come with the package."""


@displayed
@dataclass(frozen=True, eq=False)
class Molecules:
    """n molecules with N atoms and M bonds in all.

    Attributes:
        smiles: ``(n,)``, texts; empty for generated graphs.
        part: ``(n,)``, texts: where a molecule is from, such as ``"solubility/train"``.
        value: ``(n,)``, what was measured, NaN where nothing was.
        atom_counts: ``(n,)``.
        bond_counts: ``(n,)``.
        atoms: :data:`ATOM_FEATURES` of all atoms, ``(N, 29)``, molecule after molecule.
        bonds: :data:`BOND_FEATURES` of all bonds, ``(M, 6)``.
        ends: The two atoms of each bond, ``(M, 2)``, counted within the molecule.
        contributions: Of each atom to the known total, ``(N,)``: Crippen's to log P.
    """

    smiles: NDArray[Any]
    part: NDArray[Any]
    value: NDArray[np.float64]
    atom_counts: NDArray[np.int64]
    bond_counts: NDArray[np.int64]
    atoms: NDArray[np.uint8]
    bonds: NDArray[np.uint8]
    ends: NDArray[np.int64]
    contributions: NDArray[np.float32]

    def __len__(self) -> int:
        """Return n."""
        return len(self.atom_counts)

    def __str__(self) -> str:
        parts, counts = np.unique(self.part, return_counts=True)
        listed = ", ".join(f"{count} of {part}" for part, count in zip(parts, counts, strict=True))
        return f"{len(self)} molecules ({listed}), {len(self.atoms)} atoms, {len(self.bonds)} bonds"

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """What the contributions of a molecule add up to, ``(n,)``: Crippen's log P."""
        # Not by reduceat, for which a molecule of no atoms would have the sum of the next one.
        sums = np.concatenate([[0.0], self.contributions.astype(np.float64).cumsum()])
        return np.asarray(sums[_after(self.atom_counts)] - sums[_before(self.atom_counts)])

    def take(self, which: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> Molecules:
        """Return some of the molecules, by their numbers or a mask."""
        rows = np.arange(len(self))[np.asarray(which, dtype=None if len(which) else np.int64)]
        atoms, bonds = _ranges(self.atom_counts, rows), _ranges(self.bond_counts, rows)
        return Molecules(
            smiles=self.smiles[rows],
            part=self.part[rows],
            value=self.value[rows],
            atom_counts=self.atom_counts[rows],
            bond_counts=self.bond_counts[rows],
            atoms=self.atoms[atoms],
            bonds=self.bonds[bonds],
            ends=self.ends[bonds],
            contributions=self.contributions[atoms],
        )

    def graphs(self, dtype: torch.dtype = torch.float32) -> Graphs:
        """Return the molecules as networks take them, padded to the largest."""
        return Graphs(
            torch.from_numpy(padded(self.atoms, self.atom_counts, 0)).to(dtype),
            torch.from_numpy(padded(self.bonds, self.bond_counts, 0)).to(dtype),
            torch.from_numpy(padded(self.ends, self.bond_counts, -1)),
            torch.from_numpy(padded(np.zeros(len(self.atoms), dtype=np.bool_), self.atom_counts, True)),
        )

    def padded_contributions(self) -> Tensor:
        """Return the contributions as ``(n, A)``, zero where there is no atom."""
        return torch.from_numpy(padded(self.contributions.astype(np.float64), self.atom_counts, 0))

    def fingerprint(self) -> str:
        """Return a digest of all that numbers depend on, equal for equal molecules only."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write the arrays to an ``.npz`` file.

        Raises:
            FileError: If it cannot be written.
        """
        with whole_file(path) as part, part.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_molecules(path: str | Path | None = None) -> Molecules:
    """Return molecules from a file that :meth:`Molecules.save` wrote; without a path those that are shipped.

    Raises:
        FileError: If it cannot be read, or does not hold molecules.
    """
    path = SHIPPED if path is None else file_path(path, "path", "load_molecules")
    arrays = read_arrays(path)
    names = [field.name for field in fields(Molecules)]
    if missing := [name for name in names if name not in arrays]:
        raise unreadable(path, f"it holds no molecules ({', '.join(missing)} is missing)")
    found = Molecules(**{name: arrays[name] for name in names})
    if problem := _problem(found):
        raise unreadable(path, problem)
    return Molecules(
        smiles=found.smiles,
        part=found.part,
        value=found.value.astype(np.float64),
        atom_counts=found.atom_counts.astype(np.int64),
        bond_counts=found.bond_counts.astype(np.int64),
        atoms=found.atoms,
        bonds=found.bonds,
        ends=found.ends.astype(np.int64),
        contributions=found.contributions.astype(np.float32),
    )


def padded(rows: NDArray[np.generic], counts: NDArray[np.int64], filler: float) -> NDArray[np.generic]:
    """Return rows ``(N, …)`` of n groups as ``(n, largest, …)``, filled up."""
    largest = int(counts.max(initial=0))
    found = np.full((len(counts), largest, *rows.shape[1:]), filler, dtype=rows.dtype)
    found[np.arange(largest) < counts[:, None]] = rows
    return found


def _problem(found: Molecules) -> str:
    """Return what of the arrays does not fit; "" if all does."""
    n, counts = len(found.atom_counts), (found.atom_counts, found.bond_counts)
    if any(c.dtype.kind not in "iu" or c.ndim != 1 or len(c) != n or (c < 0).any() for c in counts):
        return "atom_counts and bond_counts must be one number for each molecule"
    atoms, bonds = (int(c.sum()) for c in counts)
    shapes = {
        **{"smiles": (n,), "part": (n,), "value": (n,), "contributions": (atoms,)},
        **{"atoms": (atoms, len(ATOM_FEATURES)), "bonds": (bonds, len(BOND_FEATURES)), "ends": (bonds, 2)},
    }
    for name, shape in shapes.items():
        if (got := getattr(found, name).shape) != shape:
            return f"{name} must be of shape {shape} for {n} molecules, but is of shape {got}"
    if found.ends.dtype.kind not in "iu" or bool((found.ends < 0).any()):
        return "ends must be numbers of atoms"
    if bool((found.ends >= np.repeat(found.atom_counts, found.bond_counts)[:, None]).any()):
        return "a bond ends at an atom that its molecule does not have"
    return ""


def _after(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(counts.cumsum())


def _before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(counts.cumsum() - counts)


def _ranges(counts: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of all entries of some groups, in the order of these."""
    starts = _before(counts)
    parts = [np.arange(starts[row], starts[row] + counts[row]) for row in rows]
    return np.concatenate(parts) if parts else np.arange(0)
