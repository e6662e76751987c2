"""Protocol of the sparsity experiment: methods, λ, splits, and the run of a method."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.datasets.nhanes import MortalityTable, optional
from captum_xg.errors import OptionError
from captum_xg.repro import experiment
from captum_xg.repro.sparsity.networks import HIDDEN, network, stacked
from captum_xg.repro.sparsity.roc_auc import roc_auc
from captum_xg.repro.sparsity.training import Attribution, References, Samples, train

N_TRAIN = N_VALID = 100
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # the paper's begin at 0.01
# Rows that pass through the networks together: few fit the caches of a processor, many fill a GPU (some 4 GB).
_ROWS_AT_ONCE = {"cpu": 1_600, "cuda": 200_000}


@dataclass(frozen=True)
class Method(experiment.Method):
    """One way to train, with the Gini prior on its attribution."""

    attribution: Attribution

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strengths λ to choose from; 0 alone without a prior."""
        return STRENGTHS if self.has_prior else (0.0,)

    @property
    def cost(self) -> int:
        """Passes through the network per example and step, for a progress bar."""
        return 1 + self.n_references


def expected_gradients_with(n_references: int) -> Method:
    """Return Expected Gradients with that many references per example and step."""
    return Method(f"eg{n_references}", f"EG ({n_references})", "expected_gradients", True, n_references)


UNREGULARISED = Method("unregularised", "Unreg", "none", True)
UNREGULARISED_WITHOUT_BIAS = Method("unregularised_nobias", "Unreg w/o bias", "none", False)
X_GRADIENT = Method("xgradient_nobias", "XG w/o bias", "xgradient", False)
EXPECTED_GRADIENTS = expected_gradients_with(1)
LEFT_PANEL = (
    UNREGULARISED,
    UNREGULARISED_WITHOUT_BIAS,
    Method("rrr", "RRR", "rrr", True),
    Method("gradient", "Grad", "gradient", True),
    EXPECTED_GRADIENTS,
    X_GRADIENT,
)


