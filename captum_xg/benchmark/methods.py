"""The attribution methods of a benchmark: those known by name, Captum's instances, callables, and the two controls."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from captum.attr import Attribution, GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from captum_xg.attr.x_gradient import XGradient
from captum_xg.benchmark.data import Batch
from captum_xg.benchmark.settings import described, of_model
from captum_xg.errors import OptionError, OptionTypeError

WHERE = "AttributionBenchmark"
CONTROLS = ("random", "blurred_input")
DEFAULT_METHODS = ("gradient", "expected_gradients_1", "integrated_gradients", "xgradient")
"""Those of the paper's Table 3, besides the random control."""
N_STEPS = 128
N_REFERENCES = 32
KNOWN = (
    *CONTROLS,
    "gradient",
    "input_x_gradient",
    "integrated_gradients",
    "integrated_gradients_K",
    "expected_gradients",
    "expected_gradients_K",
    "xgradient",
)


@dataclass(frozen=True)
class Surroundings:
    """What methods that are known by name are made from.

    Attributes:
        forward_func: The model, or what counts its runs.
        references: Gives the inputs that Expected Gradients draws its references from.
        internal_batch_size: The most examples that go through the model at once.
    """

    forward_func: Callable[..., Any]
    references: Callable[[], Any]
    internal_batch_size: int


@dataclass(frozen=True)
class Method:
    """An attribution method.

    Attributes:
        name: In results.
        attribute: From a batch to attributions of the form of its inputs.
        settings: What its attributions depend on besides model and batch, as text.
        countable: Whether the meter sees all its runs of the model.
        by_hooks: Whether it sees them by hooks on modules only.
        needs_references: Whether it uses :attr:`Surroundings.references`.
        control: Whether it is one of the two that know nothing of the model.
    """

    name: str
    attribute: Callable[[Batch], Any]
    settings: Any = field(compare=False)
    countable: bool = True
    by_hooks: bool = False
    needs_references: bool = False
    control: bool = False


def methods_of(given: Mapping[str, Any] | Sequence[Any] | None, around: Surroundings, hooked: bool) -> list[Method]:
    """Return the methods asked for, and after them the controls that are not among them.

    Args:
        given: Names, or a mapping from names of one's own to a known name, an instance of a Captum method, a pair of
            that and options for its ``attribute``, or a callable from (inputs, target) to attributions.
        around: What named methods are made from.
        hooked: Whether the meter sees every run of the model, also by callables.

    Raises:
        OptionError: If a method is not known, named twice, or nothing of these.
    """
    given = DEFAULT_METHODS if given is None else given
    if isinstance(given, str) or not isinstance(given, (Mapping, Sequence)):
        raise OptionTypeError(f"{WHERE}: `methods` must be a list of names or a dict but is {given!r}.")
    named = given.items() if isinstance(given, Mapping) else [(_name_of(each), each) for each in given]
    methods = [method_of(name, each, around, hooked) for name, each in named]
    present = [method.name for method in methods]
    repeated = sorted({name for name in present if present.count(name) > 1})
    if repeated:
        raise OptionError(
            f"{WHERE}: {', '.join(repeated)} is among `methods` twice. Give a dict with names of your own."
        )
    return methods + [method_of(name, name, around, hooked) for name in CONTROLS if name not in present]


def method_of(name: str, given: Any, around: Surroundings, hooked: bool = True) -> Method:
    """Return one method; see :func:`methods_of`."""
    if isinstance(given, str):
        if name in CONTROLS and given != name:
            raise OptionError(f"{WHERE}: the name {name!r} is kept for that control; call {given!r} something else.")
        return _known(name, given, around)
    if name in CONTROLS:
        raise OptionError(f"{WHERE}: the name {name!r} is kept for that control; call your method something else.")
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Attribution):
        if not isinstance(given[1], Mapping):
            raise OptionTypeError(
                f"{WHERE}: methods[{name!r}] must be a pair of a method and a dict of options for attribute(), but its "
                f"second part is {given[1]!r}."
            )
        return _instance(name, *given, hooked=hooked)
    if isinstance(given, Attribution):
        return _instance(name, given, {}, hooked=hooked)
    if callable(given) and not isinstance(given, type):
        return Method(name, lambda batch: _called(given, batch), described(given), countable=hooked, by_hooks=True)
    raise OptionTypeError(
        f"{WHERE}: methods[{name!r}] is {given!r}. Give a known name ({', '.join(KNOWN)}), an instance of a Captum "
        "method, a pair of that and a dict of options for attribute(), or a callable from (inputs, target) to "
        "attributions."
    )


def _name_of(given: Any) -> str:
    if isinstance(given, str):
        return given
    return type(given).__name__ if isinstance(given, Attribution) else getattr(given, "__name__", type(given).__name__)


