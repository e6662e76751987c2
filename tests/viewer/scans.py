"""Folders of attributions for tests, written without a model: random inputs, outputs and attributions that add up.

Settings that are given stand before those that all have.
"""

import torch

from captum_xg.datasets.attributions import Attributions
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.datasets.attributions.layout import Index, Listed, shard_path, write_index
from captum_xg.datasets.attributions.refused import RefusedExample
from captum_xg.datasets.attributions.shard import Shard, sha256_of, write_shard


def write_scan(folder, inputs, attributions, outputs, targets=None, labels=None, *, gone=(), per_shard=64, **more):
    """Write what a scan of inputs ``(N, …)`` or a tuple of them would write; attributions ``(N, K, …)``."""
    several = isinstance(inputs, tuple)
    parts = inputs if several else (inputs,)
    maps = attributions if isinstance(attributions, tuple) else (attributions,)
    targets = outputs.argmax(1, keepdim=True) if targets is None else targets
    total = sum(part.double().flatten(2).sum(2) for part in maps)
    gap = (total - outputs.double().gather(1, targets.clamp(min=0))).float()
    names = [f"attributions.{i}" for i in range(len(maps))] if len(maps) > 1 else ["attributions"]
    columns = {"digests": example_digests(parts), "targets": targets, "outputs": outputs.float(), "gap": gap}
    columns |= dict(zip(names, maps, strict=True))
    columns |= {} if labels is None else {"labels": labels}
    columns |= {"tokens": more["tokens"]} if "tokens" in more else {}
    n = len(parts[0])
    inside = tuple(f"x{i}" for i in range(len(maps)))
    settings = {
        **more.get("settings", {}),
        "method": more.get("method", "xgradient"),
        "layer": more.get("layer"),
        "model": {"class": "Sequential", "digest": "0" * 16},
    }
    listed = []
    (folder / "shards").mkdir(parents=True)
    for first in range(0, n, per_shard):
        stop = min(first + per_shard, n)
        kept = torch.tensor([i for i in range(first, stop) if i not in gone], dtype=torch.int64)
        refused = tuple(RefusedExample(i, "HomogeneityError", "F(αx) ≠ αF(x)") for i in range(first, stop) if i in gone)
        own = {"ids": kept} | {name: column[kept].contiguous() for name, column in columns.items()}
        if "lengths" in more:  # texts are as long as the longest of their shard
            longest = int(more["lengths"][kept].max())
            own |= {name: own[name][..., :longest].contiguous() for name in ("tokens", "attributions")}
        path = shard_path(folder, first)
        write_shard(path, Shard(first, stop, "run", own, refused))
        name = str(path.relative_to(folder))
        listed.append(Listed(name, first, stop, len(kept), len(refused), sha256_of(path)))
    write_index(folder, Index("run", settings, inside, n, True, tuple(listed)))
    return Attributions(folder)


def pictures(n, size=12, channels=1, classes=4, seed=0):
    """Return pictures, attributions ``(n, 1, C, H, W)``, outputs and labels; classes are bright in their corner."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    x = torch.rand(n, channels, size, size, generator=g) * 0.4
    half = size // 2
    for k in range(classes):
        rows, columns = (k // 2 % 2) * half, (k % 2) * half
        x[labels == k, :, rows : rows + half, columns : columns + half] += 0.5
    a = torch.randn(n, 1, channels, size, size, generator=g) * x.unsqueeze(1) * 0.05
    outputs = torch.randn(n, classes, generator=g)
    outputs[torch.arange(n), labels] += 1.5
    top = outputs.argmax(1)
    a = a + (outputs.gather(1, top[:, None]) - a.flatten(1).sum(1, keepdim=True))[:, :, None, None, None] / a[0].numel()
    return x, a, outputs, labels
