"""Molecules are drawn with the numbers they were given, and numbers of other molecules are refused; with rdkit."""

import re

import pytest
import torch

from captum_xg.errors import InputError, MissingPackageError, OptionError, OptionTypeError
from captum_xg.visualization import molecule_svg
from captum_xg.visualization.tokens import colour_of


def test_without_rdkit_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
    with pytest.raises(MissingPackageError, match="pip install rdkit"):
        molecule_svg("CO", torch.ones(2))


def test_atoms_and_bonds_have_the_colours_of_their_share_of_one_scale():
    pytest.importorskip("rdkit")
    page = molecule_svg(["CO", "C=C"], torch.tensor([[1.0, -0.5], [0.0, 0.2]]), torch.tensor([[2.0], [0.0]]))
    assert page.count("<svg") == 2
    assert "strongest: 2<" in page
    assert "strongest: 0.2<" in page
    colours = {tuple(int(pair, 16) for pair in found) for found in re.findall("#(..)(..)(..)", page)}
    for share in (0.5, -0.25, 1.0):
        assert any(max(abs(a - b) for a, b in zip(colour_of(share), c, strict=True)) <= 1 for c in colours)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: molecule_svg("CO", torch.ones(3)), InputError, "behind these"),
        (lambda: molecule_svg("CO", torch.ones(1)), InputError, "has 2 atoms"),
        (lambda: molecule_svg("C1", torch.ones(1)), OptionError, "no molecule"),
        (lambda: molecule_svg(["CO", "C"], torch.ones(2)), InputError, "for N = 2"),
        (lambda: molecule_svg([], torch.ones(2)), OptionTypeError, "SMILES"),
        (lambda: molecule_svg("CO", torch.tensor([1.0, float("nan")])), InputError, "NaN"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, words):
    pytest.importorskip("rdkit")
    with pytest.raises(error, match=words):
        call()
