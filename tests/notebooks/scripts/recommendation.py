"""Will it be clicked: dense numbers and 26 embedded categories that interact by dot products, 27 inputs explained."""

from itertools import pairwise

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerConductance
from torch import nn

sizes = [int(s) for s in np.random.default_rng(0).integers(3, 400, 26)]


def mlp(widths, last):
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        layers += [nn.Linear(n_in, n_out), last if i == len(widths) - 2 else nn.ReLU()]
    return nn.Sequential(*layers)


class Clicks(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb_l = nn.ModuleList([nn.EmbeddingBag(size, 16, mode="sum") for size in sizes])
        self.bot_l = mlp([13, 64, 32, 16], nn.ReLU())
        self.top_l = mlp([16 + 27 * 26 // 2, 64, 32, 1], nn.Sigmoid())

    def apply_emb(self, offsets, indices):
        return [emb(i, o) for emb, i, o in zip(self.emb_l, indices, offsets, strict=True)]

    def interact_features(self, x, ly):
        T = torch.cat([x, *ly], dim=1).view(len(x), -1, 16)
        Z = torch.bmm(T, T.transpose(1, 2))
        li, lj = torch.tril_indices(27, 27, -1)
        return torch.cat([x, Z[:, li, lj]], dim=1)


torch.manual_seed(0)
dlrm = Clicks()
n = 12
X_test = torch.log(1 + torch.randint(0, 100, (n, 13)).float())
indices_of_bags = [torch.randint(0, size, (2 * n,)) for size in sizes]
offsets_of_bags = [torch.arange(0, 2 * n, 2) for _ in sizes]


def sequential_forward(dense_x, *sparse_y):
    x = dlrm.bot_l(dense_x)
    return dlrm.top_l(dlrm.interact_features(x, list(sparse_y)))


ig = IntegratedGradients(sequential_forward)
embeddings = dlrm.apply_emb(offsets_of_bags, indices_of_bags)
attributions, delta = ig.attribute((X_test, *embeddings), n_steps=10, return_convergence_delta=True)
attr_dense = attributions[0]
attr_sparse = torch.stack(attributions[1:], dim=1)
all_features = torch.cat([attr_dense.sum(dim=0), attr_sparse.sum(dim=(0, 2))]).detach().cpu().numpy()

lc = LayerConductance(sequential_forward, dlrm.top_l)
interactions = lc.attribute(inputs=(X_test, *embeddings), n_steps=10, attribute_to_layer_input=True).sum(axis=0)
