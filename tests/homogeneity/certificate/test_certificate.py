"""The certificate as a thing to read, to store, and to recognise as stale; and what certify refuses to look at."""

import ast
import copy
import functools
import gc
import json
import math
import pickle
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

import captum_xg
from captum_xg import certify
from captum_xg.errors import ForwardOutputError, InputError
from captum_xg.homogeneity.certificate.exported_memory import _counts_of_one as counts_of_one
from captum_xg.homogeneity.rules.registry import degree_rule, find_rule, forget_degree_rule, rules


def network(bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6, bias=bias), nn.BatchNorm1d(6), nn.ReLU6(), nn.Dropout(0.3), nn.Linear(6, 2, bias=bias)
    ).eval()


def homogeneous():
    model = network(bias=False)
    model[2] = nn.ReLU()
    return model


X = torch.randn(3, 4)


def test_a_certificate_says_what_it_holds_for():
    certificate = certify(
        homogeneous(),
        X,
    )
    assert certificate.homogeneous
    assert bool(certificate)
    assert certificate.degree == 1
    assert certificate.shapes == ((3, 4),)
    assert certificate.dtypes == ("float32",)
    assert certificate.n_ops >= 4
    assert certificate.violations == []
    assert certificate.unsupported == []
    assert certificate.counterexample is None
    assert "F(αx) = αF(x) for all α > 0 (proven, degree 1)" in str(certificate)
    assert "float32 [3, 4]" in str(certificate)


def test_a_refusal_names_module_op_line_reason_and_remedy():
    certificate = certify(network(), X)
    assert [v.module for v in certificate.violations] == ["0", "2", "4"]
    bias, relu6, _ = certificate.violations
    assert bias.type == "Linear"
    assert bias.op == "aten.addmm.default"
    assert bias.reason == f"adds a bias of up to {float(network()[0].bias.abs().max()):.2g}"
    assert "bias=False" in bias.remedy
    assert "saturates at 6" in relu6.reason
    for violation in certificate.violations:
        assert violation.reason in str(certificate)
        assert violation.remedy in str(certificate)
        assert violation.module in str(certificate)
    assert certificate.counterexample is not None
    assert certificate.counterexample.deviation > 1e-3


def test_remedies_shared_by_neighbours_are_said_once():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    assert str(certify(model, X)).count("→") == 1


@pytest.mark.parametrize("build", [network, homogeneous])
def test_json_and_dict_hold_everything(build):
    certificate = certify(build(), X)
    content = json.loads(certificate.to_json())
    assert content == json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    assert content["verdict"] == certificate.verdict
    assert content["homogeneous"] == certificate.homogeneous
    assert content["degree"] == certificate.degree
    assert [v["module"] for v in content["violations"]] == [v.module for v in certificate.violations]
    assert content["shapes"] == [[3, 4]]
    assert content["digest"] == certificate.digest
    assert pickle.loads(pickle.dumps(certificate)) == certificate


def test_a_function_that_grows_from_zero_gives_json_without_infinity():
    certificate = certify(lambda x: (x.abs().sum() - x.abs().sum()).exp() * torch.relu(x.abs().sum() - 1e3), X)
    assert certificate.verdict == "disproved"
    assert not math.isfinite(certificate.counterexample.deviation)
    assert json.loads(certificate.to_json())["counterexample"]["deviation"] is None


