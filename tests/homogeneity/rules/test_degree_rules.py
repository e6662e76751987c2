"""No degree rule claims what values or gradients contradict, on PyTorch's samples of its operations and on our own."""

from __future__ import annotations

import warnings

import pytest
import torch
from effort import thorough
from op_samples import Table, check, samples_of
from rule_samples import own_samples, vision_samples

from captum_xg import XGradient, certify
from captum_xg.errors import HomogeneityError
from captum_xg.homogeneity import OpCall, with_bias
from captum_xg.homogeneity.degree import CONSTANT, Reason, nonlinear_of, of_degree, power_of, product_of, sum_of
from captum_xg.homogeneity.rules import registry
from captum_xg.homogeneity.rules.registry import degree_rule, find_rule, forget_degree_rule, rules
from captum_xg.testing import assert_degree_rule_sound

# Why a certificate is refused although the values of the sample scale: what would have to be known is not.
UNKNOWABLE = (
    "has a shape that depends on values of the input",  # the sample has as many as at other scales; others need not
    "reads one triangle of a matrix",  # the sample is symmetric by construction
    "packs factors of different degree",
    "where two coincide, its gradient counts both",  # in the sample none do
    "multiplies as many factors into a place",  # in the sample one into each
    "writes a constant into what scales",  # in the sample over all of it, so that nothing of the rest is left
    "finds eigenvalues in an order that is not defined",  # in the sample it is the same at every scale
    "is cut off from autograd",  # complex conjugates are computed where autograd is not seen
)


def planted(name: str, rule):
    """Register another rule for an operation, and return what undoes it."""
    entry = find_rule(name)
    registry._ENTRIES[name] = registry.Entry(name, rule, entry.elementwise, ())
    return lambda: registry._ENTRIES.__setitem__(name, entry)


@pytest.fixture(scope="module")
def own() -> Table:
    """Return what was found on our samples."""
    table = Table()
    for sample in [*own_samples(), *vision_samples()]:
        check(sample, table, n_draws=3)
    return table


@pytest.mark.thorough
def test_no_claim_about_our_samples_is_contradicted(own):
    assert sorted(text for tally in own.values() for text in tally.wrong) == []


def test_our_samples_that_scale_are_certified_but_where_it_cannot_be_known(own):
    missed = {text for tally in own.values() for text in tally.missed}
    assert sorted(text for text in missed if not any(why in text for why in UNKNOWABLE)) == []


def _pytorchs(most: int, dtype: torch.dtype, n_draws: int, share: int = 0, shares: int = 1) -> Table:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        methods = pytest.importorskip(
            "torch.testing._internal.common_methods_invocations",
            reason="this PyTorch ships no samples of its operations, or they need a package that is not installed",
            exc_type=ImportError,
        )
    table = Table()
    for op in methods.op_db[share::shares]:
        if op.supports_dtype(dtype, "cpu"):
            for sample in samples_of(op, dtype, most):
                check(sample, table, n_draws=n_draws)
    assert table.total("correct") > 100 / shares
    return table


@pytest.mark.parametrize("share", [0, 1, 2, *thorough(range(3, 8))])  # several processes have work
def test_no_claim_about_pytorchs_samples_is_contradicted(share):
    table = _pytorchs(1, torch.float64, 2, share, 8)
    assert sorted({text for tally in table.values() for text in tally.wrong}) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_no_claim_about_any_of_pytorchs_samples_is_contradicted(dtype):
    table = _pytorchs(400, dtype, 5)
    assert sorted({text for tally in table.values() for text in tally.wrong}) == []


PLANTED = [
    ("aten::mm", "mm out", lambda call: call.scaling("self")),
    ("aten::addmm", "addmm", lambda call: product_of(*call.scalings("mat1", "mat2"))),
    ("aten::sort", "sort", lambda call: [call.scaling("self"), CONSTANT]),
    ("aten::embedding", "embedding with padding", lambda call: call.scaling("weight")),
    ("aten::scatter", "scatter twice", lambda call: sum_of(*call.scalings("self", "src"))),
    ("aten::cholesky_inverse", "cholesky_inverse", lambda call: power_of(call.scaling("self"), -2.0)),
    ("aten::grid_sampler_2d", "sampled bilinear zeros", lambda call: product_of(*call.scalings("input", "grid"))),
    ("aten::linalg_inv_ex", "powers", lambda call: [call.scaling("A"), call.scaling("A").in_steps()]),
    ("aten::constant_pad_nd", "pad with a constant", lambda call: call.scaling("self")),
    ("aten::index", "index by the input's order", lambda call: call.scaling("self")),
    ("torchvision::roi_align", "roi_align", lambda call: call.scaling("input")),
]


