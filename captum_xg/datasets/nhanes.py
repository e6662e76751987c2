"""NHANES I, survival after a medical examination: its three public forms as one table of numbers.

Nothing that became known after the examination may be among the features, or it gives the answer away.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_xg._core.options import file_path, number_that
from captum_xg._core.reading import read_array, require_file, unreadable
from captum_xg._core.text import displayed, in_one_line
from captum_xg.errors import FileError, OptionError

ONE_HOT_UP_TO = 12  # distinct values; columns with more are numbers or grades and stay one column

_LATE = "after the examination of 1971"
_NHEFS_LEFT_OUT = {
    "an identifier": ("seqn", "id"),
    "the label": ("death",),
    "date of death": ("yrdth", "modth", "dadth"),
    f"measured in 1982, {_LATE}": ("wt82", "hightax82", "price82", "tax82"),
    f"measured in 1982, {_LATE} (the codebook says so, the name does not)": ("sbp", "dbp"),
    "whether someone quit smoking between 1971 and 1982: known in 1982": ("qsmk",),
    "change of weight, smoking, price or tax until 1982": ("wt82_71", "smkintensity82_71", "price71_82", "tax71_82"),
    "whether the weight of 1982 is missing": ("censored",),
    "age above 50, a copy of age": ("older",),
    "a code of 49 values for a state, which one-hot would be a third of all columns": ("birthplace",),
}
_NHEFS_DROPPED = {name: reason for reason, names in _NHEFS_LEFT_OUT.items() for name in names}


@displayed
@dataclass(frozen=True)
class MortalityTable:
    """People, what was known of them at their examination, and whether they were alive at a later date.

    Attributes:
        features: Shape ``(people, columns)``, float64, NaN where a value is missing.
        alive: Shape ``(people,)``, int64: 1 alive, 0 dead, as in the paper.
        names: The columns of ``features``.
        source: Where the data come from and what ``alive`` means.
        is_the_papers: Whether these are the data of the paper's numbers, as far as 118 columns tell.
        dropped: Columns that were left out, with the reason.
        notes: What else was done to the data.
    """

    features: NDArray[np.float64]
    alive: NDArray[np.int64]
    names: tuple[str, ...]
    source: str
    is_the_papers: bool = False
    dropped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return what a reader of results has to know of the data."""
        people, columns = self.features.shape
        missing = float(np.isnan(self.features).mean())
        reasons: dict[str, list[str]] = {}
        for name, reason in self.dropped.items():
            reasons.setdefault(reason, []).append(name)
        return "\n".join(
            [
                f"Data: {self.source}",
                f"  {people} people, {columns} columns, {int((self.alive == 0).sum())} died; {missing:.1%} of the "
                "values are missing",
                *(f"  dropped {', '.join(names)}: {reason}" for reason, names in reasons.items()),
                *(f"  {note}" for note in self.notes),
            ]
        )

    def fingerprint(self) -> str:
        """Return a digest of features and labels, equal for equal data only."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(np.ascontiguousarray(self.features).tobytes())
        digest.update(np.ascontiguousarray(self.alive).tobytes())
        return digest.hexdigest()[:16]


def load_mortality(path: str | Path | None = None) -> MortalityTable:
    """Return NHANES I in the form that lies at a path.

    Args:
        path: None for NHEFS (:func:`load_nhefs`); a folder with ``NHANESI_subset_X.csv``
            (:func:`load_nhanes_subset`); or the paper's data, a folder with ``X_sparsity.csv`` or one CSV file
            (:func:`load_sparsity_file`).

    Raises:
        FileError: If there is none of these, or a file is not as described.
        OptionError: If a package for reading it is missing.
    """
    if path is None:
        return load_nhefs()
    path = file_path(path, "path", "load_mortality")
    if os.path.isfile(path / "NHANESI_subset_X.csv"):  # not that of Path, which raises an error for too long names
        return load_nhanes_subset(path)
    if os.path.isfile(path / "X_sparsity.csv") or os.path.isfile(path):
        return load_sparsity_file(path)
    raise FileError(
        f"{path}: no NHANES I data here. Give a folder with NHANESI_subset_X.csv and NHANESI_subset_y.csv, a folder "
        "with X_sparsity.csv and y_sparsity.npy, or a CSV file whose last column is the label; without a path NHEFS is "
        "taken from the package causaldata."
    )


def load_nhefs() -> MortalityTable:
    """Return NHEFS, the follow-up of NHANES I: smokers examined in 1971 and alive in 1982; who is alive in 1992?

    Kept is what was known in 1971. Columns with at most 12 values become one column per value; the others stay numbers.
    The label is not the paper's: everybody lived for about ten years, and the question is about the next ten.

    Raises:
        OptionError: If the package ``causaldata``, which ships the data, is not installed.

    Source: Hernán and Robins 2020, *Causal Inference: What If*; the package ``causaldata`` on PyPI and its codebook.
    """
    frame = optional("causaldata").nhefs.load_pandas().data
    features = frame.drop(columns=list(_NHEFS_DROPPED))
    late = [name for name in features if "82" in name]
    if late:
        raise OptionError(
            f"NHEFS: this version of causaldata has unknown columns of 1982 ({', '.join(late)}), which would give the "
            "answer away. Use causaldata 0.1.4 or 0.1.5."
        )
    values, names = _one_hot(features)
    return MortalityTable(
        values,
        1 - frame["death"].to_numpy(np.int64),
        names,
        "NHEFS, the follow-up of NHANES I (package causaldata): smokers examined in 1971 who were alive in 1982; alive "
        "in 1992 (1) or dead (0)",
        dropped=dict(_NHEFS_DROPPED),
        notes=(f"columns with at most {ONE_HOT_UP_TO} values are one-hot, one column per value",),
    )


def load_nhanes_subset(folder: str | Path, years: float = 10.0) -> MortalityTable:
    """Return the subset of NHANES I that the project shap distributes: alive ten years after the examination?

    Args:
        folder: With ``NHANESI_subset_X.csv`` (18 attributes, first column an index) and ``NHANESI_subset_y.csv`` (years
            to death if positive, years of follow-up if negative).
        years: The question. People of whom it is not known are left out.

    Raises:
        FileError: If the files are not as described.
        OptionError: If pandas is not installed.
    """
    folder = file_path(folder, "folder", "load_nhanes_subset")
    years = number_that(years, lambda t: t > 0, "a finite number > 0", "years", "load_nhanes_subset")
    frame = _numbers(folder / "NHANESI_subset_X.csv", index_col=0)
    answers = _numbers(folder / "NHANESI_subset_y.csv", index_col=0)
    if "y" not in answers:
        raise FileError(f"{folder / 'NHANESI_subset_y.csv'}: there is no column y, the years to death or follow-up.")
    times = answers["y"].to_numpy(np.float64)
    if len(frame) != len(times):
        raise FileError(
            f"{folder}: {len(frame)} people in NHANESI_subset_X.csv, but {len(times)} in NHANESI_subset_y.csv."
        )
    dead = (times > 0) & (times <= years)
    alive = np.abs(times) > years
    known = dead | alive
    values, names = _one_hot(frame)
    return MortalityTable(
        values[known],
        alive[known].astype(np.int64),
        names,
        f"NHANES I, the subset that the project shap distributes: alive {years:g} years after the examination (1) or "
        "dead (0)",
        notes=(
            f"{int((~known).sum())} people left out of whom that is not known: followed up for less than {years:g} "
            "years",
            f"columns with at most {ONE_HOT_UP_TO} values are one-hot, one column per value",
        ),
    )


def load_sparsity_file(path: str | Path) -> MortalityTable:
    """Return the file of the original experiment, as it is.

    Args:
        path: A folder with ``X_sparsity.csv`` (first column an index, 118 one-hot and numeric columns, gaps empty) and
            ``y_sparsity.npy`` (one 0 or 1 per row), as the code in the repositories suinleelab/attributionpriors and
            visinf/fast-axiomatic-attribution reads them; or one CSV file with a header, without an index, whose last
            column is that label.

    Raises:
        FileError: If the file is not as described.
        OptionError: If pandas is not installed.

    Source: Erion et al. 2021, *Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients*.
    """
    path = file_path(path, "path", "load_sparsity_file")
    if os.path.isdir(path):
        frame, given = _numbers(path / "X_sparsity.csv", index_col=0), read_array(path / "y_sparsity.npy")
        if given.dtype.kind not in "iufb":
            raise FileError(f"{path / 'y_sparsity.npy'}: labels must be 0 or 1 but are {given.dtype}.")
        labels = given.reshape(-1).astype(np.float64)
    else:
        whole = _numbers(path)
        if whole.shape[1] < 2:
            raise FileError(f"{path}: there must be columns of numbers and, as the last one, the labels.")
        frame, labels = whole.iloc[:, :-1], whole.iloc[:, -1].to_numpy(np.float64)
    if len(labels) != len(frame) or not np.isin(labels, (0, 1)).all():
        raise FileError(f"{path}: there must be one label 0 or 1 for each of the {len(frame)} rows.")
    papers = frame.shape[1] == 118
    return MortalityTable(
        frame.to_numpy(np.float64),
        labels.astype(np.int64),
        tuple(map(str, frame.columns)),
        f"{path.name}: one label 0 or 1 per person"
        + (", 118 columns as in the paper" if papers else f", but {frame.shape[1]} columns where the paper has 118"),
        is_the_papers=papers,
    )


def _numbers(path: Path, **options: int) -> Any:
    """Return a CSV file of numbers as a data frame."""
    pandas = optional("pandas")
    try:
        frame = pandas.read_csv(require_file(path), **options)
    except FileError:
        raise
    except Exception as error:  # pandas has errors of its own for many kinds of damage
        raise unreadable(path, in_one_line(error)) from error
    texts = [str(name) for name, kind in zip(frame.columns, frame.dtypes, strict=True) if kind.kind not in "iufb"]
    if texts:
        raise FileError(f"{path}: columns must be numbers, but {', '.join(texts[:5])} are not. One-hot encode them.")
    return frame


def _one_hot(frame: Any) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return columns of few values as one column per value, NaN where it is missing, and the others as they are."""
    columns: list[NDArray[np.float64]] = []
    names: list[str] = []
    for name in frame:
        column = frame[name].to_numpy(np.float64)
        present = ~np.isnan(column)
        levels = np.unique(column[present])
        if len(levels) > ONE_HOT_UP_TO:
            columns.append(column)
            names.append(str(name))
            continue
        columns += [np.where(present, column == level, np.nan) for level in levels]
        names += [f"{name}={level:g}" for level in levels]
    return np.stack(columns, axis=1), tuple(names)


def optional(module: str) -> ModuleType:
    """Return a module of a package that the extra ``repro`` installs.

    Raises:
        OptionError: If it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise OptionError(
            f"this experiment needs {module}, which cannot be imported ({error}): pip install captum-xg[repro]"
        ) from error
