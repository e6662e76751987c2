"""Is F(αx) = αᵏF(x)? A numeric check, a static proof, and what constants carry where it is not so.

For operations of one's own: ``degree_rule`` registers how they scale, in terms of the degree algebra (``product_of``
and the other functions that end in ``_of``).
"""

from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.certify import certify
from captum_xg.homogeneity.check.numeric import check_homogeneity
from captum_xg.homogeneity.check.report import Culprit, HomogeneityReport
from captum_xg.homogeneity.degree import (
    CONSTANT,
    ZERO,
    Reason,
    Scaling,
    comparison_of,
    maximum_of,
    nonlinear_of,
    of_degree,
    power_of,
    product_of,
    quotient_of,
    selection_of,
    sum_of,
)
from captum_xg.homogeneity.ledger.bias_ledger import BiasLedger, bias_ledger
from captum_xg.homogeneity.rules.registry import degree_rule, forget_degree_rule
from captum_xg.homogeneity.scaling.checks import Counterexample, EulerCheck, ScaleCheck, UnusedScale

__all__ = [
    "CONSTANT",
    "ZERO",
    "BiasLedger",
    "Certificate",
    "Counterexample",
    "Culprit",
    "EulerCheck",
    "HomogeneityReport",
    "Reason",
    "ScaleCheck",
    "Scaling",
    "UnusedScale",
    "Violation",
    "bias_ledger",
    "certify",
    "check_homogeneity",
    "comparison_of",
    "degree_rule",
    "forget_degree_rule",
    "maximum_of",
    "nonlinear_of",
    "of_degree",
    "power_of",
    "product_of",
    "quotient_of",
    "selection_of",
    "sum_of",
]
