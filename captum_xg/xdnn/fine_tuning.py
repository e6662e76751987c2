"""fine_tune: the plain training loop that wins back what the inexact steps of a conversion cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_xg.errors import InputError, OptionError


def fine_tune(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    epochs: int = 1,
    lr: float = 1e-3,
    loss: Callable[[Any, Any], Tensor] = nn.functional.cross_entropy,
    optimizer: torch.optim.Optimizer | None = None,
    progress: bool = True,
) -> list[float]:
    r"""Train a model by ordinary mini-batch gradient descent: Adam, a learning rate that falls to zero along a cosine.

    .. math:: \theta \leftarrow \mathrm{Adam}\bigl(\nabla_\theta \ell(F_\theta(x), y)\bigr), \qquad
        \eta_t = \tfrac{\eta}{2} \bigl(1 + \cos(\pi t / T)\bigr)

    Args:
        model: It is trained in place, in training mode (so dropout drops), and left in the modes it came in.
        batches: A data loader, or a list of (inputs, target), where inputs are a tensor, or a tuple of what the model
            is called with. They go to the device of the model's parameters. What has no length cannot say when
            training will be over: the learning rate then stays as it is.
        epochs: How often to go through it.
        lr: η, the learning rate at the beginning.
        loss: From outputs and target to one number.
        optimizer: Another one than Adam over all parameters that require a gradient. ``lr`` is then not used, and the
            optimizer's own learning rates fall to zero, and are put back at the end.
        progress: Show a bar with the running loss.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: If there are no batches, or the loss is not finite (the step that would do harm is not taken).
        OptionError: If ``epochs`` is below 1, or nothing requires a gradient.

    Source: Own; nothing in it is special to X-DNNs. Kingma and Ba 2015 (Adam), Loshchilov and Hutter 2017 (cosine).
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise OptionError(f"fine_tune: `epochs` = {epochs!r}; it must be a whole number, at least 1.")
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise OptionError("fine_tune: no parameter of the model requires a gradient. Call model.requires_grad_().")
    device = parameters[0].device
    optimizer = optimizer or torch.optim.Adam(parameters, lr=lr)
    per_epoch = _length(batches)
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch) if per_epoch else None
    modes = [(module, module.training) for module in model.modules()]
    losses = []
    try:
        model.train()
        for epoch in range(epochs):
            total, count = 0.0, 0
            # The loader is iterated here and not by the bar, which would start its workers, and draw, a second time.
            with tqdm(total=per_epoch, desc=f"fine-tuning {epoch + 1}/{epochs}", disable=not progress) as bar:
                for inputs, target in batches:
                    optimizer.zero_grad()
                    arguments = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
                    value = loss(model(*_to(arguments, device)), _to(target, device))
                    number = float(value.detach())
                    if not math.isfinite(number):
                        raise InputError(
                            f"fine_tune: the loss is {number} in epoch {epoch + 1} at batch {count}. The model is as "
                            "it was after the step before. Lower the learning rate, or look at the data."
                        )
                    torch.autograd.backward(value)
                    optimizer.step()
                    if schedule is not None:
                        schedule.step()
                    total, count = total + number, count + 1
                    bar.set_postfix(loss=f"{total / count:.3f}")
                    bar.update()
            if count == 0:
                raise InputError("fine_tune: there are no batches to train on (an iterator can be used up only once).")
            losses.append(total / count)
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for module, training in modes:
            module.training = training
    return losses


def _length(batches: Iterable[Any]) -> int | None:
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:  # a generator, or a loader over a dataset without length
        return None


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_to(part, device) for part in value)
    return value.to(device) if isinstance(value, Tensor) else value
