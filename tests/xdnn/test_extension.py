"""HomogeneousExtension: F̂(αx) = αᵏF̂(x) for whatever it wraps, the model itself on the sphere, zero at zero."""

import copy
import math
import pickle
from collections import namedtuple

import pytest
import references
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_close
from torch import nn

from captum_xg import HomogeneousExtension, XGradient, certify
from captum_xg.errors import CaptumXGError, ForwardOutputError, InputError, OptionError

DEGREES = (1, 1.5, 2, 3)
NORMS = (1, 2, 3, math.inf, "rms")
Pair = namedtuple("Pair", ["first", "second"])


class Curved(nn.Module):
    """Everything that breaks homogeneity, smooth, so that quadrature of it converges."""

    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(width, 6)
        self.norm = nn.LayerNorm(6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return torch.softmax(self.last(torch.sigmoid(self.norm(torch.tanh(self.first(x.flatten(1)))))), dim=1)


class Joined(nn.Module):
    """Any number of inputs, an argument and an option."""

    def __init__(self, n_inputs):
        super().__init__()
        self.n_inputs = n_inputs
        self.inner = Curved(4 * n_inputs)

    def forward(self, *arguments, shift=0.0):
        inputs, others = arguments[: self.n_inputs], arguments[self.n_inputs :]
        assert len(others) <= 1
        return self.inner(torch.cat([x.flatten(1) for x in inputs], 1)) + (others[0] if others else 0.0) + shift


def made(build, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(dtype).eval()


def normal(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def size_of(inputs, norm):
    """The norm of each example by its definition, one number at a time."""
    sizes = []
    for i in range(len(inputs[0])):
        numbers = [abs(float(v)) for x in inputs for v in x[i].flatten()]
        if norm == "rms":
            sizes.append(math.sqrt(sum(v * v for v in numbers) / len(numbers)))
        elif norm == math.inf:
            sizes.append(max(numbers))
        else:
            sizes.append(sum(v**norm for v in numbers) ** (1 / norm))
    return torch.tensor(sizes, dtype=torch.float64)


def rows(v, x):
    return v.reshape(-1, *[1] * (x.dim() - 1))


# --- the law ---------------------------------------------------------------------------------------------------------


@given(
    degree=st.sampled_from(DEGREES),
    norm=st.sampled_from(NORMS),
    radius=st.sampled_from((1.0, 0.5, 3.7, 300.0)),
    n_inputs=st.integers(1, 3),
    m=st.integers(-20, 20),
    dtype=st.sampled_from((torch.float32, torch.float64, torch.bfloat16)),
    seed=st.integers(0, 1000),
)
def test_scaling_the_inputs_by_powers_of_two_scales_the_output_bit_for_bit(
    degree, norm, radius, n_inputs, m, dtype, seed
):
    m = 2 * m if degree == 1.5 else m
    extension = made(
        lambda: HomogeneousExtension(Joined(n_inputs), degree, norm, radius=radius, n_inputs=n_inputs), seed, dtype
    )
    inputs = [normal(2, 4, seed=seed + i, dtype=dtype) for i in range(n_inputs)]
    with torch.no_grad():
        before, after = extension(*inputs), extension(*(2.0**m * x for x in inputs))
    assert before.dtype == after.dtype == dtype
    if norm in (1, 2, math.inf, "rms") and degree != 1.5:
        assert torch.equal(after, before * 2.0 ** (m * degree))
    else:  # roots and powers that are no whole numbers are rounded anew
        eps = torch.finfo(dtype).eps
        assert torch.allclose(
            after.double(),
            before.double() * 2.0 ** (m * degree),
            rtol=(64 if dtype == torch.float64 else 8) * eps,
            atol=0,
        )


@given(
    degree=st.sampled_from((0, *DEGREES)),
    norm=st.sampled_from(NORMS),
    radius=st.sampled_from((0.25, 1.0, 2.0, 0.1, 3.7, 431.9)),
    n_inputs=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_on_the_sphere_it_is_the_model_and_elsewhere_the_formula(degree, norm, radius, n_inputs, seed):
    model = made(lambda: Joined(n_inputs), seed)
    extension = HomogeneousExtension(model, degree, norm, radius=radius, n_inputs=n_inputs)
    inputs = [normal(3, 2, 2, seed=seed + i) for i in range(n_inputs)]
    sizes = size_of(inputs, norm)
    on_sphere = [radius * x / rows(sizes, x) for x in inputs]
    with torch.no_grad():
        assert_close(extension(*on_sphere), model(*on_sphere), 1e-13)
        expected = (sizes / radius)[:, None] ** degree * model(*on_sphere)
        assert_close(extension(*inputs), expected, 1e-13)


@pytest.mark.parametrize(
    ("scale", "radius"),
    [(2.0**m, radius) for m in (-100, 100) for radius in (2.0, 300.0, 1 / 300)] + [(2.0**-120, 2.0), (2.0**120, 2.0)],
)
@pytest.mark.parametrize("norm", NORMS)
def test_scales_at_the_ends_of_single_precision_give_the_same_rays(norm, scale, radius):
    extension = made(lambda: HomogeneousExtension(Curved(), 1, norm, radius=radius), dtype=torch.float32)
    x = normal(3, 4, dtype=torch.float32)
    with torch.no_grad():
        assert_close(extension(scale * x) / scale, extension(x), 1e-6)


@pytest.mark.parametrize("scale", [2.0**-500, 2.0**400])
@pytest.mark.parametrize("norm", [1, 2, math.inf, "rms"])
def test_scales_far_out_in_double_precision_give_the_same_rays(norm, scale):
    extension = made(lambda: HomogeneousExtension(Curved(), 1, norm))
    x = normal(3, 4)
    with torch.no_grad():
        assert_close(extension(scale * x) / scale, extension(x), 1e-13)


@given(st.sampled_from(DEGREES), st.sampled_from(NORMS), st.integers(0, 3), st.integers(0, 1000))
def test_examples_do_not_influence_each_other(degree, norm, zeros, seed):
    extension = made(lambda: HomogeneousExtension(Curved(), degree, norm, radius=1.5), seed)
    x = normal(4, 4, seed=seed) * torch.tensor([[1e-8], [1.0], [1e8], [3.0]])
    x[:zeros] = 0
    x.requires_grad_()
    together = extension(x)
    (gradient,) = torch.autograd.grad(together[:, 0].sum(), x)
    for i in range(4):
        alone = x.detach()[i : i + 1].requires_grad_()
        y = extension(alone)
        (g,) = torch.autograd.grad(y[:, 0].sum(), alone)
        assert_close(together[i : i + 1], y, 1e-13, size=y.detach().abs().amax(1) + 1e-300)
        assert_close(gradient[i : i + 1], g, 1e-12, size=g.abs().amax(1) + 1e-300)


# --- zero ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("degree", DEGREES)
def test_zero_gives_zero_with_finite_gradients_also_beside_others(degree, norm, dtype):
    extension = made(lambda: HomogeneousExtension(Curved(), degree, norm, radius=2.0), dtype=dtype)
    x = normal(3, 4, dtype=dtype)
    x[1] = 0
    x.requires_grad_()
    y = extension(x)
    assert not y[1].any()
    assert torch.isfinite(y).all()
    gradients = torch.autograd.grad(y.sum() + y[:, 0].sum(), [x, *extension.parameters()])
    assert all(torch.isfinite(g).all() for g in gradients)
    assert gradients[0][[0, 2]].any(dim=1).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("degree", DEGREES)
def test_a_gradient_of_a_gradient_at_zero_is_a_number(degree, norm):
    extension = made(lambda: HomogeneousExtension(Curved(), degree, norm, radius=2.0))
    x = normal(3, 4)
    x[1] = 0
    x.requires_grad_()
    (g,) = torch.autograd.grad(extension(x)[:, 0].sum(), x, create_graph=True)
    assert torch.isfinite(g).all()
    second = torch.autograd.grad((x * g).square().sum(), [x, *extension.parameters()])
    assert all(torch.isfinite(s).all() for s in second)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("degree", DEGREES)
def test_first_and_second_derivatives_are_those_of_finite_differences(degree, norm):
    extension = made(lambda: HomogeneousExtension(Curved(), degree, norm, radius=2.0))
    x = normal(2, 4, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(extension, x, atol=1e-6)
    assert torch.autograd.gradgradcheck(extension, x, atol=1e-5)


class Direction(nn.Module):
    def forward(self, x):
        return x / x.norm(dim=1, keepdim=True)


def test_a_model_that_is_not_defined_at_zero_has_an_extension_that_is_zero_there():
    x = normal(3, 4)
    x[1] = 0
    y = HomogeneousExtension(Direction())(x)
    assert torch.isfinite(y).all()
    assert not y[1].any()


# --- what it is handed and what it returns ---------------------------------------------------------------------------


def test_further_arguments_and_options_are_handed_through_as_they_are():
    model = made(lambda: Joined(2))
    extension = HomogeneousExtension(model, n_inputs=2, radius=2.0)
    a, b, c = normal(2, 4), normal(2, 4, seed=2), normal(2, 3, seed=3)
    size = size_of([a, b], 2)[:, None]
    with torch.no_grad():
        expected = size / 2 * model(2 * a / size, 2 * b / size, c, shift=0.5)
        assert_close(extension(a, b, c, shift=0.5), expected, 1e-13)


@pytest.mark.parametrize(
    "pack",
    [
        lambda y: (y, 2 * y),
        lambda y: [y, {"inner": 2 * y}],
        lambda y: {"logits": y, "deep": (2 * y, None), "name": "text"},
        lambda y: Pair(y, 2 * y),
        lambda y: (y, torch.zeros(len(y), dtype=torch.long), 3),
    ],
    ids=["tuple", "list", "dict", "namedtuple", "others beside"],
)
@pytest.mark.parametrize("degree", [1, 2])
def test_outputs_of_every_shape_keep_it_and_scale_in_each_floating_tensor(pack, degree):
    inner = made(Curved)

    class Packed(nn.Module):
        def forward(self, x):
            return pack(inner(x))

    extension = HomogeneousExtension(Packed(), degree)
    x = normal(2, 4)
    leaves, spec = torch.utils._pytree.tree_flatten(extension(x))
    scaled, spec_of_scaled = torch.utils._pytree.tree_flatten(extension(4 * x))
    assert spec == spec_of_scaled == torch.utils._pytree.tree_structure(Packed()(x))
    for a, b in zip(leaves, scaled, strict=True):
        if isinstance(a, torch.Tensor) and a.is_floating_point():
            assert torch.equal(b, 4**degree * a)
        else:
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


# --- with the other parts --------------------------------------------------------------------------------------------

MODELS = {
    "bias": lambda: nn.Linear(4, 3),
    "softmax": lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)),
    "layer norm": lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)),
    "sigmoid": lambda: nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()),
    "gelu": lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)),
    "all": Curved,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("degree", DEGREES)
