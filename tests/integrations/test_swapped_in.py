"""While a block of swapped_in lasts, whoever asks Captum for Integrated Gradients gets ours; then all is as it was."""

import copy
import inspect
import pickle
import sys
import threading
import types
import warnings

import captum.attr
import pytest
import torch
from captum.attr._core import llm_attr
from torch import nn

from captum_xg import LayerXGradient, NeuronXGradient, XGradient
from captum_xg.benchmark import methods
from captum_xg.errors import HomogeneityError, HomogeneityWarning, IntegrationNotice, OptionError
from captum_xg.integrations import swapped_in

NAMES = ("IntegratedGradients", "LayerIntegratedGradients", "NeuronIntegratedGradients")
OURS = (XGradient, LayerXGradient, NeuronXGradient)
ORIGINALS = tuple(getattr(captum.attr, name) for name in NAMES)


def captum_modules():
    """Return what every module holds of Captum's classes, by module and name."""
    return {
        (name, key): value
        for name, module in list(sys.modules.items())
        for key, value in list(getattr(module, "__dict__", {}).items())
        if isinstance(value, type) and issubclass(value, (*ORIGINALS, *OURS))
    }


@pytest.fixture(autouse=True)
def _all_is_put_back():
    before = captum_modules()
    yield
    assert captum_modules() == before


@pytest.fixture
def client():
    """Return a module of somebody else that has imported the names, one of them under another name."""
    module = types.ModuleType("client_of_captum")
    sys.modules[module.__name__] = module
    exec(
        "from captum.attr import IntegratedGradients, LayerIntegratedGradients as LIG\n"
        "def explain(model, x):\n"
        "    return IntegratedGradients(model).attribute(x, target=0)",
        module.__dict__,
    )
    yield module
    del sys.modules[module.__name__]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))


@pytest.mark.parametrize(("name", "ours", "original"), list(zip(NAMES, OURS, ORIGINALS, strict=True)))
def test_what_stands_in_is_ours_and_captums_and_called_and_built_as_captums(name, ours, original):
    with swapped_in("raise"):
        stand_in = getattr(captum.attr, name)
        assert issubclass(stand_in, ours)
        assert issubclass(stand_in, original)
        assert stand_in.__name__ == name
        for method in ("__init__", "attribute"):
            own, captums = (inspect.signature(getattr(cls, method)).parameters for cls in (stand_in, original))
            positional = [p for p in own if own[p].kind is not inspect.Parameter.KEYWORD_ONLY]
            assert positional == list(captums)
            assert [own[p].default for p in positional] == [captums[p].default for p in positional]
        model = network()
        arguments = (model, model[0]) if name != NAMES[0] else (model,)
        method = stand_in(*arguments)
        assert method.get_name() == original(*arguments).get_name()
        assert method.on_violation == "raise"
    assert getattr(captum.attr, name) is original


def test_modules_that_imported_the_names_compute_in_closed_form(client):
    model, x = network(), torch.rand(5, 4)
    with swapped_in("raise"):
        assert issubclass(client.IntegratedGradients, XGradient)
        assert issubclass(client.LIG, LayerXGradient)
        torch.testing.assert_close(client.explain(model, x), XGradient(model).attribute(x, target=0), rtol=0, atol=0)
        with pytest.raises(HomogeneityError):
            client.explain(nn.Sequential(network(), nn.Linear(3, 1)), x)
    assert client.IntegratedGradients is ORIGINALS[0]


def test_captums_own_modules_have_the_replacements_but_not_inside_of_layer_methods():
    with swapped_in("warn"):
        assert issubclass(captum.attr._core.integrated_gradients.IntegratedGradients, XGradient)
        assert issubclass(llm_attr.LayerIntegratedGradients, LayerXGradient)
        inside = sys.modules[ORIGINALS[1].__module__]
        assert inside.IntegratedGradients is ORIGINALS[0]
        assert inside.LayerIntegratedGradients is not ORIGINALS[1]
        model, x = network(), torch.rand(5, 4)
        layer = ORIGINALS[1](model, model[0])
        torch.testing.assert_close(layer.attribute(x, target=1).sum(1), model(x)[:, 1], rtol=1e-5, atol=1e-6)


