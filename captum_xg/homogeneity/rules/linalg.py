"""Linear algebra: solutions and factors of matrices, whose degree follows from the equation that defines them."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import (
    ZERO,
    Reason,
    Scaling,
    comparison_of,
    nonlinear_of,
    power_of,
    product_of,
    quotient_of,
)
from captum_xg.homogeneity.rules.common import direction_of, positions_of
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_PACKED = Reason(
    "packs factors of different degree into one matrix",
    "Use torch.linalg.solve, or a factorisation that returns its factors one by one",
    kind="unknown",
)
ONE_TRIANGLE = Reason(
    "reads one triangle of a matrix, but has a gradient that is right only if the other one fits, which is not known",
    "Use torch.linalg.svd, qr or solve, which read the whole matrix",
    kind="unknown",
)
_UNIT_DIAGONAL = Reason("takes the diagonal to be 1, whatever α is", "Solve with unitriangular=False")


@degree_rule("linalg_inv_ex", "inverse", "linalg_inv")
def inverse(call: OpCall) -> Sequence[Scaling]:
    """(cA)⁻¹ = A⁻¹/c."""
    matrix = call.scaling("A") if "A" in call.arguments else call.scaling("self")
    return (power_of(matrix, -1.0), positions_of(matrix))[: call.n_results]


@degree_rule("linalg_pinv", "pinverse")
def pseudo_inverse(call: OpCall) -> Scaling:
    """(cA)⁺ = A⁺/c, if what counts as zero is said relative to the largest singular value."""
    matrix, atol = call.scaling("self"), call.get("atol")
    result = power_of(matrix, -1.0)
    relative = call.get("rtol", call.get("rcond"))
    if atol is not None:
        reason = Reason("takes singular values below a fixed atol for zero", "Say rtol instead")
        threshold = call.sum(call["self"], atol, reason=reason)
        result = result.because(*threshold.reasons)
    if relative is not None:
        reason = Reason("takes singular values below a share that changes with α for zero", "Say a fixed rtol")
        result = product_of(result, nonlinear_of(call.scaling_of(relative), reason))
    if call.get("hermitian", False) and matrix.depends_on_input:
        result = result.because(ONE_TRIANGLE)
    return result


@degree_rule("_linalg_solve_ex", "linalg_solve", "linalg_solve_ex")
def solve(call: OpCall) -> Sequence[Scaling]:
    """X with AX = B: linear in B, of degree −1 in A."""
    matrix = call.scaling("A")
    packed = nonlinear_of(matrix, _PACKED)
    return quotient_of(call.scaling("B"), matrix), packed, positions_of(matrix), positions_of(matrix)


@degree_rule("linalg_solve_triangular")
def solve_triangular(call: OpCall) -> Scaling:
    """X with AX = B for triangular A."""
    return _divided(call.scaling("B"), call.scaling("self"), call["unitriangular"])


@degree_rule("triangular_solve")
def triangular_solve(call: OpCall) -> Sequence[Scaling]:
    """X with AX = B for triangular A; also A itself."""
    matrix = call.scaling("A")
    return _divided(call.scaling("self"), matrix, call["unitriangular"]), matrix


def _divided(right: Scaling, matrix: Scaling, unit_diagonal: bool) -> Scaling:
    return quotient_of(right, nonlinear_of(matrix, _UNIT_DIAGONAL) if unit_diagonal else matrix)


@degree_rule("linalg_lu_solve", "lu_solve", "_lu_solve_helper")
def lu_solve(call: OpCall) -> Scaling:
    """X with PLUX = B, from L and U packed into one matrix."""
    packed = call.scaling("LU") if "LU" in call.arguments else call.scaling("LU_data")
    right = call.scaling("B") if "B" in call.arguments else call.scaling("self")
    return product_of(right, nonlinear_of(packed, _PACKED))


@degree_rule("linalg_lu_factor_ex", "linalg_lu_factor")
def lu_factor(call: OpCall) -> Sequence[Scaling]:
    """L, of degree 0, and U, of A's degree, in one matrix."""
    matrix = call.scaling("A")
    return (nonlinear_of(matrix, _PACKED), positions_of(matrix), positions_of(matrix))[: call.n_results]


@degree_rule("lu_unpack")
def lu_unpack(call: OpCall) -> Scaling:
    """The factors out of a matrix that packs them."""
    return nonlinear_of(call.scaling("LU_data"), _PACKED)


@degree_rule("linalg_lu")
def lu(call: OpCall) -> Sequence[Scaling]:
    """A = PLU with ones on L's diagonal, so U alone scales."""
    matrix = call.scaling("A")
    return positions_of(matrix), direction_of(matrix), matrix


@degree_rule("linalg_cholesky_ex", "cholesky", "linalg_cholesky")
def cholesky(call: OpCall) -> Sequence[Scaling]:
    """A = LLᴴ, so L is of half the degree."""
    matrix = call.scaling("self")
    return (_of_one_triangle(power_of(matrix, 0.5), matrix), positions_of(matrix))[: call.n_results]


