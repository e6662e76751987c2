"""The tables of NHANES I hold what was known at the examination, and nothing that tells who died."""

import os
from pathlib import Path

import numpy as np
import pytest

from captum_xg.datasets.nhanes import ONE_HOT_UP_TO, load_mortality, load_nhefs
from captum_xg.errors import OptionError

pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def nhefs():
    pytest.importorskip("causaldata")
    return load_nhefs()


@pytest.fixture(scope="module")
def nhefs_frame():
    return pytest.importorskip("causaldata").nhefs.load_pandas().data


@pytest.fixture(scope="module")
def subset():
    root = os.environ.get("CAPTUM_XG_DATA")
    if root is None or not (Path(root) / "nhanes1").is_dir():
        pytest.skip("CAPTUM_XG_DATA names no folder with nhanes1, the subset of NHANES I")
    return Path(root) / "nhanes1"


def _origin(column: str) -> str:
    return column.split("=", maxsplit=1)[0]


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative[None]).sum() + 0.5 * (positive[:, None] == negative[None]).sum()
    return float(wins / (len(positive) * len(negative)))


def test_every_column_of_nhefs_was_known_in_1971(nhefs):
    codebook = pytest.importorskip("causaldata").nhefs_codebook.load_pandas().data
    said = {str(row.variable).replace(" ", "").strip().lower(): row.description for row in codebook.itertuples()}
    for name in {_origin(column) for column in nhefs.names}:
        # The codebook spells this one without its r.
        description = said["bithcontrol" if name == "birthcontrol" else name]
        assert "1982" not in description, f"{name}: {description}"
        assert "DEATH" not in description, f"{name}: {description}"


def test_every_column_of_nhefs_is_kept_or_dropped_with_a_reason(nhefs, nhefs_frame):
    kept = {_origin(column) for column in nhefs.names}
    assert kept | set(nhefs.dropped) == set(nhefs_frame.columns)
    assert not kept & set(nhefs.dropped)
    assert all(nhefs.dropped.values())
    assert all(name in str(nhefs) for name in nhefs.dropped)


def test_no_column_of_nhefs_nor_the_gaps_in_it_tell_who_died_better_than_age(nhefs):
    age = nhefs.features[:, nhefs.names.index("age")]
    best = _auc(-age, nhefs.alive)
    for column, name in zip(nhefs.features.T, nhefs.names, strict=True):
        gaps = np.isnan(column)
        filled = np.where(gaps, np.nanmean(column), column)
        for scores in (filled, gaps.astype(float)):
            found = _auc(scores, nhefs.alive)
            assert max(found, 1 - found) <= best, name


def test_labels_of_nhefs_are_one_for_the_living(nhefs, nhefs_frame):
    assert nhefs.alive.sum() == len(nhefs_frame) - int(nhefs_frame.death.sum())
    assert np.array_equal(nhefs.alive == 0, nhefs_frame.death.to_numpy() == 1)


def test_one_hot_columns_of_a_person_sum_to_one_unless_the_value_is_missing(nhefs, nhefs_frame):
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(nhefs.names):
        groups.setdefault(_origin(name), []).append(i)
    for name, columns in groups.items():
        original = nhefs_frame[name].to_numpy(float)
        missing = np.isnan(original)
        ours = nhefs.features[:, columns]
        assert np.array_equal(np.isnan(ours).any(1), missing), name
        if len(np.unique(original[~missing])) > ONE_HOT_UP_TO:
            assert np.array_equal(ours[:, 0], original, equal_nan=True), name
        else:
            assert (ours[~missing].sum(1) == 1).all(), name
            levels = np.array([float(nhefs.names[i].split("=")[1]) for i in columns])
            assert np.array_equal(levels[ours[~missing].argmax(1)], original[~missing]), name
    assert 110 <= len(nhefs.names) <= 126  # about the paper's 118


def test_the_subset_counts_who_died_within_ten_years_and_leaves_out_who_was_lost(subset):
    table = load_mortality(subset)
    times = pandas.read_csv(subset / "NHANESI_subset_y.csv", index_col=0)["y"]
    assert (table.alive == 0).sum() == times.between(0, 10, inclusive="right").sum()
    assert (table.alive == 1).sum() == (times.abs() > 10).sum()
    assert "Age" in table.names
    assert not table.is_the_papers
    lost = len(times) - len(table.alive)
    assert lost > 0
    assert f"{lost} people left out" in str(table)


def test_the_papers_files_are_read_as_they_are(tmp_path):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(9, 118))
    values[2, 3] = np.nan
    labels = np.array([0, 1, 0, 1, 1, 0, 1, 1, 0])
    names = [f"c{i}" for i in range(118)]
    frame = pandas.DataFrame(values, columns=names)
    frame.to_csv(tmp_path / "X_sparsity.csv")
    np.save(tmp_path / "y_sparsity.npy", labels.astype(bool))
    frame.assign(label=labels).to_csv(tmp_path / "one.csv", index=False)
    for path in (tmp_path, tmp_path / "one.csv"):
        table = load_mortality(path)
        assert np.allclose(table.features, values, equal_nan=True, rtol=0, atol=1e-15)
        assert np.array_equal(table.alive, labels)
        assert table.names == tuple(names)
        assert table.is_the_papers
    frame.iloc[:, :7].to_csv(tmp_path / "X_sparsity.csv")
    assert not load_mortality(tmp_path).is_the_papers


def test_files_that_are_not_as_described_are_refused(tmp_path):
    with pytest.raises(OptionError, match="no NHANES I data"):
        load_mortality(tmp_path)
    (tmp_path / "labels.csv").write_text("a,y\n1,0\n2,3\n")
    with pytest.raises(OptionError, match="one label 0 or 1"):
        load_mortality(tmp_path / "labels.csv")
    (tmp_path / "texts.csv").write_text("a,b,y\n1,old,0\n2,young,1\n")
    with pytest.raises(OptionError, match="b are not"):
        load_mortality(tmp_path / "texts.csv")
    pandas.DataFrame({"a": [1.0, 2.0]}).to_csv(tmp_path / "X_sparsity.csv")
    with pytest.raises(OptionError, match=r"y_sparsity\.npy"):
        load_mortality(tmp_path)
    np.save(tmp_path / "y_sparsity.npy", np.array([0, 1, 1]))
    with pytest.raises(OptionError, match="one label 0 or 1"):
        load_mortality(tmp_path)


def test_fingerprints_tell_tables_apart(nhefs):
    from dataclasses import replace

    assert nhefs.fingerprint() == load_nhefs().fingerprint()
    features = nhefs.features.copy()
    features[5, 5] += 1
    alive = nhefs.alive.copy()
    alive[7] = 1 - alive[7]
    others = [replace(nhefs, features=features), replace(nhefs, alive=alive)]
    assert len({nhefs.fingerprint(), *(other.fingerprint() for other in others)}) == 3
