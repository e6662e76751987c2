"""captum-xg repro texts: networks of degree 1 on texts, beside regular ones, and their words beside people's.

A bag of embeddings, a CNN and a transformer learn whether a sentence is positive, and how people rated it. How good are
they without biases? Do attributions of words rank them as a lexicon does that people made? Does a prior on attributions
keep a network from a token that gives the label away? Without ``--data`` the texts are reviews drawn from a grammar,
where what each word contributes is known.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from captum_xg._core.files import make_folder, require_writable
from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments
from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.section import Section
    from captum_xg.repro.texts.data import Task
    from captum_xg.repro.texts.settings import Settings
    from captum_xg.repro.units import Unit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": "800 texts, small networks, 2 trainings each, a minute on two cores",
        "full": "all texts, 3 trainings each, an hour on two cores",
    }
    data = (
        "a folder with the files of vaderSentiment 3.3.2 (movieReviewSnippets_GroundTruth.txt, vader_lexicon.txt); "
        "without one, reviews drawn from a grammar, whose words contribute a known amount each"
    )
    add_common_arguments(parser, "texts", presets=presets, data=data, data_metavar="DIR")
    add = parser.add_argument
    add("--texts", type=int, metavar="N", help="another number than that of the preset")
    networks = "which of bag, cnn and transformer (default: all)"
    add("--networks", nargs="+", choices=("bag", "cnn", "transformer"), metavar="NAME", help=networks)
    add("--seeds", type=int, metavar="N", help="likewise, trainings of each network (at least 2)")


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, and return what there is to say."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.section import Section
    from captum_xg.repro.texts import figure, report
    from captum_xg.repro.texts.results import Results
    from captum_xg.repro.texts.verdict import findings
    from captum_xg.repro.units import effort

    folder = make_folder(options.output)
    for name in (figure.WORDS, figure.DECOYS, figure.TOKENS, figure.PAGE):
        require_writable(folder / name)
    task, settings, found = _done(options)
    results = Results(task, settings, {name: unit.value for name, unit in found.items()})
    pictures = figure.draw(results, folder) if rank_and_processes()[0] == 0 else ()
    seconds, commits = effort(found)
    return Section(
        "texts",
        "Texts: networks of degree 1, and their words beside people's",
        f"{len(task.train.ids):,} {task.source}, to learn from, {len(task.validation.ids):,} to choose by and "
        f"{len(task.test.ids):,} to report; {len(task.vocabulary.words):,} words, of which {len(task.words)} have a "
        f"known valence and are in the test texts. Classes: ratings beyond ±1. {settings.seeds} trainings of each "
        "network, in float32.",
        findings=findings(results),
        panels=(*pictures[:1], *report.panels(results), *pictures[1:]),
        notes=report.notes(results),
        command=f"captum-xg repro texts --preset {options.preset}{'' if options.data is None else ' --data DIR'}",
        seconds=seconds,
        commits=commits,
        numbers=dict(results.units),
    )


def _done(options: argparse.Namespace) -> tuple[Task, Settings, dict[str, Unit]]:
    """Return what the texts are, the settings, and all units, done."""
    import torch

    from captum_xg._core.options import usable_device
    from captum_xg.repro.estimate import t_quantile
    from captum_xg.repro.processes import of_this_process
    from captum_xg.repro.texts import measure
    from captum_xg.repro.texts.data import task_of
    from captum_xg.repro.texts.decoys import METHODS
    from captum_xg.repro.texts.results import chosen_weight
    from captum_xg.repro.texts.settings import NUMBER_OF_TRAININGS
    from captum_xg.repro.units import done

    settings = settings_of(options)
    t_quantile(settings.seeds - 1)  # what intervals need is found missing before the trainings, not after
    device: torch.device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    task = task_of(options.data, settings)
    numbers = {name: value for name, value in asdict(settings).items() if name not in NUMBER_OF_TRAININGS}
    depends = {**numbers, "data": task.fingerprint, "device": device.type}
    folder = make_folder(options.output) / "units"
    networks = measure.network_units(task, settings, device)
    found = done(folder, depends, {**networks, **measure.selection_units(task, settings, device)}, "texts")
    values = {name: unit.value for name, unit in found.items()}
    pairs = [(architecture, method) for architecture in settings.decoy_networks for method in METHODS]
    chosen = {(a, method): chosen_weight(values, settings, a, method) for a, method in pairs}
    reported = measure.decoy_units(task, settings, device, chosen)
    return task, settings, {**found, **done(folder, depends, reported, "texts, at the chosen λ")}


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of the preset with what the options change.

    Raises:
        OptionError: If there are too few seeds for an interval.
    """
    from captum_xg.repro.texts.decoys import SELECTION_SEED
    from captum_xg.repro.texts.settings import PRESETS

    settings = PRESETS[options.preset]
    if options.texts is not None:
        settings = replace(settings, texts=options.texts)
    if options.networks is not None:
        settings = replace(settings, networks=tuple(dict.fromkeys(options.networks)))
    if options.seeds is not None:
        settings = replace(settings, seeds=options.seeds)
    if not 2 <= settings.seeds <= SELECTION_SEED:
        raise OptionError(f"--seeds {settings.seeds}: there must be from 2, for an interval, to {SELECTION_SEED}.")
    return settings


run = running(section)
