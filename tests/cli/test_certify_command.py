"""``captum-xg certify``: its exit status is the verdict, and every way of naming a model works or says why not."""

import json
import runpy
import sys

import pytest
import torch

from captum_xg.cli.command_line import main

MODELS = '''
"""Models with known verdicts."""
import torch
from torch import nn
from torch.nn import Conv2d  # imported, so not a candidate

print("noise from the user's file")


class XDnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))

    def forward(self, x):
        return self.layers(x)


class NeedsWidth(XDnn):
    def __init__(self, width):
        super().__init__()


class Branching(XDnn):
    def forward(self, x):
        return self.layers(x) if x.sum().item() > 0.5 else self.layers(1 * x)


class TwoInputs(XDnn):
    def forward(self, a, b):
        return {"sum": self.layers(a) + self.layers(b), "both": (a, {"b": self.layers(b).square()})}


def biased():
    return nn.Sequential(nn.Linear(6, 3), nn.ReLU())


def squared() -> nn.Module:
    class Squared(XDnn):
        def forward(self, x):
            return self.layers(x).square()

    return Squared()


def zero():
    class Zero(nn.Module):
        def forward(self, x):
            return 0 * x

    return Zero()


def with_batch_norm():
    return nn.Sequential(nn.Linear(6, 3, bias=False), nn.BatchNorm1d(3), nn.Dropout(0.5))


def function():
    layers = XDnn()
    return lambda x: layers(x)


def failing():
    raise LookupError("the weights are elsewhere")


def leaving():
    raise SystemExit("usage: something else")


def not_a_model():
    return 3


trained = XDnn()
number = 7


class Holder:
    inner = trained
'''


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A directory with models.py as the current one."""
    (tmp_path / "models_to_certify.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "models_to_certify", raising=False)
    return tmp_path


def certify(*arguments: str, shapes: tuple[str, ...] = ("1,6",)) -> int:
    """Return the exit status, however the command leaves."""
    inputs = [part for shape in shapes for part in ("--input", shape)]
    try:
        return main(["certify", *arguments, *inputs])
    except SystemExit as leaving:
        return leaving.code


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["models_to_certify:{}", "models_to_certify.py:{}", "{path}/models_to_certify.py:{}"])
@pytest.mark.parametrize(
    ("factory", "status", "said"),
    [
        ("XDnn", 0, "F(αx) = αF(x) for all α > 0 (proven, degree 1)"),
        ("trained", 0, "(proven, degree 1)"),
        ("Holder.inner", 0, "(proven, degree 1)"),
        ("squared", 0, "(proven, degree 2)"),
        ("zero", 0, "identically zero"),
        ("function", 0, "(proven, degree 1)"),
        ("biased", 1, "adds a bias"),
        ("Branching", 2, "unknown"),
    ],
)
def test_the_exit_status_is_the_verdict(models, capsys, form, factory, status, said):
    assert certify(form.format(factory, path=models)) == status
    output = capsys.readouterr()
    assert said in output.out
    assert "noise" not in output.out


@pytest.mark.parametrize(
    ("factory", "degree", "status"),
    [
        ("XDnn", "1", 0),
        ("squared", "2", 0),
        ("squared", "1", 1),
        ("XDnn", "0.5", 1),
        ("zero", "7", 0),
        ("biased", "1", 1),
    ],
)
def test_another_degree_than_the_one_that_is_demanded_counts_as_disproved(models, capsys, factory, degree, status):
    assert certify(f"models_to_certify:{factory}", "--degree", degree) == status
    printed = capsys.readouterr().out
    assert ("was asked for" in printed) == (status == 1 and factory != "biased")


@pytest.mark.parametrize(("factory", "status"), [("squared", 0), ("biased", 1), ("Branching", 2)])
def test_json_is_the_certificate_and_nothing_else(models, capsys, factory, status):
    assert certify(f"models_to_certify:{factory}", "--json", "--dtype", "float64") == status

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert content["target"] == f"models_to_certify:{factory}"
    assert content["verdict"] == ("homogeneous", "disproved", "unknown")[status]
    assert content["homogeneous"] is (status == 0)
    assert content["degree"] == (2.0 if factory == "squared" else None)
    assert content["dtypes"] == ["float64"]
    assert content["shapes"] == [[1, 6]]
    assert bool(content["violations"]) == (factory == "biased")


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [
        ("sum", 0, "degree 1"),
        ("both.1.b", 0, "degree 2"),
        ("both.0", 0, "degree 1"),
        ("absent", 3, "'absent'"),
        (None, 1, "degree"),
    ],
)
def test_several_inputs_and_a_part_of_the_output_can_be_chosen(models, capsys, output, status, said):
    chosen = [] if output is None else ["--output", output]
    assert certify("models_to_certify:TwoInputs", *chosen, shapes=("2,6", "2,6")) == status
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_two_runs_say_the_same(models, capsys):
    state = torch.get_rng_state()
    certify("models_to_certify.py:biased")
    first = capsys.readouterr().out
    certify("models_to_certify.py:biased")
    assert capsys.readouterr().out == first
    assert torch.equal(torch.get_rng_state(), state)


def test_models_are_put_in_evaluation_mode_and_fresh_batch_norms_are_pointed_out(models, capsys):
    assert certify("models_to_certify:with_batch_norm") == 0
    assert "1 of 1 batch norms have a mean of zero" in capsys.readouterr().out


def test_a_model_of_another_dtype_is_brought_to_the_one_asked_for(models, capsys):
    (models / "double.py").write_text("import torch\nmodel = torch.nn.Linear(6, 1, bias=False).double()\n")
    assert certify("double.py") == 0
    assert certify("double.py", "--dtype", "float64") == 0


# --- files without a factory -----------------------------------------------------------------------------------------

HEAD = "import torch\nfrom torch import nn\n"


@pytest.mark.parametrize(
    "source",
    [
        "model = nn.ReLU()",
        "def make():\n    return nn.ReLU()",
        "def make() -> nn.Module:\n    return nn.ReLU()",
        "def make(width=3):\n    return nn.ReLU()",
        "class Net(nn.ReLU):\n    pass",
        "class Block(nn.Module):\n    def __init__(self, width):\n        pass\ndef make():\n    return nn.ReLU()",
        "def _helper():\n    return nn.ReLU()\ndef make():\n    return _helper()",
        "def count() -> int:\n    return 3\nmodel = nn.ReLU()",
        "def main():\n    raise SystemExit\nmodel = nn.ReLU()\nif __name__ == '__main__':\n    main()",
    ],
)
def test_the_only_model_of_a_file_needs_no_name(models, source):
    (models / "only.py").write_text(f"{HEAD}{source}\n")
    assert certify("only.py") == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("one = nn.ReLU()\ntwo = nn.ReLU()", ["only.py:one  (a module)", "only.py:two"]),
        (
            "class Net(nn.ReLU):\n    pass\ndef make():\n    return Net()",
            ["only.py:Net  (a module class)", "only.py:make"],
        ),
        ("number = 3", ["defines no module"]),
        ("def make():\n    return 3", ["returns int"]),
        ("import nowhere_to_be_found", ["No module named 'nowhere_to_be_found'", "only.py:3"]),
        ("syntax error", ["SyntaxError"]),
        ("raise SystemExit(0)", ["SystemExit"]),
    ],
)
def test_a_file_whose_model_is_not_clear_is_refused_with_what_could_be_meant(models, capsys, source, said):
    (models / "only.py").write_text(f"{HEAD}{source}\n")
    assert certify("only.py") == 3
    message = capsys.readouterr().err
    assert all(part in message for part in said), message


def test_a_file_may_import_its_neighbours(models):
    (models / "deep").mkdir()
    (models / "deep" / "neighbour_of_net.py").write_text(f"{HEAD}layer = nn.ReLU\n")
    (models / "deep" / "net.py").write_text("from neighbour_of_net import layer\nmodel = layer()\n")
    path = list(sys.path)
    assert certify("deep/net.py") == 0
    assert sys.path == path


# --- what cannot run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("models_to_certify", "does not say where the model is"),
        ("models_to_certify:", "does not say where the model is"),
        ("absent_module:make", "there is no module 'absent_module'"),
        ("torch.absent_part:make", "there is no module 'torch.absent_part'"),
        ("absent.py:make", "there is no file absent.py"),
        ("models_to_certify:XDn", "Did you mean XDnn"),
        ("models_to_certify.py:qqqq", "Did you mean Branching"),
        ("models_to_certify:number", "a int, not a model"),
        ("models_to_certify:NeedsWidth", "takes arguments"),
        ("models_to_certify:not_a_model", "returns int"),
        ("models_to_certify:failing", "LookupError: the weights are elsewhere"),
        ("models_to_certify:leaving", "SystemExit"),
        ("torchvision:alexnett", "Did you mean alexnet"),
        ("torchvision:", "torchvision has no model ''"),
    ],
)
def test_a_target_that_names_no_model_is_an_error_that_says_what_to_do(models, capsys, target, said):
    assert certify(target) == 3
    output = capsys.readouterr()
    assert said in output.err
    assert "captum-xg certify: TARGET" in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("target", "arguments", "shapes", "said"),
    [
        ("models_to_certify:XDnn", [], ("1,7",), "fails on random inputs of shape 1,7"),
        ("models_to_certify:XDnn", [], ("1,6", "1,6"), "Check --input"),
        ("models_to_certify:XDnn", [], ("1,x",), "is not a shape"),
        ("models_to_certify:XDnn", [], ("0,6",), "is not a shape"),
        ("models_to_certify:XDnn", [], ("",), "is not a shape"),
        ("models_to_certify:XDnn", [], (), "required: --input"),
        ("models_to_certify:XDnn", ["--degree", "high"], ("1,6",), "is not a number"),
        ("models_to_certify:XDnn", ["--dtype", "int8"], ("1,6",), "invalid choice"),
        ("models_to_certify:XDnn", ["--nothing"], ("1,6",), "unrecognized arguments: --nothing"),
    ],
)
def test_wrong_arguments_never_look_like_a_verdict(models, capsys, target, arguments, shapes, said):
    assert certify(target, *arguments, shapes=shapes) == 3
    output = capsys.readouterr()
    assert said in output.err
    assert output.out == ""


def test_the_line_of_the_users_code_that_fails_is_named(models, capsys):
    source = f"{HEAD}class Net(nn.Module):\n    def forward(self, x):\n        return x.reshape(17)\n"
    (models / "net.py").write_text(source)
    assert certify("net.py") == 3
    assert "net.py:5)" in capsys.readouterr().err


def test_wrong_arguments_of_other_commands_still_leave_with_2():
    with pytest.raises(SystemExit) as leaving:
        main(["demo", "--nothing"])
    assert leaving.value.code == 2


def test_the_process_leaves_with_the_status(models, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["captum-xg", "certify", "models_to_certify.py:Branching", "--input", "1,6"])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_module("captum_xg", run_name="__main__")
    assert leaving.value.code == 2


# --- torchvision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "culprits"),
    [
        ("alexnet", 1, {"Conv2d", "Linear"}),
        ("resnet18", 1, {"Linear"}),
        ("mobilenet_v2", 1, {"ReLU6"}),
        ("squeezenet1_1", 0, set()),  # torchvision sets its biases to zero
    ],
)
def test_torchvision_models_are_judged_as_they_are_initialised(capsys, name, status, culprits):
    assert certify(f"torchvision:{name}", "--json", shapes=("1,3,64,64",)) == status
    content = json.loads(capsys.readouterr().out)
    assert {violation["type"] for violation in content["violations"]} == culprits
    assert content["unsupported"] == []


def test_nothing_is_downloaded_for_a_model_with_a_backbone(monkeypatch, capsys):
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("downloads")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    status = certify("torchvision:lraspp_mobilenet_v3_large", "--output", "out", shapes=("1,3,32,32",))
    assert status in (1, 2), capsys.readouterr().err
