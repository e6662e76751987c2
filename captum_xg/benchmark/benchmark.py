"""Attribution methods side by side: how good by several metrics, how sure that is, and what each method costs.

The invariant: every method is asked on the same batches, and every metric draws the same numbers for each of them, so
that differences are paired. Seeds belong to (benchmark, batch, purpose), so that neither other methods, nor an
interruption, nor the number of processes changes a number. Example: two methods, one metric and three batches make six
parts, each of which is evaluated, or read from the store, by itself. What must never happen: that a number comes to
stand in the table which another model, method or batch gave (the store compares them), or a cost that was not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from captum_xg._core.batches import naming_batch, require_batches
from captum_xg._core.distributed import gathered, rank_and_processes
from captum_xg._core.modules import modules_of, require_evaluation_mode
from captum_xg._core.options import (
    file_path,
    forward_function,
    integer,
    one_of,
    positive_integer,
    switch,
    usable_device,
)
from captum_xg._version import __version__
from captum_xg.benchmark.assembly import result_of
from captum_xg.benchmark.cost import CostMeter
from captum_xg.benchmark.data import (
    RUN,
    TARGETS,
    WHERE,
    batches,
    checked_references,
    digest_of_tensors,
    first_examples,
    require_any,
    require_same_batches_every_time,
)
from captum_xg.benchmark.evaluation import BatchEvaluation, Parts
from captum_xg.benchmark.methods import Ingredients, Method, method_of, methods_of
from captum_xg.benchmark.metrics import BenchmarkMetric, metrics_of
from captum_xg.benchmark.result import BenchmarkResult
from captum_xg.benchmark.settings import described, of_model
from captum_xg.benchmark.store import Store
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.metrics.collection import shared_evaluations
from captum_xg.metrics.protocols import Attributions

N_REFERENCE_EXAMPLES = 128


class AttributionBenchmark:
    """Attribution methods × metrics over a data loader, with bootstrap intervals, costs and two controls.

    The controls ``random`` (noise) and ``blurred_input`` (the input itself, blurred) know nothing of the model and are
    always among the methods: what does not beat them has shown nothing.

    Args:
        forward_func: A module in evaluation mode, or any callable, as Captum takes it.
        methods: Names: ``"gradient"`` (signed), ``"input_x_gradient"``, ``"integrated_gradients"`` (Captum's, 128
            Gauss–Legendre steps, zero baseline; ``integrated_gradients_K`` for K), ``"expected_gradients_K"`` (Captum's
            GradientShap without noise, K references per example; 32 without a number), ``"xgradient"``; or a dict from
            names of your own to one of these, an instance of a Captum method, a pair of an instance and a dict of
            options for its ``attribute``, or a callable from (inputs, target) to attributions. By default gradient,
            expected_gradients_1, integrated_gradients and xgradient.
        metrics: Instances of the metrics of :mod:`captum_xg.metrics` or their names, in a list or in a dict with names
            of your own; by default the four of the paper's Table 3. Only their ``scores`` and ``aggregate`` are used,
            so they accumulate nothing, and what ``protocol="released"`` makes of batches is left out.
        target: What is explained: ``"label"`` (from the loader), ``"predicted"`` (the class with the largest output)
            or ``"none"`` (the output is one number per example).
        reference: The method, one of ``methods`` or a known name, that metrics which compare attributions compare with.
        references: Inputs that Expected Gradients draws its references from; by default the first 128 of the loader.
        resamples: Of the bootstrap.
        seed: Of random attributions, references and the bootstrap. Each method and batch has a seed of its own, so that
            neither other methods nor an interruption change a number.
        internal_batch_size: The most examples that methods known by name put through the model at once.
        device: Where batches are moved; by default to the first parameter of the model, if it has one.

    It can be pickled if what it was given can. Python's own ``pickle`` takes functions by their names, so a model,
    method or metric that is a lambda or a function within a function needs ``cloudpickle`` or ``dill``.

    Raises:
        OptionError: If an option has no such value.

    Source: Hesse et al. 2021, Table 3 and Appendix B.2.

    Example:
        >>> model = torch.nn.Linear(4, 3, bias=False).eval()
        >>> benchmark = AttributionBenchmark(model, ["xgradient", "integrated_gradients"], ["CompletenessGap"])
        >>> result = benchmark.run([(torch.rand(8, 4), torch.arange(8) % 3)], progress=False)
        >>> result.methods["integrated_gradients"].cost.gradient_evaluations
        128.0
    """

    def __init__(
        self,
        forward_func: Callable[..., object],
        methods: Mapping[str, object] | Sequence[object] | None = None,
        metrics: Mapping[str, object] | Sequence[object] | None = None,
        *,
        target: str = "label",
        reference: str = "integrated_gradients",
        references: Attributions | None = None,
        resamples: int = 1000,
        seed: int = 0,
        internal_batch_size: int = 1024,
        device: torch.device | str | None = None,
    ) -> None:
        self.forward_func = forward_function(forward_func, "forward_func", WHERE)
        self.target = one_of(target, TARGETS, "target", WHERE)
        self.resamples, self.seed = integer(resamples, "resamples", WHERE), integer(seed, "seed", WHERE, least=0)
        if self.resamples < 100:
            raise OptionError(
                f"{WHERE}: `resamples` must be at least 100, as fewer have no 2.5 % quantile to speak of, but is "
                f"{resamples}."
            )
        if not isinstance(reference, str):
            raise OptionTypeError(f"{WHERE}: `reference` must be the name of a method, but is {reference!r}.")
        at_once = positive_integer(internal_batch_size, "internal_batch_size", WHERE)
        self.device = _device_of(forward_func) if device is None else usable_device(device, f"{WHERE}: `device`")
        self._references = checked_references(references)
        # What methods run is counted; metrics run the caller's own function, which is no method's cost.
        self._meter = CostMeter(forward_func)
        ingredients = Ingredients(self._meter.forward_func, self._given_references, at_once)
        hooked = self._meter.counts_everything
        self.methods: list[Method] = methods_of(methods, ingredients, hooked)
        self.metrics: list[BenchmarkMetric] = metrics_of(metrics, forward_func)
        # The reference need not be in the table: then it runs for the comparison alone, and costs no row.
        among = {method.name: method for method in self.methods}
        self.reference = (
            among[reference] if reference in among else method_of(reference, reference, ingredients, hooked)
        )
        # As given, for pickling; copies, as the caller may go on to change the list.
        self._given = {
            "methods": _copied(methods),
            "metrics": _copied(metrics),
            "reference": reference,
            "internal_batch_size": at_once,
            "device": None if device is None else self.device,
        }

    def run(
        self, loader: Iterable[object], resume: str | Path | None = None, *, progress: bool = True
    ) -> BenchmarkResult:
        """Evaluate every method by every metric on all batches.

        Under ``torchrun`` n processes share the batches of the same loader, every n-th each, and all of them return the
        result of all batches: no example is left out or counted twice.

        Args:
            loader: Of batches ``(inputs, target)`` or ``(inputs, target, additional_forward_args)``, tuples, lists or
                named tuples; several inputs are a tuple. Or of dicts or dataclasses with one entry ``target``,
                ``label``, ``labels`` or ``y`` and one with the input. It must give the same batches each time it is
                gone through if ``resume`` is used.
            resume: A folder for partial results, written after each method and batch. Called again with it, the
                benchmark goes on where it was interrupted, also with more methods, metrics or batches.
            progress: Show a progress bar.

        Returns:
            The result; ``print`` it.

        Raises:
            OptionError: If ``resume`` has results of another model, configuration or other data, or references would
                have to come from a loader that can be gone through only once.
            InputError: If there are no batches, or they have another form.
            TrainingModeError: If the model is in training mode.

        Errors that come up in a batch, those of methods, metrics and the loader among them, say in which.
        """
        require_batches(loader, RUN)
        folder = None if resume is None else file_path(resume, "resume", RUN)
        if resume == "":  # for pathlib the working directory, which is never meant
            raise OptionError(f"{RUN}: `resume` is an empty path. Name a folder, or leave it out to keep nothing.")
        progress = switch(progress, "progress", RUN)
        require_evaluation_mode(self.forward_func, RUN)
        require_same_batches_every_time(loader, rank_and_processes()[1])
        if self._references is None and any(m.needs_references for m in (*self.methods, self.reference)):
            self._references_found = first_examples(loader, N_REFERENCE_EXAMPLES)
        parts = self._parts(loader, None if folder is None else self._store(folder), progress=progress)
        require_any(parts)
        return result_of(
            parts, self.methods, self.metrics, resamples=self.resamples, seed=self.seed, reference=self.reference.name
        )

    def __getstate__(self) -> dict[str, object]:
        """Return what it was made from, for what it made from that refers to itself and to local functions."""
        return {
            "forward_func": self.forward_func,
            "references": self._references,
            "target": self.target,
            "resamples": self.resamples,
            "seed": self.seed,
            **self._given,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        AttributionBenchmark.__init__(self, **state)

    def _parts(self, loader: Iterable[object], store: Store | None, *, progress: bool) -> Parts:
        """Return what each method gives on each batch, those of other processes included."""
        rank, processes = rank_and_processes()
        parts: Parts = {}
        length = len(loader) if isinstance(loader, Sized) else None
        total = None if length is None else len(range(rank, length, processes)) * len(self.methods)
        bar = tqdm(total=total, desc="benchmark", unit="method·batch", disable=not progress or rank > 0)
        # All methods are judged at the same inputs, so that what is masked for one serves the others.
        masking = [each.metric for each in self.metrics if isinstance(each.metric, nn.Module)]
        with bar, self._meter.attached():
            for batch in batches(loader, self._meter.forward_func, self.target, self.device):
                # A loader cannot be asked for its third batch alone: every process goes through all of them.
                if batch.index % processes == rank:
                    with naming_batch(batch.index, RUN), shared_evaluations(*masking):
                        evaluation = BatchEvaluation(
                            batch, self.methods, self.metrics, self.reference, self._meter, self.seed
                        )
                        for name, part in evaluation.parts(store):
                            parts[batch.index, name] = part
                            bar.update()
        return {key: part for each in gathered(parts) for key, part in each.items()}

    def _given_references(self) -> Attributions:
        return self._references_found if self._references is None else self._references

    def _store(self, folder: Path) -> Store:
        expected = any(method.needs_references for method in (*self.methods, self.reference))
        settings = {
            "captum_xg": __version__,
            "model": of_model(self.forward_func),
            "target": self.target,
            "seed": self.seed,
            # Absent where they play no part, so that methods which need them may be added later.
            **({"references": digest_of_tensors(self._given_references())} if expected else {}),
            **({"reference": described(self.reference.settings)} if any(m.compares for m in self.metrics) else {}),
        }
        methods = {method.name: described(method.settings) for method in self.methods}
        return Store(folder, settings, methods, {metric.name: described(metric.metric) for metric in self.metrics})


def _copied(given: Mapping[str, object] | Sequence[object] | None) -> Mapping[str, object] | Sequence[object] | None:
    return given if given is None else dict(given) if isinstance(given, Mapping) else list(given)


def _device_of(forward_func: Callable[..., object]) -> torch.device | None:
    return next((p.device for module in modules_of(forward_func) for p in module.parameters()), None)
