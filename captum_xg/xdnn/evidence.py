"""Evidence that the steps of a conversion act upon: what running the model on the example inputs shows of it.

An :class:`Evidence` belongs to one state of the model. Everything in it is computed when a step first asks for it, and
once: a certificate costs a forward pass, and most steps need little.

What must never happen: that a step acts on evidence of an earlier model. ``Evidence.after(result)`` drops what a change
makes stale. Two things outlive a change on purpose: typical sizes, which are those of the *original* wherever they were
measured, and with them the dataflow, as conversions put parts in the place of parts and change no connection.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from captum_xg._core.digest import digest_of
from captum_xg._core.function import additional_arguments
from captum_xg.errors import CaptumXGError, ConversionError
from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.outputs import Output, chosen_outputs
from captum_xg.homogeneity.certificate.prove import prove
from captum_xg.homogeneity.ledger.bias_ledger import bias_ledger
from captum_xg.xdnn.added_parameters import added_parameters
from captum_xg.xdnn.dataflow import Dataflow
from captum_xg.xdnn.dataflow_observer import observe
from captum_xg.xdnn.fx_recording import Recording
from captum_xg.xdnn.own_norms import own_norms
from captum_xg.xdnn.registry import NotConvertible
from captum_xg.xdnn.report import Change

WHERE = "to_xdnn"
_T = TypeVar("_T")


class Examples:
    """Example inputs that models are run on.

    Args:
        inputs: Tensors of shape ``(N, …)``.
        additional: What follows them in a call.
        output: Which part of what a model returns is meant.
    """

    def __init__(self, inputs: tuple[Tensor, ...], additional: object, output: Output) -> None:
        # Without a graph: gradients of the user's own computation must not run into the examples.
        self.inputs = tuple(x.detach() for x in inputs)
        self._additional = additional
        self._output = output

    def __len__(self) -> int:
        return len(self.inputs[0])

    def copies(self) -> tuple[Tensor, ...]:
        """Return the inputs as tensors that a model may overwrite."""
        return tuple(x.clone() for x in self.inputs)

    def run(self, model: nn.Module, *inputs: Tensor) -> list[Tensor]:
        """Return the tensors that are meant among what a model returns."""
        return chosen_outputs(model(*inputs, *additional_arguments(self._additional)), self._output, WHERE)

    def outputs(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's outputs by where they stand in what it returns, ``""`` if it is one."""
        with torch.no_grad():
            result = model(*self.copies(), *additional_arguments(self._additional))
            tensors = chosen_outputs(result, self._output, WHERE)
        if len(tensors) == 1:
            return {"": tensors[0].detach()}
        # The tensors are told apart by identity, since a model may return two that are equal.
        places = {id(leaf): keystr(path) for path, leaf in tree_flatten_with_path(result)[0]}
        return {places.get(id(y), f"[{i}]"): y.detach() for i, y in enumerate(tensors)}

    def dataflow(self, model: nn.Module) -> Dataflow:
        """Return what flows from which of the model's modules to which."""
        inputs = self.copies()
        return observe(model, inputs, lambda: model(*inputs, *additional_arguments(self._additional)))

    def certificate(self, model: nn.Module) -> Certificate:
        """Return the certificate of the model as it is, also of one with numbers that are not finite (unknown then)."""
        # A proof has none, as the model may have other numbers in it while it is proven.
        return replace(self._proven(model), digest=digest_of(model))

    def certificate_when_trained(self, model: nn.Module) -> Certificate:
        """Return the certificate of what the model may become by training.

        A bias that is zero so far, or a mean that has seen no data, breaks nothing, but will once the model is trained.
        """
        with _zeros_filled(model):
            return self._proven(model)

    def _proven(self, model: nn.Module) -> Certificate:
        """Return a proof from two examples (one may lose its batch dimension), from all if the model takes no two."""

        def proof(inputs: tuple[Tensor, ...]) -> Certificate:
            return prove(model, inputs, self._additional, WHERE, output=self._output).certificate

        # Additional arguments, such as masks, may have as many rows as the examples; nobody knows which of them to cut.
        if self._additional is not None:
            return proof(self.inputs)
        try:
            return proof(tuple(x[:2] for x in self.inputs))
        except CaptumXGError:
            raise
        except Exception:  # whatever a model raises that was written for one size of batch
            return proof(self.inputs)

    def added_parameters(self, model: nn.Module) -> dict[str, list[str]]:
        """Return which parameters and buffers each module's forward adds, those among them that are zero so far."""
        with _zeros_filled(model):
            return added_parameters(model, self.inputs, lambda *xs: self.run(model, *xs))

    def share_of_constants(self, model: nn.Module) -> float | None:
        """Return the share of the predictions that constants carry, provided that nothing else breaks homogeneity."""
        outputs = next(iter(self.outputs(model).values()))
        target: Tensor | None = None
        if outputs.dim() == 2 and outputs.shape[1] > 1:
            target = outputs.argmax(1)
        elif outputs.numel() != len(outputs):
            return None

        def forward(*arguments: object) -> Tensor:
            return chosen_outputs(model(*arguments), self._output, WHERE)[0]

        try:
            ledger = bias_ledger(forward, self.inputs, target, self._additional)
        except (CaptumXGError, RuntimeError):
            return None
        cancels = ledger.remainder.sum().abs() <= ledger.rounding.sum()
        if cancels and not ledger.exact:
            return None  # what one example lacks another has too much: they are nodes of one graph, say
        # What the inputs do not carry the constants do, by Euler's identity: both together have degree 1.
        carried = (ledger.values - ledger.input_part).double().abs().sum()
        total = carried + ledger.input_part.double().abs().sum()
        return float(carried / total) if total > 0 else None


