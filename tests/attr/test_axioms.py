"""The axioms of Sundararajan et al. 2017 and Hesse et al. 2021 (Table 1), in float64, on random networks and inputs."""

from itertools import pairwise
from queue import SimpleQueue

import numpy as np
import pytest
import references
import torch
from captum.attr import InputXGradient, IntegratedGradients
from cases import (
    POWERS,
    VIOLATIONS,
    X_DNNS,
    Branches,
    Elementwise,
    homogeneous,
    mlp,
    problems,
    random_mlps,
    seeds,
    x_dnns,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerance import assert_close, per_example
from torch import nn
from torch.nn import functional as F

from captum_xg import XGradient
from captum_xg.errors import DegreeError, HomogeneityError

# Captum multiplies by step sizes in float32, which is off by 7e-10 at its 50 steps.
CAPTUM_RTOL = 1e-8
EXACT_RTOL = 1e-10
ROUNDING = 1e-12

coefficients = st.floats(-4, 4, allow_nan=False).filter(lambda c: c == 0 or abs(c) > 1e-3)


def x_gradient(forward, x, target=None, degree=1, **options):
    return XGradient(forward, degree=degree, **options).attribute(x, target=target)


def size_of_terms(*terms):
    """The largest number of each example in any of the terms of a sum: what rounding in the sum is relative to."""
    return torch.stack([per_example(term).abs().amax(1) for term in terms]).amax(0)


def random_mlp(seed, *widths):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(b, a, generator=generator, dtype=torch.float64) for a, b in pairwise(widths)]


def apply_mlp(weights, activation=F.relu):
    def forward(x):
        for weight in weights[:-1]:
            x = activation(F.linear(x, weight))
        return F.linear(x, weights[-1])

    return forward


# --- completeness ----------------------------------------------------------------------------------------------------


@given(homogeneous())
def test_attributions_sum_to_the_output(problem):
    attributions = x_gradient(problem.model, problem.inputs, problem.target, problem.case.degree)
    size = torch.maximum(per_example(attributions).abs().amax(1), problem.values.abs())
    assert_close(per_example(attributions).sum(1, keepdim=True), problem.values[:, None], EXACT_RTOL, size)


@given(homogeneous())
def test_convergence_delta_is_the_sum_of_attributions_minus_the_output(problem):
    method = XGradient(problem.model, degree=problem.case.degree)
    attributions, delta = method.attribute(problem.inputs, target=problem.target, return_convergence_delta=True)
    assert delta.shape == (problem.examples,)
    size = torch.maximum(per_example(attributions).abs().amax(1), problem.values.abs())
    assert_close(delta[:, None], torch.zeros(problem.examples, 1), EXACT_RTOL, size)
    by_hand = per_example(attributions).sum(1) - problem.values
    assert_close(delta[:, None], by_hand[:, None], ROUNDING, size)


def test_convergence_delta_shows_what_is_missing_where_completeness_fails():
    """F(x) = ReLU(x − 1) at 3: x·∇F = 3, F(3) − F(0) = 2."""
    method = XGradient(lambda x: F.relu(x - 1)[:, 0], validate="off")
    _, delta = method.attribute(torch.tensor([[3.0]]), return_convergence_delta=True)
    assert delta.tolist() == [1.0]


@given(seeds, st.integers(1, 3))
def test_attributions_of_several_inputs_sum_to_the_output_together(seed, n):
    first, second = random_mlp(seed, 4, 6, 2), random_mlp(seed + 1, 3, 5, 2)

    def forward(x, y):
        return torch.maximum(apply_mlp(first)(x), apply_mlp(second)(y)) + apply_mlp(second)(y)

    generator = torch.Generator().manual_seed(seed)
    inputs = tuple(torch.randn(n, d, generator=generator, dtype=torch.float64) for d in (4, 3))
    attributions = x_gradient(forward, inputs, 0)
    total = per_example(attributions).sum(1, keepdim=True)
    assert_close(total, forward(*inputs)[:, :1], EXACT_RTOL, size_of_terms(attributions))


