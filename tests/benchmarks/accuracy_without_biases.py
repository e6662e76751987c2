"""What removing the biases costs in accuracy: the small networks on Fashion-MNIST, with biases and as X-DNNs.

    python tests/benchmarks/accuracy_without_biases.py --data DIR --output DIR [--family vgg] [--seeds 0 1 2]
    python tests/benchmarks/accuracy_without_biases.py --output DIR --ship captum_xg/assets
    python tests/benchmarks/accuracy_without_biases.py --patches DIR --ship captum_xg/assets

The small counterpart of Hesse et al. 2021, Table 2 (left). Both twins get the same recipe, the same initial weights
and the same batches in the same order. 5,000 of the 60,000 training images are held out; which seed's weights are kept
is decided on them. The test images are looked at once, after the last epoch. Each run writes its result and its weights
to ``--output`` and is not repeated if they are there, so an interrupted script may be started again, and several
processes may share the work by family or seed. ``--ship`` writes the best seed's weights as float16, and the
accuracies; the record keeps those of networks that are not in ``--output``. The vision transformers are trained by
``captum-xg repro patches``, whose ``--output`` is named by ``--patches``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg import models
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.demo.train import accuracy
from captum_xg.repro.patches.protocol import Protocol

LEARNING_RATES = {"alexnet": 3e-3, "vgg": 3e-3, "fixup_resnet": 1e-2}
"""Peaks, per family; the same for both twins."""

HELD_OUT = 5000
RECIPE = "AdamW, weight decay 0.01, one-cycle learning rate, batches of 128, no augmentation"


def train(model: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, seed: int, peak: float) -> nn.Module:
    """Train ``model`` in place and return it in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    steps = -(-len(images) // 128)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=epochs * steps)
    model.train()
    for epoch in range(epochs):
        begin, total = time.perf_counter(), 0.0
        for index in torch.split(torch.randperm(len(images), generator=generator), 128):
            loss = F.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"    epoch {epoch}: loss {total / steps:.4f}, {time.perf_counter() - begin:.0f} s", flush=True)
    return model.eval()


