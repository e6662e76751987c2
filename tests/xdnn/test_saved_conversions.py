"""Converted models that were saved: loaded where the original's classes do not exist, and proven there."""

import copy
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from captum_xg import HomogeneousExtension, to_xdnn

CLASSES = """
import torch
from torch import nn
from torch.nn import functional as F

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.norm, self.width = nn.Linear(8, 8), nn.LayerNorm(8), 8

    def forward(self, x, scale=None, times=2):
        return self.norm(x + F.gelu(self.l(x)))

class Recorded(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.o = nn.Linear(12, 8), Block(), nn.Linear(8, 3)

    def forward(self, x):
        h = nn.Tanh()(self.a(x))
        return self.o(self.b(h) * torch.sigmoid(self.a(x))) + 1

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act, self.o = nn.Linear(12, 8), nn.SiLU(), nn.Linear(8, 3)

    def forward(self, x):
        return self.o(self.act(self.a(x)))

class Adding(nn.Module):
    def __init__(self):
        super().__init__()
        self.l, self.bias = nn.Linear(12, 3, bias=False), nn.Parameter(torch.ones(3))

    def forward(self, *args):
        return self.l(args[0]) + self.bias

def sequence():
    return nn.Sequential(
        nn.Linear(12, 8), nn.BatchNorm1d(8), nn.GELU(), nn.LayerNorm(8), nn.GLU(), nn.Linear(4, 3)
    )

def parametrised():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(12, 8, bias=False))
    return nn.Sequential(layer, nn.GELU(), nn.Linear(8, 3))
"""

READER = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import torch
from captum_xg import XGradient, certify

folder, result = Path(sys.argv[1]), {}
for path in sorted(folder.glob("*.pt*")):
    known = torch.load(folder / f"{path.stem}.numbers", weights_only=True)
    x = known["x"]
    try:
        if path.suffix == ".pt2":
            model = torch.export.load(path).module()
        else:
            model = torch.load(path, weights_only=False)
        torch.testing.assert_close(model(x), known["y"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model(x[:2]), known["y"][:2], rtol=1e-5, atol=1e-6)
        attributions = XGradient(model, validate="certificate").attribute(x, target=1)
        torch.testing.assert_close(attributions, known["attributions"], rtol=1e-4, atol=1e-6)
        result[path.name] = certify(model, x).degree
    except Exception as error:
        result[path.name] = f"{type(error).__name__}: {error}"
assert "original_classes" not in sys.modules
print(json.dumps(result))
"""

EXPORTED = ("Plain", "Recorded", "extension")
NAMES = ("sequence", "parametrised", "Plain", "Adding", "Recorded", "extension")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A module that no other process can import."""
    path = tmp_path_factory.mktemp("classes") / "original_classes.py"
    path.write_text(CLASSES)
    spec = importlib.util.spec_from_file_location("original_classes", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["original_classes"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["original_classes"]


def inputs():
    return torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def converted(classes, name, seed=0):
    torch.manual_seed(seed)
    if name == "extension":
        extension = HomogeneousExtension(classes.Plain().eval(), radius="auto")
        extension(inputs())
        return extension
    return to_xdnn(getattr(classes, name)().eval(), inputs())[0]


@pytest.fixture(scope="module")
def loaded(classes, tmp_path_factory):
    """What a process that knows none of the classes makes of every file, by its name."""
    from captum_xg import XGradient

    folder = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        model, x = converted(classes, name), inputs()
        with torch.no_grad():
            y = model(x)
        numbers = {"x": x, "y": y, "attributions": XGradient(model).attribute(x, target=1)}
        torch.save(numbers, folder / f"{name}.numbers")
        if name != "parametrised":  # which PyTorch refuses to pickle
            torch.save(model, folder / f"{name}.pt")
        if name not in EXPORTED:  # each takes a second
            continue
        program = torch.export.export(model, (x,), dynamic_shapes=_dynamic(name), strict=False)
        torch.export.save(program, folder / f"{name}.pt2")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def _dynamic(name):
    rows = {0: torch.export.Dim("n")}
    return ((rows,),) if name == "extension" else (rows,)  # whose arguments are *arguments


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_conversion_needs_no_class_of_the_original(loaded, name):
    assert loaded[f"{name}.pt2"] == 1


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["sequence", "Recorded", "Adding"])
def test_a_saved_conversion_of_pytorchs_layers_or_a_recording_needs_no_class_of_the_original(loaded, name):
    assert loaded[f"{name}.pt"] == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["Plain", "extension"])
def test_a_saved_conversion_that_keeps_the_class_says_which_is_missing(loaded, name):
    assert "original_classes" in loaded[f"{name}.pt"]


@pytest.mark.parametrize("name", NAMES)
def test_numbers_alone_are_loaded_into_another_conversion(classes, name):
    model, other = converted(classes, name), converted(classes, name, seed=7)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    x = inputs()
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_give_the_same_outputs(classes, name):
    model, x = converted(classes, name), inputs()
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    if name != "parametrised":
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


def test_an_argument_that_a_recording_has_lost_is_refused_by_name_also_when_it_was_saved(classes):
    block = to_xdnn(nn.Sequential(nn.Linear(12, 8), classes.Block()).eval(), inputs())[0][1]
    for each in (block, pickle.loads(pickle.dumps(block))):
        h = torch.randn(2, 8)
        torch.testing.assert_close(each(h), block(h))
        with pytest.raises(ValueError, match="`scale` was None when to_xdnn recorded this forward"):
            each(h, torch.ones(8))
        with pytest.raises((AssertionError, RuntimeError), match="times"):
            each(h, None, 3)
