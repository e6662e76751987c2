"""A unit: a network is trained, explained on all its data, and trained again with a prior on what stands out."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xg.analysis import Region, Regions, cluster, find_regions, summarize
from captum_xg.attr import XGradient
from captum_xg.datasets.attributions import Attributions
from captum_xg.datasets.decoy import PATCH
from captum_xg.datasets.fashion_mnist import CLASSES
from captum_xg.repro.decoy import protocol
from captum_xg.repro.decoy.protocol import NO_PRIOR_XDNN, X_GRADIENT, Labelled
from captum_xg.repro.decoy.training import accuracy, train
from captum_xg.repro.scan.data import Images, Patched, corners, with_patches
from captum_xg.scan import explain_dataset

MOST = 60
"""So many regions are ranked; a place that is among none of them has no rank."""
SHOWN = 6
"""So many of them are kept with their map, for the picture."""
ENOUGH = 0.3
"""The prior is on the regions with at least this score, in nats; on the best one if there are none."""
_TEST = 500
"""Added to a seed for the patches of test images."""
SAME = 0.5
"""A region is a place of the patch where their intersection is at least this part of their union."""


@dataclass(frozen=True)
class Settings:
    """What numbers depend on besides the share of images with the patch and the seed.

    Attributes:
        images: How many are trained on and explained.
        epochs: Passes over them.
        batch_size: Of training.
        weight: λ of the prior.
    """

    images: int
    epochs: int
    batch_size: int
    weight: float


def measured(share: float, seed: int, images: Images, settings: Settings, device: torch.device) -> dict[str, Any]:
    """Return what comes out for one network: before, what stands out, and after a prior on that."""
    patched = with_patches(*images.train, share, seed)
    before = _trained(seed, patched, None, settings, device)
    with tempfile.TemporaryDirectory() as folder:
        scan = _explained(before, patched, Path(folder) / "before", device)
        clusters = cluster(scan, classes=CLASSES)
        regions = find_regions(clusters, most=MOST)
        by_maps = find_regions(summarize(scan, by="prediction"), most=MOST)
        mask = regions.mask(_enough(regions))
        found: dict[str, Any] = {
            "carry": int(patched.carries.sum()),
            "before": {**_accuracies(before, images, seed, device), **_shares(scan, mask, patched)},
            "clusters": len(clusters.clusters),
            "ranks": ranks(regions),
            "ranks by maps": ranks(by_maps),
            "regions": [_listed(region) for region in regions.regions[:SHOWN]],
            "maps": [[round(v, 5) for v in each.flatten().tolist()] for each in regions.shares[:SHOWN]],
            "mask": _fit(mask),
        }
        if share > 0:  # else there is nothing to be cured
            after = _trained(seed, patched, mask, settings, device)
            scan = _explained(after, patched, Path(folder) / "after", device)
            found["after"] = {**_accuracies(after, images, seed, device), **_shares(scan, mask, patched)}
    return found


def ranks(regions: Regions) -> list[int | None]:
    """Return the rank of each of the four places of the patch among regions, from 1; None if it is not among them."""
    return [
        next((i for i, each in enumerate(regions.regions, 1) if _same(each.corner, each.size, place)), None)
        for place in corners(*regions.shape)
    ]


def _listed(region: Region) -> dict[str, Any]:
    """Return a region as JSON gives it back."""
    return {**asdict(region), "corner": list(region.corner), "size": list(region.size)}


def _same(corner: tuple[int, ...], size: tuple[int, ...], place: tuple[int, int]) -> bool:
    both = 1
    for first, n, own in zip(corner, size, place, strict=True):
        both *= max(0, min(first + n, own + PATCH) - max(first, own))
    return both >= SAME * (size[0] * size[1] + PATCH**2 - both)


def _enough(regions: Regions) -> int:
    """Return how many regions the prior is on."""
    return max(1, sum(each.score >= ENOUGH for each in regions.regions))


def _trained(seed: int, data: Patched, mask: Tensor | None, settings: Settings, device: torch.device) -> nn.Module:
    """Return a network trained on images; with a mask also not to rely on what is in it."""
    own = protocol.Settings(len(data.labels), 0, settings.epochs, min(settings.batch_size, len(data.labels)))
    nowhere = torch.zeros(data.images.shape[2:], dtype=torch.bool) if mask is None else mask
    shown = Labelled(data.images, data.labels, nowhere.expand(data.images.shape))
    method = NO_PRIOR_XDNN if mask is None else X_GRADIENT
    model = train(method, settings.weight, seed, Labelled(*(part.to(device) for part in shown)), own, lambda _: None)
    if model is None:
        raise ArithmeticError(f"the training with λ = {settings.weight:g} diverged")
    return model


def _explained(model: nn.Module, data: Patched, folder: Path, device: torch.device) -> Attributions:
    """Return X-Gradient of the predicted classes of all images."""
    loader = DataLoader(TensorDataset(data.images.to(device), data.labels), batch_size=250)
    return explain_dataset(XGradient(model), loader, folder, targets="predicted", progress=False)


def _shares(scan: Attributions, mask: Tensor, data: Patched) -> dict[str, float]:
    """Return the mean share of the attribution in the regions found and in the corners, of images with the patch."""
    scores = summarize(scan, regions={"found": mask, "patch": _places(mask)}).scores
    counted = data.carries if bool(data.carries.any()) else torch.ones_like(data.carries)
    chosen = counted[scores.ids]
    return {name: float(scores.values[f"share of {name}"][chosen].nanmean()) for name in ("found", "patch")}


def _accuracies(model: nn.Module, images: Images, seed: int, device: torch.device) -> dict[str, float]:
    """Return accuracies on test images: without patches, and with patches that mean nothing."""
    clean, labels = (part.to(device) for part in images.test)
    random = with_patches(*images.test, 1.0, _TEST + seed, informative=False).images.to(device)
    return {"clean": accuracy(model, clean, labels), "random": accuracy(model, random, labels)}


def _fit(mask: Tensor) -> dict[str, float]:
    """Return how much of the four places a mask covers, and how much of it lies beside them."""
    places = _places(mask)
    inside = int((mask & places).sum())
    return {"covered": inside / int(places.sum()), "pixels": int(mask.sum()), "beside": int(mask.sum()) - inside}


def _places(like: Tensor) -> Tensor:
    """Return where the patch may be."""
    places = torch.zeros_like(like)
    for row, column in corners(*like.shape):
        places[row : row + PATCH, column : column + PATCH] = True
    return places
