"""Molecules whose atoms and bonds lie on the colours of their attributions, drawn by rdkit."""

from __future__ import annotations

import html
import importlib
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.figures import scale_of
from captum_xg._core.options import integer
from captum_xg.errors import InputError, MissingPackageError, OptionError, OptionTypeError
from captum_xg.visualization.numbers import array_of, checked_names
from captum_xg.visualization.tokens import Html, colour_of

_WHERE = "molecule_svg"
_RADIUS = 0.42


def molecule_svg(
    smiles: str | Sequence[str],
    atoms: Tensor,
    bonds: Tensor | None = None,
    *,
    labels: Iterable[str] | None = None,
    width: int = 300,
    height: int = 230,
) -> Html:
    """Return molecules whose atoms and bonds lie on the colour of their attribution: red adds to the output.

    Each molecule has a colour scale of its own, the same for its atoms and its bonds. Where a bond has a colour, both
    its halves have it; where it has none, ``bonds`` was not given.

    Args:
        smiles: Of one molecule, or of each of N. Atoms and bonds are in the order in which rdkit reads them from it.
        atoms: Attributions ``(A,)`` or ``(A, d)`` of one molecule, ``(N, A)`` or ``(N, A, d)`` of several, padded
            at the end; summed over the d features.
        bonds: Likewise ``(E,)``, ``(E, c)``, ``(N, E)`` or ``(N, E, c)``.
        labels: What stands under each molecule, such as the output.
        width: Of a molecule, in pixels.
        height: Of it.

    Returns:
        HTML with one SVG for each molecule, which a notebook shows; :class:`str` otherwise.

    Raises:
        InputError: If shapes do not fit, or numbers are not finite.
        OptionError, OptionTypeError: For a text that is no molecule, or other wrong options.
        MissingPackageError: If rdkit is not installed.

    Example:
        >>> atoms, bonds = XGradient(model).attribute(graphs.inputs, additional_forward_args=graphs.structure)
        >>> molecule_svg(smiles, atoms, bonds)
    """
    single = isinstance(smiles, str)
    texts = [smiles] if isinstance(smiles, str) else list(smiles) if isinstance(smiles, Sequence) else None
    if not texts or not all(isinstance(text, str) for text in texts):
        raise OptionTypeError(f"{_WHERE}: `smiles` must be a SMILES text or a list of them, but is {smiles!r}.")
    numbers = _rows(atoms, len(texts), "atoms", "A", single)
    of_bonds = None if bonds is None or not np.size(bonds) else _rows(bonds, len(texts), "bonds", "E", single)
    heads = [""] * len(texts) if labels is None else checked_names(labels, len(texts), "labels", "molecule", _WHERE)
    size = integer(width, "width", _WHERE, least=80), integer(height, "height", _WHERE, least=80)
    boxes = []
    for i, (text, head) in enumerate(zip(texts, heads, strict=True)):
        molecule = _read(text)
        own = _first(numbers[i], molecule.GetNumAtoms(), "atoms", text)
        joined = None if of_bonds is None else _first(of_bonds[i], molecule.GetNumBonds(), "bonds", text)
        end = scale_of(own if joined is None else np.concatenate([own, joined]))
        note = f"{html.escape(head)}<br>" if head else ""
        boxes.append(
            f'<div style="display: inline-block; text-align: center; font-family: sans-serif; margin: 4px">'
            f"{_drawn(molecule, own / end, None if joined is None else joined / end, size)}"
            f"<br>{note}<small>strongest: {end:.2g}</small></div>"
        )
    said = "red adds to the output, blue takes from it; each molecule has its own scale"
    legend = f'<p style="font-family: sans-serif"><small>{said}</small></p>'
    return Html('<div style="background: white; color: black">' + "\n".join([*boxes, legend]) + "</div>")


def _rows(value: object, count: int, name: str, letter: str, single: bool) -> NDArray[np.float64]:
    """Return one row of numbers for each molecule, summed over features."""
    found = array_of(value, name, _WHERE)
    shape = found.shape
    if single and (found.ndim == 1 or (found.ndim == 2 and shape[0] != 1)):
        found = found[None]
    if found.ndim == 3:
        found = found.sum(2)
    if found.ndim != 2 or len(found) != count:
        raise InputError(
            f"{_WHERE}: `{name}` must be of shape ({letter},) or ({letter}, d) for one molecule, or (N, {letter}) or "
            f"(N, {letter}, d) for N = {count}, but is of shape {shape}."
        )
    return found


def _first(row: NDArray[np.float64], count: int, name: str, text: str) -> NDArray[np.float64]:
    """Return the numbers of the molecule itself; what follows is padding, and must be zero."""
    if len(row) < count or bool(np.any(row[count:] != 0)):
        reason = f"`{name}` has {len(row)}" if len(row) < count else f"`{name}` has numbers behind these"
        raise InputError(f"{_WHERE}: {text} has {count} {name}, but {reason}. Are they of another molecule?")
    return row[:count]


def _read(text: str) -> Any:
    molecule = _rdkit("rdkit.Chem").MolFromSmiles(text)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise OptionError(f"{_WHERE}: {text!r} is no molecule that rdkit can read.")
    return molecule


def _drawn(molecule: Any, atoms: NDArray[np.float64], bonds: NDArray[np.float64] | None, size: tuple[int, int]) -> str:
    """Return the SVG of a molecule, shares of the scale from −1 to 1."""
    drawing = _rdkit("rdkit.Chem.Draw.rdMolDraw2D")
    canvas = drawing.MolDraw2DSVG(*size)
    options = canvas.drawOptions()
    options.useBWAtomPalette()  # red and blue are taken
    options.highlightRadius = _RADIUS
    options.padding = 0.08
    colours = {i: _share_of_colour(share) for i, share in enumerate(atoms)}
    of_bonds = {} if bonds is None else {i: _share_of_colour(share) for i, share in enumerate(bonds)}
    drawing.PrepareAndDrawMolecule(
        canvas,
        molecule,
        highlightAtoms=list(colours),
        highlightAtomColors=colours,
        highlightBonds=list(of_bonds),
        highlightBondColors=of_bonds,
        highlightAtomRadii=dict.fromkeys(colours, _RADIUS),
    )
    canvas.FinishDrawing()
    svg = str(canvas.GetDrawingText())
    return svg[svg.index("<svg") :]  # without the XML header, which has no place within HTML


def _share_of_colour(share: float) -> tuple[float, float, float]:
    red, green, blue = colour_of(float(share))
    return red / 255, green / 255, blue / 255


def _rdkit(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rdkit":
            raise
        raise MissingPackageError(f"{_WHERE} needs rdkit, which is not installed here: pip install rdkit.") from None