# --- sensitivity -----------------------------------------------------------------------------------------------------


@given(x_dnns(), st.data())
def test_sensitivity_a_a_lone_feature_that_changes_the_output_gets_the_whole_output(problem, data):
    features = problem.inputs[0].numel()
    feature = data.draw(st.integers(0, features - 1))
    x = torch.zeros(1, features, dtype=torch.float64)
    x[0, feature] = problem.inputs.flatten()[feature]
    x = x.reshape(1, *problem.case.shape)
    with torch.no_grad():
        value = problem.model(x.clone())[0, problem.target]
    assume(value != 0)
    attribution = x_gradient(problem.model, x, problem.target).flatten()
    assert attribution[feature] != 0
    assert attribution[feature].item() == pytest.approx(value.item(), rel=EXACT_RTOL)
    assert attribution[torch.arange(features) != feature].count_nonzero() == 0


@given(seeds, st.integers(0, 5), st.sampled_from(("zero weights", "cancelling terms", "masked out")))
def test_sensitivity_b_a_feature_without_influence_gets_zero(seed, feature, how):
    weights = random_mlp(seed, 6, 7, 2)
    weights[0][:, feature] = 0
    net = apply_mlp(weights)
    forward = {
        "zero weights": net,
        "cancelling terms": lambda x: net(x) + F.relu(x[:, feature, None]) - F.relu(x[:, feature, None]),
        "masked out": lambda x: net(torch.where(torch.arange(6) == feature, 0.0, x)),
    }[how]
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    attributions = x_gradient(forward, x, 1)
    assert attributions[:, feature].count_nonzero() == 0
    assert_close(attributions, x_gradient(net, x, 1), ROUNDING)


@given(homogeneous())
def test_a_feature_that_equals_its_baseline_gets_zero(problem):
    x = problem.inputs.clone()
    x.flatten(1)[:, ::2] = 0
    assume(x.flatten(1).any(1).all())
    with torch.no_grad():
        assume(bool((problem.model(x.clone()) != 0).all()))  # a root has no gradient at zero
    attributions = x_gradient(problem.model, x, problem.target, problem.case.degree)
    assert attributions.flatten(1)[:, ::2].count_nonzero() == 0


# --- implementation invariance ---------------------------------------------------------------------------------------


def permuted_units(weights, generator):
    order = torch.randperm(len(weights[0]), generator=generator)
    return apply_mlp([weights[0][order], weights[1][:, order], *weights[2:]])


def rescaled_layers(weights, generator):
    scales = torch.exp(3 * torch.randn(len(weights[0]), generator=generator, dtype=torch.float64))
    return apply_mlp([weights[0] * scales[:, None], weights[1] / scales, *weights[2:]])


def split_neuron(weights, generator):
    share = torch.rand((), generator=generator, dtype=torch.float64)
    first = torch.cat([weights[0], weights[0][:1]])
    second = torch.cat([weights[1], share * weights[1][:, :1]], dim=1)
    second[:, 0] = (1 - share) * weights[1][:, 0]
    return apply_mlp([first, second, *weights[2:]])


def factorised_last_layer(weights, generator):
    rows = len(weights[-1])
    basis = torch.linalg.qr(torch.randn(rows, rows, generator=generator, dtype=torch.float64)).Q
    hidden = apply_mlp([*weights[:-1], basis.T @ weights[-1]])
    return lambda x: F.linear(hidden(x), basis)


def factorised_first_layer(weights, generator):
    columns = weights[0].shape[1]
    basis = torch.linalg.qr(torch.randn(columns, columns, generator=generator, dtype=torch.float64)).Q
    rest = apply_mlp([weights[0] @ basis, *weights[1:]])
    return lambda x: rest(F.linear(x, basis.T))


def with_idle_units(weights, generator):
    idle = torch.randn(2, weights[0].shape[1], generator=generator, dtype=torch.float64)
    unread = torch.zeros(len(weights[1]), 2, dtype=torch.float64)
    return apply_mlp([torch.cat([weights[0], idle]), torch.cat([weights[1], unread], dim=1), *weights[2:]])