def test_the_certificate_proves_the_extension_of_what_it_does_not_prove(degree, norm, dtype):
    for build in MODELS.values():
        model = made(build, dtype=dtype)
        x = normal(2, 4, dtype=dtype)
        assert not certify(model, x).homogeneous
        certificate = certify(HomogeneousExtension(model, degree, norm, radius=2.5), x)
        assert certificate.homogeneous, str(certificate)
        assert certificate.degree == degree


def test_the_certificate_proves_the_extension_of_a_transformer_with_several_inputs():
    model = made(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    assert certify(HomogeneousExtension(model, radius=3.0), normal(2, 3, 8)).degree == 1
    joined = HomogeneousExtension(made(lambda: Joined(3)), degree=2, n_inputs=3)
    assert certify(joined, normal(2, 4), normal(2, 4), normal(2, 4)).degree == 2


@given(
    st.sampled_from(DEGREES), st.sampled_from(NORMS), st.integers(1, 2), st.integers(0, 2), st.integers(0, 1000),
    st.sampled_from(("numeric", "certificate", "off")),
)  # fmt: skip
def test_x_gradient_of_the_extension_is_integrated_gradients(degree, norm, n_inputs, target, seed, validate):
    extension = made(lambda: HomogeneousExtension(Joined(n_inputs), degree, norm, radius=2.0, n_inputs=n_inputs), seed)
    inputs = tuple(normal(2, 4, seed=seed + i) for i in range(n_inputs))
    attributions = XGradient(extension, degree=degree, validate=validate).attribute(inputs, target=target)
    assert_close(attributions, references.integrated_gradients(extension, inputs, target), 1e-9)


@pytest.mark.parametrize("validate", ["numeric", "certificate"])
def test_a_part_of_degree_zero_keeps_the_degree_of_what_it_multiplies(validate):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = HomogeneousExtension(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), degree=0, norm="rms")

        def forward(self, x):
            return (x * self.gate(x)).sum(1, keepdim=True)

    model = made(Gated)
    x = normal(3, 4)
    assert certify(model, x).degree == 1
    attributions = XGradient(model, validate=validate).attribute(x)
    assert_close(attributions, references.integrated_gradients(model, (x,), 0)[0], 1e-9)
    zero = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(model(zero).sum(), zero)
    assert torch.isfinite(g).all()
    assert not model(zero).any()


