"""Homogeneity F(αx) = αᵏF(x): a numeric check, a static proof, and a ledger of what constants carry where it fails.

For operations of one's own, ``degree_rule`` registers how they scale: a function of an :class:`OpCall` in terms of the
degree algebra (``product_of`` and the other functions that end in ``_of``), with ``with_bias`` and ``joined``.
"""

from captum_xg.homogeneity.certificate.certificate import Certificate, Counterexample, Violation
from captum_xg.homogeneity.certificate.certify import certify
from captum_xg.homogeneity.check.numeric import check_homogeneity
from captum_xg.homogeneity.check.report import Culprit, EulerCheck, HomogeneityReport, ScaleCheck, UnusedScale
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
from captum_xg.homogeneity.rules.common import joined, with_bias
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule, forget_degree_rule

__all__ = [
    "CONSTANT",
    "ZERO",
    "BiasLedger",
    "Certificate",
    "Counterexample",
    "Culprit",
    "EulerCheck",
    "HomogeneityReport",
    "OpCall",
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
    "joined",
    "maximum_of",
    "nonlinear_of",
    "of_degree",
    "power_of",
    "product_of",
    "quotient_of",
    "selection_of",
    "sum_of",
    "with_bias",
]
