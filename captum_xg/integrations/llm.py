"""Logits of a language model in the place of log-probabilities, in Captum's ``LLMGradientAttribution``."""

from __future__ import annotations

from typing import Any

from captum.attr import LLMGradientAttribution
from torch import Tensor, nn


class LLMLogitAttribution(LLMGradientAttribution):  # type: ignore[misc]  # Captum has no types
    """Captum's ``LLMGradientAttribution`` of logits: what each token's score owes to each token of the prompt.

    The log-softmax that Captum explains is homogeneous of no degree, so that :class:`~captum_xg.LayerXGradient` has to
    integrate it; logits may be homogeneous. Use as Captum's class, with the same arguments.
    """

    def __init__(self, attr_method: Any, tokenizer: Any) -> None:
        super().__init__(attr_method, tokenizer)
        self.attr_method.forward_func = _Logits(self.attr_method.forward_func)


class _Logits(nn.Module):
    """Captum's forward function, with the softmax of its model left out."""

    def __init__(self, captums: nn.Module) -> None:
        super().__init__()
        self.captums = captums

    def forward(self, perturbed: Tensor, inp: Any, target_tokens: Tensor, cur_target_idx: int) -> Tensor:
        """Return the logit of the current token."""
        import torch

        attribution: Any = self.captums.attr
        ids = attribution._format_model_input(inp.to_model_input(perturbed))["input_ids"]
        if cur_target_idx:
            before = target_tokens[:cur_target_idx].unsqueeze(0).expand(len(ids), -1).to(ids.device)
            ids = torch.cat([ids, before], dim=1)
        logits: Tensor = attribution.model(ids).logits[:, -1]
        return logits[..., target_tokens[cur_target_idx]]