@pytest.mark.parametrize(("name", "sample", "rule"), PLANTED, ids=[name for name, _, _ in PLANTED])
def test_a_wrong_rule_is_found(name, sample, rule):
    undo = planted(name, rule)
    table = Table()
    try:
        for each in [*own_samples(), *vision_samples()]:
            if each.name.startswith(sample):
                check(each, table, n_draws=3)
    finally:
        undo()
    assert table[name].wrong


def test_rules_are_for_operations_that_exist():
    known = {name.split(".")[0] for name in torch._C._dispatch_get_all_op_names()}
    unknown = {name for name in rules() if name.startswith("aten::")} - known
    # Names that only some versions of PyTorch have; a misspelt one would come on top.
    assert len(unknown) < 0.05 * len(rules()), sorted(unknown)


@pytest.fixture
def twisted():
    """Return an operation of one's own, x·|x|·cos(angle), and register what it needs."""
    library = torch.library.Library("captum_xg_tests", "FRAGMENT")
    library.define("twist(Tensor x, Tensor angle) -> Tensor")
    library.impl("twist", lambda x, angle: x * x.abs() * angle.cos(), "CompositeExplicitAutograd")
    function = torch.ops.captum_xg_tests.twist

    def setup(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, grad):
        x, angle = ctx.saved_tensors
        return grad * 2 * x.abs() * angle.cos(), -grad * x * x.abs() * angle.sin()

    torch.library.register_autograd("captum_xg_tests::twist", backward, setup_context=setup, lib=library)
    yield function
    if find_rule("captum_xg_tests::twist") is not None:
        forget_degree_rule("captum_xg_tests::twist")
    library._destroy()


TURNS = Reason("turns by an angle that changes with α", "Use fixed angles")


def test_the_helper_accepts_a_sound_rule_of_ones_own(twisted):
    @degree_rule("captum_xg_tests::twist", elementwise=True)
    def twist(call):
        x = call.scaling("x")
        return product_of(x, x, nonlinear_of(call.scaling("angle"), TURNS))

    assert_degree_rule_sound(twisted, torch.randn(3), torch.randn(3), complete=True)


def test_the_helper_says_which_operation_has_no_rule(twisted):
    with pytest.raises(AssertionError, match=r"inputs\[0\] scaled, output 0: captum_xg_tests::twist has no rule"):
        assert_degree_rule_sound(twisted, torch.randn(3), torch.randn(3))


def test_the_helper_says_which_claim_is_contradicted(twisted):
    @degree_rule("captum_xg_tests::twist", elementwise=True)
    def twist(call):
        return product_of(*call.scalings("x", "angle"))

    with pytest.raises(
        AssertionError, match=r"the rules claim degree 1, but F\(0.001·x\) deviates from 0.001\^1·F\(x\)"
    ):
        assert_degree_rule_sound(twisted, torch.randn(3), torch.randn(3))


def test_the_helper_says_where_a_claim_is_missing_if_asked(twisted):
    @degree_rule("captum_xg_tests::twist", elementwise=True)
    def twist(call):
        return product_of(*(nonlinear_of(s, TURNS) for s in call.scalings("x", "angle")))

    assert_degree_rule_sound(twisted, torch.randn(3), torch.randn(3))
    with pytest.raises(
        AssertionError, match="scales with degree 2 as far as seen, but is not certified, because it turns"
    ):
        assert_degree_rule_sound(twisted, torch.randn(3), torch.randn(3), complete=True)


