"""The terms of sums of priors, looked at one by one while the sum is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from captum_xg.priors.base import WeightedSum


@contextmanager
def looked_at(prior: Callable[..., Any], look: Callable[[Tensor, str], None]) -> Iterator[None]:
    """Call ``look`` with the value and the name of every term of a sum that a prior is, or has in it.

    Terms of weight 0 are left out, as whoever gives that weight wants no more of them. So are those of a compiled
    prior, which hooks would have compiled anew.
    """
    terms = {id(term): term for term in _terms(prior)}

    def hook(module: nn.Module, arguments: Any, value: Any) -> None:
        if isinstance(value, Tensor):
            look(value, f"{module!r}, a term of the prior,")

    handles = [term.register_forward_hook(hook) for term in terms.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _terms(prior: Callable[..., Any]) -> Iterator[nn.Module]:
    modules = list(prior.modules()) if isinstance(prior, nn.Module) else []
    if any("_orig_mod" in module._modules or module._compiled_call_impl is not None for module in modules):
        return
    for module in modules:
        if isinstance(module, WeightedSum):
            yield from (term for weight, term in module.terms() if weight != 0)
