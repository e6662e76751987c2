"""``fine_tune``: the plain training loop that wins back what the inexact steps of a conversion cost.

The invariant: either the model is trained by the loss of every batch, or an error says in which batch it was not. For
example, a loss that is computed from ``outputs.argmax(1).float()`` is a number, and training by it would run through
and change nothing; it is refused at the first step.

What must never happen: that a step does harm. A loss that is NaN or infinite ends training *before* its gradient is
taken, so that the model is as it was after the step before; modes and learning rates go back as they were in any case.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_xg._core.autograd_graph import gradient_ancestors
from captum_xg._core.batches import (
    FORMS,
    Parts,
    moved,
    naming_batch,
    numbered,
    require_batches,
    require_fitting_call,
    taken_apart,
)
from captum_xg._core.losses import Loss, checked_number, default_loss, require_a_loss_of_one_output
from captum_xg._core.options import finite_number, forward_function, positive_integer, switch
from captum_xg.errors import GradientError, InputError, OptionError, OptionTypeError
from captum_xg.homogeneity.certificate.outputs import Output, checked_output, one_output

_WHERE = "fine_tune"


def fine_tune(
    model: nn.Module,
    batches: Iterable[object],
    *,
    epochs: int = 1,
    lr: float = 1e-3,
    loss: Loss | None = None,
    output: Output = None,
    optimizer: torch.optim.Optimizer | None = None,
    progress: bool = True,
) -> list[float]:
    r"""Train a model by ordinary mini-batch gradient descent: Adam, a learning rate that falls to zero along a cosine.

    .. math:: \theta \leftarrow \mathrm{Adam}\bigl(\nabla_\theta \ell(F_\theta(x), y)\bigr), \qquad
        \eta_t = \tfrac{\eta}{2} \bigl(1 + \cos(\pi t / T)\bigr)

    Args:
        model: It is trained in place, in training mode (so dropout drops), and left in the modes it came in.
        batches: A data loader, or a list of batches, each (inputs, target) or (inputs, target, additional_forward_args)
            in a tuple, list or named tuple, where inputs are a tensor, or a tuple of what the model is called with; or
            a dict or dataclass with an entry ``target``, ``label``, ``labels`` or ``y`` besides the input, or inputs by
            the names of the model's arguments. They go to the device of the model's parameters. What has no length
            cannot say when training will be over: the learning rate then stays as it is.
        epochs: How often to go through it.
        lr: η, the learning rate at the beginning.
        loss: From outputs and target to one number. By default, as in :class:`~captum_xg.AttributionPriorLoss`, cross
            entropy for class indices or probabilities, and binary cross entropy for one logit and targets 0 and 1;
            anything else, a regression among it, needs one.
        output: Which part of a tuple or dict that the model returns the loss is of: a key, a path, or a function.
        optimizer: Another one than Adam over all parameters that require a gradient. ``lr`` is then not used, and the
            optimizer's own learning rates fall to zero, and are put back at the end.
        progress: Show a bar over all epochs with the running loss.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: If there are no batches, one has another form, or the loss is not finite (the step that would do
            harm is not taken).
        OptionError: If an option has no such value, nothing requires a gradient, the optimizer is one of another model,
            or the targets do not tell which loss is meant.
        TargetError: If labels do not fit the outputs.
        GradientError: If no gradient of the loss reaches a parameter.

    Errors that come up in a batch, the model's and the loader's among them, say in which.

    Source: Own; nothing in it is special to X-DNNs. Kingma and Ba 2015 (Adam), Loshchilov and Hutter 2017 (cosine).
    """
    epochs = positive_integer(epochs, "epochs", _WHERE)
    progress = switch(progress, "progress", _WHERE)
    parameters = _trainable(model)
    require_batches(batches, _WHERE, "batches")
    if loss is not None:
        forward_function(loss, "loss", _WHERE)
    optimizer = _optimizer(optimizer, parameters, lr)
    step = _Step(model, optimizer, loss, checked_output(output, _WHERE), parameters)
    with _training(model, optimizer):
        return _train(step, batches, epochs, optimizer, progress=progress)


@contextmanager
def _training(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put a model into training mode, and modes and learning rates back as they were at the end."""
    # The schedule writes into the optimizer, which may be the caller's own and be used again.
    rates = [group["lr"] for group in optimizer.param_groups]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train()
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        # One by one, as model.eval() would also end the training mode of parts that came in it.
        for module, training in modes:
            module.training = training


def _train(
    step: _Step, batches: Iterable[object], epochs: int, optimizer: torch.optim.Optimizer, *, progress: bool
) -> list[float]:
    """Take a step for each batch of each epoch, and return the mean loss of each epoch."""
    per_epoch = _length(batches)
    # How far the cosine has come is a share of the whole, which only a known length tells.
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch) if per_epoch else None
    losses = []
    # The loader is iterated here and not by the bar, which would start its workers, and draw, a second time.
    total_steps = epochs * per_epoch if per_epoch else None
    with tqdm(total=total_steps, desc="fine-tuning", disable=not progress) as bar:
        for epoch in range(1, epochs + 1):
            where = f"{_WHERE}, epoch {epoch}"
            total, count = 0.0, 0
            for index, batch in numbered(batches, where):
                with naming_batch(index, where):
                    total, count = total + step(batch, where), count + 1
                if schedule is not None:
                    schedule.step()
                bar.set_postfix(epoch=f"{epoch}/{epochs}", loss=f"{total / count:.3f}")
                bar.update()
            if count == 0:
                raise InputError(f"{where}: there are no batches to train on (an iterator can be used up only once).")
            losses.append(total / count)
    return losses