def test_the_helper_compares_gradients():
    assert_degree_rule_sound(torch.linalg.det, torch.randn(3, 3), complete=True)
    undo = planted("aten::cholesky_inverse", lambda call: of_degree(-2.0))
    try:
        with pytest.raises(AssertionError, match="by autograd"):
            assert_degree_rule_sound(torch.cholesky_inverse, torch.randn(3, 3))
    finally:
        undo()


@pytest.mark.parametrize(
    ("inputs", "scales", "said"),
    [
        ((torch.arange(3),), None, "no input is a floating-point tensor"),
        ((torch.ones(0),), None, "no input is a floating-point tensor"),
        ((torch.ones(3),), (1.0, -2.0), "`scales` must be positive"),
        ((torch.ones(3),), (), "`scales` must be positive"),
    ],
)
def test_the_helper_refuses_what_it_cannot_scale(inputs, scales, said):
    with pytest.raises(ValueError, match=said):
        assert_degree_rule_sound(torch.neg, *inputs, scales=scales)


@pytest.fixture
def affine():
    """Return an operation of one's own, x @ w.T + b."""
    library = torch.library.Library("captum_xg_tests", "FRAGMENT")
    library.define("affine(Tensor x, Tensor w, Tensor b) -> Tensor")
    library.impl("affine", lambda x, w, b: x @ w.T + b, "CompositeExplicitAutograd")

    def setup(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, grad):
        x, w, _ = ctx.saved_tensors
        return grad @ w, grad.T @ x, grad.sum(0)

    torch.library.register_autograd("captum_xg_tests::affine", backward, setup_context=setup, lib=library)
    yield torch.ops.captum_xg_tests.affine
    forget_degree_rule("captum_xg_tests::affine")
    library._destroy()


def as_the_formula_reads(call: OpCall):
    return sum_of(product_of(call.scaling("x"), call.scaling("w")), call.scaling("b"))


def with_a_bias(call: OpCall):
    return with_bias(call, product_of(*call.scalings("x", "w")), call["b"])


@pytest.mark.parametrize("rule", [as_the_formula_reads, with_a_bias])
def test_a_rule_for_an_affine_operation_certifies_a_bias_of_zeros_and_no_other(affine, rule):
    degree_rule("captum_xg_tests::affine")(rule)
    x, w = torch.randn(2, 4), torch.randn(3, 4)
    zeros = torch.zeros(3)
    proven = certify(lambda x: affine(x, w, zeros), x)
    assert (proven.homogeneous, proven.degree) == (True, 1)
    refused = certify(lambda x: affine(x, w, torch.tensor([0.0, 1e-30, 0.0])), x)
    assert not refused.homogeneous
    assert "adds a" in refused.violations[0].reason
    scaled = certify(lambda b: affine(torch.ones(2, 4), torch.zeros(3, 4), b), torch.randn(3))
    assert (scaled.homogeneous, scaled.degree) == (True, 1)  # the product is zero, so that the bias alone scales


@pytest.mark.parametrize("rule", [as_the_formula_reads, with_a_bias])
def test_a_bias_of_zeros_is_not_blamed_for_what_went_wrong_before_it(affine, rule):
    asked = []
    degree_rule("captum_xg_tests::affine")(lambda call: asked.append(call) or rule(call))
    w, zeros, ones = torch.ones(3, 4), torch.zeros(3), torch.ones(3)
    found = certify(lambda x: affine(x + 1, w, zeros), torch.randn(2, 4)).violations
    assert [violation.op for violation in found] == ["aten.add.Tensor"]
    assert not found[0].further
    asked.clear()
    certify(lambda x: affine((x + 1).sin(), w[:, :1] * w, ones), torch.randn(2, 4))
    assert len(asked) <= 2  # once more at the most, where its own degrees disagree


def test_a_proof_that_rests_on_a_bias_of_zeros_falls_with_it(affine):
    degree_rule("captum_xg_tests::affine")(as_the_formula_reads)
    bias = torch.zeros(3)
    method = XGradient(lambda x: affine(x, torch.ones(3, 4), bias), validate="certificate")
    x = torch.randn(2, 4)
    torch.testing.assert_close(method.attribute(x, target=0), x)
    bias[0] = 1.0
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=0)
