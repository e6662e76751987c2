"""``captum_xg.integrations.captum`` has all names of ``captum.attr``, and ours under three of them."""

import pickle
import subprocess
import sys

import captum.attr
import pytest
import torch
from captum.concept import TCAV, Concept
from torch import nn

import captum_xg.integrations.captum as drop_in
from captum_xg import LayerXGradient, NeuronXGradient, XGradient
from captum_xg.errors import IntegrationNotice

OURS = {
    "IntegratedGradients": XGradient,
    "LayerIntegratedGradients": LayerXGradient,
    "NeuronIntegratedGradients": NeuronXGradient,
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


def test_every_name_of_captum_is_there_and_all_but_three_are_captums():
    assert set(drop_in.__all__) == set(captum.attr.__all__)
    assert set(captum.attr.__all__) <= set(dir(drop_in))
    for name in captum.attr.__all__:
        found, original = getattr(drop_in, name), getattr(captum.attr, name)
        if name in OURS:
            assert issubclass(found, OURS[name])
            assert issubclass(found, original)
            assert found.__name__ == name
        else:
            assert found is original
    assert drop_in.visualization is captum.attr.visualization
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = drop_in.no_such_name


def test_importing_it_changes_nothing_of_captum():
    code = (
        "import captum.attr; before = dict(vars(captum.attr))\n"
        "from captum_xg.integrations.captum import *\n"
        "assert vars(captum.attr) == before\n"
        "assert IntegratedGradients is not captum.attr.IntegratedGradients and DeepLift is captum.attr.DeepLift"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_made_of_it_can_be_pickled():
    model, x = network(), torch.rand(2, 4)
    method = pickle.loads(pickle.dumps(drop_in.IntegratedGradients(model)))
    assert type(method) is drop_in.IntegratedGradients
    with pytest.warns(IntegrationNotice):
        found = method.attribute(x, target=0)
    torch.testing.assert_close(
        found, captum.attr.IntegratedGradients(model).attribute(x, target=0), rtol=0.02, atol=0.01
    )


@pytest.mark.filterwarnings("ignore::captum_xg.errors.IntegrationNotice")
def test_tcav_sets_one_layer_after_the_other(tmp_path):
    model, x, seen = network(), torch.rand(3, 4), []

    class Watched(drop_in.LayerIntegratedGradients):
        def attribute(self, *args, **kwargs):
            found = drop_in.LayerIntegratedGradients.attribute(self, *args, **kwargs)
            seen.append((self.layer, found))
            return found

        attribute.__wrapped__ = lambda *args, **kwargs: Watched.attribute(*args, **kwargs)

    concepts = [Concept(i, name, [torch.randn(4, 4) + i for _ in range(3)]) for i, name in enumerate("ab")]
    method = Watched(model, None, multiply_by_inputs=False)
    TCAV(model, ["0", "1"], layer_attr_method=method, save_path=str(tmp_path)).interpret(x, [concepts], target=1)
    assert [layer for layer, _ in seen] == [model[0], model[1]]
    for layer, found in seen:
        expected = captum.attr.LayerIntegratedGradients(model, layer, multiply_by_inputs=False)
        expected = expected.attribute(x, target=1, n_steps=300)
        assert (found - expected).norm() <= 0.02 * expected.norm()
