"""What ``captum-xg attribute`` prints at its end."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import torch

from captum_xg.datasets.attributions import Attributions, RefusedExample
from captum_xg.scan.over import Done, beyond_tolerance

_NAMED = 5


def summary(done: Done, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines: how many examples, who was refused and why, by what method, how exact, how fast, where."""
    found = done.attributions
    refused = found.refused
    yield f"{options.target} on {options.data}: {len(found):,} examples explained, {len(refused) or 'none'} refused"
    yield from _refusals(refused)
    yield f"Method: {_method(done)}, of {_targets(found, options.targets)}"
    if len(found):
        yield _gap(found)
    if (said := beyond_tolerance(found)) is not None:
        yield f"Note: {said}"
    if done.examples:
        threads = torch.get_num_threads()
        yield (
            f"Rate: {done.examples / done.seconds:.3g} examples per second ({done.examples:,} in {done.seconds:.3g} s "
            f"by this process, {threads} thread{'s' * (threads != 1)}, after {done.prepared:.2g} s of preparation)"
        )
    else:
        yield "Nothing was left to do: all of them were there."
    yield f"Written: {options.to.resolve()}"
    yield f"Next: captum-xg view {shlex.quote(str(options.to))}"


def _refusals(refused: tuple[RefusedExample, ...]) -> Iterator[str]:
    by_kind: dict[str, list[RefusedExample]] = {}
    for each in refused:
        by_kind.setdefault(each.kind, []).append(each)
    for kind, examples in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        ids = [str(each.id) for each in examples]
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        noun = "example" if len(ids) == 1 else f"{len(ids)} examples,"
        first = examples[0].reason.partition("\n")[0]
        yield f"  {kind}: {noun} {', '.join(ids[:_NAMED])}{more}{': ' if len(ids) == 1 else '. The first: '}{first}"


def _method(done: Done) -> str:
    settings = done.attributions.settings
    name, layer = settings["method"], settings["layer"]
    at = f" at {', '.join(layer)}" if layer else ""
    if settings["closed_form"]:
        degree = settings["options"]["degree"]
        return f"{name}{at}, in closed form, x·∇F(x){'' if degree == 1 else f'/{degree:g}'}"
    if done.integrated is not None:
        return (
            f"integrated to a tolerance of 1 %{at}, as the closed form does not apply ({done.integrated.rstrip('.')})"
        )
    return f"{name}{at}"


def _targets(found: Attributions, targets: str) -> str:
    if len(found) and int(found.targets[0, 0]) < 0:
        return "the single output"
    named = {"predicted": "the predicted output", "true": "the true class", "all": "all outputs"}
    return named.get(
        targets, f"the {targets[4:]} largest outputs" if targets.startswith("top:") else f"output {targets}"
    )


def _gap(found: Attributions) -> str:
    gaps = found.gaps.abs().to(torch.float64)
    explained = found.outputs.gather(1, found.targets.clamp(min=0)).abs().to(torch.float64)
    worst = int(gaps.amax(1).argmax())
    return (
        f"Gap |Σ attributions − (F(x) − F(0))|: median {float(gaps.median()):.2g}, worst {float(gaps.max()):.2g} "
        f"(example {int(found.ids[worst])}), where |F(x)| is {float(explained.median()):.3g} in the median"
    )