def run(name: str, seed: int, data: str, epochs: int, output: Path) -> None:
    """Train the network ``name`` once and write ``<name>_<seed>.json`` and ``.pt``, unless they are there."""
    result = output / f"{name}_{seed}.json"
    if result.exists():
        return
    print(f"{name}, seed {seed}", flush=True)
    images, labels = load_fashion_mnist(data, train=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    begin = time.perf_counter()
    torch.manual_seed(seed)
    model = train(
        getattr(models, name)(),
        images[rest],
        labels[rest],
        epochs=epochs,
        seed=seed,
        peak=LEARNING_RATES[family_of(name)],
    )
    seconds = time.perf_counter() - begin
    # What is shipped is in float16, so that is what is measured.
    state = {key: value.to(torch.float16) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    numbers = {
        "name": name,
        "seed": seed,
        "epochs": epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation_accuracy": accuracy(model, images[held_out], labels[held_out]),
        "test_accuracy": accuracy(model, *load_fashion_mnist(data, train=False)),
        "seconds": seconds,
    }
    torch.save(state, output / f"{name}_{seed}.pt")
    part = result.with_suffix(".part")
    part.write_text(json.dumps(numbers, indent=2) + "\n")
    part.replace(result)  # last, so that a result is there only if all of the run is
    print(f"    {numbers}", flush=True)


def family_of(name: str) -> str:
    """Return ``"vgg"`` for ``"xsmall_vgg"``."""
    return name.removeprefix("x").removeprefix("small_")


def finished(output: Path, name: str) -> list[dict]:
    """Return the results of the runs of ``name`` that are there, by seed."""
    results = [json.loads(path.read_text()) for path in output.glob(f"{name}_*.json")]
    return sorted(results, key=lambda result: result["seed"])


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return statistics.fmean(values), error


def table(output: Path) -> str:
    """Return test accuracies in %, mean ± standard error over seeds, and the paired difference of the twins."""
    lines = [f"{'family':14} {'n':>2}   {'with biases':>14}   {'X-DNN':>14}   {'X-DNN − biases':>14}"]
    for family in LEARNING_RATES:
        regular, x = ({r["seed"]: r for r in finished(output, f"{p}small_{family}")} for p in ("", "x"))
        seeds = sorted(regular.keys() & x.keys())
        if seeds:
            pairs = [(100 * regular[s]["test_accuracy"], 100 * x[s]["test_accuracy"]) for s in seeds]
            columns = ([a for a, _ in pairs], [b for _, b in pairs], [b - a for a, b in pairs])
            cells = ["{:+.2f} ± {:.2f}" if i == 2 else "{:.2f} ± {:.2f}" for i in range(3)]
            cells = [cell.format(*mean_and_error(column)) for cell, column in zip(cells, columns, strict=True)]
            lines.append(f"{family:14} {len(seeds):>2}   {cells[0]:>14}   {cells[1]:>14}   {cells[2]:>14}")
    return "\n".join(lines)


def ship(output: Path, destination: Path) -> None:
    """Write the weights of the seed that is best on the held-out images, and the record of all runs."""
    networks = {}
    for family, peak in LEARNING_RATES.items():
        for name in (f"small_{family}", f"xsmall_{family}"):
            results = finished(output, name)
            networks[name] = {**summary(results), "peak_learning_rate": peak}
            copy_best(results, output, name, destination)
    record = {
        "measured_on": "all 10,000 test images of Fashion-MNIST, weights in float16, arithmetic in float32",
        "trained_on": f"55,000 training images of Fashion-MNIST; the other {HELD_OUT:,} chose the seed",
        "recipe": RECIPE,
        "torch": torch.__version__.split("+")[0],
    }
    path = destination / "small_models.json"
    others = json.loads(path.read_text())["networks"] if path.exists() else {}
    path.write_text(json.dumps({**record, "networks": {**others, **networks}}, indent=2) + "\n")


def ship_patches(folder: Path, destination: Path) -> None:
    """Add the vision transformers that ``captum-xg repro patches`` has trained to the shipped weights and the record.

    Raises:
        SystemExit: If the trainings are not those that the record is about.
    """
    values = json.loads((folder / "units" / "settings.json").read_text())
    protocol = Protocol(**{field.name: values[field.name] for field in dataclasses.fields(Protocol)})
    if (protocol.train_images, protocol.validation_images, protocol.test_images) != (55_000, HELD_OUT, 10_000):
        raise SystemExit(f"{folder}: its networks were not trained on 55,000 and tested on 10,000 images.")
    units = [json.loads(path.read_text())["value"] for path in sorted((folder / "units").glob("*vit_small-*.json"))]
    path = destination / "small_models.json"
    record = json.loads(path.read_text())
    for name in ("vit_small", "xvit_small"):
        results = [unit for unit in units if unit["network"] == name]
        if not results or len({result["torch"] for result in results}) > 1:
            raise SystemExit(f"{folder}: there is no training of {name}, or they are of several versions of torch.")
        record["networks"][name] = {
            **summary(results),
            "peak_learning_rate": protocol.learning_rate,
            "recipe": protocol.recipe,
            "torch": results[0]["torch"],
        }
        copy_best(results, folder / "weights", name, destination)
    path.write_text(json.dumps(record, indent=2) + "\n")


def summary(results: list[dict]) -> dict:
    """Return what the record says of a network, from all its runs by seed."""
    best = best_of(results)
    mean, error = mean_and_error([result["test_accuracy"] for result in results])
    return {
        "mean": round(mean, 5),
        "standard_error": round(error, 5),
        "seeds": len(results),
        "test_accuracies": [result["test_accuracy"] for result in results],
        "shipped": {k: best[k] for k in ("seed", "validation_accuracy", "test_accuracy")},
        "parameters": best["parameters"],
        "epochs": best["epochs"],
    }


def best_of(results: list[dict]) -> dict:
    """Return the run that is best on the held-out images, so that test images choose nothing."""
    return max(results, key=lambda result: result["validation_accuracy"])


def copy_best(results: list[dict], source: Path, name: str, destination: Path) -> None:
    """Write the weights that are shipped."""
    weights = source / f"{name}_{best_of(results)['seed']}.pt"
    (destination / f"{name}.pt").write_bytes(weights.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="where Fashion-MNIST lies or goes")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--family", choices=list(LEARNING_RATES), nargs="+", default=list(LEARNING_RATES))
    parser.add_argument("--output", type=Path, help="where results and weights go")
    parser.add_argument("--patches", type=Path, help="results of `captum-xg repro patches`, to --ship from")
    parser.add_argument("--ship", type=Path, help="write the best weights and the record here; nothing is trained")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if (arguments.output is None) == (arguments.patches is None) or (arguments.patches and not arguments.ship):
        parser.error("give --output, or --patches and --ship")
    if arguments.patches:
        ship_patches(arguments.patches, arguments.ship)
        return
    if arguments.ship:
        ship(arguments.output, arguments.ship)
    else:
        arguments.output.mkdir(parents=True, exist_ok=True)
        for seed in arguments.seeds:
            for family in arguments.family:
                for name in (f"small_{family}", f"xsmall_{family}"):
                    run(name, seed, arguments.data, arguments.epochs, arguments.output)
    print(table(arguments.output))


if __name__ == "__main__":
    main()
