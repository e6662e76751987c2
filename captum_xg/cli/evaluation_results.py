"""Folder of results of captum-xg evaluate: written whole, and never over results that a call does not cover.

A call covers what is there if it asks the same question of the same model and data, about at least as many images, and
leaves out no method or metric. ``results.json`` is written last, as it says what the other files are about.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg._core.files import make_folder, require_writable, write_figure, write_json, write_text
from captum_xg._core.reading import is_count, read_json
from captum_xg.errors import FileError, OptionError

if TYPE_CHECKING:
    from captum_xg.benchmark.result import BenchmarkResult

NUMBERS, TABLES, FIGURES = "results.json", ("table.md", "table.tex"), ("curves.png", "cost_quality.png")
COVERED = ("methods", "metrics")


class Results:
    """The results in a folder, which is made if it is missing.

    Raises:
        FileError: If results cannot be written there, found out before all work.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        for name in (NUMBERS, *TABLES, *FIGURES):
            require_writable(folder / name)

    def require_nothing_lost(self, now: Mapping[str, Any], *, model: bool = True) -> None:
        """Find out whether new results cover those that are there.

        Args:
            now: What the new results will be about, with the names of methods and metrics.
            model: Whether to compare the models as well.

        Raises:
            OptionError: If not; the message says what is there and what would be lost.
            FileError: If what is there cannot be read.
        """
        path = self.folder / NUMBERS
        if not path.exists():
            return
        there = read_json(path)
        if not all(isinstance(there.get(name), Mapping) for name in COVERED):
            raise FileError(f"{path} holds something other than results of an evaluation. Give another --output.")
        lost = [f"{name} {there[name]} there and {now[name]} now" for name in _changed(there, now)]
        if model and "model" in there and there["model"] != now["model"]:
            lost.append(f"the model, {_model(there)} there and {_model(now)} now")
        for name in COVERED:
            if missing := [each for each in there[name] if each not in now[name]]:
                lost.append(f"{name} {', '.join(missing)} there and not now")
        if lost:
            raise OptionError(
                f"{self.folder} has results that these would overwrite: {'; '.join(lost)}. They are kept as they are. "
                "Give another --output, ask for all that is there, or delete them."
            )

    def write(self, result: BenchmarkResult, about: Mapping[str, Any]) -> list[Path]:
        """Write the table, all numbers and the figures, and return where they are."""
        markdown, latex, numbers, curves, cost = (self.folder / name for name in (*TABLES, NUMBERS, *FIGURES))
        write_text(markdown, result.to_markdown() + "\n")
        write_text(latex, result.to_latex() + "\n")
        has_curves = any(method.curves for method in result.methods.values())
        if has_curves:
            write_figure(curves, result.plot_curves(), dpi=150)
        write_figure(cost, result.plot_cost_quality(), dpi=150)
        write_json(numbers, {**about, **result.to_dict()}, indent=2)
        return [markdown, latex, numbers, *[curves] * has_curves, cost]


def _changed(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which options differ, among those that older versions recorded too. More images lose nothing."""
    found = ["explained"] * (there.get("explained", now["explained"]) != now["explained"])
    data = there.get("data", now["data"])
    if not isinstance(data, str) or os.path.realpath(data) != os.path.realpath(now["data"]):
        found.append("data")
    images = there.get("images", 0)
    return found + ["images"] * (not is_count(images) or images > now["images"])


def _model(about: Mapping[str, Any]) -> str:
    weights = about.get("weights")
    return f"{about.get('target')}" + (f" with --weights {weights}" if weights else "")
