"""Results of experiments on disk: what is not as it was written is named and refused, and nothing is lost."""

import json

import pytest
import torch
from decoy_samples import SMALL, stored

from captum_xg.errors import CheckpointError, OptionError
from captum_xg.repro.decoy.protocol import X_GRADIENT as DECOY_X_GRADIENT
from captum_xg.repro.decoy.store import Run
from captum_xg.repro.decoy.store import Store as DecoyStore
from captum_xg.repro.decoy.training import network
from captum_xg.repro.sparsity.protocol import X_GRADIENT, Result
from captum_xg.repro.sparsity.store import Store

RESULT = Result(valid_auc=0.75, test_auc=1.0, epoch=0, seconds=0.25, device="cpu")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("valid_auc", float("nan")),
        ("valid_auc", None),
        ("test_auc", 1.5),
        ("test_auc", "0.5"),
        ("test_auc", -0.1),
        ("epoch", 1.5),
        ("epoch", -1),
        ("epoch", True),
        ("seconds", float("inf")),
        ("seconds", -1.0),
        ("device", None),
        ("more", 1),
    ],
)
def test_results_of_the_sparsity_experiment_that_cannot_be_are_refused(field, value, tmp_path):
    store = Store(tmp_path, {})
    store.add(X_GRADIENT, 0.1, {0: RESULT, 3: RESULT})
    assert store.results(X_GRADIENT, 0.1) == {0: RESULT, 3: RESULT}
    path = tmp_path / "xgradient_nobias_0.1.json"
    content = json.loads(path.read_text())
    content["3"][field] = value
    path.write_text(json.dumps(content))
    for attempt in (lambda: store.results(X_GRADIENT, 0.1), lambda: store.add(X_GRADIENT, 0.1, {7: RESULT})):
        with pytest.raises(OptionError, match=rf"0\.1\.json cannot be read: '3' holds no result .*{field}.*Delete it"):
            attempt()
    assert json.loads(path.read_text()).keys() == {"0", "3"}


@pytest.mark.parametrize(
    "content", ["", "null", "[]", '{"0": null}', '{"0": []}', '{"first": {}}', '{"-1": {}}', '"x"']
)
def test_what_is_no_table_of_results_is_refused(content, tmp_path):
    store = Store(tmp_path, {})
    (tmp_path / "xgradient_nobias_0.1.json").write_text(content)
    with pytest.raises(OptionError, match=r"0\.1\.json cannot be read: \S.*Delete it"):
        store.results(X_GRADIENT, 0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 0.5),
        ("seed", "0"),
        ("weight", "1.0"),
        ("weight", float("nan")),
        ("method", 3),
        ("scores", []),
        ("scores", {**stored().scores, "test": "0.5"}),
        ("scores", {**stored().scores, "test": None}),
        ("scores", {**stored().scores, "test": True}),
    ],
)
def test_trainings_of_the_decoy_experiment_that_cannot_be_are_refused(field, value, tmp_path):
    store = DecoyStore(tmp_path, {})
    store.add(DECOY_X_GRADIENT, stored())
    (path,) = (tmp_path / "runs").glob("xg*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(OptionError, match=rf"{path.name} cannot be read: it holds no training .*{field}.*Delete it"):
        store.run(DECOY_X_GRADIENT, 1.0, 0)


def test_a_training_that_diverged_comes_back_as_one(tmp_path):
    store = DecoyStore(tmp_path, {})
    store.add(DECOY_X_GRADIENT, Run("xg", 1.0, 0, None))
    assert store.run(DECOY_X_GRADIENT, 1.0, 0) == Run("xg", 1.0, 0, None)


def test_weights_come_back_into_a_network_of_the_same_kind(tmp_path):
    store, model = DecoyStore(tmp_path, {}), network(SMALL, bias=False, seed=1)
    weights = network(SMALL, bias=False, seed=0).state_dict()
    store.add(DECOY_X_GRADIENT, stored(), weights)
    assert store.load(model, DECOY_X_GRADIENT, 1.0, 0)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not store.load(model, DECOY_X_GRADIENT, 1.0, 1)


@pytest.mark.parametrize("damage", ["truncated", "empty", "another network", "no weights"])
def test_weights_that_are_damaged_are_named_and_leave_the_network_alone(damage, tmp_path):
    store, model = DecoyStore(tmp_path, {}), network(SMALL, bias=False, seed=1)
    store.add(DECOY_X_GRADIENT, stored(), network(SMALL, bias=False, seed=0).state_dict())
    (path,) = (tmp_path / "runs").glob("xg*.pt")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    if damage == "another network":
        torch.save(network(SMALL, bias=True, seed=0).state_dict(), path)
    elif damage == "no weights":
        torch.save({"a": [1]}, path)
    else:
        path.write_bytes(path.read_bytes()[: 200 if damage == "truncated" else 0])
    with pytest.raises(CheckpointError, match=path.name):
        store.load(model, DECOY_X_GRADIENT, 1.0, 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("content", ["", "null", "[]", "3", "{"])
@pytest.mark.parametrize("kind", [Store, DecoyStore])
def test_settings_that_are_none_are_refused_and_kept(kind, content, tmp_path):
    store = kind(tmp_path, {"epochs": 2})
    path = store.folder / "settings.json"
    path.write_text(content)
    with pytest.raises(OptionError, match=r"settings\.json cannot be read: \S.*delete the folder"):
        kind(tmp_path, {"epochs": 2})
    assert path.read_text() == content
