"""What the paper says about axioms, as far as its text does: who satisfies which, and who does not.

The check marks of Table 1 itself are no text; each statement here stands in Section 3 or in Appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass

from captum_xg.repro.section import Claim

SIX = ("sensitivity_a", "sensitivity_b", "implementation_invariance", "completeness", "linearity", "symmetry")
"""Keys of the axioms of Table 1."""
HOMOGENEITY = "nonnegative_homogeneity"


@dataclass(frozen=True)
class Statement:
    """A claim, and what has to come out for it.

    Attributes:
        claim: The claim.
        method: Which it is about, as in :func:`~captum_xg.metrics.paper_methods`.
        axioms: Keys.
        satisfied: Whether the method satisfies all of them; else none.
    """

    claim: Claim
    method: str
    axioms: tuple[str, ...]
    satisfied: bool


def _said(key: str, source: str, says: str, quote: str, method: str, axioms: tuple[str, ...], holds: bool) -> Statement:
    return Statement(Claim(f"table1/{key}", source, says, quotes=(quote,)), method, axioms, holds)


_ALL = "-Gradient satisfies all axioms while requiring as little computational cost as a simple gradient evaluation"
_IG = "all the axioms satisfied by Integrated Gradients are also satisfied by"
_EG = (
    "For Expected Gradients to satisfy the same axioms that are satisfied by Integrated Gradients, convergence must "
    "have occurred"
)
_EG1 = {
    "sensitivity_a": "Sensitivity (a) is also not satisfied by Expected Gradients in general",
    "sensitivity_b": "an irrelevant feature will always be zero, Sensitivity (b) is satisfied",
    "implementation_invariance": "there is no guarantee that even for the same model two attributions are equal",
    "completeness": "Again, following the argument from Sensitivity (a), Completeness is not given",
    "linearity": "there is no guarantee that Linearity holds",
    "symmetry": "Following the argument from Linearity, Symmetry-preserving does not hold",
}
_NAMES = {
    "sensitivity_a": "Sensitivity (a)",
    "sensitivity_b": "Sensitivity (b)",
    "implementation_invariance": "Implementation invariance",
    "completeness": "Completeness",
    "linearity": "Linearity",
    "symmetry": "Symmetry-preserving",
}
_GRADIENTS = "To see that gradients and Input"

STATEMENTS = (
    _said("xg", "Table 1", "X-Gradient satisfies all six axioms, on X-DNNs", _ALL, "X-Gradient", SIX, True),
    _said(
        "xg_homogeneity",
        "Definition 3.6",
        "X-Gradient satisfies nonnegative homogeneity",
        "and therefore, nonnegative homogeneity of the attribution is satisfied",
        "X-Gradient",
        (HOMOGENEITY,),
        True,
    ),
    _said("ig", "Table 1", "Integrated Gradients satisfy all six axioms", _IG, "IG", SIX, True),
    _said("eg", "Appendix A", "Expected Gradients satisfy them once they have converged", _EG, "EG", SIX, True),
    *(
        _said(
            f"eg1_{axiom}",
            "Appendix A",
            f"Expected Gradients with one reference {'satisfy' if axiom == 'sensitivity_b' else 'do not satisfy'} "
            f"{_NAMES[axiom]}",
            quote,
            "EG(1)",
            (axiom,),
            axiom == "sensitivity_b",
        )
        for axiom, quote in _EG1.items()
    ),
    *(
        _said(
            f"{key}_sensitivity_a",
            "Appendix A",
            f"{method} violates Sensitivity (a)",
            _GRADIENTS,
            method,
            ("sensitivity_a",),
            False,
        )
        for key, method in (("gradient", "Gradient"), ("input_x_gradient", "Input×Gradient"))
    ),
)
CLAIMS = tuple(each.claim for each in STATEMENTS)