def other_spelling_of_relu(weights, generator):
    return apply_mlp(weights, activation=lambda z: (z + z.abs()) / 2)


def as_modules(weights, generator):
    network = mlp(*(w.shape[1] for w in weights), len(weights[-1])).double()
    for layer, weight in zip([m for m in network if isinstance(m, nn.Linear)], weights, strict=True):
        layer.weight.data = weight
    return network


REWRITES = (
    permuted_units,
    rescaled_layers,
    split_neuron,
    factorised_last_layer,
    factorised_first_layer,
    with_idle_units,
    other_spelling_of_relu,
    as_modules,
)


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda f: f.__name__)
@given(seeds, st.integers(1, 3))
def test_networks_that_compute_the_same_function_have_the_same_attributions(rewrite, seed, n):
    weights = random_mlp(seed, 5, 8, 6, 3)
    generator = torch.Generator().manual_seed(seed + 1)
    other = rewrite(weights, generator)
    x = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    assert_close(x_gradient(other, x, 2), x_gradient(apply_mlp(weights), x, 2), EXACT_RTOL)


@given(seeds)
def test_a_convolution_and_the_matrix_that_it_is_have_the_same_attributions(seed):
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    head = torch.randn(1, 12, generator=generator, dtype=torch.float64)
    matrix = torch.stack([F.conv1d(e.reshape(1, 1, 8), kernel).flatten() for e in torch.eye(8).double()], dim=1)
    x = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    convolved = x_gradient(lambda x: F.linear(F.relu(F.conv1d(x[:, None], kernel)).flatten(1), head), x)
    assert_close(convolved, x_gradient(apply_mlp([matrix, head]), x), EXACT_RTOL)


@given(seeds)
def test_three_spellings_of_a_square_have_the_same_attributions(seed):
    net = apply_mlp(random_mlp(seed, 5, 8, 1))
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = x_gradient(lambda x: net(x) * net(x), x, degree=2)
    for other in (lambda x: net(x).square(), lambda x: net(x).abs() ** 2):
        assert_close(x_gradient(other, x, degree=2), expected, EXACT_RTOL)


# --- linearity -------------------------------------------------------------------------------------------------------


@given(st.sampled_from((1, 1.5, 2, 3)), seeds, seeds, coefficients, coefficients, st.data())
def test_attributions_of_a_weighted_sum_are_the_weighted_sum_of_attributions(degree, seed, other_seed, a, b, data):
    kinds = [case for case in (*POWERS, *X_DNNS) if case.degree == degree and case.shape == (6,)]
    one, two = (data.draw(st.sampled_from(kinds)) for _ in range(2))
    assume(one is not two or seed != other_seed)
    first, second = one.model(seed), two.model(other_seed)
    x = one.inputs(seed)
    a_first, a_second = x_gradient(first, x, 0, degree), x_gradient(second, x, 0, degree)
    attributions = x_gradient(lambda x: a * first(x.clone()) + b * second(x.clone()), x, 0, degree)
    assert_close(attributions, a * a_first + b * a_second, EXACT_RTOL, size_of_terms(a * a_first, b * a_second))


# --- symmetry --------------------------------------------------------------------------------------------------------


@given(problems(random_mlps(deepest=3)), st.data())
def test_symmetric_features_of_equal_value_get_equal_attributions(problem, data):
    """F(x) = G(x) + G(x with i and j exchanged) is symmetric in i and j."""
    features = problem.case.shape[0]
    assume(features >= 2)
    i, j = data.draw(st.permutations(range(features)))[:2]
    order = torch.arange(features)
    order[i], order[j] = j, i
    x = problem.inputs.clone()
    x[:, j] = x[:, i]
    attributions = x_gradient(lambda x: problem.model(x) + problem.model(x[:, order]), x, problem.target)
    assert_close(attributions[:, [i]], attributions[:, [j]], ROUNDING, per_example(attributions).abs().amax(1))