def test_this_package_goes_on_to_compare_with_captums():
    with swapped_in("warn"):
        assert methods.IntegratedGradients is ORIGINALS[0]


def test_everything_is_put_back_after_an_error(client):
    with pytest.raises(ZeroDivisionError), swapped_in("raise"):
        raise ZeroDivisionError
    assert client.LIG is ORIGINALS[1]


def test_modules_imported_in_the_block_are_put_back(tmp_path, monkeypatch):
    (tmp_path / "imported_meanwhile.py").write_text("from captum.attr import NeuronIntegratedGradients as N\n")
    monkeypatch.syspath_prepend(tmp_path)
    with swapped_in("raise"):
        import imported_meanwhile

        assert issubclass(imported_meanwhile.N, NeuronXGradient)
    assert imported_meanwhile.N is ORIGINALS[2]
    del sys.modules["imported_meanwhile"]


def test_the_innermost_block_counts(client):
    model = nn.Sequential(network(), nn.Linear(3, 1))
    with swapped_in("raise"):
        outer = client.IntegratedGradients
        with swapped_in("warn"), pytest.warns(HomogeneityWarning):
            client.explain(model, torch.rand(2, 4))
        assert client.IntegratedGradients is outer
        with pytest.raises(HomogeneityError):
            client.explain(model, torch.rand(2, 4))


def test_blocks_of_several_threads_may_end_in_any_order(client):
    first, second = swapped_in("raise"), swapped_in("warn")
    first.__enter__()
    second.__enter__()
    in_force = client.IntegratedGradients
    first.__exit__(None, None, None)
    assert client.IntegratedGradients is in_force
    assert captum.attr.IntegratedGradients is in_force
    second.__exit__(None, None, None)
    assert client.IntegratedGradients is ORIGINALS[0]


def test_many_threads_leave_nothing_behind():
    def work():
        for _ in range(3):
            with swapped_in("warn"):
                assert captum.attr.IntegratedGradients.__name__ == NAMES[0]

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert captum.attr.IntegratedGradients is ORIGINALS[0]


def test_what_a_module_was_given_in_the_block_stays(client):
    with swapped_in("raise"):
        client.IntegratedGradients = int
    assert client.IntegratedGradients is int


def test_it_decorates_functions(client):
    @swapped_in("raise")
    def explain():
        return client.IntegratedGradients

    assert issubclass(explain(), XGradient)
    assert issubclass(explain(), XGradient)


def test_by_default_any_model_and_any_baseline_is_integrated(client):
    model, x = nn.Sequential(network(), nn.Linear(3, 1), nn.Sigmoid()), torch.rand(5, 4)
    expected = ORIGINALS[0](model).attribute(x, torch.ones(1, 4), n_steps=200)
    with swapped_in():
        with pytest.warns(IntegrationNotice, match="baseline is not zero"):
            found = client.IntegratedGradients(model).attribute(x, torch.ones(1, 4))
        layer = client.LIG(model, model[0][0])
        with pytest.warns(IntegrationNotice):
            torch.testing.assert_close(
                layer.attribute(x).sum(1), model(x)[:, 0] - model(0 * x)[:, 0], rtol=0.02, atol=0
            )
    assert (found - expected).norm() < 0.01 * expected.norm()


def test_an_unknown_option_replaces_nothing():
    with pytest.raises(OptionError, match="on_violation"), swapped_in("ignore"):
        pass


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda method: pickle.loads(pickle.dumps(method))])
def test_what_was_made_in_a_block_can_be_copied_and_pickled(copied):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.rand(2, 3).double()
    with swapped_in():
        methods = [captum.attr.IntegratedGradients(model), captum.attr.LayerIntegratedGradients(model, model[1])]
    for method in methods:
        other = copied(method)
        assert type(other).__name__ == type(method).__name__
        assert isinstance(other, ORIGINALS)
        assert isinstance(other, OURS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IntegrationNotice)
            assert torch.equal(other.attribute(x, target=1), method.attribute(x, target=1))
