"""Words about runs: titles, names of what is shown, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captum_xg.datasets.attributions import Attributions
from captum_xg.viewer.answers import RunColumns


def page_title(runs: Sequence[Attributions], title: str | None) -> str:
    """Return the title of a page: what was explained, as a command line named it, or the folders."""
    if title is not None:
        return title
    models, data = (list(dict.fromkeys(str(run.command.get(key, "")) for run in runs)) for key in ("target", "data"))
    if "" in models or "" in data:
        return " and ".join(run.folder.resolve().name for run in runs)
    return f"{' and '.join(models)} on {' and '.join(data)}"


def set_names(runs: Sequence[Attributions], number: int, targets: int, classes: Sequence[str]) -> list[str]:
    """Return what the page calls the attributions of each target of a run."""
    run = runs[number]
    name = run_name(runs, number)
    if targets == 1:
        return [name]
    column = run.targets
    found = []
    for rank in range(targets):
        own = column[:, rank]
        same = bool((own == own[0]).all())
        target = int(own[0])
        label = classes[target] if same and 0 <= target < len(classes) else f"class {target}"
        found.append(f"{name}: {label}" if same else f"{name}: target {rank + 1}")
    return found


def about_run(runs: Sequence[Attributions], number: int, answers: RunColumns) -> dict[str, object]:
    """Return what the page says of a run."""
    run = runs[number]
    return {
        "name": run_name(runs, number),
        "folder": run.folder.resolve().name,
        "outputs": answers.outputs,
        "probabilities": answers.probable,
        "refused": [[each.id, each.kind, each.reason] for each in run.refused[:1000]],
        "refusedCount": len(run.refused),
        "settings": [[key, text] for key, text in _flat("", run.settings)],
    }


def run_name(runs: Sequence[Attributions], number: int) -> str:
    """Return what the page calls a run: its method, or its folder where methods are the same."""
    methods = [_method(run) for run in runs]
    if len(set(methods)) == len(methods):
        return methods[number]
    names = [run.folder.resolve().name for run in runs]
    return names[number] if len(set(names)) == len(names) else str(runs[number].folder)


def _method(run: Attributions) -> str:
    """Return the name of the method's class, however it was written down."""
    named = str(run.settings.get("method", "attributions"))
    parts = named.replace("xgradient", "x_gradient").split("_")
    return "".join(part[:1].upper() + part[1:] for part in parts) if named.islower() and len(parts) > 1 else named


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for key, part in value.items() for pair in _flat(f"{prefix} · {key}" if prefix else str(key), part)
        ]
    if value is None:
        return []
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]