class Preparation(Protocol):
    """A fitted pipeline of scikit-learn, which imputes and standardises."""

    def transform(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features without gaps, on the scale of the training examples."""


@dataclass(frozen=True)
class Split:
    """The data of one repetition, imputed and standardised by its training examples.

    Attributes:
        train: Shape ``(100, columns)``.
        train_labels: Shape ``(100,)``.
        valid: Shape ``(100, columns)``.
        valid_labels: Shape ``(100,)``.
        test_rows: Rows of the table for testing: all others.
        preparation: The fitted scikit-learn pipeline, to prepare those when they are needed.
    """

    train: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    valid: NDArray[np.float64]
    valid_labels: NDArray[np.int64]
    test_rows: NDArray[np.int64]
    preparation: Preparation


def split(table: MortalityTable, random_state: int) -> Split:
    """Return 100 training, 100 validation and the other people for testing, as the original code draws them.

    Gaps take the column's mean and columns are standardised, both as of the 100 training examples.

    Raises:
        OptionError: If scikit-learn is missing, there are too few people, or one part has no dead or nobody alive.
    """
    train_test_split = optional("sklearn.model_selection").train_test_split
    rows = np.arange(len(table.alive))
    if len(rows) <= N_TRAIN + N_VALID:
        raise OptionError(f"The data have {len(rows)} people, but {N_TRAIN} train, {N_VALID} validate and others test.")
    both, test = train_test_split(rows, train_size=N_TRAIN + N_VALID, random_state=random_state)
    first, second = train_test_split(both, train_size=N_TRAIN, random_state=random_state)
    for part, what in ((first, "training"), (second, "validation"), (test, "test")):
        if len(np.unique(table.alive[part])) < 2:
            raise OptionError(f"The {what} examples of the split with random_state {random_state} have one label only.")
    # A column without any value in the training examples is kept, as zeros: networks of all repetitions have one shape.
    preparation = optional("sklearn.pipeline").make_pipeline(
        optional("sklearn.impute").SimpleImputer(keep_empty_features=True),
        optional("sklearn.preprocessing").StandardScaler(),
    )
    return Split(
        train=preparation.fit_transform(table.features[first]),
        train_labels=table.alive[first],
        valid=preparation.transform(table.features[second]),
        valid_labels=table.alive[second],
        test_rows=test,
        preparation=preparation,
    )


@dataclass(frozen=True)
class Result:
    """What one network came to.

    Attributes:
        valid_auc: The best validation ROC-AUC of all epochs.
        test_auc: The test ROC-AUC of the network of that epoch.
        epoch: That epoch: the number of updates made before.
        seconds: Training time; of networks trained together, an equal share.
        device: What it was trained on.
    """

    valid_auc: float
    test_auc: float
    epoch: int
    seconds: float
    device: str


@dataclass(frozen=True)
class Experiment:
    """Data and settings that all runs share.

    Attributes:
        table: The data.
        splits: One per repetition.
        seed: Repetition i takes ``seed + i`` for its split, its first weights and its references.
        epochs: Updates per network.
        device: Where networks are trained.
        hidden: Widths of the hidden layers.
    """

    table: MortalityTable
    splits: Sequence[Split]
    seed: int
    epochs: int
    device: torch.device
    hidden: tuple[int, ...] = HIDDEN

    def chunk(self, method: Method) -> int:
        """Return how many networks are trained together."""
        rows = _ROWS_AT_ONCE.get(self.device.type, _ROWS_AT_ONCE["cpu"])
        return max(1, rows // (N_TRAIN * max(1, method.n_references)))

    def run(
        self,
        method: Method,
        strength: float,
        repetitions: Sequence[int],
        after_epoch: Callable[[], object] | None = None,
    ) -> list[Result]:
        """Train and test the networks of some repetitions together; each as if it were alone, but for rounding.

        There should be at most as many as :meth:`chunk` says, for a bounded memory.
        """
        began = time.perf_counter()
        width = self.table.features.shape[1]
        networks = [network(width, bias=method.bias, seed=self.seed + i, hidden=self.hidden) for i in repetitions]
        trained = train(
            stacked(networks, self.device),
            self.samples(repetitions),
            attribution=method.attribution,
            strength=strength,
            epochs=self.epochs,
            references=self.references(method, repetitions),
            after_epoch=after_epoch,
        )
        valid, epochs = trained.valid_auc.tolist(), trained.epoch.tolist()
        seconds = (time.perf_counter() - began) / len(repetitions)
        results = []
        for place, repetition in enumerate(repetitions):
            inputs, labels = self.test_set(repetition)
            with torch.no_grad():
                scores = trained.best.one(place).logits(inputs.unsqueeze(0))[0]
            test_auc = float(roc_auc(scores, labels))
            results.append(Result(valid[place], test_auc, epochs[place], seconds, self.device.type))
        return results

    def samples(self, repetitions: Sequence[int]) -> Samples:
        """Return the training and validation data of some repetitions."""
        splits = [self.splits[i] for i in repetitions]
        names = ("train", "train_labels", "valid", "valid_labels")
        return Samples(*(self._tensor([getattr(split, name) for split in splits]) for name in names))

    def references(self, method: Method, repetitions: Sequence[int]) -> References | None:
        """Return the random numbers of Expected Gradients, None for other methods. They are the same for every λ."""
        if method.n_references == 0:
            return None
        # Far from the seeds of the weights, so that no stream of numbers is used twice.
        return References([(1 << 32) + self.seed + i for i in repetitions], N_TRAIN, method.n_references)

    def test_set(self, repetition: int) -> tuple[Tensor, Tensor]:
        """Return the test examples ``(people, columns)`` and labels ``(people,)`` of a repetition."""
        rows = self.splits[repetition].test_rows
        features = self.splits[repetition].preparation.transform(self.table.features[rows])
        return self._tensor(features), self._tensor(self.table.alive[rows])

    def age_alone(self) -> list[float] | None:
        """Return the test ROC-AUC of each repetition if the younger are taken to live; None if the data have no age."""
        names = [name.lower() for name in self.table.names]
        if "age" not in names:
            return None
        column = names.index("age")
        tests = (self.test_set(i) for i in range(len(self.splits)))
        return [float(roc_auc(-inputs[:, column], labels)) for inputs, labels in tests]

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32).to(self.device)
