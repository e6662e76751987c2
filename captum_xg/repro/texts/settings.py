"""Sizes and numbers of an experiment on texts, by preset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What results depend on besides the data, the network and the seed.

    Attributes:
        texts: How many of the texts at most.
        max_length: Tokens of a text; what is behind them is cut off.
        width: Numbers of an embedded token.
        filters: Of the CNN, for windows of 3, 4 and 5 tokens each.
        layers: Of the transformer.
        epochs: Passes over the training texts; the best one on validation texts is kept.
        batch_size: Texts per step.
        learning_rate: Of Adam, falling to zero along a cosine.
        word_dropout: The share of tokens that training shows as unknown words.
        seeds: Trainings of each network.
        steps_texts: Texts on which it is counted how many steps Integrated Gradients needs.
        reference_steps: Steps of the integral that these are compared with.
        networks: Architectures that are compared.
        decoy_networks: Architectures that are trained on decoys.
        decoy_epochs: Passes over the training texts there, the last of which is kept.
        weights: λ to choose from.
        selection_seeds: Further trainings for each λ, that choose it.
    """

    texts: int
    max_length: int
    width: int
    filters: int
    layers: int
    epochs: int
    batch_size: int
    learning_rate: float
    word_dropout: float
    seeds: int
    steps_texts: int
    reference_steps: int
    networks: tuple[str, ...]
    decoy_networks: tuple[str, ...]
    decoy_epochs: int
    weights: tuple[float, ...]
    selection_seeds: int


PRESETS = {
    "quick": Settings(
        texts=800,
        max_length=32,
        width=16,
        filters=16,
        layers=1,
        epochs=8,
        batch_size=64,
        learning_rate=1e-2,
        word_dropout=0.1,
        seeds=2,
        steps_texts=4,
        reference_steps=128,
        networks=("bag", "cnn", "transformer"),
        decoy_networks=("cnn",),
        decoy_epochs=6,
        weights=(100.0, 1000.0),
        selection_seeds=1,
    ),
    "full": Settings(
        texts=1_000_000,
        max_length=40,
        width=32,
        filters=48,
        layers=1,
        epochs=10,
        batch_size=128,
        learning_rate=3e-3,
        word_dropout=0.2,
        seeds=3,
        steps_texts=32,
        reference_steps=512,
        networks=("bag", "cnn", "transformer"),
        decoy_networks=("cnn",),
        decoy_epochs=8,
        weights=(3000.0, 10_000.0, 20_000.0, 30_000.0, 100_000.0),
        selection_seeds=3,  # near λ = 10,000 a prior takes hold in some trainings and not in others
    ),
}
NUMBER_OF_TRAININGS = ("seeds", "networks", "decoy_networks", "weights", "selection_seeds")
"""Settings that say which trainings there are; what one comes to does not depend on them."""
