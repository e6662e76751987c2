"""Example inputs, and what can be learned of a model by running it on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import keystr, tree_flatten_with_path

from captum_xg._core.digest import digest_of
from captum_xg._core.function import additional_arguments
from captum_xg.errors import CaptumXGError
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.certify import Output, chosen_outputs, prove
from captum_xg.homogeneity.ledger.bias_ledger import bias_ledger
from captum_xg.xdnn.agreement import dimension_of_classes, relative_difference
from captum_xg.xdnn.dataflow import Flow, observe
from captum_xg.xdnn.own_constants import added_constants

WHERE = "to_xdnn"
_ROUNDING = 1e-3


class Examples:
    """Runs models on example inputs.

    Args:
        inputs: Tensors of shape ``(N, …)``.
        additional: What follows them in a call.
        output: Which part of what the model returns is meant.
    """

    def __init__(self, inputs: tuple[Tensor, ...], additional: object, output: Output) -> None:
        self._inputs = tuple(x.detach() for x in inputs)
        self._additional = additional
        self._output = output

    def outputs(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the model's outputs by where they stand in what it returns, ``""`` if it is one."""
        with torch.no_grad():
            result = model(*self._copies(), *additional_arguments(self._additional))
            tensors = chosen_outputs(result, self._output, WHERE)
        if len(tensors) == 1:
            return {"": tensors[0].detach()}
        places = {id(leaf): keystr(path) for path, leaf in tree_flatten_with_path(result)[0]}
        return {places.get(id(y), f"[{i}]"): y.detach() for i, y in enumerate(tensors)}

    def classes(self, model: nn.Module) -> dict[str, int | None]:
        """Return the dimension of classes of each of the model's outputs."""
        flow, modules = self.observed(model), dict(model.named_modules())
        return {
            name: dimension_of_classes(
                y.shape,
                [x.shape for x in self._inputs],
                [module for path, module in modules.items() if flow.returned(path)],
                convolutional=any(isinstance(module, _ConvNd) for module in modules.values()),
            )
            for name, y in self.outputs(model).items()
        }

    def __len__(self) -> int:
        return len(self._inputs[0])

    def observed(self, model: nn.Module) -> Flow:
        """Return what flows in the model."""
        inputs = self._copies()
        return observe(model, inputs, lambda: model(*inputs, *additional_arguments(self._additional)))

    def certificate(self, model: nn.Module) -> Certificate:
        """Return the certificate of the model as it is, also of one with numbers that are not finite (unknown then)."""
        return replace(self._proven(model), digest=digest_of(model))

    def certificate_when_trained(self, model: nn.Module) -> Certificate:
        """Return the certificate of what the model may become by training.

        A bias that is zero so far, or a mean that has seen no data, breaks nothing, but will once the model is trained.
        """
        with _zeros_filled(model):
            return self._proven(model)

    def _proven(self, model: nn.Module) -> Certificate:
        return self._of_few(lambda xs: prove(model, xs, self._additional, WHERE, output=self._output).certificate)

    def added_constants(self, model: nn.Module) -> dict[str, list[str]]:
        """Return which parameters and buffers each module's forward adds, those among them that are zero so far."""
        with _zeros_filled(model):
            return added_constants(model, self._inputs, lambda *xs: self._tensors(model, *xs))

    def has_finite_gradient(self, model: nn.Module) -> bool:
        """Return whether the gradient is finite; it fails where a layer's result is overwritten that autograd needs."""
        with torch.enable_grad():
            inputs = tuple(x.clone().requires_grad_() for x in self._inputs)
            outputs = [y for y in self._tensors(model, *(x.clone() for x in inputs)) if y.requires_grad]
            if not outputs:
                return True
            ones = [torch.ones_like(y) for y in outputs]
            gradients = torch.autograd.grad(outputs, inputs, ones, allow_unused=True)
        return all(g is None or bool(torch.isfinite(g).all()) for g in gradients)

    def faults(self, model: nn.Module, original: nn.Module) -> list[tuple[str, str]]:
        """Return what a converted model does that the original does not do: (what, remedy)."""
        found = []
        with torch.no_grad():
            for where, inputs in (("on the examples", self._copies()), ("where its input is zero", self._zeros())):
                if not self._finite(model, inputs) and self._finite(original, inputs):
                    found.append(
                        (
                            f"is not finite {where}, where the original is",
                            "Look for divisions by, and logarithms of, what was kept from being zero by a constant",
                        )
                    )
            if self._mixes(model) and not self._mixes(original):
                found.append(
                    (
                        "lets examples of a batch influence each other: norms and gates take dimension 0 for the batch",
                        "Put the batch first before norms and gates, or use HomogeneousExtension(model)",
                    )
                )
        return found

    def _zeros(self) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(x) for x in self._inputs)

    def _finite(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
        try:
            return all(bool(torch.isfinite(y).all()) for y in self._tensors(model, *inputs))
        except Exception:  # whatever a model raises at zero; what it raises on the examples was raised before
            return False

    def _mixes(self, model: nn.Module) -> bool:
        """Return whether the first example's output changes with another example in the batch."""
        # As many examples as were given, where the model takes no two: it may have arguments or views of that size.
        for count in (2, max(2, len(self._inputs[0]))):
            try:
                same = tuple(x[:1].expand(count, *x.shape[1:]).clone() for x in self._inputs)
                other = tuple(torch.cat([x[:1], 3 * x[1:]]) for x in same)
                alone, beside = (self._of_first(self._tensors(model, *xs), count) for xs in (same, other))
            except Exception:  # models that take another batch size only
                continue
            return any(not relative_difference(a, b) <= _ROUNDING for a, b in zip(alone, beside, strict=True))
        return False

    def share_of_constants(self, model: nn.Module) -> float | None:
        """Return the share of the predictions that constants carry, provided that nothing else breaks homogeneity."""
        outputs = next(iter(self.outputs(model).values()))
        target: Any = None
        if outputs.dim() == 2 and outputs.shape[1] > 1:
            target = outputs.argmax(1)
        elif outputs.numel() != len(outputs):
            return None

        def forward(*arguments: Any) -> Tensor:
            return chosen_outputs(model(*arguments), self._output, WHERE)[0]

        try:
            ledger = bias_ledger(forward, self._inputs, target, self._additional)
        except (CaptumXGError, RuntimeError):
            return None
        cancels = ledger.remainder.sum().abs() <= ledger.rounding.sum()
        if cancels and not ledger.exact:
            return None  # what one example lacks another has too much: they are nodes of one graph, say
        # What the inputs do not carry the constants do, by Euler's identity: both together have degree 1.
        carried = (ledger.values - ledger.input_part).double().abs().sum()
        total = carried + ledger.input_part.double().abs().sum()
        return float(carried / total) if total > 0 else None

    def _copies(self) -> tuple[Tensor, ...]:
        return tuple(x.clone() for x in self._inputs)  # the model may overwrite them

    def _tensors(self, model: nn.Module, *inputs: Tensor) -> list[Tensor]:
        return chosen_outputs(model(*inputs, *additional_arguments(self._additional)), self._output, WHERE)

    @staticmethod
    def _of_first(outputs: list[Tensor], count: int) -> list[Tensor]:
        """Return the rows of the first of some examples, each of which may have several."""
        return [y[: max(1, len(y) // count)] for y in outputs]

    def _of_few(self, verdict: Callable[[tuple[Tensor, ...]], Certificate]) -> Certificate:
        """Return a verdict from two examples (one may lose its batch dimension), from all if the model takes no two."""
        if self._additional is not None:
            return verdict(self._inputs)
        try:
            return verdict(tuple(x[:2] for x in self._inputs))
        except CaptumXGError:
            raise
        except Exception:
            return verdict(self._inputs)


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
            for tensor in zero:
                tensor.normal_(std=0.1)
        yield
    finally:
        with torch.no_grad():
            for tensor in zero:
                tensor.zero_()
