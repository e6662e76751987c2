"""The paper's four masking metrics: KPM, KNM, KAM and RAM, thin views of one base."""

from __future__ import annotations

from captum_xg.metrics.masking.metric import AccuracyMaskingMetric, MaskingMetric


class KeepPositiveMask(MaskingMetric):
    """KPM: the target's output while the most positive features are kept; the higher, the better.

    At fraction f the int(min(f·n, p)) features with the largest of the p positive attributions are kept. Features of
    negative or zero attribution are always masked, so that attributions without negative ones end with the whole input.
    In units of the output; everything else is as in
    :class:`~captum_xg.metrics.masking.metric.MaskingMetric`.

    Source: Hesse et al. 2021, Section B.2 and Table 3.

    Example:
        >>> metric = KeepPositiveMask(lambda x: x.sum(1, keepdim=True), [0.0, 0.5, 1.0])
        >>> metric.update(torch.tensor([[4.0, -2.0]]), torch.tensor([[4.0, -2.0]]), 0)
        >>> metric.compute()
        tensor(3., dtype=torch.float64)
    """

    higher_is_better = True
    sign = "positive"


class KeepNegativeMask(MaskingMetric):
    """KNM: the target's output while the most negative features are kept; the lower, the better.

    At fraction f the int(min(f·n, q)) most negative of the q negative attributions are kept. Features of positive or
    zero attribution are always masked. In units of the output; everything else is as in
    :class:`~captum_xg.metrics.masking.metric.MaskingMetric`.

    Source: Hesse et al. 2021, Section B.2 and Table 3.
    """

    higher_is_better = False
    sign = "negative"


class KeepAbsoluteMask(AccuracyMaskingMetric):
    """KAM: top-1 accuracy in percent while the features of largest absolute attribution are kept; higher is better.

    At fraction f the int(min(f·n, m)) most important of the m features of nonzero attribution are kept; a feature of
    zero attribution never is. Everything else is as in :class:`~captum_xg.metrics.masking.metric.MaskingMetric`.

    Source: Hesse et al. 2021, Section B.2 and Table 3.
    """

    higher_is_better = True


class RemoveAbsoluteMask(AccuracyMaskingMetric):
    """RAM: top-1 accuracy in percent while the features of largest absolute attribution are masked; lower is better.

    The fraction is again that of the features that are *kept*, as for the other three: at f the
    int(min(f·n, m)) least important of the m features of nonzero attribution are, so that the curve begins with nearly
    everything masked, and random attributions have the same RAM as KAM (Table 3). Features of zero attribution are
    masked at every fraction. Everything else is as in :class:`~captum_xg.metrics.masking.metric.MaskingMetric`.

    Source: Hesse et al. 2021, Section B.2 and Table 3.
    """

    higher_is_better = False
    remove = True
