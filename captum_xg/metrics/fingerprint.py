"""Fingerprints of metrics: 16 bytes that two of them share only if they are one metric.

A ``MetricCollection`` of torchmetrics compares the states of its members after the first update, and from then on
updates only one of those that agree; two accuracies may well agree on one batch and differ on the next. So every metric
has a state made of its class, its model and its settings.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types

from torchmetrics import Metric


def fingerprint_of(metric: Metric) -> bytes:
    """Return 16 bytes that two metrics share if they are of one class, one model and the same settings.

    Numbers below 256 are exact in every dtype that states may be set to, and apart for ``torch.allclose``.
    """
    own = {name: _described(value) for name, value in settings_of(metric).items()}
    # By the class itself and not its name, which classes made in a function share.
    return hashlib.blake2b(repr((id(type(metric)), sorted(own.items()))).encode(), digest_size=16).digest()


def settings_of(metric: Metric) -> dict[str, object]:
    """Return the attributes that tell a metric from others of its class: neither states nor what torchmetrics keeps."""
    passing = {*_kept_by_torchmetrics(), *metric._defaults, "_curve_behind", "_shared"}
    # A module, such as a perturbation that is one, is not an attribute but an entry of `_modules`.
    held = {**vars(metric), **metric._parameters, **metric._buffers, **metric._modules}
    return {name: value for name, value in held.items() if name not in passing}


@functools.cache
def _kept_by_torchmetrics() -> frozenset[str]:
    """Return the names of what every metric of torchmetrics holds, in the version that is installed."""

    class Bare(Metric):
        def update(self) -> None: ...

        def compute(self) -> None: ...

    return frozenset(vars(Bare()))


def _described(value: object) -> object:
    """Return a setting as something whose ``repr`` tells it from others: plain values as such, objects by identity.

    Objects are alive as long as the metrics that hold them, so that no two of them have one id.
    """
    if isinstance(value, (list, tuple)):
        return [_described(each) for each in value]
    if isinstance(value, types.MethodType):  # made at every access, in contrast to what it is bound to
        return id(value.__self__), id(value.__func__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # perturbations and maskers, which copies copy
        fields = dataclasses.fields(value)
        return id(type(value)), [_described(getattr(value, field.name)) for field in fields]
    return value if isinstance(value, (bool, int, float, str, type(None))) else ("object", id(value))
