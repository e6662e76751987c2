"""Training of many small networks at once, each with its own data and a Gini prior on its attributions.

Two hundred repetitions of networks of 118-512-128-32-1 spend their time between operations, not in them. So those of
one method and λ are stacked: every tensor has a first dimension R of networks, and a batched matrix product takes the
place of R products. What must hold is that a network trained in a stack is the one trained alone:

* no value of a network depends on another's, so that the gradient of the sum of all losses is that of each;
* Adam works element by element, so that one optimiser of the stack is one for each;
* random numbers are drawn by one generator per repetition, on the CPU, whatever else is in the stack;
* the best epoch is kept network by network.

A normalisation over R, or gradient clipping by the norm of all, would break this without any error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_xg.priors.gini import gini
from captum_xg.repro.sparsity.networks import Stack
from captum_xg.repro.sparsity.roc_auc import roc_auc

Attribution: TypeAlias = Literal[
    "none", "gradient", "rrr", "xgradient", "expected_gradients", "input_x_gradient", "joint"
]
Over: TypeAlias = Literal["batch", "example"]
"""What the Gini coefficient is of: the batch-mean absolute attribution, or each example's own, and then the mean."""
LEARNING_RATE = 1e-3


class Samples(NamedTuple):
    """Training and validation data of R repetitions.

    Features have the shape ``(R, N, features)``; labels ``(R, N)`` are 0 or 1, of the dtype of the features.
    """

    train: Tensor
    train_labels: Tensor
    valid: Tensor
    valid_labels: Tensor