# --- nonnegative homogeneity -----------------------------------------------------------------------------------------


@given(homogeneous(), st.floats(1e-6, 1e6))
def test_attributions_of_a_scaled_input_are_scaled_to_the_degree(problem, alpha):
    k = problem.case.degree
    attributions = x_gradient(problem.model, problem.inputs, problem.target, k)
    scaled = x_gradient(problem.model, alpha * problem.inputs, problem.target, k)
    assert_close(scaled, alpha**k * attributions, EXACT_RTOL)


@given(problems([case for case in (*X_DNNS, *POWERS) if case.degree in (1, 3) and "norm" not in case.name]))
def test_attributions_of_zero_are_zero(problem):
    x = torch.zeros_like(problem.inputs)
    assert x_gradient(problem.model, x, problem.target, problem.case.degree).count_nonzero() == 0


@given(x_dnns())
def test_an_all_zero_example_leaves_the_others_as_they_are(problem):
    assume("norm" not in problem.case.name)
    x = torch.cat([problem.inputs, torch.zeros_like(problem.inputs[:1])])
    attributions = x_gradient(problem.model, x, problem.target)
    assert attributions[-1].count_nonzero() == 0
    assert_close(attributions[:-1], x_gradient(problem.model, problem.inputs, problem.target), ROUNDING)


# --- Integrated Gradients --------------------------------------------------------------------------------------------


@given(problems(st.one_of(st.sampled_from(X_DNNS), random_mlps())), st.booleans())
def test_attributions_are_captums_integrated_gradients(problem, multiply_by_inputs):
    ours = XGradient(problem.model, multiply_by_inputs).attribute(problem.inputs, target=problem.target)
    # A copy: Captum's points on the path are leaves, which an in-place first layer cannot take.
    captums = IntegratedGradients(lambda x: problem.model(x.clone()), multiply_by_inputs)
    expected = captums.attribute(problem.inputs, target=problem.target)
    assert_close(ours, expected, CAPTUM_RTOL)


@given(problems(POWERS), st.booleans())
def test_attributions_of_higher_degree_are_captums_integrated_gradients(problem, multiply_by_inputs):
    assume(problem.case.degree != 1.5)  # Gauss–Legendre converges slowly on √α
    ours = XGradient(problem.model, multiply_by_inputs, degree=problem.case.degree)
    expected = IntegratedGradients(problem.model, multiply_by_inputs).attribute(problem.inputs, target=problem.target)
    assert_close(ours.attribute(problem.inputs, target=problem.target), expected, CAPTUM_RTOL)


@pytest.mark.parametrize("case", [*POWERS, *X_DNNS], ids=str)
@pytest.mark.parametrize("multiply_by_inputs", [True, False], ids=["global", "local"])
def test_attributions_are_the_exact_path_integral(case, multiply_by_inputs):
    """A(x) = x·∫₀¹ ∇F(αx) dα, and without the factor x where ``multiply_by_inputs`` is off."""
    reference = references.integrated_gradients if multiply_by_inputs else references.mean_gradients
    for seed in range(3):
        model, x = case.model(seed), case.inputs(seed)
        ours = XGradient(model, multiply_by_inputs, degree=case.degree).attribute(x, target=seed)
        assert_close(ours, reference(model, (x,), seed)[0], EXACT_RTOL)


@pytest.mark.parametrize(("validate", "passes"), [("off", 1), ("numeric", 3), ("certificate", 1), ("auto", 1)])
@pytest.mark.parametrize("call", [{}, {"n_steps": 200}, {"create_graph": True}], ids=str)
def test_the_integral_takes_one_pass_and_its_numeric_validation_two_more(validate, passes, call):
    case = X_DNNS[1]
    # A queue, and no list, which a proof takes for state that F may read.
    model, shapes = case.model(), SimpleQueue()
    model.register_forward_hook(lambda module, args, output: shapes.put(args[0].shape))
    method = XGradient(model, validate=validate)
    method.attribute(case.inputs(), target=0, **call)
    first = [shapes.get() for _ in range(shapes.qsize())]
    # Value and gradient of halves of the batch with the other half replaced, and values of ⌈log₂ 3⌉ further halves, as
    # each two rows have to be parted; and F is proven.
    assert len(first) <= {"off": 1, "numeric": 3 + 1 + 2}.get(validate, 13)
    # The second call looks at an example at another scale; then one call in 64/3 does.
    for asked in ([(1, *case.shape)] if validate in ("certificate", "auto") else [], []):
        method.attribute(case.inputs(seed=1), target=0, **call)
        assert [shapes.get() for _ in range(shapes.qsize())] == [(3, *case.shape)] * passes + asked


