"""The section on patches: findings, tables, the picture, and what has to be read with them."""

from __future__ import annotations

from captum_xg.repro.patches.networks import COMPARED, SHORT, TWIN, VARIANTS, X
from captum_xg.repro.patches.protocol import Data, Protocol
from captum_xg.repro.patches.results import Results
from captum_xg.repro.patches.verdict import findings
from captum_xg.repro.section import Panel, Section, table

PICTURE = "patches.png"
_SHOWN_STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def report(
    results: Results, protocol: Protocol, data: Data, command: str, seconds: float, commits: tuple[str, ...]
) -> Section:
    """Return the section."""
    return Section(
        "patches",
        "Images in patches: a transformer of degree 1 beside a regular one",
        _setting(results, protocol, data),
        findings(results, protocol),
        (
            _accuracies(results),
            _parts(results),
            *([] if results.comparison_lost else [_steps(results), _picture()]),
            _costs(results),
        ),
        _notes(results, protocol),
        command,
        seconds,
        commits,
        {"units": dict(results.values)},
    )


def counted(n: int, noun: str) -> str:
    """Return ``1 epoch``, ``2 epochs``."""
    return f"{n} {noun}{'s' * (n != 1)}"


def _setting(results: Results, protocol: Protocol, data: Data) -> str:
    epochs, shorter = (counted(n, "epoch") for n in (protocol.epochs, protocol.ablation_epochs))
    return (
        f"xvit_small and vit_small (4 layers of width 64, 4×4 patches), {results.seeds} seeds each with the same "
        f"batches, {epochs} on {protocol.train_images:,} images {data.about}, tested on {protocol.test_images:,}; "
        f"{protocol.recipe}. Variants: {shorter}, as many seeds. Attributions: the first {protocol.measured_images} "
        "test images, double precision."
    )


def _accuracies(results: Results) -> Panel:
    seeds = range(results.seeds)
    rows = [["network", "parameters", *(f"seed {seed}" for seed in seeds), "mean ± standard error"]]
    for network in COMPARED:
        trainings = results.trainings(network)
        mean = results.accuracy(network)
        rows.append(
            [
                network.label,
                f"{trainings[0]['parameters']:,}",
                *(f"{100 * each['test_accuracy']:.2f}" for each in trainings),
                f"{mean.value:.2f} ± {mean.standard_error:.2f}",
            ]
        )
    pairs = zip(*map(results.trainings, (X, TWIN)), strict=True)
    gaps = [f"{100 * (x['test_accuracy'] - twin['test_accuracy']):+.2f}" for x, twin in pairs]
    difference = results.difference()
    rows.append(["difference, paired", "", *gaps, f"{difference.value:+.2f} ± {difference.standard_error:.2f}"])
    return table("Test accuracy in %", rows)


def _parts(results: Results) -> Panel:
    rows = [["xvit_small with", "parameters", "test accuracy in %", "difference in points", "certified"]]
    for network in VARIANTS:
        trainings = results.trainings(network)
        finite = results.finite(network)
        lost = not (finite and results.finite(SHORT))
        difference = "–" if network is SHORT or lost else results.gap(network, SHORT).formatted("+.2f")
        mean = results.accuracy(network)
        accuracy = f"{mean.value:.2f} ± {mean.standard_error:.2f}" if finite else "diverged"
        certified = "degree 1" if all(each.get("proven") and each["degree"] == 1 for each in trainings) else "no"
        rows.append([network.label, f"{trainings[0]['parameters']:,}", accuracy, difference, certified])
    trained = counted(results.trainings(SHORT)[0]["epochs"], "epoch")
    title = f"What each part is worth: {counted(results.seeds, 'training')} each, {trained}; differences paired by seed"
    return table(title, rows)


def _steps(results: Results) -> Panel:
    found = results.median_errors()
    shown = [n for n in found if n in _SHOWN_STEPS]
    rows = [
        ["steps", *map(str, shown)],
        ["median error of vit_small", *(f"{found[n][0]:.2%}" for n in shown)],
        ["95 % quantile", *(f"{found[n][1]:.2%}" for n in shown)],
    ]
    return table(
        "Integrated Gradients of vit_small, Gauss–Legendre: Σ|a − IG| / Σ|IG|; xvit_small: 0 from 1 step on", rows
    )


def _costs(results: Results) -> Panel:
    rows = [["", "times as long", "images", "device"]]
    for unit, way, label in (
        ("cost-attribution-small", "X-Gradient", "X-Gradient / forward and backward pass"),
        ("cost-attribution-large", "X-Gradient", "X-Gradient / forward and backward pass"),
        ("cost-training", "prior", "training step with a prior / plain one"),
    ):
        value = results.values[unit]
        rows.append([label, results.ratio(unit, way).formatted(".3f"), str(value["images"]), value["device"]])
    return table("Costs on xvit_small: median ratio over rounds", rows)


def _picture() -> Panel:
    return Panel(
        "Left: test accuracy, each seed, and of the variants. Right: error of Integrated Gradients on vit_small by "
        "steps; X-Gradient on xvit_small is exact with one",
        picture=PICTURE,
        description="Two panels: accuracies of networks as points, and errors that fall with the number of steps",
    )


def _notes(results: Results, protocol: Protocol) -> tuple[str, ...]:
    notes = [
        "Both networks see the same batches; what dropout drops differs. Weights are rounded to float16 before they "
        "are measured, as they are kept.",
        f"Steps: the smallest number of those tried (1, 2, 3, 4, 6, … {protocol.most_steps}) from which on all are "
        f"within 1 % of IG({protocol.reference_steps}).",
    ]
    if protocol.too_short:
        notes.insert(0, f"This run goes through all parts and says nothing of trained networks: {protocol.too_short}.")
    if not results.comparison_lost and bool(results.steps().isinf().any()):
        notes.append(f"Infinite steps: not even {protocol.most_steps} are enough.")
    if diverged := results.diverged():
        notes.append(f"The loss became infinite in: {', '.join(diverged)}.")
    return tuple(notes)