class References:
    """The random numbers of Expected Gradients: for each epoch and example k references and k places on the way there.

    As in the original code an epoch uses every training example k times: the references are k copies of the training
    data in random order. Drawn on the CPU, by one generator per repetition, they are the same on every device and
    however repetitions are grouped.
    """

    def __init__(self, seeds: Sequence[int], n_examples: int, n_references: int) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.n_examples = n_examples
        self.n_references = n_references

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return, for the next epoch, rows of the training examples and α in [0, 1), both ``(R, N, k)``."""
        n, k = self.n_examples, self.n_references
        rows, alphas = [], []
        for generator in self.generators:
            alphas.append(torch.rand(n * k, generator=generator, dtype=torch.float64).reshape(n, k))
            rows.append(torch.randperm(n * k, generator=generator).reshape(n, k) % n)
        return torch.stack(rows), torch.stack(alphas)


def expected_gradients(stack: Stack, inputs: Tensor, rows: Tensor, alphas: Tensor) -> Tensor:
    """Return mean over references b of (x − b)·∇F(b + α(x − b)), shape ``(R, N, features)``, with a graph.

    The references are those ``rows`` of the inputs; rows and α have the shape ``(R, N, k)``.
    """
    r, n, d = inputs.shape
    k = rows.shape[2]
    references = inputs.gather(1, rows.reshape(r, n * k, 1).expand(-1, -1, d)).reshape(r, n, k, d)
    difference = inputs.unsqueeze(2) - references
    points = (references + alphas.unsqueeze(3) * difference).reshape(r, n * k, d).requires_grad_(True)
    (gradient,) = torch.autograd.grad(stack.logits(points).sum(), points, create_graph=True)
    return (difference * gradient.reshape(r, n, k, d)).mean(2)


def prior_and_task(
    stack: Stack, samples: Samples, attribution: Attribution, references: References | None, over: Over = "batch"
) -> tuple[Tensor | None, Tensor]:
    """Return −Gini of the absolute attribution, or None without a prior, and the task loss, both ``(R,)``.

    With a graph, as the gradient of the sum over all is what training takes.
    """
    x = samples.train
    if attribution not in ("none", "expected_gradients"):
        x = x.detach().requires_grad_(True)
    # Of each example its own, or the gradient by a bias would be that of the whole batch.
    own = [b.expand(-1, x.shape[1], -1) for b in stack.biases] if attribution == "joint" else stack.biases
    z = Stack(stack.weights, own).logits(x)
    task = F.binary_cross_entropy_with_logits(z, samples.train_labels, reduction="none").mean(1)
    if attribution == "none":
        return None, task
    if attribution == "expected_gradients":
        assert references is not None
        rows, alphas = references.draw()
        attributions = expected_gradients(stack, x, rows.to(x.device), alphas.to(x))
    elif attribution == "joint":
        points = [x, *own]
        gradients = torch.autograd.grad(z.sum(), points, create_graph=True)
        attributions = torch.cat([p * g for p, g in zip(points, gradients, strict=True)], 2)
    else:
        # RRR: the sum of the log-probabilities of both classes, log σ(z) + log σ(−z).
        explained = 2 * F.logsigmoid(z) - z if attribution == "rrr" else z
        (attributions,) = torch.autograd.grad(explained.sum(), x, create_graph=True)
        if attribution in ("xgradient", "input_x_gradient"):
            attributions = attributions * x
    sizes = attributions.abs()
    return -(gini(sizes.mean(1)) if over == "batch" else gini(sizes).mean(1)), task


class Trained(NamedTuple):
    """What training left: the networks at the epoch with the best validation ROC-AUC, and after the last update.

    That ROC-AUC and that epoch (the number of updates made before) have the shape ``(R,)``.
    """

    best: Stack
    last: Stack
    valid_auc: Tensor
    epoch: Tensor


def train(
    stack: Stack,
    samples: Samples,
    *,
    attribution: Attribution,
    strength: float | Tensor,
    epochs: int,
    references: References | None = None,
    over: Over = "batch",
    after_epoch: Callable[[], object] | None = None,
) -> Trained:
    """Train a stack of networks, in place, with full batches and Adam.

    As in the original code each epoch evaluates first and then updates: the networks after 0 to ``epochs`` − 1 updates
    compete for the best validation ROC-AUC, the first of equals wins. ``after_epoch`` is called after each update.
    λ is one number, or one for each network, ``(R,)``.
    """
    (found,) = stages(
        stack,
        samples,
        [epochs],
        attribution=attribution,
        strength=strength,
        references=references,
        over=over,
        after_epoch=after_epoch,
    )
    return found._replace(last=found.last.copy())


def stages(
    stack: Stack,
    samples: Samples,
    epochs: Sequence[int],
    *,
    attribution: Attribution,
    strength: float | Tensor,
    references: References | None = None,
    over: Over = "batch",
    after_epoch: Callable[[], object] | None = None,
) -> Iterator[Trained]:
    """Yield what :func:`train` returns for each of several increasing numbers of epochs, from one training.

    The networks in it are those being trained: use them before the next.
    """
    parameters = stack.parameters
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
    best = stack.copy()
    valid_auc = torch.full((len(samples.train),), -torch.inf, dtype=torch.float64, device=samples.train.device)
    epoch_of_best = torch.zeros(len(samples.train), dtype=torch.int64, device=samples.train.device)
    for epoch in range(max(epochs)):
        with torch.no_grad():
            auc = roc_auc(stack.logits(samples.valid), samples.valid_labels)
            better = auc > valid_auc
            valid_auc = torch.where(better, auc, valid_auc)
            epoch_of_best = torch.where(better, epoch, epoch_of_best)
            best.keep(stack, better)
        prior, task = prior_and_task(stack, samples, attribution, references, over)
        total = (task if prior is None else task + strength * prior).sum()
        optimizer.zero_grad()
        # By backward, which lays gradients out as the parameters are: fused Adam takes for granted that they are.
        torch.autograd.backward(total, inputs=parameters)
        optimizer.step()
        if after_epoch is not None:
            after_epoch()
        if epoch + 1 in epochs:
            yield Trained(best, stack, valid_auc, epoch_of_best)