@given(homogeneous())
def test_attributions_are_input_times_gradient_over_the_degree(problem):
    attributions = x_gradient(problem.model, problem.inputs, problem.target, problem.case.degree)
    (expected,) = references.input_x_gradient(problem.model, (problem.inputs,), problem.target)
    assert_close(attributions, expected / problem.case.degree, EXACT_RTOL)


@given(homogeneous())
def test_global_attributions_are_the_inputs_times_local_ones(problem):
    k = problem.case.degree
    local = x_gradient(problem.model, problem.inputs, problem.target, k, multiply_by_inputs=False)
    assert_close(x_gradient(problem.model, problem.inputs, problem.target, k), problem.inputs * local, ROUNDING)


def test_attributions_of_several_inputs_are_the_exact_path_integral_of_their_joint_ray():
    weights = random_mlp(3, 5, 6, 2)
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(3, d, generator=generator, dtype=torch.float64) for d in (4, 5))

    def forward(x, y):
        return apply_mlp(weights)(y) * x.sum(1, keepdim=True).abs()

    attributions = XGradient(forward, degree=2).attribute(inputs, target=1)
    assert_close(attributions, references.integrated_gradients(forward, inputs, 1), EXACT_RTOL)


# --- the degree ------------------------------------------------------------------------------------------------------


@given(homogeneous())
def test_the_degree_is_found_when_asked_to(problem):
    assume(bool((problem.values != 0).all()))
    found = x_gradient(problem.model, problem.inputs, problem.target, "auto")
    assert_close(found, x_gradient(problem.model, problem.inputs, problem.target, problem.case.degree), ROUNDING)


@given(homogeneous(), st.sampled_from((1, 1.5, 2, 3)))
def test_a_wrong_degree_is_refused_and_the_right_one_named(problem, wrong):
    assume(wrong != problem.case.degree and bool((problem.values != 0).all()))
    with pytest.raises(HomogeneityError, match=rf"degree={problem.case.degree:g}\)"):
        x_gradient(problem.model, problem.inputs, problem.target, wrong)


def test_an_output_of_zero_along_the_whole_ray_does_not_hide_the_degree():
    """F(x, y) = x² − y² is 0 at α·(1, 1) for every α, and its attributions are (1, −1)."""

    def forward(x):
        return x[:, 0] ** 2 - x[:, 1] ** 2

    x = torch.ones(1, 2, dtype=torch.float64)
    assert x_gradient(forward, x, degree=2).tolist() == [[1.0, -1.0]]
    with pytest.raises(HomogeneityError):
        x_gradient(forward, x)
    with pytest.raises(DegreeError):
        x_gradient(forward, x, degree="auto", validate="numeric")
    assert x_gradient(forward, x, degree="auto").tolist() == [[1.0, -1.0]]  # the proof knows the degree
    beside_another = torch.cat([x, 2 * x * torch.tensor([1.0, 0.0])])
    assert x_gradient(forward, beside_another, degree="auto").tolist() == [[1.0, -1.0], [4.0, 0.0]]


# --- batches ---------------------------------------------------------------------------------------------------------


@given(homogeneous())
def test_an_example_alone_has_the_attributions_that_it_has_in_a_batch(problem):
    k = problem.case.degree
    together = x_gradient(problem.model, problem.inputs, problem.target, k)
    alone = [x_gradient(problem.model, x[None], problem.target, k) for x in problem.inputs]
    assert_close(torch.cat(alone), together, ROUNDING)


