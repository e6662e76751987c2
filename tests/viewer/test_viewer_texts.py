"""Texts of different lengths: what pads them, and how they are spread over shards, changes nothing of a page."""

import numpy as np
import pytest
import torch
from scans import write_scan
from test_viewer_files import about, rows
from torch import nn

from captum_xg import LayerXGradient, explain_dataset
from captum_xg.viewer import write_page


def texts(n=50, seed=0):
    """Padded token ids, attributions, lengths and outputs; some texts end in the id 0."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (n,), generator=g)
    there = torch.arange(8) < lengths[:, None]
    tokens = torch.where(there, torch.randint(0, 30, (n, 8), generator=g), -1)
    a = torch.where(there, torch.randn(n, 8, generator=g), 0.0)
    return tokens, a, lengths, torch.stack([a.sum(1), -a.sum(1)], 1)


def scan(folder, per_shard, own=True):
    tokens, a, lengths, outputs = texts()
    kept = {"lengths": lengths} if own else {}
    ones = torch.zeros(len(a), 1, dtype=torch.int64)
    labels = torch.arange(len(a)) % 2
    return write_scan(folder, tokens, a[:, None], outputs, ones, labels, tokens=tokens, per_shard=per_shard, **kept)


def test_padding_changes_nothing_of_a_page(tmp_path):
    runs = [scan(tmp_path / "own", 4), scan(tmp_path / "same", 64, own=False)]
    pages = [write_page(run, None, tmp_path / f"page{i}", title="t") for i, run in enumerate(runs)]
    (said, columns), (other, expected) = map(about, pages)
    tokens, _, lengths, _ = texts()
    assert [np.frombuffer(row, "<i4").tolist() for row in rows(pages[0], said["families"][0])] == [
        own[:n].tolist() for own, n in zip(tokens, lengths, strict=True)
    ]
    for name, values in columns.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-6, err_msg=name)
    assert rows(pages[0], said["sets"][0]["families"][0]) == rows(pages[1], other["sets"][0]["families"][0])
    assert said["sets"][0]["means"] == other["sets"][0]["means"]


@pytest.mark.parametrize("sizes", [(3, 20), (20, 3)])
def test_runs_with_other_shards_are_compared(tmp_path, sizes):
    one, other = scan(tmp_path / "one", sizes[0]), scan(tmp_path / "other", sizes[1])
    page = write_page(one, None, tmp_path / "page", compare=other)
    said, columns = about(page)
    np.testing.assert_allclose(columns["agreement.1"], 1)
    first, second = (rows(page, each["families"][0]) for each in said["sets"])
    assert first == second


def test_a_page_is_made_of_what_a_scan_of_texts_leaves(tmp_path):
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.last = nn.Embedding(20, 5, padding_idx=0), nn.Linear(5, 3, bias=False)

        def forward(self, ids):
            return self.last(self.words(ids).relu().sum(1))

    model = Model().eval()
    batches = [(torch.randint(1, 20, (4, length)), torch.randint(3, (4,))) for length in (5, 7, 6)]
    for size in (4, 12):
        found = explain_dataset(
            LayerXGradient(model, model.words), batches, tmp_path / f"{size}", sum_last=True, shard_size=size,
            dtype="float32", progress=False,
        )  # fmt: skip
        page = write_page(found, None, tmp_path / f"page{size}", vocabulary=[f"w{i}" for i in range(20)])
        said, columns = about(page)
        assert page.maps == ("LayerXGradient",)
        kept = [np.frombuffer(row, "<i4").tolist() for row in rows(page, said["families"][0])]
        assert kept == [row.tolist() for ids, _ in batches for row in ids]
        np.testing.assert_allclose(columns["sum.0"], columns["F.0"], rtol=1e-4)


def test_an_end_that_one_run_is_silent_on_is_shown_where_the_other_is_not(tmp_path):
    tokens = torch.tensor([[4, 5, 0, 0]])
    silent, loud = torch.tensor([[1.0, 2.0, 0.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.5, 0.0]])
    runs = [
        write_scan(tmp_path / name, tokens, a[:, None], a.sum(1, keepdim=True), torch.tensor([[-1]]), tokens=tokens)
        for name, a in (("silent", silent), ("loud", loud))
    ]
    page = write_page(runs[0], None, tmp_path / "page", compare=runs[1])
    assert [len(row) for row in rows(page, about(page)[0]["families"][0])] == [3 * 4]


@pytest.mark.parametrize("form", ["texts", "table", "large"])
def test_pages_of_all_kinds_can_be_replaced(tmp_path, form):
    if form == "texts":
        run, x = scan(tmp_path / "run", 20), None
    else:
        x = torch.rand(3, 1, 150, 150) if form == "large" else torch.rand(3, 5)
        run = write_scan(tmp_path / "run", x, x[:, None], torch.rand(3, 2))
    pages = [write_page(run, x, tmp_path / "page") for _ in range(2)]
    assert pages[0] == pages[1]