@degree_rule("linalg_qr")
def qr(call: OpCall) -> Sequence[Scaling]:
    """A = QR with orthogonal Q, so R alone scales."""
    matrix = call.scaling("A")
    return direction_of(matrix), matrix


@degree_rule("_linalg_svd")
def svd(call: OpCall) -> Sequence[Scaling]:
    """A = USVᴴ with orthogonal U and V, so S alone scales."""
    matrix, (rows, columns) = call.scaling("A"), call["A"].shape[-2:]
    direction = direction_of(matrix)
    if not call["full_matrices"] or rows == columns or not matrix.depends_on_input:
        return direction, matrix, direction
    completed = direction.because(
        Reason("completes a basis in a way that its gradient does not know", "Say full_matrices=False", kind="gradient")
    )
    return (completed, matrix, direction) if rows > columns else (direction, matrix, completed)


@degree_rule("_linalg_eigh")
def eigh(call: OpCall) -> Sequence[Scaling]:
    """Av = λv for symmetric A: λ scales, v is a direction."""
    matrix = call.scaling("A")
    return _of_one_triangle(matrix, matrix), _of_one_triangle(direction_of(matrix), matrix)


@degree_rule("linalg_eig", "linalg_eigvals", "_linalg_eigvals")
def eig(call: OpCall) -> Sequence[Scaling]:
    """Av = λv: λ scales, v is a direction; which comes first is up to the iteration that finds them."""
    matrix = call.scaling("self")
    if not matrix.depends_on_input:
        return (matrix, direction_of(matrix))[: call.n_results]
    reason = Reason(
        "finds eigenvalues in an order that is not defined, so it may be another one at another α",
        "Use singular values (torch.linalg.svd), or what depends on no order (determinant, trace)",
        kind="unknown",
    )
    return (matrix.because(reason), direction_of(matrix).because(reason))[: call.n_results]


def _of_one_triangle(result: Scaling, matrix: Scaling) -> Scaling:
    return result.because(ONE_TRIANGLE) if matrix.depends_on_input else result


@degree_rule("linalg_polar")
def polar_factors(call: OpCall) -> Sequence[Scaling]:
    """A = UH with orthogonal U, so H alone scales."""
    matrix = call.scaling("A")
    return direction_of(matrix), matrix


@degree_rule("linalg_matrix_sqrth")
def square_root(call: OpCall) -> Scaling:
    """R² = A for symmetric A, so R is of half the degree."""
    matrix = call.scaling("self")
    return _of_one_triangle(power_of(matrix, 0.5), matrix)


@degree_rule("_linalg_det")
def determinant(call: OpCall) -> Sequence[Scaling]:
    """det(cA) = cⁿ·det A."""
    matrix = call.scaling("A")
    return power_of(matrix, call["A"].shape[-1]), nonlinear_of(matrix, _PACKED), positions_of(matrix)


@degree_rule("_linalg_slogdet")
def log_determinant(call: OpCall) -> Sequence[Scaling]:
    """Sign, or phase, and logarithm of the determinant."""
    matrix = call.scaling("A")
    reason = Reason("takes the logarithm of a determinant, which turns factors into sums", "Use the determinant itself")
    sign = direction_of(matrix) if call["A"].dtype.is_complex else positions_of(matrix)
    return sign, nonlinear_of(matrix, reason), nonlinear_of(matrix, _PACKED), positions_of(matrix)


@degree_rule("linalg_lstsq")
def least_squares(call: OpCall) -> Sequence[Scaling]:
    """Argmin |AX − B|: linear in B, of degree −1 in A; rcond is relative to the largest singular value."""
    matrix, right = call.scalings("self", "b")
    both = product_of(direction_of(matrix), direction_of(right))
    ranked = Reason(
        "returns residuals only if the rank is full, which depends on the input",
        "Compute them from the solution",
        kind="unknown",
    )
    residuals = both.because(ranked) if both.depends_on_input else both
    return quotient_of(right, matrix), residuals, positions_of(matrix), matrix


@degree_rule("cholesky_solve", "_cholesky_solve_helper")
def cholesky_solve(call: OpCall) -> Scaling:
    """X with LLᴴX = B: linear in B, of degree −2 in L."""
    factor = call.scaling("input2") if "input2" in call.arguments else call.scaling("A")
    return _of_one_triangle(quotient_of(call.scaling("self"), power_of(factor, 2.0)), factor)


@degree_rule("cholesky_inverse")
def cholesky_inverse(call: OpCall) -> Scaling:
    """(LLᴴ)⁻¹, of degree −2."""
    factor = call.scaling("self")
    return _of_one_triangle(power_of(factor, -2.0), factor)


@degree_rule("linalg_matrix_exp", "matrix_exp")
def matrix_exponential(call: OpCall) -> Scaling:
    """Curved: e^(cA) is no multiple of e^A."""
    reason = Reason("is curved (a matrix exponential), so its slope changes with α", "Use a fixed linear map instead")
    return nonlinear_of(call.scaling("self"), reason)


@degree_rule("_linalg_check_errors")
def check_errors(call: OpCall) -> Scaling:
    """Raises, or does nothing."""
    return comparison_of(call.scaling("info"), ZERO)
