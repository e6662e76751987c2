"""The cost of an attribution, counted while it runs: forward passes, gradient evaluations, seconds, memory.

The invariant: a count is exact or None. Runs are counted by hooks on the outermost modules, and by a wrapper where the
forward function is not a module; :attr:`CostMeter.blind` says that a run has gone past the hooks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from captum_xg._core.modules import modules_of
from captum_xg._core.reflection import unwatched
from captum_xg.homogeneity.certificate.fingerprint import RestsOn


@dataclass
class Usage:
    """What one call used.

    Attributes:
        forward_passes: Examples that went through the model, with or without gradients; None if not countable.
        gradient_evaluations: Examples that a gradient was taken for; None if not countable.
        seconds: Of the call.
        peak_memory: Bytes on the accelerator beyond those in use before; None elsewhere.
    """

    forward_passes: int | None = 0
    gradient_evaluations: int | None = 0
    seconds: float = 0.0
    peak_memory: int | None = None


class CostMeter:
    """Counts every run of a model, whichever part of the program asks for it, by a hook on its outermost modules.

    A forward function that is not a module is counted through :attr:`forward_func`, which must then be called in its
    place: it may run parts of a module, or ``module.forward``, which a hook on the module does not see.

    Args:
        forward_func: Of the model.
    """

    def __init__(self, forward_func: Callable[..., object]) -> None:
        # A part of a model may run several times in one pass: only what lies in no other module is counted.
        self._roots = _outermost(modules_of(forward_func))
        self.counts_everything = bool(self._roots)
        self.forward_func = forward_func if isinstance(forward_func, nn.Module) else _Counted(forward_func, self)
        self.blind = False
        """Whether a call of the forward function is known to have run past the hooks."""
        # Each counted on its own: of a chain of several modules, one example goes through each of them.
        self._forwards: dict[int, int] = {}
        self._gradients: dict[int, int] = {}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keep the hooks on the modules: for the whole run, as other hooks make a proof of homogeneity void."""
        handles = [root.register_forward_hook(self._after) for root in self._roots]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def measure(self, device: torch.device, *, countable: bool = True) -> Iterator[Usage]:
        """Measure what happens inside; the result is complete afterwards."""
        self._forwards, self._gradients = {}, {}
        usage = Usage()
        on_gpu = device.type == "cuda"
        if on_gpu:
            # Kernels run on after the call that started them: without waiting they would count for what comes next.
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        start = time.perf_counter()
        yield usage
        if on_gpu:
            torch.cuda.synchronize(device)
            usage.peak_memory = torch.cuda.max_memory_allocated(device) - before
        usage.seconds = time.perf_counter() - start
        usage.forward_passes = max(self._forwards.values(), default=0) if countable else None
        usage.gradient_evaluations = max(self._gradients.values(), default=0) if countable else None

    @contextmanager
    def looking_on(self) -> Iterator[None]:
        """Find out whether the hooks see one call of the forward function."""
        before = dict(self._forwards)
        yield
        self.blind = self.blind or self._forwards == before

    def observe(self, key: int, output: object) -> None:
        """Count one forward pass, and its backward pass if there is one."""
        tensors = [part for part in tree_leaves(output) if isinstance(part, Tensor)]
        if not tensors or tensors[0].dim() == 0:
            return
        n = int(tensors[0].shape[0])  # rows and not calls: methods put many points of a path into one batch
        self._forwards[key] = self._forwards.get(key, 0) + n
        # A hook on a tensor, or a look at where it comes from, might change its gradient, for all that a certificate of
        # homogeneity can see. This one only counts: on the node, whose gradients are handed on as they are.
        with unwatched():
            nodes = {id(t.grad_fn): t.grad_fn for t in tensors if t.grad_fn is not None}
        # A gradient of several outputs at once is one evaluation.
        runs = dict.fromkeys(nodes, 0)

        def backward(node: int) -> Callable[[object], None]:
            def count(_: object) -> None:
                already = max(runs.values())
                runs[node] += 1
                if runs[node] > already:
                    self._gradients[key] = self._gradients.get(key, 0) + n

            return count

        for node_id, node in nodes.items():
            node.register_prehook(backward(node_id))

    def _after(self, module: nn.Module, args: object, output: object) -> None:
        self.observe(id(module), output)


class _Counted(RestsOn):
    """A forward function that is counted."""

    def __init__(self, forward_func: Callable[..., object], meter: CostMeter) -> None:
        self.function = forward_func
        self._meter = meter

    @property
    def rests_on(self) -> tuple[object, ...]:
        """What a proof about this function rests on."""
        return (self.function,)

    def __call__(self, *args: object, **kwargs: object) -> object:
        with self._meter.looking_on():
            output = self.function(*args, **kwargs)
        self._meter.observe(0, output)
        return output


def _outermost(modules: list[nn.Module]) -> list[nn.Module]:
    inner = {id(part) for module in modules for part in module.modules() if part is not module}
    return [module for module in modules if id(module) not in inner]
