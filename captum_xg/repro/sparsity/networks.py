"""Networks of the sparsity experiment, alone and stacked: many of one shape, evaluated together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

HIDDEN = (512, 128, 32)


def network(n_features: int, *, bias: bool, seed: int, hidden: Sequence[int] = HIDDEN) -> nn.Sequential:
    """Return the network of one repetition: linear layers and ReLUs, one logit.

    The weights depend on the seed alone: without biases they are those that the network with biases begins with, so
    that methods are compared from the same start.
    """
    widths = (n_features, *hidden, 1)
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for n_in, n_out in pairwise(widths):
            linear = nn.Linear(n_in, n_out)
            if not bias:
                linear.register_parameter("bias", None)
            layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Stack:
    """R networks of one shape: for each layer weights ``(R, out, in)`` and, if it has any, biases ``(R, 1, out)``."""

    weights: list[Tensor]
    biases: list[Tensor]

    @property
    def parameters(self) -> list[Tensor]:
        """All tensors, weights first."""
        return [*self.weights, *self.biases]

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits ``(R, N)`` for inputs ``(R, N, features)``, each network with its own.

        A batched matrix product per layer is what ``torch.func.vmap`` over stacked networks comes to. Written out, the
        gradient of a loss with an attribution in it took 10–20 % less time than by vmap of grad of vjp.
        """
        hidden = inputs
        for i, weight in enumerate(self.weights):
            if i:
                hidden = torch.relu(hidden)
            across = weight.transpose(1, 2)
            hidden = torch.baddbmm(self.biases[i], hidden, across) if self.biases else torch.bmm(hidden, across)
        return hidden.squeeze(2)

    def copy(self) -> Stack:
        """Return the same networks in memory of their own, without a graph."""
        return Stack([w.detach().clone() for w in self.weights], [b.detach().clone() for b in self.biases])

    def keep(self, other: Stack, chosen: Tensor) -> None:
        """Overwrite the networks at ``chosen``, ``(R,)`` booleans, with those of another stack."""
        with torch.no_grad():
            for own, new in zip(self.parameters, other.parameters, strict=True):
                own[chosen] = new[chosen]

    def one(self, index: int) -> Stack:
        """Return one of the networks as a stack of one."""
        return Stack([w[index : index + 1] for w in self.weights], [b[index : index + 1] for b in self.biases])


def stacked(networks: Sequence[nn.Sequential], device: torch.device | str = "cpu") -> Stack:
    """Return networks of one shape as a stack of leaves that want gradients."""
    layers = [[layer for layer in one if isinstance(layer, nn.Linear)] for one in networks]
    weights, biases = [], []
    for same in zip(*layers, strict=True):
        weights.append(torch.stack([layer.weight.detach() for layer in same]).to(device).requires_grad_())
        if same[0].bias is not None:
            bias = torch.stack([layer.bias.detach() for layer in same])
            biases.append(bias.unsqueeze(1).to(device).requires_grad_())
    return Stack(weights, biases)
