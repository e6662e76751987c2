"""Forward functions that keep what they are asked, so that random draws can be seen and counted."""

import torch


class Recording:
    """A function from one input tensor to one number per example, and all rows that it was called with."""

    def __init__(self, function):
        self.function = function
        self.rows = []
        self.largest = 0

    def __call__(self, x, *rest):
        self.rows += list(x.clone())
        self.largest = max(self.largest, len(x))
        return self.function(x, *rest)


def removed_sets(rows, x, baseline=0.0):
    """The sets of features that rows have at the baseline, for an x that is nowhere there, without x itself."""
    sets = [torch.nonzero(row.flatten() == baseline).flatten().tolist() for row in rows]
    assert all(
        torch.equal(row.flatten()[kept], x.flatten()[kept])
        for row, kept in zip(rows, _kept(rows, baseline), strict=True)
    )
    return [s for s in sets if s]


def _kept(rows, baseline):
    return [row.flatten() != baseline for row in rows]
