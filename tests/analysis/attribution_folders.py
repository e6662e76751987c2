"""Folders of attributions for tests, written from tensors."""

import torch

from captum_xg.datasets import Attributions
from captum_xg.datasets.attributions.layout import Index, Listed, shard_path, write_index
from captum_xg.datasets.attributions.shard import Shard, sha256_of, write_shard


def folder(path, attributions, *, targets=None, outputs=None, labels=None, tokens=None, ids=None, shard=7):
    """Write attributions ``(N, *shape)`` or, with targets ``(N, K)``, ``(N, K, *shape)``, and return them as read."""
    several = attributions if isinstance(attributions, tuple) else (attributions,)
    n = len(several[0])
    targets = torch.zeros(n, dtype=torch.int64) if targets is None else targets
    single = targets.dim() == 1
    ids = torch.arange(n) * 3 if ids is None else ids
    columns = {
        "ids": ids,
        "digests": torch.zeros(n, dtype=torch.int64),
        "targets": targets[:, None] if single else targets,
        "outputs": (torch.eye(10)[targets if single else targets[:, 0]] if outputs is None else outputs).float(),
        "gap": torch.zeros(n, 1),
    }
    for i, numbers in enumerate(several):
        name = "attributions" if len(several) == 1 else f"attributions.{i}"
        columns[name] = numbers[:, None].contiguous() if single else numbers
    columns |= {name: value for name, value in (("labels", labels), ("tokens", tokens)) if value is not None}
    (path / "shards").mkdir(parents=True)
    names = tuple(f"x{i}" for i in range(len(several)))
    write_index(path, Index("run", {}, names))
    listed = []
    for start in range(0, n, shard):
        rows = {name: column[start : start + shard].clone() for name, column in columns.items()}
        kept = len(rows["ids"])
        file = shard_path(path, start)
        write_shard(file, Shard(start, start + kept, "run", rows))
        listed.append(Listed(f"shards/{file.name}", start, start + kept, kept, 0, sha256_of(file)))
    write_index(path, Index("run", {}, names, n, True, tuple(listed)))
    return Attributions(path)
