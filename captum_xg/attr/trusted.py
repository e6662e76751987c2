"""What all validations of X-Gradient's degree share, and the one that trusts the caller.

One validation serves one call. For each part of the batch it evaluates F and ∇F and decides the degree, and it is the
only one who does; at the end it concludes over all parts. It refuses by raising. What the caller wants anyhow
(``on_violation="warn"``) is a message at the end, once per call. A degree that was not validated must never be returned
without one or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg.homogeneity.certificate.cache import CertificateCache

Evaluate: TypeAlias = Callable[[ScalarFunction, tuple[Tensor, ...]], Evaluation]


@dataclass
class Trusted:
    """The degree that the caller gives, unchecked; and what all validations share.

    Attributes:
        degree: k; None to find it.
        raises: Whether a violation is an error, or else a warning.
        rtol: Largest relative deviation that counts as rounding; None for that of the dtype.
        proofs: Certificates that still stand.
        where: The public name that errors begin with.
    """

    degree: float | None
    raises: bool
    rtol: float | None
    proofs: CertificateCache
    where: str

    validates: ClassVar[bool] = False
    """Whether anything is looked at."""

    @contextmanager
    def around(self, function: ScalarFunction, device: torch.device) -> Iterator[None]:
        """Prepare for the call, and put back what validating it changes."""
        yield

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part of the batch, and its degree.

        Raises:
            DegreeError: If there is no degree k ≥ 1 to be found.
            HomogeneityError: If F does not have the degree, and that is an error.
        """
        return evaluate(function, inputs), self.degree or 1.0  # there is one: "auto" is refused with validate="off"

    def rests_on_a_proof(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> bool:
        """Return whether a proof, and not numbers at other scales, decides on this part."""
        return False

    def conclusion(self) -> str | None:
        """Return what to warn of, after the last part.

        Raises:
            DegreeError: If the parts have different degrees.
        """
        return None
