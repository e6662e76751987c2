"""A LightningModule whose training step returns the loss with a prior trains as a plain loop does."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xg.priors import AttributionPriorLoss, TotalVariation

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    L = pytest.importorskip("lightning")

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and loggers

EXAMPLES, BATCH, EPOCHS = 12, 4, 2


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(54, 4, bias=False),
        )


def loader():
    x = torch.rand(EXAMPLES, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, torch.arange(EXAMPLES) % 4), batch_size=BATCH)


def schedule(step):
    return 0.1 * step


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = network()
        self.loss = AttributionPriorLoss(self.model, TotalVariation(), weight=schedule)
        self.priors = []

    def training_step(self, batch, _):
        loss = self.loss(*batch)
        self.log("prior", loss.prior)
        return loss.total

    def validation_step(self, batch, _):
        found = self.loss(*batch)
        assert not found.total.requires_grad
        self.priors.append(float(found.prior))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def trainer(folder, epochs=EPOCHS, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, default_root_dir=folder, **quiet, **options)


def plain_loop(epochs):
    model = network()
    loss = AttributionPriorLoss(model, TotalVariation(), weight=schedule)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for x, y in loader():
            optimizer.zero_grad()
            loss(x, y).total.backward()
            optimizer.step()
    return model


def assert_same(found, expected):
    for (name, a), (_, b) in zip(found.named_parameters(), expected.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


def test_a_trainer_trains_as_a_plain_loop_and_evaluation_in_between_counts_no_steps(tmp_path):
    module = Classifier()
    trainer(tmp_path, enable_checkpointing=False).fit(module, loader(), loader())
    assert_same(module.model, plain_loop(EPOCHS))
    assert module.loss.step == EPOCHS * EXAMPLES // BATCH
    assert module.loss._attribution.n_proofs == 2  # one in training mode, one in evaluation mode
    assert len(module.priors) > EPOCHS * EXAMPLES // BATCH  # those of the sanity check, too


def test_a_checkpoint_has_each_parameter_once_and_training_goes_on_from_it(tmp_path):
    module = Classifier()
    first = trainer(tmp_path, epochs=1)
    first.fit(module, loader())
    path = tmp_path / "one.ckpt"
    first.save_checkpoint(path)
    state = torch.load(path, weights_only=False)["state_dict"]
    assert sorted(state) == sorted([f"model.{name}" for name in network().state_dict()] + ["loss._extra_state"])

    resumed = Classifier()
    trainer(tmp_path, enable_checkpointing=False).fit(resumed, loader(), ckpt_path=path)
    assert resumed.loss.step == EPOCHS * EXAMPLES // BATCH
    assert_same(resumed.model, plain_loop(EPOCHS))
    loaded = Classifier.load_from_checkpoint(path)
    assert loaded.loss.step == EXAMPLES // BATCH
    assert_same(loaded.model, plain_loop(1))


@pytest.mark.parametrize("options", [{"accumulate_grad_batches": 3}, {"gradient_clip_val": 0.1}], ids=str)
def test_accumulation_and_clipping_by_the_trainer_are_those_of_a_plain_loop(tmp_path, options):
    module = Classifier()
    trainer(tmp_path, enable_checkpointing=False, **options).fit(module, loader())
    model = network()
    loss = AttributionPriorLoss(model, TotalVariation(), weight=schedule)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    every = options.get("accumulate_grad_batches", 1)
    for _ in range(EPOCHS):
        for i, (x, y) in enumerate(loader(), 1):
            (loss(x, y).total / every).backward()
            if i % every == 0:
                nn.utils.clip_grad_norm_(model.parameters(), options.get("gradient_clip_val", float("inf")))
                optimizer.step()
                optimizer.zero_grad()
    for a, b in zip(module.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_in_bfloat16_a_trainer_goes_the_way_of_float32(tmp_path):
    exact, coarse = Classifier(), Classifier()
    start = copy.deepcopy([p.detach() for p in exact.model.parameters()])
    trainer(tmp_path, enable_checkpointing=False).fit(exact, loader())
    trainer(tmp_path, enable_checkpointing=False, precision="bf16-mixed").fit(coarse, loader())
    for p, a, b in zip(start, exact.model.parameters(), coarse.model.parameters(), strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert not torch.equal(a, b)
        assert torch.nn.functional.cosine_similarity((a - p).flatten(), (b - p).flatten(), 0) > 0.98