@given(homogeneous(), st.integers(1, 6))
def test_attributions_do_not_depend_on_the_internal_batch_size(problem, size):
    method = XGradient(problem.model, degree=problem.case.degree)
    targets = [(problem.target + i) % problem.case.outputs for i in range(problem.examples)]
    at_once, delta = method.attribute(problem.inputs, target=targets, return_convergence_delta=True)
    in_parts, delta_of_parts = method.attribute(
        problem.inputs, target=targets, internal_batch_size=size, return_convergence_delta=True
    )
    assert_close(in_parts, at_once, ROUNDING)
    assert delta.shape == delta_of_parts.shape
    assert_close(delta_of_parts[:, None], delta[:, None], EXACT_RTOL, size_of_terms(at_once))


# --- Table 1: what input×gradient does not satisfy where X-Gradient refuses ------------------------------------------


def saturating(x):
    """F(x) = 1 − ReLU(1 − x), the counterexample of Sundararajan et al. 2017 and of Appendix A."""
    return (1 - F.relu(1 - x))[:, 0]


def late(x):
    """F(x) = ReLU(x − 1)."""
    return F.relu(x - 1)[:, 0]


def input_x_gradient(forward, x, target=None):
    return InputXGradient(forward).attribute(x.clone().requires_grad_(), target=target).detach()


def test_input_x_gradient_violates_sensitivity_a_and_x_gradient_refuses():
    x = torch.tensor([[2.0]], dtype=torch.float64)
    assert saturating(x).item() - saturating(torch.zeros_like(x)).item() == 1
    assert input_x_gradient(saturating, x).item() == 0
    exact = IntegratedGradients(saturating).attribute(x, n_steps=2000)
    assert exact.item() == pytest.approx(1, abs=1e-3)
    with pytest.raises(HomogeneityError):
        x_gradient(saturating, x)


def test_input_x_gradient_violates_completeness_and_x_gradient_refuses():
    x = torch.tensor([[2.0]], dtype=torch.float64)
    assert late(x).item() - late(torch.zeros_like(x)).item() == 1
    assert input_x_gradient(late, x).item() == 2
    with pytest.raises(HomogeneityError):
        x_gradient(late, x)


def test_input_x_gradient_violates_nonnegative_homogeneity_and_x_gradient_refuses():
    x = torch.tensor([[2.0]], dtype=torch.float64)
    assert input_x_gradient(late, 0.25 * x).item() == 0
    assert input_x_gradient(late, x).item() != 0
    with pytest.raises(HomogeneityError):
        x_gradient(late, x)


@given(problems(random_mlps(bias=True)))
def test_input_x_gradient_lacks_what_the_biases_contribute_and_x_gradient_refuses(problem):
    """F(x) = Σ x·∂F/∂x + Σ b·∂F/∂b for piecewise linear networks, over all biases b."""
    model, x = problem.model, problem.inputs
    attributions = input_x_gradient(model, x, problem.target)
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    contributed = torch.stack(
        [
            sum((b * g).sum() for b, g in zip(biases, torch.autograd.grad(value, biases), strict=True))
            for value in [model(row[None])[0, problem.target] for row in x]
        ]
    ).detach()
    lacking = problem.values - per_example(attributions).sum(1)
    assert_close(lacking[:, None], contributed[:, None], EXACT_RTOL, size_of_terms(attributions, lacking[:, None]))
    with pytest.raises(HomogeneityError):
        x_gradient(model, x, problem.target)


def test_input_x_gradient_of_a_network_with_biases_is_incomplete():
    case = VIOLATIONS[0]
    model, x = case.model(), case.inputs()
    with torch.no_grad():
        change = (model(x) - model(torch.zeros_like(x)))[:, 0]
    assert bool(((per_example(input_x_gradient(model, x, 0)).sum(1) - change).abs() > 0.01 * change.abs()).all())


