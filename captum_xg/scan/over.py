"""Attributions of a whole data set, in a folder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from captum_xg._core.files import make_folder
from captum_xg._core.options import file_path, one_of, switch
from captum_xg._core.text import first_ten
from captum_xg.attr.adaptive.report import MARGIN, IntegrationWarning
from captum_xg.datasets.attributions.layout import Index
from captum_xg.datasets.attributions.reader import Attributions
from captum_xg.datasets.attributions.shard import required_library
from captum_xg.scan.batch import WHERE, Split
from captum_xg.scan.engines import ClosedForm, engine_for
from captum_xg.scan.explaining import Explaining, OnRefusal, device_of
from captum_xg.scan.model_code import code_of
from captum_xg.scan.planning import are_texts, input_names, planned, size_of_shards
from captum_xg.scan.probes import probes_of
from captum_xg.scan.reading import MapStyle, map_style
from captum_xg.scan.run import Run
from captum_xg.scan.settings import (
    complete_settings,
    digest_of_settings,
    given_settings,
    layers_of,
    method_settings,
    model_settings,
)
from captum_xg.scan.streaming import Stream
from captum_xg.scan.targets import target_rule

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
_TOLERANCE = 1e-2
"""To which what is refused is integrated."""


@dataclass(frozen=True)
class Done:
    """A run that has come to its end.

    Attributes:
        attributions: What is in the folder now.
        examples: How many examples this process has gone through.
        seconds: How long that took.
        prepared: How long it took before: the digest of the model, a proof, some examples tried.
        integrated: Why the closed form does not apply, and examples were integrated; None if it does.
    """

    attributions: Attributions
    examples: int
    seconds: float
    prepared: float
    integrated: str | None


def explain_dataset(
    method: Any,
    loader: Iterable[Any],
    to: str | Path,
    *,
    targets: str | int | Sequence[int] = "predicted",
    on_violation: OnRefusal = "raise",
    dtype: Literal["float16", "float32", "float64"] = "float16",
    options: Mapping[str, object] | None = None,
    split: Split | None = None,
    names: Sequence[str] | None = None,
    sum_last: bool = False,
    shard_size: int | None = None,
    progress: bool = True,
) -> Attributions:
    """Explain every example of a data set, and keep the attributions in a folder.

    One forward and one backward pass for each batch, where the method is :class:`~captum_xg.XGradient`: outputs, the
    predicted class and attributions come from the same one. Interrupted, killed even, and called again, it goes on
    where it was, to the same bytes. Processes that ``torchrun`` has started, and several calls for one folder at a
    time, share the work; what one of them leaves behind is taken over by the others, or by the next call.

    Args:
        method: An instance of an attribution method: of this package or of Captum, for inputs or a layer. What draws at
            random does so by the position of the batch, the same in every run.
        loader: A ``DataLoader`` without shuffling, whose data set, workers, ``collate_fn`` and batch size are used; or
            any iterable of batches, in the same order each time. Batches are ``(inputs, labels)``, with several inputs
            as a tuple, inputs alone, or dicts with one input. Several processes all get the whole loader.
        to: The folder. If it holds attributions of the same settings, model and data, they are completed. That they are
            the same is seen by digests, by an example of each file, and by outputs of some; of a stream by every batch
            that passes, once all is there by the first one.
        targets: Which outputs are explained: ``"predicted"``, ``"true"``, ``"all"``, ``"top:K"``, the number of one or
            a list of numbers. All but the first two, and numbers alone, give attributions of several targets.
        on_violation: What becomes of an example that is refused: ``"raise"`` ends the run, with all that was finished
            kept; ``"record"`` notes it with its reason and goes on; ``"integrate"`` does so as well, but integrates
            what is not homogeneous, to a tolerance of 1 %.
        dtype: In which attributions are kept. ``"float16"`` keeps 11 binary digits of them, from 1e-30 on; what
            float32 cannot hold, below 1e-38, may be zero but in ``"float64"``, and is refused beyond 3e38.
        options: What else ``attribute`` of methods other than X-Gradient is called with, such as ``baselines``.
        split: Takes a batch apart, into inputs (a tensor or a tuple of tensors) and labels or None.
        names: Of the inputs; by default ``input`` or ``input 0``, ``input 1`` …, or what the folder has.
        sum_last: Sum attributions over their last dimension, as over the features of an embedding.
        shard_size: How many examples one file has, rounded up to whole batches. By default some 32 MiB of them.
        progress: Whether to show a progress bar.

    Returns:
        The attributions, as a data set.

    Raises:
        ExampleError: If an example cannot be read or explained, and ``on_violation`` is ``"raise"``.
        HomogeneityError: If the model is not homogeneous, and is not to be integrated.
        FileError: If the folder has the attributions of another run, or cannot be written to.
        MissingPackageError: If safetensors is not installed.
        OptionError, InputError, TargetError, ModelStateError, TrainingModeError: If an argument, or the model, cannot
            be used.

    Warns:
        IntegrationWarning: If examples were integrated, and not to their tolerance.
        HomogeneityWarning: If a method with ``on_violation="warn"`` warns, once.

    Example:
        >>> scan = explain_dataset(XGradient(model), DataLoader(data, batch_size=64), "scan")  # doctest: +SKIP
        >>> scan[0]["attributions"].shape, float(scan.gaps.abs().max())  # doctest: +SKIP
        (torch.Size([1, 1, 28, 28]), 1.9e-06)
    """
    switch(progress, "progress", WHERE)
    wanted = Wanted(targets, on_violation, dtype, options or {}, split, names, sum_last, shard_size, progress)
    found = run_over(method, loader, to, wanted).attributions
    if (said := beyond_tolerance(found)) is not None:
        warnings.warn(f"{WHERE}: {said}", IntegrationWarning, stacklevel=2)
    return found


def beyond_tolerance(found: Attributions) -> str | None:
    """Return how many examples were integrated, but not to the tolerance; None if there are none."""
    errors = found.errors
    if errors is None or not len(errors):
        return None
    tolerance = float(found.settings["options"].get("rtol") or _TOLERANCE)
    left = (MARGIN * errors > tolerance).any(1)
    if not bool(left.any()):
        return None
    ids = [str(int(i)) for i in found.ids[left]]
    return (
        f"{len(ids)} of {len(found)} examples are not within {tolerance:g} of their Integrated Gradients, with an "
        f"estimated relative error of up to {float(errors.max()):.2g}: example {', '.join(first_ten(ids))}. "
        "Attributions.errors has all of them."
    )


@dataclass(frozen=True)
class Wanted:
    """The options of :func:`explain_dataset`, and what the command line adds to the index."""

    targets: object
    on_violation: OnRefusal
    dtype: str
    options: Mapping[str, object]
    split: Split | None = None
    names: Sequence[str] | None = None
    sum_last: bool = False
    shard_size: int | None = None
    progress: bool = True
    command: Mapping[str, object] = field(default_factory=dict)


def run_over(method: Any, loader: Iterable[Any], to: str | Path, wanted: Wanted) -> Done:
    """Do what :func:`explain_dataset` does, and return what there is to tell of it as well."""
    began = time.perf_counter()
    rule = target_rule(wanted.targets, WHERE)
    one_of(wanted.on_violation, get_args(OnRefusal), "on_violation", WHERE)
    dtype = DTYPES[one_of(wanted.dtype, DTYPES, "dtype", WHERE)]
    switch(wanted.sum_last, "sum_last", WHERE)
    folder = file_path(to, "to", WHERE)
    required_library()
    engine = engine_for(method, rule, wanted.options)
    data: MapStyle | Stream = map_style(loader) or Stream(loader, wanted.split)
    probes, device = probes_of(data, wanted.split), device_of(method.forward_func)
    most, code = min(data.batch_size, data.examples or data.batch_size), code_of(method.forward_func)
    plan = planned(method, engine, rule, wanted.on_violation, probes, most, device)
    shapes, found = tuple(tuple(x.shape[1:]) for x in plan.batch.inputs), plan.found
    texts = are_texts(method, plan.batch)
    kept = (dtype, bool(wanted.sum_last))
    explaining = Explaining(plan.engine, plan.fallback, wanted.on_violation, shapes, device, wanted.split, texts, *kept)
    inputs = input_names(wanted.names, len(found.attributions), layers_of(method))
    size = size_of_shards(wanted.shard_size, data.batch_size, found, dtype, wanted.sum_last)
    settings = complete_settings(
        {
            **method_settings(method),
            "given": given_settings(wanted.options),
            "closed_form": isinstance(plan.engine, ClosedForm),
            # Not whether a bad example ends the run or is noted: what was finished is the same for both.
            "integrates": plan.fallback is not None or plan.integrated is not None,
            "targets": rule.text(),
            **model_settings(method.forward_func, code),
            "data": {"examples": data.examples, "batches": data.batches, "digest": probes.digest, "shape": shapes},
            "dtype": wanted.dtype,
            "summed": wanted.sum_last,
            "batch_size": data.batch_size,
            "shard_size": size,
            "device": "cpu" if device is None else device.type,
        }
    )
    index = Index(digest_of_settings(settings), settings, inputs, data.examples, command=dict(wanted.command))
    make_folder(folder)
    shown, named = bool(wanted.progress), wanted.names is not None
    run = Run(data, explaining, method.forward_func, index, folder, size, shown, named)
    prepared = time.perf_counter() - began
    examples, seconds = run.done()
    return Done(Attributions(folder), examples, seconds, prepared, plan.integrated)
