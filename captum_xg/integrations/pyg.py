"""X-Gradient in PyTorch Geometric's ``CaptumExplainer``."""

from __future__ import annotations

from typing import Any

from captum_xg.attr.explainer import OnViolation
from captum_xg.integrations.optional import required
from captum_xg.integrations.swap import stand_ins


def captum_explainer(on_violation: OnViolation = "integrate", **options: Any) -> Any:
    """Return a ``CaptumExplainer`` that explains graphs by X-Gradient.

    Pass it to ``torch_geometric.explain.Explainer`` as ``algorithm``, with ``return_type="raw"``: probabilities and
    log-probabilities are not homogeneous, and would be integrated. Message passing layers without biases (``GCNConv``,
    ``SAGEConv``, ``GraphConv``, ``GINConv`` over a network without biases) have degree 1 in the node features, and with
    ReLU between them so has the whole network. In the edge mask a network of L such layers has degree L, or none where
    the weights of edges are normalised: explanations of edges are integrated.

    Args:
        on_violation: As of :class:`~captum_xg.XGradient`.
        options: What ``CaptumExplainer`` passes to ``attribute``.

    Raises:
        MissingPackageError: If torch_geometric is not installed.
    """
    explain = required("torch_geometric.explain", "torch_geometric", "captum_explainer")
    # It looks at the name of the class, which is that of Captum's.
    return explain.CaptumExplainer(stand_ins(on_violation)[0], **options)
