"""Two processes under torchrun, with a prior alone or in training, get what one process with the whole batch gets."""

import pathlib

import pytest
import torch
from distributed_worker import (
    ALONE,
    EQUAL,
    PRIORS,
    ROWS,
    UNEQUAL,
    WRAPPED,
    WRAPPERS,
    Attributions,
    batch,
    features,
    network,
    options_of,
)
from torch.nn import functional as F
from two_processes import results_of

from captum_xg._core.distributed import mean_over_processes
from captum_xg.priors import AttributionPriorLoss, GiniSparsity, TotalVariation

CLOSE = {"rtol": 1e-11, "atol": 1e-14}
SHARDED = [
    (group, reshard, nested, attribution)
    for group in ("both", "alone")
    for reshard in (True, False)
    for nested in (True, False)
    for attribution in ("xgradient", "rrr", "expected_gradients")
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return results_of(pathlib.Path(__file__).parent / "distributed_worker.py", folder)


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def one_process(attribution="xgradient", prior="variation", rows=slice(None), start=0, **options):
    """Gradients of one process that has these rows, before anything is averaged."""
    model = network()
    x, y = (t[rows] for t in batch())
    loss = AttributionPriorLoss(
        model, PRIORS[prior](), attribution=attribution, **options_of(attribution, start), **options
    )
    loss(x, y).total.backward()
    return [p.grad for p in model.parameters()]


def mean(parts):
    return [sum(each) / len(parts) for each in zip(*parts, strict=True)]


@pytest.mark.parametrize(("attribution", "prior", "wrapper"), WRAPPED)
def test_gradients_are_those_of_one_process_with_the_whole_batch(results, attribution, prior, wrapper):
    expected = one_process(attribution, prior)
    for own in results:
        assert_same(own[attribution, prior, wrapper], expected)


def test_at_a_layer_too_and_every_parameter_hook_fires_once_a_step(results):
    for own in results:
        assert_same(own["layer"], one_process(prior="gini", layer="2"))
        assert own["hooks"] == sorted(f"module.{name}" for name, _ in network().named_parameters() for _ in range(2))


def test_a_proof_holds_for_all_steps_and_evaluations_in_between_change_nothing(results):
    for own in results:
        assert_same(own["three steps"], one_process())
        assert own["proofs"] == own["proofs with a layer"] == 1


def test_accumulation_without_synchronising_and_then_with_it_is_one_step_with_everything(results):
    for rank, own in enumerate(results):
        first = one_process(rows=slice(EQUAL[rank].start, EQUAL[rank].start + 2))
        assert_same(own["not yet synchronised"], [g / 2 for g in first])
        assert_same(own["accumulated"], one_process())


def test_with_unequal_parts_each_process_counts_the_same_for_means_over_its_own_examples(results):
    expected = mean([one_process(rows=rows) for rows in UNEQUAL])
    for own in results:
        assert_same(own["unequal", "variation"], expected)
    assert not torch.allclose(expected[0], one_process()[0], rtol=1e-3)


def test_with_unequal_parts_a_prior_of_the_batch_mean_is_still_that_of_the_whole_batch(results):
    def task(rows):
        model, (x, y) = network(), batch()
        return torch.autograd.grad(F.cross_entropy(model(x[rows]), y[rows]), list(model.parameters()))

    model = network()
    loss = AttributionPriorLoss(model, GiniSparsity())
    prior = torch.autograd.grad(loss(*batch()).prior, list(model.parameters()))
    expected = [a + b for a, b in zip(mean([task(rows) for rows in UNEQUAL]), prior, strict=True)]
    for own in results:
        assert_same(own["unequal", "gini"], expected)


def test_the_module_without_its_wrapper_leaves_each_process_with_its_own_gradients(results):
    for rank, own in enumerate(results):
        assert_same(own["module without its wrapper"], one_process(rows=EQUAL[rank]))


def test_batch_norms_normalise_each_part_by_itself_and_gradients_are_the_mean(results):
    def own_part(rows):
        model, (x, y) = network(normed=True), batch()
        loss = AttributionPriorLoss(model, TotalVariation(), attribution="integrated_gradients")
        return torch.autograd.grad(loss(x[rows], y[rows]).total, list(model.parameters()))

    for own in results:
        assert_same(own["batch norm"], mean([own_part(rows) for rows in EQUAL]))


def test_a_static_graph_is_refused_as_processes_would_keep_their_own_gradients(results):
    for own in results:
        assert own["static graph"].startswith("OptionError: AttributionPriorLoss: ")
        assert "static_graph" in own["static graph"]


def test_wrappers_that_free_parameters_before_the_step_is_over_are_refused(results):
    for own in results:
        if reason := own.get("fsdp is not supported"):
            pytest.skip(f"fully_shard alone fails: {reason}")
        assert own["older fsdp"].startswith("OptionError: AttributionPriorLoss: ")
        assert "fully_shard" in own["older fsdp"]


@pytest.mark.parametrize("wrapper", [*WRAPPERS, "static"])
def test_the_whole_step_may_be_wrapped_instead_of_the_model(results, wrapper):
    for own in results:
        assert_same(own["loss inside", wrapper], one_process(prior="gini"))


@pytest.mark.parametrize("case", SHARDED, ids=str)
def test_sharded_parameters_get_the_gradients_of_one_process(results, case):
    for rank, own in enumerate(results):
        if reason := own.get("fsdp is not supported"):
            pytest.skip(f"fully_shard alone fails: {reason}")
        rows = slice(None) if case[0] == "both" else EQUAL[rank]
        attribution, start = case[-1], rows.start or 0
        expected = [one_process(attribution, rows=rows, start=start, weight=weight) for weight in (1.0, 0.0, 1.0)]
        for step, found in enumerate(own[("fsdp", *case)]):
            assert_same(found, expected[step])


def test_nothing_is_proven_of_sharded_parameters(results):
    for own in results:
        if reason := own.get("fsdp is not supported"):
            pytest.skip(f"fully_shard alone fails: {reason}")
        assert own["fsdp with a proof"].startswith("OptionError: AttributionPriorLoss: ")
        assert "before fully_shard" in own["fsdp with a proof"].lower()
        assert "validate='off'" in own["fsdp with a proof"]


@pytest.mark.parametrize("name", ["gini", "graph"])
def test_value_and_averaged_gradients_are_those_of_one_process_with_the_whole_batch(results, name):
    model = Attributions()
    value = ALONE[name]()(model(features()))
    value.backward()
    for result in results:
        torch.testing.assert_close(result["alone", name], (value.detach(), [p.grad for p in model.parameters()]))


def test_without_across_processes_each_takes_the_mean_of_its_own_examples(results):
    model = Attributions()
    for rank, result in enumerate(results):
        value = GiniSparsity()(model(features()[ROWS[rank]]))
        torch.testing.assert_close(result["alone", "gini of own examples"][0], value.detach())


def test_a_group_of_one_process_takes_the_mean_of_its_own_examples(results):
    for rank, result in enumerate(results):
        torch.testing.assert_close(result["own group"], GiniSparsity()(features()[ROWS[rank]]))


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
