"""The interpretation of one forward pass: the recorder, and the observers that infer a certificate from it.

The order of the observers matters. Before an operation: the trace takes it for what runs now; leaks say whether it can
be followed at all; gradient cuts and aliasing look at its arguments; degrees infer its results. After it, in reverse:
degrees write shadow memory, and the others look at what was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType

from torch import Tensor, nn

from captum_xg._core.recorder import Names, Observer, Recorder
from captum_xg.homogeneity.certificate.aliasing import Aliasing
from captum_xg.homogeneity.certificate.degrees import Degrees
from captum_xg.homogeneity.certificate.gradient_cuts import GradientCuts
from captum_xg.homogeneity.certificate.leaks import Leaks
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.degree import Scaling


class Interpretation:
    """Follows a forward pass, operation by operation, and infers how every number in it scales with the inputs.

    Args:
        names: Module id → (path, module), to say where something happened.
        outermost: Code of the function that calls the model.
        additional: Tensors among the additional forward arguments, which are constants that their user can do without.
        finite: Tensors that were looked through for NaN and infinity, and have none.
        frozen: Take what is cut off from autograd for constants, and not for a violation.

    Attributes:
        trace: What was found.
        n_ops: How many operations ran.
    """

    def __init__(
        self,
        names: Names,
        outermost: CodeType,
        additional: Sequence[Tensor] = (),
        finite: Iterable[Tensor] = (),
        *,
        frozen: bool = False,
    ) -> None:
        self.trace = Trace(names, outermost, additional)
        self.n_ops = 0
        self._gradients = GradientCuts(self.trace, frozen=frozen)
        self._aliasing = aliasing = Aliasing(self.trace, self._gradients)
        self._leaks = Leaks(self.trace, aliasing)
        self._degrees = Degrees(self.trace, self._gradients, aliasing, self._leaks, finite)
        self._observers: list[Observer] = [self.trace, self._leaks, self._gradients, aliasing, self._degrees]

    def add_input(self, tensor: Tensor) -> None:
        """Declare a tensor an input: it has degree 1."""
        self.trace.shadows.create(tensor, Scaling(1.0))
        self.trace.assumptions.note_computed([tensor], [])
        self._gradients.add_input(tensor)
        self._degrees.graph.add_input(tensor)

    @contextmanager
    def following(self, *others: Observer, followed: Mapping[str, nn.Module] | None = None) -> Iterator[None]:
        """Follow what runs in the body.

        Args:
            others: Further observers, called after those that infer.
            followed: The modules, by path, whose calls are reported to them.
        """
        recorder = Recorder(*self._observers, *others, followed=followed)
        try:
            with self._leaks, recorder:
                yield
            self.trace.finish()
            self._aliasing.finish()
        finally:
            self.n_ops = recorder.n_ops

    def scaling(self, tensor: Tensor) -> Scaling:
        """Return how a tensor scales as a whole, after the pass."""
        return self.trace.shadows.interned.join(self._gradients.value(tensor))