Outcome: TypeAlias = Literal["converted", "without what it adds"] | NotConvertible
"""What came of a module: all of it was converted, or it only lost parameters that its forward added, or neither."""


@dataclass(frozen=True)
class Progress:
    """What has been done so far, and found impossible. It only grows.

    Attributes:
        changes: What was changed.
        notes: Further findings.
        outcomes: What came of the modules for which there is a conversion, by path: no module has two.
        recordings: The recorded forwards, by path; for those that cannot be recorded the obstacle, ``""`` for none.
        constants_share: See :class:`~captum_xg.xdnn.report.ConversionReport`.
    """

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    recordings: Mapping[str, Recording | str] = field(default_factory=dict)
    constants_share: float | None = None

    def recorded(self) -> dict[str, Recording]:
        """Return the recordings that there are."""
        return {path: each for path, each in self.recordings.items() if isinstance(each, Recording)}

    def obstacle(self, path: str) -> str | None:
        """Return why a forward was not recorded, ``""`` where there is no need; None if nobody tried, or it was."""
        known = self.recordings.get(path)
        return known if isinstance(known, str) else None

    def converted(self) -> list[str]:
        """Return the paths of the modules that were converted as a whole."""
        return [path for path, outcome in self.outcomes.items() if outcome == "converted"]

    def finished(self, path: str) -> bool:
        """Return whether a module, or one that it is part of, has been converted as a whole."""
        return any(path == done or path.startswith(f"{done}.") for done in self.converted())


@dataclass(frozen=True)
class StepResult(Progress):
    """What one step adds to the progress, and the model that it leaves behind."""

    model: nn.Module = field(kw_only=True)

    @property
    def changed(self) -> bool:
        """Whether the model is not what it was."""
        return bool(self.changes or self.recorded())


class Evidence:
    """What is known of one state of the model.

    Attributes:
        model: The copy that is being converted. Steps change it in place.
        name: The class of the original.
        examples: Runs models.
        progress: What earlier steps did.
    """

    def __init__(self, model: nn.Module, examples: Examples) -> None:
        self.model = model
        self.name = type(model).__name__
        self.examples = examples
        self.progress = Progress()
        self._earlier: Dataflow | None = None

    def after(self, result: StepResult) -> Evidence:
        """Return the evidence of what a step made of the model."""
        progress, known = self.progress, copy.copy(self)
        known.model = result.model
        known.progress = Progress(
            progress.changes + result.changes,
            progress.notes + result.notes,
            {**progress.outcomes, **result.outcomes},
            {**progress.recordings, **result.recordings},
            # The first one that was measured: what is dropped in later rounds was counted then.
            result.constants_share if progress.constants_share is None else progress.constants_share,
        )
        if result.changed:
            for stale in ("outputs", "certificate"):
                vars(known).pop(stale, None)
            if not result.outcomes:  # an exact step, which changes who calls whom
                flow = vars(known).pop("dataflow", None)
                # As long as nothing was converted, what is measured again are sizes of the original.
                known._earlier = flow if progress.converted() else None
        return known

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        """What the model returns on the example inputs."""
        return self.attempt("on the example inputs", self.examples.outputs)

    @cached_property
    def certificate(self) -> Certificate:
        """What is proven of what the model may become by training."""
        return self.attempt("when it is certified", self.examples.certificate_when_trained)

    @cached_property
    def dataflow(self) -> Dataflow:
        """What flows from which module to which, with sizes of the original where there are any."""
        flow = self.attempt("when it is observed", self.examples.dataflow)
        if self._earlier is not None:
            for path, use in self._earlier.items():
                flow[path].sizes = use.sizes or flow[path].sizes
        return flow

    @cached_property
    def added_parameters(self) -> dict[str, list[str]]:
        """Which parameters each module's forward adds, when that was first asked: before any was dropped."""
        return self.attempt("when what it adds is looked for", self.examples.added_parameters)

    @cached_property
    def own_norms(self) -> frozenset[str]:
        """The norms of the user's own, when that was first asked: before any forward was recorded."""
        return self.attempt("on itself", lambda model: own_norms(model, self.dataflow, self.examples.outputs))

    @property
    def findings(self) -> list[Violation]:
        """What breaks homogeneity, and what is not known to keep it."""
        return [*self.certificate.violations, *self.certificate.unsupported]

    def attempt(self, when: str, run: Callable[[nn.Module], _T]) -> _T:
        """Return what the model gives, or say which changes came before it failed."""
        try:
            return run(self.model)
        except CaptumXGError:
            raise
        except Exception as error:  # whatever the user's code raises on what was changed
            last = "".join(f"\n    {c.module}: {c.before} → {c.after}" for c in self.progress.changes[-5:])
            changed = f" The last changes were:{last}" if last else ""
            raise ConversionError(
                f"{WHERE}: {self.name} fails {when}: {type(error).__name__}: {error}.{changed}"
            ) from error


def zero_so_far(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and running means, by name, that training would fill."""
    means = [(name, b) for name, b in model.named_buffers() if name.rpartition(".")[2] == "running_mean"]
    return {n: t for n, t in (*model.named_parameters(), *means) if t.is_floating_point() and not bool(t.any())}


@contextmanager
def _zeros_filled(model: nn.Module) -> Iterator[None]:
    """Put numbers into parameters and running means that are zero so far, while the body runs."""
    zero = list(zero_so_far(model).values())
    try:
        with torch.no_grad():
            # In place, so that parametrisations and tied parameters see them; small, so that nothing overflows.
            for tensor in zero:
                tensor.normal_(std=0.1)
        yield
    finally:
        with torch.no_grad():
            for tensor in zero:
                tensor.zero_()
