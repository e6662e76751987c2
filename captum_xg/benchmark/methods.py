"""The attribution methods of a benchmark: those known by name, Captum's instances, callables, and the two controls.

Every method becomes a function from a batch to attributions; whether the meter sees all its runs of the model is said
beside it, for a number that is not a count must not stand in the table. Example: ``"integrated_gradients_16"`` is
Captum's with 16 steps and counted exactly, as it is called on the function that the meter made; an instance brings a
model of its own, and is counted by hooks if there is a module to put them on.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from captum.attr import Attribution, GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor

from captum_xg._core.types import Target
from captum_xg.attr.x_gradient import XGradient
from captum_xg.benchmark.data import WHERE, Batch
from captum_xg.benchmark.settings import described
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.metrics.protocols import Attributions

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
class Ingredients:
    """What methods that are known by name are made from.

    Attributes:
        forward_func: The model, or what counts its runs.
        references: Gives the inputs that Expected Gradients draws its references from.
        internal_batch_size: The most examples that go through the model at once.
    """

    forward_func: Callable[..., object]
    references: Callable[[], Attributions]
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
        needs_references: Whether it uses :attr:`Ingredients.references`.
        control: Whether it is one of the two that know nothing of the model.
        once: What it does once for a model and shape of inputs, before its cost is measured; None if nothing.
    """

    name: str
    attribute: Callable[[Batch], Attributions]
    settings: object = field(compare=False)
    countable: bool = True
    by_hooks: bool = False
    needs_references: bool = False
    control: bool = False
    once: Callable[[Batch], None] | None = field(default=None, compare=False)

    def as_function(self) -> Callable[..., Attributions]:
        """Return it as metrics that attribute themselves take it: a function of inputs, target and arguments."""

        def attribute(
            inputs: Attributions, target: Target = None, additional_forward_args: object = None
        ) -> Attributions:
            return self.attribute(Batch(0, inputs, target, additional_forward_args, ""))

        return attribute


def methods_of(given: object, ingredients: Ingredients, hooked: bool) -> list[Method]:
    """Return the methods asked for, and after them the controls that are not among them.

    Args:
        given: Names, or a mapping from names of your own to a known name, an instance of a Captum method, a pair of
            that and options for its ``attribute``, or a callable from (inputs, target) to attributions.
        ingredients: What named methods are made from.
        hooked: Whether the meter sees every run of the model, also by callables.

    Raises:
        OptionError: If a method is not known, named twice, or nothing of these.
    """
    named = named_entries(DEFAULT_METHODS if given is None else given, "methods", _name_of)
    methods = [method_of(name, each, ingredients, hooked) for name, each in named]
    present = [method.name for method in methods]
    return methods + [method_of(name, name, ingredients, hooked) for name in CONTROLS if name not in present]


def named_entries(given: object, option: str, name_of: Callable[[object], str]) -> list[tuple[str, object]]:
    """Return what an option holds with names: those of a dict, or those that entries of a list have.

    Raises:
        OptionTypeError: If it is neither a list nor a dict.
        OptionError: If a name comes twice.
    """
    if isinstance(given, str) or not isinstance(given, (Mapping, Sequence)):
        raise OptionTypeError(
            f"{WHERE}: expected `{option}` to be a list of names and instances, or a dict from names of your own to "
            f"these, got {given!r}."
        )
    named = list(given.items()) if isinstance(given, Mapping) else [(name_of(each), each) for each in given]
    present = [name for name, _ in named]
    if repeated := sorted({name for name in present if present.count(name) > 1}):
        raise OptionError(
            f"{WHERE}: {', '.join(repeated)} is among `{option}` twice. Give a dict with names of your own."
        )
    return named


def method_of(name: str, given: object, ingredients: Ingredients, hooked: bool = True) -> Method:
    """Return one method; see :func:`methods_of`."""
    if isinstance(given, str):
        if name in CONTROLS and given != name:
            raise OptionError(f"{WHERE}: the name {name!r} is kept for that control; call {given!r} something else.")
        return _known(name, given, ingredients)
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


def _name_of(given: object) -> str:
    if isinstance(given, str):
        return given
    return type(given).__name__ if isinstance(given, Attribution) else getattr(given, "__name__", type(given).__name__)