# --- as a module -----------------------------------------------------------------------------------------------------


def test_copies_and_states_give_the_same_function():
    extension = made(lambda: HomogeneousExtension(Curved(), 2, "rms", radius=3.7))
    x = normal(2, 4)
    y = extension(x)
    assert torch.equal(copy.deepcopy(extension)(x), y)
    assert torch.equal(pickle.loads(pickle.dumps(extension))(x), y)
    other = made(lambda: HomogeneousExtension(Curved(), 2, "rms", radius=1.0), seed=5)
    other.load_state_dict(extension.state_dict())
    assert torch.equal(other(x), y)
    assert [n for n, _ in extension.named_parameters()] == [f"model.{n}" for n, _ in extension.model.named_parameters()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("radius", [388.3, 3e4, 1e-3])
def test_the_radius_survives_conversion_to_another_dtype(dtype, radius):
    extension = HomogeneousExtension(nn.Tanh(), radius=radius).to(dtype)
    x = torch.tensor([[0.5, -0.25, 1.0]], dtype=dtype)
    on_sphere = torch.tanh(radius * x.double() / x.double().norm())
    expected = float(x.double().norm()) / radius * on_sphere
    y = extension(x)
    assert y.dtype == dtype
    assert torch.allclose(y.double(), expected, rtol=8 * torch.finfo(dtype).eps, atol=float(torch.finfo(dtype).tiny))


def test_state_of_the_wrapped_model_is_left_alone():
    model = made(Curved)
    before = copy.deepcopy(model.state_dict())
    rng = torch.get_rng_state()
    HomogeneousExtension(model)(normal(2, 4))
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"degree": 0.5}, "degree"),
        ({"degree": -1}, "degree"),
        ({"degree": math.nan}, "degree"),
        ({"degree": math.inf}, "degree"),
        ({"degree": True}, "degree"),
        ({"degree": "one"}, "degree"),
        ({"degree": None}, "degree"),
        ({"norm": 0.5}, "norm"),
        ({"norm": "l2"}, "norm"),
        ({"norm": math.nan}, "norm"),
        ({"norm": None}, "norm"),
        ({"norm": True}, "norm"),
        ({"radius": 0.0}, "radius"),
        ({"radius": -1.0}, "radius"),
        ({"radius": math.inf}, "radius"),
        ({"radius": math.nan}, "radius"),
        ({"radius": "far"}, "radius"),
        ({"radius": None}, "radius"),
        ({"n_inputs": 0}, "n_inputs"),
        ({"n_inputs": 1.5}, "n_inputs"),
        ({"n_inputs": True}, "n_inputs"),
    ],
    ids=str,
)
def test_options_that_are_none_are_refused_by_name(options, word):
    with pytest.raises(OptionError, match=word):
        HomogeneousExtension(nn.Identity(), **options)


