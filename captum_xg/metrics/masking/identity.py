"""Keeps a MetricCollection from taking two different metrics for one."""

from __future__ import annotations

import uuid

import torch
from torchmetrics import Metric


def add_identity(metric: Metric) -> None:
    """Give a metric a state that no other has.

    A :class:`torchmetrics.MetricCollection` compares the states of its members after the first update and from then on
    updates only one of those whose states are equal. Two accuracies may well be equal on the first batch and differ on
    the next. Copies of a metric share the state, rightly.
    """
    identity = uuid.uuid4().bytes
    numbers = [int.from_bytes(identity[i : i + 2], "little") for i in range(0, len(identity), 2)]
    # Of no use across processes, where it differs; the largest is as good as any.
    metric.add_state("identity", torch.tensor(numbers), dist_reduce_fx="max")
    # First, for torchmetrics 1.4 compares the first state alone.
    metric._defaults = {"identity": metric._defaults.pop("identity"), **metric._defaults}
