"""A small model, its batch, and the loss with a prior written out, which imports nothing of ours."""

import torch
from torch import nn
from torch.nn import functional as F

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
ATTRIBUTIONS = ["xgradient", "input_x_gradient", "gradient", "rrr", "expected_gradients", "integrated_gradients"]
CLOSE = {"rtol": 1e-11, "atol": 1e-13}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network():
    """An X-DNN for images (N, 2, 6, 6) and 4 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(54, 8, bias=False),
            nn.ReLU(),
            nn.Linear(8, 4, bias=False),
        ).double()


def batch(n=8):
    return torch.rand(n, 2, 6, 6, generator=seeded(), dtype=torch.float64), torch.arange(n) % 4


def variation(a):
    """Total variation, one difference at a time."""
    across = sum((a[..., i + 1] - a[..., i]).abs().sum() for i in range(a.shape[-1] - 1))
    down = sum((a[..., i + 1, :] - a[..., i, :]).abs().sum() for i in range(a.shape[-2] - 1))
    return (across + down) / len(a)


def by_hand(model, x, y, prior=variation, weight=1.0):
    """Cross entropy plus the prior of x·∇F, with a forward pass of its own for each."""
    own = x if x.requires_grad else x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(own).gather(1, y[:, None]).sum(), own, create_graph=True)
    return F.cross_entropy(model(x), y) + weight * prior(own * gradient)


def gradients(parameters):
    return [p.grad.detach().clone() for p in parameters if p.requires_grad]


def hand_gradients(model, parameters, x, y, **options):
    kept = [p for p in parameters if p.requires_grad]
    return torch.autograd.grad(by_hand(model, x, y, **options), kept)


def assert_same(found, expected, **tolerance):
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **(tolerance or CLOSE))


def direction(a, b):
    return float(F.cosine_similarity(*(torch.cat([t.double().flatten() for t in each]) for each in (a, b)), 0))


def options_of(attribution, x):
    references = {"references": torch.zeros_like(x[:1]), "generator": seeded()}
    return {"expected_gradients": references}.get(attribution, {})


def attributions_of(model, x, y):
    own = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(own).float().gather(1, y[:, None]).sum(), own)
    return x * gradient


LOOPS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.AdamW(p, lr=0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


def train(model, make_total, optimizer, steps, *, clip=None, set_to_none=True, closure=False):
    def evaluate():
        optimizer.zero_grad(set_to_none=set_to_none)
        total = make_total()
        total.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        return total

    for _ in range(steps):
        if closure:
            optimizer.step(evaluate)
        else:
            evaluate()
            optimizer.step()
    return [p.detach() for p in model.parameters()]
