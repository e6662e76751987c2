"""One of two processes with attribution priors, alone and in training; run by torchrun for the tests beside it."""

import pathlib
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from captum_xg._core.distributed import mean_over_processes
from captum_xg.errors import CaptumXGError
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, GraphSmoothness, TotalVariation

EQUAL = slice(0, 4), slice(4, 8)
UNEQUAL = slice(0, 3), slice(3, 8)
PRIORS = {"variation": TotalVariation, "gini": GiniSparsity}


ROWS = slice(0, 2), slice(2, 7)  # of attributions, unequal on purpose
EDGES = torch.tensor([[0, 1, 2], [1, 2, 5]])
ALONE = {
    "gini": GiniSparsity,
    "graph": lambda: GraphSmoothness(EDGES, of="mean_absolute"),
    "gini of own examples": lambda: GiniSparsity(across_processes=False),
}


def network(normed=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6) if normed else nn.Identity(),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(54, 8, bias=False),
            nn.ReLU(),
            nn.Linear(8, 4, bias=False),
        ).double()


def batch():
    x = torch.rand(8, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, torch.arange(8) % 4


def options_of(attribution, start=0):
    """Options that draw for example i what one process with all examples draws for it."""
    if attribution != "expected_gradients":
        return {}
    generator = torch.Generator().manual_seed(7)
    torch.rand(start, generator=generator, dtype=torch.float64)
    return {"references": torch.full((1, 2, 6, 6), 0.1, dtype=torch.float64), "generator": generator}


ATTRIBUTIONS = ["xgradient", "input_x_gradient", "rrr", "expected_gradients", "integrated_gradients"]
WRAPPERS = {
    "plain": {},
    "unused": {"find_unused_parameters": True},
    "buckets": {"gradient_as_bucket_view": True},
}


# Every attribution with every wrapper, and every prior where nothing else is special.
WRAPPED = [
    (attribution, prior, wrapper)
    for attribution in ATTRIBUTIONS
    for prior in PRIORS
    for wrapper in WRAPPERS
    if wrapper == "plain" or prior == "gini"
]


class Step(nn.Module):
    """What is wrapped when the loss belongs to the module, as in Lightning."""

    def __init__(self):
        super().__init__()
        self.model = network()
        self.loss = AttributionPriorLoss(self.model, GiniSparsity())

    def forward(self, x, y):
        return self.loss(x, y).total


def gradients(model):
    found = [p.grad for p in model.parameters()]
    return [g.full_tensor() if hasattr(g, "full_tensor") else g.clone() for g in found]


def loss_of(model, attribution, prior, rank, **options):
    return AttributionPriorLoss(
        model, PRIORS[prior](), attribution=attribution, **options_of(attribution, EQUAL[rank].start), **options
    )


class Attributions(nn.Module):
    """Attributions of a model: input times gradient, with a graph."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(6, 4, generator=generator, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(4, 1, generator=generator, dtype=torch.float64))

    def forward(self, x):
        x = x.detach().requires_grad_()
        score = ((x @ self.first).tanh() @ self.second).sum()
        return x * torch.autograd.grad(score, x, create_graph=True)[0]


def features():
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def priors_alone(rank):
    """Values and gradients of priors whose batch is spread over the processes."""
    rows = features()[ROWS[rank]]
    for name, make in ALONE.items():
        model = DistributedDataParallel(Attributions())
        value = make()(model(rows))
        value.backward()
        yield ("alone", name), (value.detach(), gradients(model))
    groups = dist.new_group([0]), dist.new_group([1])
    yield "own group", GiniSparsity(process_group=groups[rank])(rows)
    # Σ over processes of losses c_p·M³ with M = Σs/Σn: first and second derivative, by hand in the test
    part = torch.tensor([1.0, 2.0][rank], dtype=torch.float64, requires_grad=True)
    mean = mean_over_processes(part, [1, 3][rank])
    (first,) = torch.autograd.grad([1.0, 10.0][rank] * mean**3, part, create_graph=True)
    (second,) = torch.autograd.grad(first, part)
    yield "derivatives", (mean.detach(), first.detach(), second)


def data_parallel(rank):
    x, y = (t[EQUAL[rank]] for t in batch())
    for attribution, prior, wrapper in WRAPPED:
        model = DistributedDataParallel(network(), **WRAPPERS[wrapper])
        loss = loss_of(model, attribution, prior, rank)
        loss(x, y).total.backward()
        yield (attribution, prior, wrapper), gradients(model)

    model = DistributedDataParallel(network())
    loss = AttributionPriorLoss(model, GiniSparsity(), layer="2")
    fired = []
    for name, p in model.named_parameters():
        p.register_post_accumulate_grad_hook(lambda _, name=name: fired.append(name))
    for _ in range(2):
        model.zero_grad()
        loss(x, y).total.backward()
    yield "layer", gradients(model)
    yield "hooks", sorted(fired)
    yield "proofs with a layer", loss._attribution.n_proofs

    model = DistributedDataParallel(network())
    loss = AttributionPriorLoss(model, TotalVariation())
    for _ in range(3):
        model.zero_grad()
        loss(x, y).total.backward()
        loss.eval()(x, y)
        loss.train()
    yield "three steps", gradients(model)
    yield "proofs", loss._attribution.n_proofs

    model.zero_grad()
    with model.no_sync():
        (loss(x[:2], y[:2]).total / 2).backward()
        yield "not yet synchronised", gradients(model)
    (loss(x[2:], y[2:]).total / 2).backward()
    yield "accumulated", gradients(model)

    for prior, make in PRIORS.items():
        model = DistributedDataParallel(network())
        AttributionPriorLoss(model, make())(*(t[UNEQUAL[rank]] for t in batch())).total.backward()
        yield ("unequal", prior), gradients(model)

    model = DistributedDataParallel(network())
    AttributionPriorLoss(model.module, TotalVariation())(x, y).total.backward()
    yield "module without its wrapper", gradients(model)

    model = DistributedDataParallel(network(normed=True))
    AttributionPriorLoss(model, TotalVariation(), attribution="integrated_gradients")(x, y).total.backward()
    yield "batch norm", gradients(model)

    for wrapper, arguments in {**WRAPPERS, "static": {"static_graph": True}}.items():
        model = DistributedDataParallel(Step(), **arguments)
        for _ in range(2):
            model.zero_grad()
            model(x, y).backward()
        yield ("loss inside", wrapper), gradients(model)

    model = DistributedDataParallel(network(), static_graph=True)
    yield "static graph", refusal(lambda: AttributionPriorLoss(model, TotalVariation(), attribution="rrr")(x, y))


def sharded(rank):
    try:
        from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

        x, y = (t[EQUAL[rank]] for t in batch())
        mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("both", "alone"))
        plain = fully_shard(network(), mesh=mesh["both"])
        plain(x).sum().backward()
    except (ImportError, AttributeError, NotImplementedError, RuntimeError) as error:
        yield "fsdp is not supported", repr(error)  # FSDP2 alone, without anything of ours
        return
    for group in ("both", "alone"):
        for reshard in (True, False):
            for nested in (True, False):
                for attribution in ("xgradient", "rrr", "expected_gradients"):
                    model = network()
                    arguments = {"mesh": mesh[group], "reshard_after_forward": reshard}
                    for layer in (model[0], model[5], model[7]) if nested else ():
                        fully_shard(layer, **arguments)
                    fully_shard(model, **arguments)
                    options = {"validate": "off"} if attribution == "xgradient" else {}
                    found = []
                    for weight in (1.0, 0.0, 1.0):
                        model.zero_grad()
                        loss = loss_of(model, attribution, "variation", rank, weight=weight, **options)
                        loss(x, y).total.backward()
                        found.append(gradients(model))
                    yield ("fsdp", group, reshard, nested, attribution), found
    older = FullyShardedDataParallel(network(), device_id=torch.device("cpu"))
    yield "older fsdp", refusal(lambda: AttributionPriorLoss(older, TotalVariation(), attribution="rrr")(x, y))
    yield "fsdp with a proof", refusal(lambda: AttributionPriorLoss(model, TotalVariation())(x, y))


def refusal(call):
    try:
        call()
    except CaptumXGError as error:
        return f"{type(error).__name__}: {error}"
    return "none"


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        own = dist.get_rank()
        results = {**dict(priors_alone(own)), **dict(data_parallel(own)), **dict(sharded(own))}
        torch.save(results, pathlib.Path(sys.argv[1]) / f"{own}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
