"""The picture: how attributions of atoms go with their true contributions, method by method."""

from __future__ import annotations

from pathlib import Path

from captum_xg._core.figures import method_style, new_figure
from captum_xg._core.files import write_figure
from captum_xg.repro.molecules.attributions import (
    ATOMS_ALONE,
    GRADIENT,
    INPUT_X_GRADIENT,
    INTEGRATED,
    METHODS,
    RANDOM,
    X_GRADIENT,
)
from captum_xg.repro.molecules.results import Results

_STYLES = {
    X_GRADIENT: "xgradient",
    ATOMS_ALONE: "xgradient",
    INTEGRATED: "integrated_gradients",
    INPUT_X_GRADIENT: "input_x_gradient",
    GRADIENT: "gradient",
    RANDOM: "none",
}


def draw(path: Path, results: Results) -> None:
    """Write the picture."""
    figure = new_figure(8.0, 3.4)
    axes = figure.add_subplot()
    names = [(method, network) for network, methods in METHODS.items() for method in methods]
    for i, (method, _) in enumerate(reversed(names)):
        found = results.correlations[method]
        colour = method_style(_STYLES[method]).colour
        axes.barh(i, found.value, color=colour, alpha=0.45 if method in (ATOMS_ALONE, RANDOM) else 0.9, height=0.62)
        axes.errorbar(
            found.value, i, xerr=[[found.value - found.low], [found.high - found.value]], color="black", capsize=3
        )
        end = max(found.high, 0.0)  # right of the interval, and of the axis
        axes.text(end + 0.02, i, f"{found.value:.2f}".replace("-0.00", "0.00"), va="center", fontsize=9.5)
    labels = [method if method == RANDOM else f"{method}, {network}" for method, network in names]
    axes.set_yticks(range(len(names)), list(reversed(labels)), fontsize=9.5)
    axes.axvline(0, color="black", linewidth=0.8)
    lowest = min(each.low for each in results.correlations.values())
    axes.set_xlim(min(-0.05, lowest - 0.1), 1.1)
    axes.set_xlabel("Pearson correlation with the true contributions, all atoms of test molecules")
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure, dpi=105)
