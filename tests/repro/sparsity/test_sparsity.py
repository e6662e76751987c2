"""The sparsity experiment: trained together is as trained alone, by the protocol, and nothing is lost."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from captum_xg.cli.command_line import main
from captum_xg.datasets.nhanes import MortalityTable
from captum_xg.errors import InputError
from captum_xg.priors import AttributionPriorLoss, GiniSparsity
from captum_xg.repro.sparsity import figure as sparsity_figure
from captum_xg.repro.sparsity import protocol as sparsity_protocol
from captum_xg.repro.sparsity.networks import network, stacked
from captum_xg.repro.sparsity.protocol import (
    EXPECTED_GRADIENTS,
    LEFT_PANEL,
    UNREGULARISED,
    X_GRADIENT,
    Experiment,
    expected_gradients_with,
    split,
)
from captum_xg.repro.sparsity.results import chosen
from captum_xg.repro.sparsity.roc_auc import roc_auc
from captum_xg.repro.sparsity.store import Store
from captum_xg.repro.sparsity.training import LEARNING_RATE, References, Samples, train

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

HIDDEN = (12, 7)


def _table(people: int = 260, columns: int = 6) -> MortalityTable:
    generator = np.random.default_rng(3)
    features = generator.normal(2.0, 3.0, size=(people, columns))
    alive = (features[:, 0] - 2 + generator.normal(size=people) > 0).astype(np.int64)
    features[generator.random(features.shape) < 0.1] = np.nan
    return MortalityTable(features, alive, ("age", *(f"c{i}" for i in range(1, columns))), "made up: for a test")


@pytest.fixture(scope="module")
def table():
    return _table()


@pytest.fixture(scope="module")
def experiment(table):
    splits = [split(table, i) for i in range(5)]
    return Experiment(table, splits, seed=0, epochs=6, device=torch.device("cpu"), hidden=HIDDEN)


def _samples(repetitions: int, n: int = 20, d: int = 5) -> Samples:
    generator = torch.Generator().manual_seed(1)
    draw = partial(torch.randn, dtype=torch.float64, generator=generator)
    labels = (torch.arange(repetitions * n).reshape(repetitions, n) % 3 == 0).double()
    return Samples(draw(repetitions, n, d), labels, draw(repetitions, n, d), labels)


def _alone(model: nn.Sequential, samples: Samples, i: int, method, strength: float, epochs: int, seed: int):
    """Train one network in a plain loop with the public loss, and keep a copy at the best validation ROC-AUC."""
    from sklearn.metrics import roc_auc_score

    x, y = samples.train[i], samples.train_labels[i].long()
    options = {}
    if method.attribution == "expected_gradients":
        generator = torch.Generator().manual_seed(seed)
        options = {
            "n_samples": method.n_references,
            "generator": generator,
            "references": lambda count: x[torch.randperm(count, generator=generator) % len(x)],
        }
    name = "gradient" if method.attribution == "none" else method.attribution
    loss = AttributionPriorLoss(model, GiniSparsity(), weight=strength, attribution=name, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    aucs, states = [], []
    for _ in range(epochs):
        with torch.no_grad():
            auc = roc_auc_score(samples.valid_labels[i].numpy(), model(samples.valid[i]).numpy())
            aucs.append(round(auc, 12))  # its sum of trapezes differs by rounding where areas are equal
        states.append([p.detach().clone() for p in model.parameters()])
        optimizer.zero_grad()
        loss(x, y).total.backward()
        optimizer.step()
    best = int(np.argmax(aucs))
    return aucs[best], best, states[best], list(model.parameters())


def _parameters_of(stack, i: int) -> list[torch.Tensor]:
    """Return one network's parameters in the order of nn.Module.parameters."""
    found = []
    for layer, weight in enumerate(stack.weights):
        found.append(weight[i])
        if stack.biases:
            found.append(stack.biases[layer][i, 0])
    return found


