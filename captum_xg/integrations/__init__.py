"""Other people's code with X-Gradient in it: Captum itself, and packages that build on it, each of them optional.

:func:`swapped_in`, and the import line of :mod:`captum_xg.integrations.captum`, need Captum alone. What is for another
package stands in the module of its name and imports it when it is used:
:func:`captum_xg.integrations.quantus.explain_func`, :func:`captum_xg.integrations.pyg.captum_explainer`,
:func:`captum_xg.integrations.shap.to_shap`, :class:`captum_xg.integrations.lightning.AttributionLogger` and
:class:`captum_xg.integrations.llm.LLMLogitAttribution`.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.integrations.lightning import AttributionLogger
    from captum_xg.integrations.llm import LLMLogitAttribution
    from captum_xg.integrations.pyg import captum_explainer
    from captum_xg.integrations.quantus import explain_func
    from captum_xg.integrations.shap import to_shap
    from captum_xg.integrations.swap import swapped_in
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "lightning": ("AttributionLogger",),
            "llm": ("LLMLogitAttribution",),
            "pyg": ("captum_explainer",),
            "quantus": ("explain_func",),
            "shap": ("to_shap",),
            "swap": ("swapped_in",),
        },
    )

__all__ = ["AttributionLogger", "LLMLogitAttribution", "captum_explainer", "explain_func", "swapped_in", "to_shap"]
