"""Which outputs of a model are explained: the true class, the predicted one, the largest, all, or some by number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from captum_xg.errors import OptionError, TargetError

FORMS = "true, predicted, all, top:K, the number of an output, or several numbers"


@dataclass(frozen=True)
class TargetRule:
    """Which outputs are explained of each example.

    Attributes:
        kind: By what they are chosen.
        numbers: K of ``"top"``; the outputs of ``"numbers"``.
    """

    kind: Literal["true", "predicted", "all", "top", "numbers"]
    numbers: tuple[int, ...] = ()

    def text(self) -> str:
        """Return the text that stands for it."""
        if self.kind == "top":
            return f"top:{self.numbers[0]}"
        return ",".join(map(str, self.numbers)) if self.kind == "numbers" else self.kind

    def count(self, classes: int) -> int:
        """Return how many outputs of so many are explained."""
        if classes == 1:
            return 1
        if self.kind == "top":
            return min(self.numbers[0], classes)
        return {"all": classes, "numbers": len(self.numbers)}.get(self.kind, 1)

    def chosen(self, outputs: Tensor, labels: Tensor | None, first: int = 0) -> Tensor:
        """Return which outputs are explained, int64 ``(N, K)``; −1 where the model has a single one.

        Args:
            outputs: What the model gives, ``(N, C)``.
            labels: The true classes, ``(N,)``; None if they are not known.
            first: Index of the first example, for messages.

        Raises:
            TargetError: If a label, or an output's number, is not one of the C.
        """
        n, classes = outputs.shape
        if classes == 1:
            return torch.full((n, 1), -1, dtype=torch.int64, device=outputs.device)
        if self.kind == "true":
            return self._true(labels, n, classes, first).to(outputs.device)
        if self.kind == "predicted":
            return outputs.argmax(1, keepdim=True)
        if self.kind == "top":
            return outputs.topk(self.count(classes), 1).indices
        numbers = self.numbers if self.kind == "numbers" else tuple(range(classes))
        if max(numbers) >= classes:
            raise TargetError(f"targets: the model has {classes} outputs, and {max(numbers)} is none of them.")
        return torch.tensor(numbers, device=outputs.device).expand(n, -1)

    def _true(self, labels: Tensor | None, n: int, classes: int, first: int) -> Tensor:
        if labels is None:
            raise TargetError(
                "targets 'true': the data have no labels, one class for each example. Give 'predicted', or a number."
            )
        bad = (labels < 0) | (labels >= classes)
        if bool(bad.any()):
            i = int(bad.nonzero()[0])
            where = f" of example {first + i}" if n > 1 else ""
            raise TargetError(
                f"targets 'true': the label{where} is {int(labels[i])}, and the model has the outputs 0 to "
                f"{classes - 1}. Labels must be numbers of the model's outputs."
            )
        return labels.to(torch.int64).unsqueeze(1)


def target_rule(value: object, where: str) -> TargetRule:
    """Return the rule that a text, a number or a list of numbers stands for.

    Raises:
        OptionError: If it is none.
    """
    if isinstance(value, TargetRule):
        return value
    text = str(value).strip()
    if text in ("true", "predicted", "all"):
        return TargetRule(text)  # type: ignore[arg-type]  # one of these
    if isinstance(value, str) and (match := re.fullmatch(r"top:([1-9][0-9]*)", text)):
        return TargetRule("top", (int(match[1]),))
    listed: Sequence[object] = (
        text.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    )
    if listed and not any(isinstance(each, (bool, float)) for each in listed):
        numbers = [str(each).strip() for each in listed]
        if all(number.isdecimal() for number in numbers):
            return TargetRule("numbers", tuple(map(int, numbers)))
    raise OptionError(f"{where}: `targets` must be {FORMS}, but is {value!r}.")
