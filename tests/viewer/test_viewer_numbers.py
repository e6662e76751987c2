"""What a page is about: which inputs, classes and clusters it shows, and numbers of any size."""

import numpy as np
import pytest
import torch
from scans import pictures, write_scan
from test_viewer_files import about
from torch.utils.data import TensorDataset

from captum_xg.analysis import Clusters, MeanMaps
from captum_xg.errors import InputError
from captum_xg.viewer import write_page
from captum_xg.viewer.reduction import cosines, gini


def test_beside_layers_stands_the_first_input_of_the_model_however_many_there_are(tmp_path):
    x, _, outputs, labels = pictures(10)
    layers = torch.randn(10, 1, 6, 3, 3), torch.randn(10, 1, 5)
    shape = {"settings": {"data": {"shape": [[1, 12, 12]]}}}
    run = write_scan(tmp_path / "several layers", x, layers, outputs, labels=labels, layer=["a", "b"], **shape)
    for input, kind in ((0, "picture"), (1, "table")):
        said, _ = about(write_page(run, TensorDataset(x, labels), tmp_path / "page", input=input))
        assert (said["kind"], said["media"]["size"]) == (kind, [12, 12])
    both = {"settings": {"data": {"shape": [[1, 12, 12], [1, 12, 12]]}}}
    run = write_scan(tmp_path / "inputs", (x, x + 1), layers[:1] * 1, outputs, layer=["a"], **both)
    said, _ = about(write_page(run, TensorDataset(x, x + 1, labels), tmp_path / "page"))
    assert said["media"]["size"] == [12, 12]
    with pytest.raises(InputError, match="example 0"):
        write_page(run, TensorDataset(x, x + 2), tmp_path / "page")


def test_where_some_labels_are_known_classes_are_those_of_labels(tmp_path):
    x, a, outputs, labels = pictures(24)
    labels[::2] = -1
    run = write_scan(tmp_path / "run", x, a, outputs, labels=labels)
    said, _ = about(write_page(run, x, tmp_path / "page"))
    counts = {mean["class"]: mean["n"] for mean in said["sets"][0]["means"]}
    assert counts == {k: int((labels == k).sum()) for k in (1, 3)}


def test_where_nothing_is_attributed_the_page_has_no_cluster(tmp_path):
    x, a, outputs, labels = pictures(8)
    run = write_scan(tmp_path / "run", x, a * 0, outputs, labels=labels)
    none = Clusters((), run.ids, torch.full((8,), -1), MeanMaps((), *(torch.zeros(0),) * 5), torch.zeros(0).long())
    said, columns = about(write_page(run, x, tmp_path / "page", clusters=none))
    assert said["clusters"] == []
    assert (columns["cluster"] == -1).all()


@pytest.mark.parametrize("factor", [1e-300, 1e60])
def test_numbers_that_32_bits_do_not_hold_are_kept_in_64(tmp_path, factor):
    x, a, outputs, _ = pictures(8)
    a = a.double() * factor
    said, columns = about(write_page(write_scan(tmp_path / "run", x, a, outputs), x, tmp_path / "page"))
    np.testing.assert_allclose(columns["sum.0"], a.flatten(1).sum(1), rtol=1e-9)
    np.testing.assert_allclose(columns["absolute.0"], a.abs().flatten(1).sum(1), rtol=1e-9)
    assert columns["sum.0"].dtype == np.float64
    end = a.abs().flatten(1).quantile(0.995, 1).numpy()
    np.testing.assert_allclose(columns["end.0"], end, rtol=1e-9)
    assert said["sets"][0]["end"] == pytest.approx(float(np.percentile(end, 90)), rel=1e-9)


def test_sums_beyond_all_numbers_are_refused_and_named(tmp_path):
    x, a, outputs, _ = pictures(8)
    a = a.double()
    a[5] *= 1e303
    run = write_scan(tmp_path / "run", x, a, outputs)
    with pytest.raises(InputError, match=r"example 5 in .*run add up to more than 1e"):
        write_page(run, x, tmp_path / "page")


def test_cosines_and_concentration_do_not_depend_on_the_size_of_numbers():
    one, other = np.random.default_rng(0).normal(size=(2, 5, 9))
    expected = [float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in zip(one, other, strict=True)]
    for factor in (1e-300, 1, 1e290):
        np.testing.assert_allclose(cosines(one * factor, other), expected)
        np.testing.assert_allclose(gini(one * factor), gini(one))
    assert np.isnan(cosines(one * 0, other)).all()


def test_methods_have_the_names_of_their_classes_however_they_were_written_down(tmp_path):
    x, a, outputs, _ = pictures(4)
    names = {"xgradient": "XGradient", "layer_xgradient": "LayerXGradient", "LayerXGradient": "LayerXGradient",
             "integrated_gradients": "IntegratedGradients", "XGradient": "XGradient"}  # fmt: skip
    for place, (written, shown) in enumerate(names.items()):
        run = write_scan(tmp_path / f"{place}", x, a, outputs, method=written)
        assert write_page(run, None, tmp_path / f"page{place}").maps == (shown,)