CHANGES = {
    "a weight": lambda m: m[0].weight.data.mul_(1.01),
    "a buffer": lambda m: m[1].running_var.add_(0.1),
    "a mode": lambda m: m.train(),
    "a setting": lambda m: setattr(m[1], "eps", 1e-3),
    "a class": lambda m: m.__setitem__(2, nn.LeakyReLU()),
    "one layer more": lambda m: m.append(nn.Identity()),
    "a dtype": lambda m: m.double(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_stale_certificate_is_recognised(what):
    model = homogeneous()
    certificate = certify(model, X)
    assert not certificate.is_stale(model)
    assert certificate.digest == certify(homogeneous(), X).digest, "the same model elsewhere"
    CHANGES[what](model)
    assert certificate.is_stale(model)


IN_PYTHON = {
    "a hook": lambda m, held: m[0].register_forward_hook(lambda *_: None),
    "a function": lambda m, held: setattr(m[2], "forward", torch.relu),
    "a tensor in another place": lambda m, held: setattr(m[0].weight, "data", m[0].weight.data.clone()),
    "a number that it closes over": lambda m, held: held.update(slope=2.0),
    "a constant that was looked at": lambda m, held: held["shift"].fill_(1),
    "a function that it calls": lambda m, held: held.update(act=torch.relu),
}


@pytest.mark.parametrize("what", IN_PYTHON)
def test_what_a_kept_proof_does_not_outlive_makes_a_certificate_stale(what):
    model, held = homogeneous(), {"slope": 1.0, "shift": torch.zeros(()), "act": torch.abs}

    def function(x):
        return held["act"](held["slope"] * model(x)) + held["shift"]

    certificate = certify(function, X)
    assert certificate.homogeneous
    function(X)
    assert not certificate.is_stale(function)
    assert not certificate.is_stale(lambda x: model(x)), "another function: its modules are the same"
    IN_PYTHON[what](model, held)
    assert certificate.is_stale(function)


def test_records_that_a_forward_pass_keeps_do_not_make_a_certificate_stale():
    model, record = homogeneous(), [0.0] * 64

    def function(x):
        record.append(x.shape[0])
        return model(x)

    certificate = certify(function, X)
    function(X)
    assert not certificate.is_stale(function)


def test_a_certificate_keeps_no_model_alive_and_copies_know_the_numbers_alone():
    model = homogeneous()
    certificate, alive = certify(model, X), weakref.ref(model)
    bound = certify(model.forward, X)
    assert not bound.is_stale(model.forward)
    for other in (copy.deepcopy(certificate), pickle.loads(pickle.dumps(certificate))):
        assert other == certificate
        assert other.standing is None
        assert not other.is_stale(model)
    model[0].register_forward_hook(lambda *_: None)
    assert certificate.is_stale(model)
    assert bound.is_stale(model.forward)
    del model
    gc.collect()
    assert alive() is None


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6, bias=False)
        self.layers = [self.first, nn.ReLU()]
        self.known = {"self": self, "sizes": [4, 6]}

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def in_a_list(model):
    layers = [model]
    return lambda x: layers[0](x)


@pytest.mark.parametrize(
    "function_of", [lambda model: model, lambda model: model.forward, functools.partial, in_a_list]
)
def test_containers_that_hold_a_model_do_not_keep_it_alive(function_of):
    model = Listed()
    function, alive = function_of(model), weakref.ref(model)
    certificate = certify(function, X)
    assert not certificate.is_stale(function)
    model.known["sizes"][0] = 5
    assert certificate.is_stale(function)
    del model, function
    gc.collect()
    assert alive() is None


def test_a_list_that_takes_the_place_of_another_makes_a_certificate_stale():
    model = Listed()
    model.known["table"] = [torch.ones(()) for _ in range(100)]
    certificate = certify(model, X)
    del model.known["table"]  # so that the address is free
    model.known["table"] = [torch.zeros(()) for _ in range(100)]
    assert certificate.is_stale(model)


def test_the_first_proof_of_a_process_counts_what_every_other_one_does():
    counts_of_one.cache_clear()
    model = homogeneous()
    assert certify(model, X).n_ops == certify(model, X).n_ops


def test_the_digest_is_of_what_the_model_holds_after_the_proof():
    class Grows(nn.Module):
        def __init__(self):
            super().__init__()
            self.large = nn.Parameter(torch.ones(300, 300))

        def forward(self, x):
            with torch.no_grad():
                self.large.add_(1)
            return x.sum(1)

    model = Grows()
    certificate = certify(model, X)
    assert not certificate.is_stale(model)
    model(X)
    assert certificate.is_stale(model)


def test_the_digest_is_of_what_is_stored_not_of_where():
    model, other = homogeneous(), homogeneous()
    other.load_state_dict(model.state_dict())
    other[0].weight.data = other[0].weight.data.t().contiguous().t()  # the same numbers, laid out otherwise
    assert certify(model, X).digest == certify(other, X).digest


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ((), InputError),
        ((torch.tensor([[math.nan]]),), InputError),
        ((torch.ones(0, 3),), InputError),
        ((torch.ones(2, 3), torch.ones(3, 3)), InputError),
        ((torch.ones(2, 3, dtype=torch.bool),), InputError),
        (([1.0, 2.0],), InputError),
    ],
)
def test_inputs_that_nothing_can_be_attributed_to_are_refused(inputs, error):
    with pytest.raises(error, match="certify: "):
        certify(lambda *xs: xs[0], *inputs)


def test_an_output_without_a_tensor_is_refused():
    with pytest.raises(ForwardOutputError, match="no tensor"):
        certify(lambda x: "logits", X)
    with pytest.raises(TypeError, match="`forward_func` must be callable"):
        certify(3, X)


def test_an_error_of_the_model_is_its_own():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        certify(nn.Linear(5, 2), X)


def test_a_second_rule_for_an_operation_is_refused():
    with pytest.raises(ValueError, match="aten::relu has a rule already"):
        degree_rule("relu")(lambda call: call.scaling("self"))
    with pytest.raises(ValueError, match="no overload"):
        degree_rule("aten::relu.default")(lambda call: call.scaling("self"))


def test_a_forgotten_rule_leaves_the_operation_unknown():
    entry = find_rule("aten::trace")
    forget_degree_rule("trace")
    try:
        certificate = certify(lambda x: torch.trace(x.t() @ x), X)
        assert certificate.verdict == "unknown"
        assert "aten::trace, for which there is no rule" in str(certificate)
    finally:
        degree_rule("trace", elementwise=entry.elementwise, moves=entry.moves)(entry.rule)
    assert certify(lambda x: torch.trace(x.t() @ x), X).degree == 2


def test_there_is_no_rule_for_what_does_not_exist_and_in_place_forms_share_theirs():
    assert find_rule("aten::no_such_operation") is None
    assert find_rule("aten::relu_") is find_rule("aten::relu")
    assert len(rules()) > 300


def test_the_algebra_needs_no_tensors():
    package, seen, ahead = Path(captum_xg.__file__).parent, set(), ["captum_xg.homogeneity.degree"]
    while ahead:
        source = package.joinpath(*ahead.pop().split(".")[1:]).with_suffix(".py")
        for node in ast.walk(ast.parse(source.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else names
            ahead += [name for name in names if name.startswith("captum_xg.") and name not in seen]
            seen |= set(names)
    assert "captum_xg._core.simple_fractions" in seen
    assert not {name for name in seen if name.split(".")[0] in ("torch", "numpy")}


def test_every_file_of_rules_says_on_top_which_operations_belong_in_it():
    files = sorted((Path(captum_xg.__file__).parent / "homogeneity" / "rules").glob("*.py"))
    assert len(files) > 10
    for file in files:
        assert len(ast.get_docstring(ast.parse(file.read_text())) or "") > 60, file.name
