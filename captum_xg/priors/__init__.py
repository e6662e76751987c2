"""Attribution priors: wishes about attributions as numbers to train with."""

from captum_xg.priors.base import AttributionPrior, WeightedSum
from captum_xg.priors.frequency import HighFrequency
from captum_xg.priors.gini import GiniSparsity
from captum_xg.priors.graph import GraphSmoothness
from captum_xg.priors.group import GroupSparsity
from captum_xg.priors.loss import AttributionPriorLoss
from captum_xg.priors.norm import LpNorm
from captum_xg.priors.prior_loss import PriorLoss
from captum_xg.priors.region import EnergyInRegion
from captum_xg.priors.right_reasons import RightForRightReasons
from captum_xg.priors.total_variation import TotalVariation

__all__ = [
    "AttributionPrior",
    "AttributionPriorLoss",
    "EnergyInRegion",
    "GiniSparsity",
    "GraphSmoothness",
    "GroupSparsity",
    "HighFrequency",
    "LpNorm",
    "PriorLoss",
    "RightForRightReasons",
    "TotalVariation",
    "WeightedSum",
]
