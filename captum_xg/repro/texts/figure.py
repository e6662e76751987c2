"""Pictures: how words rank by each method, accuracy on decoys by λ, and tokens of a few texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg._core.figures import method_style, new_figure
from captum_xg._core.files import write_figure, write_text
from captum_xg.repro.estimate import estimate
from captum_xg.repro.figure import marker_of
from captum_xg.repro.section import Panel
from captum_xg.repro.texts.decoys import PRIORS
from captum_xg.repro.texts.explaining import IG, X_GRADIENT
from captum_xg.repro.texts.measure import network_name
from captum_xg.repro.texts.networks import ARCHITECTURES
from captum_xg.repro.texts.report import GOALS, references
from captum_xg.repro.texts.results import RANKED, Results
from captum_xg.visualization import token_figure, token_html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS, DECOYS, TOKENS, PAGE = "words.png", "decoys.png", "tokens.png", "tokens.html"


def draw(results: Results, folder: Path) -> tuple[Panel, ...]:
    """Write the pictures, and the page of tokens, to a folder; return them as parts of the section."""
    _words(results, folder / WORDS)
    _decoys(results, folder / DECOYS)
    title = _tokens(results, folder)
    return (
        Panel(
            "Rank correlation of words' attributions with their known valences, 95 % interval over words",
            picture=WORDS,
            description="Points with intervals: methods by network, for the class and for the rating.",
        ),
        Panel(
            "Accuracy where the token says nothing: on validation texts by λ (lines), and on test texts at the λ "
            "chosen by them (points, 95 % interval over trainings)",
            picture=DECOYS,
            description="Validation accuracy over λ for three attributions, and test accuracy at the chosen ones.",
        ),
        Panel(title, picture=TOKENS, description="Texts with red and blue tokens."),
    )


def _words(results: Results, path: Path) -> None:
    figure = new_figure(9.2, 3.9)
    axes = figure.subplots(1, len(GOALS), sharey=True)
    labels = list(RANKED)
    for one, (goal, about) in zip(axes, GOALS.items(), strict=True):
        for k, (architecture, marker) in enumerate(zip(results.settings.networks, "osD", strict=False)):
            found = results.ranks(goal, architecture)
            for row, label in enumerate(labels):
                method, x = RANKED[label]
                each, colour = found[label], method_style(method).colour
                reach = [[each.value - each.low], [each.high - each.value]]
                style = {"color": colour, "marker": marker, "markerfacecolor": "white" if x else colour}
                one.errorbar(each.value, row + 0.22 * (k - 1), xerr=reach, capsize=2, markersize=5, lw=1.2, **style)
        one.axvline(0, color="0.7", lw=0.8, zorder=0)
        one.set(title=f"attributions to {about}", xlabel="Spearman correlation with valences")
        one.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    for architecture, marker in zip(results.settings.networks, "osD", strict=False):
        axes[0].plot([], [], marker, color="0.35", markerfacecolor="white", label=ARCHITECTURES[architecture])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    write_figure(path, figure, dpi=100)


def _decoys(results: Results, path: Path) -> None:
    networks = results.settings.decoy_networks
    figure = new_figure(max(6.8, 4.6 * len(networks)), 4.0)
    for axes, architecture in zip(figure.subplots(1, len(networks), squeeze=False)[0], networks, strict=True):
        _choice(axes, results, architecture)
        axes.set_title(ARCHITECTURES[architecture], fontsize=10)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    write_figure(path, figure, dpi=100)


def _choice(axes: Axes, results: Results, architecture: str) -> None:
    outcomes = results.decoys(architecture)
    for method in PRIORS:
        outcome, style = outcomes[method], marker_of(method)
        weights = sorted(outcome.grid)
        axes.plot(weights, [100 * outcome.grid[w] for w in weights], "-", color=style["color"], lw=1, alpha=0.6)
        found = estimate([100 * v for v in outcome.test])
        axes.errorbar(outcome.weight, found.mean, yerr=found.reach, capsize=3, label=method.label, **style)
    for method, line in ((PRIORS[-1], "--"), (PRIORS[0], ":")):
        for role, reference in zip(("no prior", "no decoys"), references(method), strict=True):
            mean = 100 * sum(outcomes[reference].test) / len(outcomes[reference].test)
            kind = "twin" if method.bias else "degree 1"
            shade = "0.65" if role == "no prior" else "0.25"
            axes.axhline(mean, color=shade, linestyle=line, lw=1.2, label=f"{role}, {kind}")
    axes.set_xscale("log")
    axes.set(xlabel="λ", ylabel="accuracy, %", ylim=(40, 101))
    axes.grid(axis="y", alpha=0.3)


def _tokens(results: Results, folder: Path) -> str:
    shown: dict[str, list[Mapping[str, Any]]] = {}
    networks = results.settings.networks
    shown_network = "cnn" if "cnn" in networks else networks[0]
    for x, method in ((True, X_GRADIENT), (False, IG)):
        name = network_name("classes", shown_network, 0, x=x)
        shown[f"{method}, {'degree 1' if x else 'twin'}"] = list(results.units[name]["examples"])
    tokens, numbers, labels = [], [], []
    for texts in zip(*shown.values(), strict=True):
        for label, text in zip(shown, texts, strict=True):
            tokens.append(text["tokens"])
            numbers.append(text["attributions"])
            labels.append(f"{label}: score {text['score']:+.2f}")
    import torch

    longest = max(map(len, numbers))
    padded = torch.tensor([[*row, *[0.0] * (longest - len(row))] for row in numbers])
    name = ARCHITECTURES[shown_network]
    title = f"Tokens of a few texts that speak for (red) and against (blue) the class positive, {name}"
    write_figure(folder / TOKENS, token_figure(tokens, padded, labels=labels, width=8.5), dpi=90)
    write_text(
        folder / PAGE,
        f"<!DOCTYPE html><meta charset='utf-8'><h1>{title}</h1>{token_html(tokens, padded, labels=labels)}",
    )
    return title
