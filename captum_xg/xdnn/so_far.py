"""What is said of a model whose training has not begun: of the numbers that are in it, not of those that will be."""

from __future__ import annotations

import re

from torch import nn

from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.xdnn.examples import zero_so_far

_SIZE = re.compile(r" of up to [^\s;]+")


class SoFar:
    """Rewords what was found with other numbers in the place of zeros, as training would put them there.

    Args:
        certificate: That of the model as it is.
        model: The model.
    """

    def __init__(self, certificate: Certificate, model: nn.Module) -> None:
        self._reasons: dict[tuple[str, str, str, str], str] = {}
        for found in (*certificate.violations, *certificate.unsupported):
            for op, location, reason in ((found.op, found.location, found.reason), *found.further):
                self._reasons[found.module, op, location, _SIZE.sub("", reason)] = reason
        self._zero = list(zero_so_far(model))

    def of(self, violation: Violation) -> tuple[str, str]:
        """Return (reason, remedy) of a finding in numbers that are there."""
        kind = _SIZE.sub("", violation.reason)
        known = self._reasons.get((violation.module, violation.op, violation.location, kind))
        if known is not None:
            return known, violation.remedy
        prefix = f"{violation.module}." if violation.module else ""
        inside = [name.removeprefix(prefix) for name in self._zero if name.startswith(prefix)]
        own = [name for name in inside if "." not in name]
        return self._when_trained(own or inside, kind), (
            "Leave it out (bias=False), or keep it at zero as a buffer, which is not trained"
        )

    @staticmethod
    def _when_trained(zero: list[str], kind: str) -> str:
        names = ", ".join(zero[:3]) + ", …" * (len(zero) > 3) or "parameters before it"
        return f"breaks nothing as long as what is zero so far ({names}) stays zero, but once that is trained {kind}"