def _known(name: str, given: str, ingredients: Ingredients) -> Method:
    family, _, count = given.rpartition("_")
    number = int(count) if re.fullmatch(r"[1-9][0-9]*", count) else None
    model, most = ingredients.forward_func, ingredients.internal_batch_size
    simple: dict[str, Callable[[Batch], Attributions]] = {
        "random": _random,
        "blurred_input": lambda batch: _each(batch.inputs, _blurred),
        "gradient": lambda batch: _quietly(Saliency(model), batch, abs=False),
        "input_x_gradient": lambda batch: _quietly(InputXGradient(model), batch),
        "xgradient": lambda batch: xgradient.attribute(batch.inputs, **batch.options),
    }
    # Methods are made when they are asked, but for X-Gradient: Captum's hold nothing worth keeping.
    if given in simple:
        # Not validate="auto": what a batch costs must not depend on whether the proof was made in this run or in one
        # that was interrupted. Nor on where it was seen that examples are separate: so that is done beforehand.
        xgradient = XGradient(model, validate="numeric")
        once = _once(simple[given]) if given == "xgradient" else None
        return Method(name, simple[given], given, control=given in CONTROLS, once=once)
    if given == "integrated_gradients" or (family == "integrated_gradients" and number):
        steps = number or N_STEPS

        def integrated(batch: Batch) -> Attributions:
            size = max(most, len(batch))  # of less Captum warns, and takes the batch's size itself
            options = {"n_steps": steps, "internal_batch_size": size}
            return _attributed(IntegratedGradients(model), batch, options)

        return Method(name, integrated, ["integrated_gradients", steps])
    if given == "expected_gradients" or (family == "expected_gradients" and number):
        n = number or N_REFERENCES
        # The batch size decides how references are drawn: each call draws its own.
        settings = ["expected_gradients", n, most]
        return Method(name, lambda batch: _expected(batch, ingredients, n), settings, needs_references=True)
    close = difflib.get_close_matches(given, KNOWN, n=3, cutoff=0.4)
    meant = f"Did you mean {', '.join(close)}?" if close else f"Known are {', '.join(KNOWN)}."
    raise OptionError(f"{WHERE}: there is no method {given!r}. {meant} Other methods: pass a dict of instances.")


def _once(attribute: Callable[[Batch], Attributions]) -> Callable[[Batch], None]:
    """Return what attributes the first batch of every shape."""
    done = set()

    def attribute_once(batch: Batch) -> None:
        shapes = tuple(x.shape for x in batch.tensors)
        if shapes not in done:
            done.add(shapes)
            attribute(batch)

    return attribute_once


def _instance(name: str, method: Attribution, options: Mapping[str, object], *, hooked: bool) -> Method:
    settings = [described(method), described(dict(options))]
    return Method(name, lambda batch: _attributed(method, batch, options), settings, countable=hooked, by_hooks=True)


def _attributed(method: Attribution, batch: Batch, options: Mapping[str, object]) -> Attributions:
    found: Attributions = method.attribute(batch.inputs, **{**batch.options, **options})
    return found


def _called(function: Callable[..., Attributions], batch: Batch) -> Attributions:
    # Its own copy to write to: what it did to the inputs would be done to those of all other methods.
    inputs, additional = _each(batch.inputs, torch.clone), batch.additional_forward_args
    if additional is None:
        return function(inputs, batch.target)
    return function(inputs, batch.target, additional)


def _quietly(method: Attribution, batch: Batch, **options: object) -> Attributions:
    with warnings.catch_warnings():
        # Captum says that it sets requires_grad, which it undoes.
        warnings.filterwarnings("ignore", message=r".*did not already require gradients")
        return _attributed(method, batch, options)


def _expected(batch: Batch, ingredients: Ingredients, n: int) -> Attributions:
    """Average over n references per example, as many at once as the batch size allows."""
    method = GradientShap(ingredients.forward_func)
    references = ingredients.references()
    references = _each(references, lambda reference: reference.to(batch.tensors[0].device))
    at_once = max(1, ingredients.internal_batch_size // len(batch))
    total: list[Tensor] = []
    for done in range(0, n, at_once):
        some = min(at_once, n - done)
        part = method.attribute(batch.inputs, baselines=references, n_samples=some, stdevs=0.0, **batch.options)
        # GradientShap gives the mean over its samples: parts count by their share.
        parts = [each.detach() * (some / n) for each in (part if isinstance(part, tuple) else (part,))]
        total = parts if not total else [a + b for a, b in zip(total, parts, strict=True)]
    return tuple(total) if isinstance(batch.inputs, tuple) else total[0]


def _random(batch: Batch) -> Attributions:
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


def _each(inputs: Attributions, function: Callable[[Tensor], Tensor]) -> Attributions:
    return tuple(map(function, inputs)) if isinstance(inputs, tuple) else function(inputs)