@pytest.mark.parametrize("method", [*LEFT_PANEL, expected_gradients_with(3)], ids=lambda m: m.key)
def test_networks_trained_together_are_those_of_a_plain_loop_with_the_public_loss(method):
    repetitions, epochs, seeds = 3, 8, [11, 5, 8]
    strength = 0.0 if method.attribution == "none" else 0.7
    samples = _samples(repetitions)
    d = samples.train.shape[2]
    build = lambda seed: network(d, bias=method.bias, seed=seed, hidden=HIDDEN).double()
    references = References(seeds, samples.train.shape[1], method.n_references) if method.n_references else None
    together = train(
        stacked([build(seed) for seed in seeds]),
        samples,
        attribution=method.attribution,
        strength=strength,
        epochs=epochs,
        references=references,
    )
    moved = False
    for i, seed in enumerate(seeds):
        auc, epoch, best, last = _alone(build(seed), samples, i, method, strength, epochs, seed)
        assert float(together.valid_auc[i]) == pytest.approx(auc, abs=1e-12)
        assert int(together.epoch[i]) == epoch
        for ours, theirs in zip(_parameters_of(together.last, i), last, strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-11)
        for ours, theirs in zip(_parameters_of(together.best, i), best, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
        moved |= epoch > 0
    assert moved  # else the best networks are the first ones, and nothing was compared


def test_methods_and_strengths_give_different_networks():
    samples, last = _samples(1), []
    for method in [*LEFT_PANEL, expected_gradients_with(3)]:
        for strength in (0.0,) if method.attribution == "none" else (0.1, 1.0):
            references = References([1], samples.train.shape[1], max(1, method.n_references))
            stack = stacked([network(5, bias=method.bias, seed=0, hidden=HIDDEN).double()])
            options = {"attribution": method.attribution, "strength": strength, "epochs": 3}
            trained = train(stack, samples, references=references, **options)
            last.append(trained.last.weights[0].flatten())
    distances = torch.cdist(torch.stack(last), torch.stack(last)) + torch.eye(len(last))
    assert distances.min() > 1e-6


def test_a_repetition_does_not_depend_on_those_trained_with_it(experiment):
    for method in (UNREGULARISED, X_GRADIENT, EXPECTED_GRADIENTS):
        together = experiment.run(method, 0.1, [0, 1, 2, 3])
        alone = [experiment.run(method, 0.1, [i])[0] for i in (2, 0)]
        for ours, theirs in zip([together[2], together[0]], alone, strict=True):
            assert ours.epoch == theirs.epoch
            assert ours.valid_auc == pytest.approx(theirs.valid_auc, abs=1e-3)  # float32: a pair may change places
            assert ours.test_auc == pytest.approx(theirs.test_auc, abs=2e-2)


def test_test_results_are_of_the_network_with_the_best_validation_and_not_of_the_last(experiment):
    found = experiment.run(X_GRADIENT, 1.0, [0, 1, 2])
    assert any(result.epoch < experiment.epochs - 1 for result in found)
    for i, result in enumerate(found):
        model = network(experiment.table.features.shape[1], bias=False, seed=i, hidden=HIDDEN)
        loss = AttributionPriorLoss(model, GiniSparsity(), weight=1.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        samples = experiment.samples([i])
        for _ in range(result.epoch):
            optimizer.zero_grad()
            loss(samples.train[0], samples.train_labels[0].long()).total.backward()
            optimizer.step()
        inputs, labels = experiment.test_set(i)
        with torch.no_grad():
            expected = float(roc_auc(model(inputs)[:, 0], labels))
        assert result.test_auc == pytest.approx(expected, abs=1e-3)  # float32: a pair may change places


def test_without_biases_a_network_begins_with_the_weights_of_the_one_with_biases():
    with_biases, without = (network(6, bias=bias, seed=4) for bias in (True, False))
    weights = [p for name, p in with_biases.named_parameters() if "weight" in name]
    assert [p.shape for p in weights] == [(512, 6), (128, 512), (32, 128), (1, 32)]
    assert all(torch.equal(a, b) for a, b in zip(weights, without.parameters(), strict=True))
    before = torch.random.get_rng_state()
    assert not torch.equal(network(6, bias=False, seed=5)[0].weight, without[0].weight)
    assert torch.equal(before, torch.random.get_rng_state())


def test_age_alone_takes_the_younger_to_live(experiment, table):
    from sklearn.metrics import roc_auc_score

    for found, one in zip(experiment.age_alone(), experiment.splits, strict=True):
        age, alive = table.features[one.test_rows, 0], table.alive[one.test_rows]
        filled = np.where(np.isnan(age), one.preparation[0].statistics_[0], age)
        assert found == pytest.approx(roc_auc_score(alive, -filled), abs=1e-6)


def test_splits_are_the_protocols(table):
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    for repetition in (0, 4):
        ours = split(table, repetition)
        X, y = table.features, table.alive
        both, X_test, both_y, y_test = train_test_split(X, y, train_size=200, random_state=repetition)
        X_train, X_valid, y_train, y_valid = train_test_split(both, both_y, train_size=100, random_state=repetition)
        imputer = SimpleImputer().fit(X_train)
        scaler = StandardScaler().fit(imputer.transform(X_train))
        for found, raw in ((ours.train, X_train), (ours.valid, X_valid)):
            np.testing.assert_allclose(found, scaler.transform(imputer.transform(raw)))
        assert len(ours.train) == len(ours.valid) == 100
        assert np.array_equal(ours.train_labels, y_train)
        assert np.array_equal(ours.valid_labels, y_valid)
        inputs, labels = Experiment(table, [ours], 0, 1, torch.device("cpu")).test_set(0)
        expected = scaler.transform(imputer.transform(X_test))
        np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-5, atol=1e-6)
        assert np.array_equal(labels.numpy(), y_test)


def test_each_epoch_uses_every_training_example_as_a_reference_k_times_and_anew():
    references = References([3, 4], 10, 5)
    (rows, alphas), (later, _) = references.draw(), references.draw()
    assert rows.shape == alphas.shape == (2, 10, 5)
    for drawn in (*rows, *later):
        assert torch.equal(drawn.flatten().bincount(), torch.full((10,), 5))
    assert not torch.equal(rows, later)
    assert not torch.equal(rows[0], rows[1])
    assert ((alphas >= 0) & (alphas < 1)).all()
    assert torch.equal(References([4], 10, 5).draw()[0][0], rows[1])


@pytest.mark.parametrize("distinct", [2, 5, 1000])
def test_roc_auc_is_that_of_scikit_learn_with_ties_and_without(distinct):
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(distinct)
    scores = generator.integers(distinct, size=(7, 41)).astype(np.float32)
    labels = generator.integers(2, size=(7, 41))
    ours = roc_auc(torch.from_numpy(scores), torch.from_numpy(labels))
    theirs = [roc_auc_score(y, s) for y, s in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-14)
    assert roc_auc(torch.from_numpy(scores[0]), torch.from_numpy(labels[0])).item() == pytest.approx(theirs[0])


def test_roc_auc_refuses_what_has_none():
    with pytest.raises(InputError, match="one class only"):
        roc_auc(torch.rand(2, 3), torch.tensor([[0, 1, 0], [1, 1, 1]]))
    with pytest.raises(InputError, match="NaN"):
        roc_auc(torch.tensor([0.0, torch.nan]), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="one shape"):
        roc_auc(torch.rand(3), torch.tensor([0, 1]))


def test_the_strength_is_chosen_by_validation_and_not_by_test():
    result = lambda valid, test: sparsity_protocol.Result(valid, test, 0, 0.0, "cpu")
    runs = {0.1: [result(0.6, 0.9), result(0.6, 0.9)], 1.0: [result(0.9, 0.5), result(0.5, 0.5)]}
    runs[10.0] = [result(0.5, 0.99), result(0.5, 0.99)]
    outcome = chosen(X_GRADIENT, runs)
    assert outcome.strength == 1.0
    assert outcome.test == [0.5, 0.5]
    assert outcome.note == ""
    assert "lower edge" in chosen(X_GRADIENT, {0.1: runs[0.1], 1.0: runs[10.0]}).note
    assert "upper edge" in chosen(X_GRADIENT, {0.1: runs[10.0], 1.0: runs[0.1]}).note


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Return a function that runs the command on made-up data, with few strengths and a small network."""
    data = _table()
    path = tmp_path / "data.csv"
    import pandas

    frame = pandas.DataFrame(data.features, columns=list(data.names)).assign(alive=data.alive)
    frame.to_csv(path, index=False)
    monkeypatch.setattr(sparsity_protocol, "STRENGTHS", (0.1, 1.0))
    monkeypatch.setattr(sparsity_protocol, "_ROWS_AT_ONCE", {"cpu": 200})
    monkeypatch.setattr(Experiment.__init__, "__defaults__", (HIDDEN,))

    def run(*more: str) -> int:
        options = ["--data", str(path), "--output", str(tmp_path / "out"), "--epochs", "2", "--repetitions", "3"]
        return main(["repro", "sparsity", *options, *more])

    return run


def test_the_command_prints_tables_and_writes_numbers_and_a_figure(small, tmp_path, capsys):
    assert small("--panel", "both") == 0
    printed = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "sparsity.json").read_text())
    assert (tmp_path / "out" / "sparsity.png").read_bytes().startswith(b"\x89PNG")
    assert set(content["methods"]) == {method.key for method in LEFT_PANEL}
    assert list(content["references"]) == ["eg1", "eg2", "eg4", "eg8", "eg16"]
    assert "not the paper's data" in printed
    for key, method in {**content["methods"], **content["references"]}.items():
        runs = method["runs"][f"{method['strength']:g}"]
        assert len(runs) == 3
        assert method["test_auc"]["mean"] == pytest.approx(np.mean([r["test_auc"] for r in runs]))
        assert f"{method['test_auc']['mean']:.4f}" in printed, key
    strengths = {method["strength"] for method in content["references"].values()}
    assert strengths == {content["methods"]["eg1"]["strength"]}


@pytest.fixture
def no_pictures(monkeypatch):
    """Draw none: they take seconds."""
    monkeypatch.setattr(sparsity_figure, "draw", lambda *_, **__: None)


@pytest.mark.usefixtures("no_pictures")
def test_the_right_panel_alone_does_only_what_it_needs(small, tmp_path):
    assert small("--panel", "right") == 0
    files = {path.stem.split("_0")[0].split("_1")[0] for path in (tmp_path / "out" / "runs").glob("*.json")}
    expected = {"eg1", "eg2", "eg4", "eg8", "eg16", "xgradient_nobias", "unregularised_nobias"}
    assert files == expected | {"settings"}


@pytest.mark.usefixtures("no_pictures")
def test_an_interrupted_experiment_goes_on_and_comes_out_the_same(small, tmp_path, monkeypatch, capsys):
    assert small() == 0
    whole = (tmp_path / "out" / "sparsity.json").read_text()
    trained: list[int] = []
    original = Experiment.run

    def interrupted(self, method, strength, repetitions, after_epoch=None):
        if len(trained) == 7:
            raise KeyboardInterrupt
        trained.append(len(repetitions))
        return original(self, method, strength, repetitions, after_epoch)

    (tmp_path / "out").rename(tmp_path / "first")
    monkeypatch.setattr(Experiment, "run", interrupted)
    assert small() == 130
    monkeypatch.setattr(Experiment, "run", lambda *a, **k: trained.append(len(a[3])) or original(*a, **k))
    assert small() == 0
    assert sum(trained) == 3 * sum(len(method.strengths) for method in LEFT_PANEL)  # nothing twice, nothing missing
    drop = lambda text: [line for line in text.splitlines() if "seconds" not in line and '"cpu"' not in line]
    assert drop((tmp_path / "out" / "sparsity.json").read_text()) == drop(whole)
    before = len(trained)
    assert small() == 0
    assert len(trained) == before


@pytest.mark.usefixtures("no_pictures")
def test_another_process_that_writes_over_results_loses_no_run_its_own(small, monkeypatch):
    original = Store.add

    def overwritten(self, method, strength, results):
        original(self, method, strength, results)
        self._path(method, strength).write_text("{}")

    monkeypatch.setattr(Store, "add", overwritten)
    assert small() == 0


@pytest.mark.usefixtures("no_pictures")
def test_results_of_other_settings_are_refused_and_not_mixed(small, tmp_path, capsys):
    assert small("--panel", "left") == 0
    assert small("--seed", "1") == 3
    assert "seed 0 there and 1 now" in capsys.readouterr().err
    (tmp_path / "out" / "runs" / "rrr_1.json").write_text('{"0": ')
    assert small() == 3
    assert "rrr_1.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sparsity.json", "sparsity.png"])
def test_what_cannot_be_written_is_said_before_anything_is_trained(name, small, tmp_path, capsys):
    (tmp_path / "out" / name).mkdir(parents=True)
    assert small() == 3
    assert f"{name} cannot be written: it is a directory" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == ["settings.json"]


def test_results_come_back_from_the_store_as_they_were(experiment, tmp_path):
    store = Store(tmp_path, {"seed": 0})
    first, second = experiment.run(X_GRADIENT, 0.1, [0, 3])
    store.add(X_GRADIENT, 0.1, {3: second})
    store.add(X_GRADIENT, 0.1, {0: first})
    assert Store(tmp_path, {"seed": 0}).results(X_GRADIENT, 0.1) == {0: first, 3: second}
    assert store.results(X_GRADIENT, 1.0) == {}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["repro", "sparsity", "--repetitions", "1"], 3, "at least 2 repetitions"),
        (["repro", "sparsity", "--device", "abacus"], 3, "--device abacus"),
        (["repro", "sparsity", "--device", "meta"], 3, "cpu and cuda only"),
        (["repro", "sparsity", "--data", "no/such/place"], 3, "no NHANES I data"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(arguments, status, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["repro"], ["repro", "nothing"], ["repro", "sparsity", "--panel", "middle"]])
def test_wrong_arguments_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage: captum-xg repro" in capsys.readouterr().err


def test_help_lists_experiments_and_the_options_of_one(capsys):
    for arguments, said in ((["repro", "--help"], "sparsity"), (["repro", "sparsity", "--help"], "--panel")):
        with pytest.raises(SystemExit) as error:
            main(arguments)
        assert error.value.code == 0
        assert said in capsys.readouterr().out
