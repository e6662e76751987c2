"""Graphs that look like molecules, with a total that is known to be the sum of contributions of their atoms.

They stand in where there is no file of molecules. An atom contributes by its element and by what it is bound to, as in
Crippen's scheme: that of a carbon falls with each neighbour that is no carbon.
"""

from __future__ import annotations

import numpy as np

from captum_xg.datasets.molecules import ATOM_FEATURES, BOND_FEATURES, Molecules

_ELEMENTS, _SHARES = ("C", "N", "O", "F"), (0.7, 0.12, 0.13, 0.05)
_VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}
_CONTRIBUTION = {"C": 0.3, "N": -0.8, "O": -0.5, "F": 0.4}
_BESIDE_OTHERS = -0.25


def generated_molecules(count: int, seed: int) -> Molecules:
    """Return so many random graphs of 4 to 12 atoms; the first four fifths are the training part."""
    generator = np.random.default_rng(seed)
    drawn = [_one(generator) for _ in range(count)]
    atoms, bonds, ends, contributions = (np.concatenate([each[i] for each in drawn]) for i in range(4))
    train = count * 4 // 5
    return Molecules(
        np.array([""] * count),
        np.array(["generated/train"] * train + ["generated/test"] * (count - train)),
        np.full(count, np.nan),
        np.array([len(each[0]) for each in drawn]),
        np.array([len(each[1]) for each in drawn]),
        atoms,
        bonds,
        ends,
        contributions.astype(np.float32),
    )


def _one(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features of atoms and bonds, ends and contributions of one tree of atoms."""
    elements, ends = ["C"], []
    free = [_VALENCE["C"]]
    for _ in range(int(generator.integers(3, 12))):
        open_atoms = [i for i, left in enumerate(free) if left > 0]
        if not open_atoms:
            break
        before, element = int(generator.choice(open_atoms)), str(generator.choice(_ELEMENTS, p=_SHARES))
        ends.append((before, len(elements)))
        free[before] -= 1
        elements.append(element)
        free.append(_VALENCE[element] - 1)
    atoms = np.zeros((len(elements), len(ATOM_FEATURES)), dtype=np.uint8)
    neighbours = [_VALENCE[element] - left for element, left in zip(elements, free, strict=True)]
    for row, element, degree, hydrogens in zip(atoms, elements, neighbours, free, strict=True):
        for name in (element, f"{degree} neighbours", f"{hydrogens} hydrogens", "sp3"):
            row[ATOM_FEATURES.index(name)] = 1
    bonds = np.zeros((len(ends), len(BOND_FEATURES)), dtype=np.uint8)
    bonds[:, BOND_FEATURES.index("single")] = 1
    contributions = np.array([_CONTRIBUTION[element] for element in elements])
    for one, other in [*ends, *((b, a) for a, b in ends)]:
        if elements[one] == "C" != elements[other]:
            contributions[one] += _BESIDE_OTHERS
    return atoms, bonds, np.array(ends, dtype=np.int64).reshape(-1, 2), contributions