def _known(name: str, given: str, around: Surroundings) -> Method:
    family, _, count = given.rpartition("_")
    number = int(count) if re.fullmatch(r"[1-9][0-9]*", count) else None
    model, most = around.forward_func, around.internal_batch_size
    simple: dict[str, Callable[[Batch], Any]] = {
        "random": _random,
        "blurred_input": lambda batch: _each(batch.inputs, _blurred),
        "gradient": lambda batch: _quietly(Saliency(model), batch, abs=False),
        "input_x_gradient": lambda batch: _quietly(InputXGradient(model), batch),
        "xgradient": lambda batch: xgradient.attribute(batch.inputs, **batch.options),
    }
    if given in simple:
        xgradient = XGradient(model)  # one instance: it remembers what it has proven
        return Method(name, simple[given], given, control=given in CONTROLS)
    if given == "integrated_gradients" or (family == "integrated_gradients" and number):
        steps = number or N_STEPS

        def integrated(batch: Batch) -> Any:
            size = max(most, len(batch))
            method = IntegratedGradients(model)
            return method.attribute(batch.inputs, n_steps=steps, internal_batch_size=size, **batch.options)

        return Method(name, integrated, ["integrated_gradients", steps])
    if given == "expected_gradients" or (family == "expected_gradients" and number):
        n = number or N_REFERENCES
        settings = ["expected_gradients", n, most]
        return Method(name, lambda batch: _expected(batch, around, n), settings, needs_references=True)
    close = difflib.get_close_matches(given, KNOWN, n=3, cutoff=0.4)
    meant = f"Did you mean {', '.join(close)}?" if close else f"Known are {', '.join(KNOWN)}."
    raise OptionError(f"{WHERE}: there is no method {given!r}. {meant} Other methods: pass a dict of instances.")


def _instance(name: str, method: Any, options: Mapping[str, Any], *, hooked: bool) -> Method:
    settings = [described(type(method)), _options_of(method), described(dict(options))]

    def attribute(batch: Batch) -> Any:
        return method.attribute(batch.inputs, **{**batch.options, **options})

    return Method(name, attribute, settings, countable=hooked, by_hooks=True)


def _options_of(method: Any) -> dict[str, Any]:
    """Describe a Captum instance: its model by its weights, and its own settings."""
    own = {key: value for key, value in vars(method).items() if key not in ("forward_func", "model", "_proofs")}
    found = {key: described(value) for key, value in own.items()}
    for key in ("forward_func", "model"):
        if callable(vars(method).get(key)):
            found[key] = of_model(vars(method)[key])
    return found


def _called(function: Callable[..., Any], batch: Batch) -> Any:
    # Its own copy to write to: what it did to the inputs would be done to those of all other methods.
    inputs, additional = _each(batch.inputs, torch.clone), batch.additional_forward_args
    if additional is None:
        return function(inputs, batch.target)
    return function(inputs, batch.target, additional)


def _quietly(method: Any, batch: Batch, **options: Any) -> Any:
    with warnings.catch_warnings():
        # Captum says that it sets requires_grad, which it undoes.
        warnings.filterwarnings("ignore", message=r".*did not already require gradients")
        return method.attribute(batch.inputs, **options, **batch.options)


def _expected(batch: Batch, around: Surroundings, n: int) -> Any:
    """Average over n references per example, as many at once as the batch size allows."""
    method = GradientShap(around.forward_func)
    references = around.references()
    references = _each(references, lambda reference: reference.to(batch.tensors[0].device))
    at_once = max(1, around.internal_batch_size // len(batch))
    total: list[Tensor] = []
    for done in range(0, n, at_once):
        some = min(at_once, n - done)
        part = method.attribute(batch.inputs, baselines=references, n_samples=some, stdevs=0.0, **batch.options)
        parts = [each.detach() * (some / n) for each in (part if isinstance(part, tuple) else (part,))]
        total = parts if not total else [a + b for a, b in zip(total, parts, strict=True)]
    return tuple(total) if isinstance(batch.inputs, tuple) else total[0]


def _random(batch: Batch) -> Any:
    # Drawn on the CPU, so that every device gives the same.
    return _each(batch.inputs, lambda x: torch.randn(x.shape, dtype=torch.float64).to(device=x.device, dtype=x.dtype))


def _blurred(x: Tensor) -> Tensor:
    """Return images blurred by a Gaussian of 1/16 of the shorter side; other inputs as they are."""
    from torchvision.transforms.functional import gaussian_blur

    if x.dim() != 4 or min(x.shape[2:]) < 3:
        return x.detach().clone()
    side = min(x.shape[2:])
    sigma = max(side / 16, 0.5)
    reach = min(round(3 * sigma), side - 1)
    blurred: Tensor = gaussian_blur(x.detach(), [2 * reach + 1, 2 * reach + 1], [sigma, sigma])
    return blurred


def _each(inputs: Any, function: Callable[[Tensor], Tensor]) -> Any:
    return tuple(map(function, inputs)) if isinstance(inputs, tuple) else function(inputs)
