"""The section on costs: findings, a table for each batch size, the picture, and what has to be read with them."""

from __future__ import annotations

from captum_xg._core.estimate import Estimate
from captum_xg.repro.cost.costs import Costs
from captum_xg.repro.cost.steps import ALONE, EG_LOOP, PLAIN, WAYS, XG
from captum_xg.repro.cost.verdict import described, findings, gigabytes
from captum_xg.repro.section import Panel, Section, table


def report(costs: Costs, command: str, picture: str, seconds: float, commits: tuple[str, ...]) -> Section:
    """Return the section."""
    rounds = len(costs.seconds[costs.setting.batch_size][PLAIN.key])
    what = "CUDA events" if costs.setting.device.type == "cuda" else "wall clock"
    return Section(
        "cost",
        "Appendix B.3: what a training step with an attribution prior costs",
        f"{_capital(described(costs))}; random weights and images, single precision, SGD with momentum, Gini prior; "
        f"median of {rounds} rounds by {what}, all methods in each round.",
        findings(costs),
        (*(_table(costs, each.batch_size) for each in costs.settings), _picture(costs, picture)),
        _notes(costs),
        command,
        seconds,
        commits,
        {"seconds": costs.seconds, "bytes": costs.bytes, "reserved": costs.reserved, "operations": costs.operations},
    )


def _table(costs: Costs, n: int) -> Panel:
    first = n == costs.setting.batch_size
    head = ["a step", "seconds", "× no prior", "× X-Gradient", "peak memory", "× X-Gradient"]
    head += ["reserved by the allocator"] if costs.reserved[n] else []
    rows = [[*head, *(["arithmetic, × no prior"] if first else [])]]
    for way in WAYS:
        peak, larger = costs.bytes[n].get(way.key), costs.larger(way, XG, n)
        row = [way.label, _shown(costs.duration(way, n), ".3g")]
        row += [_shown(costs.times(way, other, n), ".3g") for other in (PLAIN, XG)]
        row += ["does not fit" if peak is None else gigabytes(peak), "–" if larger is None else f"{larger:.3g}"]
        if costs.reserved[n]:
            row.append(gigabytes(costs.reserved[n][way.key]) if way.key in costs.reserved[n] else "–")
        if first:
            row.append(f"{costs.arithmetic(way):.3g}" if way.key in costs.operations else "–")
        rows.append(row)
    return table(f"One training step, batch size {n}, {costs.setting.references} references", rows)


def _picture(costs: Costs, picture: str) -> Panel:
    return Panel(
        f"Seconds, memory and arithmetic of a step, relative to X-Gradient; batch size {costs.setting.batch_size}",
        picture=picture,
        description="Three panels with a point for each way to do a step, on logarithmic axes",
    )


def _notes(costs: Costs) -> tuple[str, ...]:
    k, on_gpu = costs.setting.references, costs.setting.device.type == "cuda"
    memory = (
        "Memory is the most that PyTorch's allocator had handed out; the driver's own share, which tools outside of "
        "PyTorch show, is not in it."
        if on_gpu
        else "Memory is the largest sum of tensors at a time, by PyTorch's profiler; scratch space of libraries is not "
        "in it."
    )
    notes = [
        f"What a factor of 130 can be made of: arithmetic gives {costs.arithmetic(EG_LOOP, XG):.3g} (1 + 2k = "
        f"{1 + 2 * k} plain steps against 2). In a loop each of the k references also starts all kernels anew, twice "
        "forward and backward, which is what counts for 2 images on a large GPU. And the released code makes a "
        "new data loader's iterator and reads k references per example in every step; here they lie in memory.",
        "As one batch and in a loop, all graphs are kept until the backward pass. Neither is needed: the prior's slope "
        "at the mean attribution can be found first, and one graph after the other be made and freed.",
        f"“{ALONE.label}” is a forward pass and the gradient with respect to the images, without training: a "
        "step with the prior cannot be faster than that.",
        memory,
    ]
    if on_gpu:
        notes.append("Convolutions may use TF32, as is PyTorch's default.")
    if costs.processes > 1:
        notes.append(f"{costs.processes} processes shared the machine: seconds may be too long. Run this one alone.")
    return tuple(notes)


def _shown(found: Estimate | None, spec: str) -> str:
    return "–" if found is None else found.formatted(spec)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