def test_a_model_that_is_none_is_refused():
    with pytest.raises(OptionError, match="model"):
        HomogeneousExtension(3)


@pytest.mark.parametrize(
    "x",
    [torch.ones(3), torch.tensor(1.0), torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3).bool(), [[1.0]], None],
    ids=["1-d", "0-d", "integer", "boolean", "list", "None"],
)
def test_inputs_that_have_no_ray_are_refused(x):
    with pytest.raises(InputError, match="input 0"):
        HomogeneousExtension(nn.Identity())(x)


def test_too_few_inputs_and_inputs_of_different_batches_are_refused():
    extension = HomogeneousExtension(Joined(2), n_inputs=2)
    with pytest.raises(InputError, match="2 inputs"):
        extension(torch.ones(2, 4))
    with pytest.raises(InputError, match="examples"):
        extension(torch.ones(2, 4), torch.ones(3, 4))


@pytest.mark.parametrize("reduce", [lambda y: y.sum(), lambda y: y.sum(0), lambda y: (y, y.mean())])
def test_outputs_without_an_entry_per_example_are_refused(reduce):
    class Reduced(nn.Module):
        def forward(self, x):
            return reduce(x)

    with pytest.raises(ForwardOutputError, match="examples"):
        HomogeneousExtension(Reduced())(torch.ones(2, 3))


def test_every_error_is_one_of_the_packages_own():
    assert issubclass(OptionError, CaptumXGError)
    assert issubclass(ForwardOutputError, CaptumXGError)
    assert issubclass(InputError, CaptumXGError)


def test_an_empty_batch_gives_an_empty_output():
    assert HomogeneousExtension(made(Curved))(torch.ones(0, 4, dtype=torch.float64)).shape == (0, 3)