class _Step:
    """One step of training, by a loss (None for the one that the targets tell) of a part of the outputs."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss | None,
        output: Output,
        parameters: list[nn.Parameter],
    ) -> None:
        self._model, self._optimizer, self._loss, self._output = model, optimizer, loss, output
        self._parameters = {id(p) for p in parameters}
        self._device = parameters[0].device
        self._accepts = _accepts(model)
        self._looked = False

    def __call__(self, batch: object, where: str) -> float:
        """Take it, and return the loss before it."""
        parts = taken_apart(batch, where, accepts=self._accepts)
        if not parts.labelled:
            raise InputError(
                f"{where}: the batch has inputs only, and there is nothing to train for. Give {FORMS}; if this is one "
                "batch in place of a list of them, pass [(inputs, target)]."
            )
        require_fitting_call(self._model, parts, where)
        # torch would take them in some losses and fail in others with messages about dtypes.
        arrays = [x for x in (*parts.arguments, *parts.named.values(), parts.target) if type(x).__module__ == "numpy"]
        if arrays:
            raise InputError(
                f"{where}: the batch has a NumPy {type(arrays[0]).__name__}. Make tensors of arrays by "
                "torch.from_numpy, or let a DataLoader collate them."
            )
        value = self._value(parts, where)
        number = float(value.detach())
        if not math.isfinite(number):
            raise InputError(
                f"{where}: the loss is {number}. The model is as it was after the step before. Lower the learning "
                "rate, or look at the data."
            )
        self._require_path(value, where)
        # Now, and not after the step: gradients that the caller left there must not count.
        self._optimizer.zero_grad()
        torch.autograd.backward(value)
        self._optimizer.step()
        return number

    def _value(self, parts: Parts, where: str) -> Tensor:
        target = moved(parts.target, self._device)
        found = self._model(*moved(parts.arguments, self._device), **moved(parts.named, self._device))
        if self._loss is None:
            return default_loss(one_output(found, self._output, where), target, where, "loss")
        outputs = found if self._output is None else one_output(found, self._output, where)
        require_a_loss_of_one_output(self._loss, outputs, where, "loss")
        value = self._loss(outputs, target)
        return checked_number(
            value.reshape(()) if isinstance(value, Tensor) and value.numel() == 1 else value, "loss", where
        )

    def _require_path(self, value: Tensor, where: str) -> None:
        # The graph is walked once: a forward that trains in one batch trains in the next.
        if self._looked and value.requires_grad:
            return
        leaves = (getattr(node, "variable", None) for node in gradient_ancestors([value]))
        if not any(id(leaf) in self._parameters for leaf in leaves):
            raise GradientError(
                f"{where}: no gradient of the loss reaches a parameter of the model, so nothing would be trained. Look "
                "for argmax, comparisons, rounding, detach, .item(), NumPy, or no_grad, in the loss, in the model, and "
                "around the call."
            )
        self._looked = True


def _trainable(model: object) -> list[nn.Parameter]:
    forward_function(model, "model", _WHERE)
    if not isinstance(model, nn.Module):
        raise OptionTypeError(f"{_WHERE}: `model` must be a torch.nn.Module but is {type(model).__name__}.")
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise OptionError(f"{_WHERE}: no parameter of the model requires a gradient. Call model.requires_grad_().")
    return parameters


def _optimizer(optimizer: object, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    if optimizer is None:
        rate = finite_number(lr, "lr", _WHERE)
        if rate <= 0:
            raise OptionError(f"{_WHERE}: `lr` must be a number above 0 but is {rate:g}.")
        return torch.optim.Adam(parameters, lr=rate)
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
        raise OptionTypeError(
            f"{_WHERE}: `optimizer` must be an optimizer, such as torch.optim.SGD(model.parameters(), lr=…), but is "
            f"{kind}."
        )
    # LBFGS, for one, evaluates the loss several times a step.
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise OptionError(
            f"{_WHERE}: `optimizer` is {type(optimizer).__name__}, which needs a closure that computes the loss again. "
            "Take one that does not, such as torch.optim.SGD, or write the loop."
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    # Some of them are enough: the others may be frozen on purpose.
    if held.isdisjoint(map(id, parameters)):
        raise OptionError(
            f"{_WHERE}: `optimizer` has none of the model's parameters, so that nothing would be trained. Make one "
            "for this model; to_xdnn, for example, returns a copy."
        )
    return optimizer


def _accepts(model: nn.Module) -> Callable[[str], bool]:
    parameters = inspect.signature(model.forward).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return lambda name: True
    return lambda name: name in parameters


def _length(batches: Iterable[object]) -> int | None:
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:  # a generator, or a loader over a dataset without length
        return None