@given(seeds, coefficients, coefficients)
def test_input_x_gradient_is_linear_with_biases_as_well(seed, a, b):
    first, second = VIOLATIONS[0].model(seed), VIOLATIONS[0].model(seed + 1)
    x = VIOLATIONS[0].inputs(seed)
    one, two = input_x_gradient(first, x, 0), input_x_gradient(second, x, 0)
    both = input_x_gradient(lambda x: a * first(x) + b * second(x), x, 0)
    assert_close(both, a * one + b * two, EXACT_RTOL, size_of_terms(a * one, b * two))


@given(seeds)
def test_input_x_gradient_is_implementation_invariant_with_biases_as_well(seed):
    model, x = VIOLATIONS[0].model(seed), VIOLATIONS[0].inputs(seed)
    other = VIOLATIONS[0].model(seed)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    other[0].weight.data, other[0].bias.data = model[0].weight.data[order], model[0].bias.data[order]
    other[2].weight.data = model[2].weight.data[:, order]
    assert_close(input_x_gradient(other, x, 1), input_x_gradient(model, x, 1), EXACT_RTOL)


@given(seeds)
def test_input_x_gradient_is_symmetric_and_ignores_idle_features_with_biases_as_well(seed):
    model, x = VIOLATIONS[0].model(seed), VIOLATIONS[0].inputs(seed)
    model[0].weight.data[:, 1] = model[0].weight.data[:, 0]
    model[0].weight.data[:, 2] = 0
    x[:, 1] = x[:, 0]
    attributions = input_x_gradient(model, x, 0)
    assert_close(attributions[:, [0]], attributions[:, [1]], ROUNDING, per_example(attributions).abs().amax(1))
    assert attributions[:, 2].count_nonzero() == 0


@pytest.mark.parametrize("case", VIOLATIONS, ids=str)
def test_what_is_not_homogeneous_is_refused_and_the_layer_named(case):
    for seed in range(5):
        with pytest.raises(HomogeneityError, match=rf"\({case.culprit}\)") as refusal:
            x_gradient(case.model(seed), case.inputs(seed), seed % 3)
        assert not refusal.value.report.homogeneous
        assert case.culprit in [culprit.kind for culprit in refusal.value.report.culprits]


def test_a_bias_in_the_last_layer_alone_is_refused_although_input_x_gradient_is_complete_there():
    case = next(case for case in VIOLATIONS if case.name == "bias_in_the_last_layer")
    model, x = case.model(), case.inputs()
    with torch.no_grad():
        change = (model(x) - model(torch.zeros_like(x)))[:, :1]
    attributions = input_x_gradient(model, x, 0)
    assert_close(per_example(attributions).sum(1, keepdim=True), change, EXACT_RTOL, size_of_terms(attributions))
    with pytest.raises(HomogeneityError):
        x_gradient(model, x, 0)


# --- the references themselves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 1.25, 1.5, 2, 3, 5])
def test_the_reference_integral_of_a_power_is_exact(k):
    """F(x) = xᵏ: the integral of k·(αx)ᵏ⁻¹ over α is xᵏ⁻¹."""
    x = torch.tensor([[0.3], [2.0]], dtype=torch.float64)
    (attributions,) = references.integrated_gradients(lambda x: x[:, 0] ** k, (x,))
    np.testing.assert_allclose(attributions, x.numpy() ** k, rtol=1e-14)


@given(problems(random_mlps()))
def test_the_reference_agrees_with_captum(problem):
    (attributions,) = references.integrated_gradients(problem.model, (problem.inputs,), problem.target)
    captums = IntegratedGradients(problem.model).attribute(problem.inputs, target=problem.target)
    assert_close(attributions, captums, CAPTUM_RTOL)


def test_every_case_of_the_zoo_has_a_name_of_its_own():
    names = [case.name for case in (*X_DNNS, *POWERS, *VIOLATIONS)]
    assert len(names) == len(set(names))


def test_the_building_blocks_compute_what_they_say():
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    assert Branches(torch.add, Elementwise(torch.abs), nn.Identity())(x).tolist() == [[2.0, 0.0]]
