"""Attributions of atoms by several methods, and how they go with contributions that are known.

An atom has the sum over its features, and half of what each of its bonds has: so the numbers of a molecule's atoms
still add up to the output where the method is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from captum_xg import XGradient
from captum_xg.models.graph import GIN, Graphs
from captum_xg.repro.molecules.training import batches

X_GRADIENT, ATOMS_ALONE = "X-Gradient", "X-Gradient, atoms alone"
INTEGRATED, INPUT_X_GRADIENT, GRADIENT = "IG (50 steps)", "input × gradient", "|gradient|"
RANDOM = "random numbers"
METHODS: Mapping[str, tuple[str, ...]] = {
    "xgin": (X_GRADIENT, ATOMS_ALONE, RANDOM),
    "gin": (INTEGRATED, INPUT_X_GRADIENT, GRADIENT),
}
"""Network → what its atoms are explained by."""
STEPS = 50
TRIED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_REFERENCE = 1024

Pair = tuple[Tensor, Tensor]
"""Attributions of atoms ``(B, A, d)`` and of bonds ``(B, E, c)``."""


def atom_attributions(model: GIN, graphs: Graphs, method: str) -> Tensor:
    """Return one number for each atom, ``(n, A)``, in the unit of the model's output, on the CPU."""
    if method == RANDOM:
        return torch.randn(graphs.padding.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for part in batches(graphs, 128):
        atoms, bonds = _EXPLAINED[method](model, part)
        numbers = per_atom(atoms, torch.zeros_like(bonds) if method == ATOMS_ALONE else bonds, part.ends)
        found.append(torch.nn.functional.pad(numbers, (0, graphs.padding.shape[1] - numbers.shape[1])))
    return torch.cat(found).double().cpu()


def per_atom(atoms: Tensor, bonds: Tensor, ends: Tensor) -> Tensor:
    """Return what each atom has with half of its bonds, ``(B, A)``.

    Args:
        atoms: Attributions ``(B, A, d)``.
        bonds: Attributions ``(B, E, c)``.
        ends: The two atoms of each bond, ``(B, E, 2)``, −1 where there is none.
    """
    numbers, halves = atoms.detach().sum(2), bonds.detach().sum(2) / 2
    for end in ends.unbind(2):
        numbers = numbers.scatter_add(1, end.clamp(min=0), torch.where(end >= 0, halves, 0.0))
    return numbers


def x_gradient(model: GIN, graphs: Graphs) -> Pair:
    """Return X-Gradient of atoms and bonds, checked as by default."""
    atoms, bonds = XGradient(model).attribute(graphs.inputs, target=0, additional_forward_args=graphs.structure)
    return atoms, bonds


def integrated_gradients(model: GIN, graphs: Graphs, steps: int = STEPS, at_once: int = 2048) -> Pair:
    """Return Captum's Integrated Gradients of atoms and bonds together."""
    atoms, bonds = IntegratedGradients(model).attribute(
        graphs.inputs,
        target=0,
        additional_forward_args=graphs.structure,
        n_steps=steps,
        internal_batch_size=max(at_once, len(graphs.nodes)),
    )
    return atoms, bonds


def _input_x_gradient(model: GIN, graphs: Graphs) -> Pair:
    atoms, bonds = InputXGradient(model).attribute(_leaves(graphs), 0, graphs.structure)
    return atoms, bonds


def _saliency(model: GIN, graphs: Graphs) -> Pair:
    atoms, bonds = Saliency(model).attribute(_leaves(graphs), 0, additional_forward_args=graphs.structure)
    return atoms, bonds


def _leaves(graphs: Graphs) -> Pair:
    nodes, edges = (each.detach().clone().requires_grad_() for each in graphs.inputs)
    return nodes, edges


_EXPLAINED: Mapping[str, Callable[[GIN, Graphs], Pair]] = {
    X_GRADIENT: x_gradient,
    ATOMS_ALONE: x_gradient,
    INTEGRATED: integrated_gradients,
    INPUT_X_GRADIENT: _input_x_gradient,
    GRADIENT: _saliency,
}


def distance_of_methods(model: GIN, graphs: Graphs) -> float:
    """Return the largest difference of X-Gradient and IG (64 steps) in float64, relative to the largest attribution."""
    wide = _in_double(model)
    graphs = graphs.to(graphs.nodes.device, torch.float64)
    integrated = IntegratedGradients(wide).attribute(
        graphs.inputs, target=0, additional_forward_args=graphs.structure, n_steps=64
    )
    largest = max(float(each.abs().max()) for each in integrated)
    pairs = zip(x_gradient(wide, graphs), integrated, strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs) / largest


def steps_for_one_percent(model: GIN, graphs: Graphs) -> list[float | None]:
    """Return for each molecule the fewest of :data:`TRIED` steps from which on IG is within 1 % of 1,024 steps.

    The distance is relative, in the Euclidean norm over atoms' and bonds' features; the rule is Gauss–Legendre, and the
    arithmetic float64. None, if none is enough.
    """
    wide = _in_double(model)
    graphs = graphs.to(graphs.nodes.device, torch.float64)

    def flat(steps: int) -> Tensor:
        return torch.cat([each.flatten(1) for each in integrated_gradients(wide, graphs, steps)], 1)

    reference = flat(_REFERENCE)
    near = [((flat(n) - reference).norm(dim=1) <= 0.01 * reference.norm(dim=1)).tolist() for n in TRIED]
    return [_first(flags) for flags in zip(*near, strict=True)]


def _first(near: tuple[bool, ...]) -> float | None:
    last = max((i for i, good in enumerate(near) if not good), default=-1)
    return float(TRIED[last + 1]) if last + 1 < len(TRIED) else None


def _in_double(model: GIN) -> GIN:
    from copy import deepcopy

    return deepcopy(model).double()
