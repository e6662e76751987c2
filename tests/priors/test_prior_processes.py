"""Two processes with parts of a batch get the value and the gradients of one process with all of it."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from captum_xg._core.distributed import mean_over_processes
from captum_xg.priors import GiniSparsity, GraphSmoothness

PARTS = (slice(0, 2), slice(2, 7))  # unequal on purpose
EDGES = torch.tensor([[0, 1, 2], [1, 2, 5]])
PRIORS = {
    "gini": GiniSparsity,
    "graph": lambda: GraphSmoothness(EDGES, of="mean_absolute"),
    "gini of own examples": lambda: GiniSparsity(across_processes=False),
}


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


def _batch():
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _run(rank, port, folder):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        results = {}
        for name, make in PRIORS.items():
            model = DistributedDataParallel(Attributions())
            value = make()(model(_batch()[PARTS[rank]]))
            value.backward()
            results[name] = (value.detach(), [p.grad for p in model.parameters()])
        alone = dist.new_group([0]), dist.new_group([1])
        results["own group"] = GiniSparsity(process_group=alone[rank])(_batch()[PARTS[rank]])
        # Σ over processes of losses c_p·M³ with M = Σs/Σn: first and second derivative, by hand below
        part = torch.tensor([1.0, 2.0][rank], dtype=torch.float64, requires_grad=True)
        mean = mean_over_processes(part, [1, 3][rank])
        (first,) = torch.autograd.grad([1.0, 10.0][rank] * mean**3, part, create_graph=True)
        (second,) = torch.autograd.grad(first, part)
        results["derivatives"] = (mean.detach(), first.detach(), second)
        torch.save(results, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_run, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", ["gini", "graph"])
def test_value_and_averaged_gradients_are_those_of_one_process_with_the_whole_batch(results, name):
    model = Attributions()
    value = PRIORS[name]()(model(_batch()))
    value.backward()
    for result in results:
        torch.testing.assert_close(result[name], (value.detach(), [p.grad for p in model.parameters()]))


def test_without_across_processes_each_takes_the_mean_of_its_own_examples(results):
    model = Attributions()
    for rank, result in enumerate(results):
        value = GiniSparsity()(model(_batch()[PARTS[rank]]))
        torch.testing.assert_close(result["gini of own examples"][0], value.detach())


def test_a_group_of_one_process_takes_the_mean_of_its_own_examples(results):
    for rank, result in enumerate(results):
        torch.testing.assert_close(result["own group"], GiniSparsity()(_batch()[PARTS[rank]]))


def test_each_sum_gets_the_derivatives_of_all_losses_also_the_second_ones(results):
    mean, slope = 3 / 4, 1 / 4
    first = (1 + 10) * 3 * mean**2 * slope
    # The first derivatives of both processes are differentiated, each Σ_q c_q·6M/16.
    second = 2 * (1 + 10) * 6 * mean * slope**2
    for result in results:
        expected = [torch.tensor(v, dtype=torch.float64) for v in (mean, first, second)]
        torch.testing.assert_close(list(result["derivatives"]), expected)


def test_one_process_needs_no_torch_distributed():
    total = torch.tensor([2.0, 4.0], requires_grad=True)
    mean = mean_over_processes(total, 4)
    assert torch.equal(mean, torch.tensor([0.5, 1.0]))
    assert torch.equal(torch.autograd.grad(mean.sum(), total)[0], torch.full((2,), 0.25))
