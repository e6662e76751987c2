"""XGradient(validate="certificate"): proved once, right for as long as it is used, and never beyond."""

import copy
import gc
import pickle
import weakref
from array import array
from collections import UserDict, UserList
from contextvars import ContextVar

import numpy as np
import pytest
import torch
from torch import nn

from captum_xg import XGradient
from captum_xg.errors import DegreeError, HomogeneityError, HomogeneityWarning, TrainingModeError


def network(bias=False, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 3, bias=bias),
    )
    return model.double().eval()


def images(n=5, seed=0):
    return torch.randn(n, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def certified(model, **options):
    return XGradient(model, validate="certificate", **options)


def proofs(method):
    return method._proofs.n_proofs


def test_the_attributions_are_those_of_the_numeric_check_and_of_none():
    model, x = network(), images()
    expected = XGradient(model).attribute(x, target=1)
    assert torch.equal(certified(model).attribute(x, target=1), expected)
    attributions, delta = certified(model).attribute(x, target=1, return_convergence_delta=True)
    assert torch.equal(attributions, expected)
    assert delta.abs().max() < 1e-12


def test_a_model_is_proven_once_whatever_the_values_and_the_target():
    method = certified(network())
    for seed, target in enumerate([0, 1, [0, 1, 2, 1, 0], torch.tensor([2, 1, 0, 1, 2])]):
        method.attribute(images(seed=seed), target=target)
    assert proofs(method) == 1


def test_another_shape_is_another_proof_and_both_are_kept():
    method = certified(network())
    for n in (5, 3, 5, 3, 5):
        method.attribute(images(n), target=0)
    assert proofs(method) == 2
    method.attribute(images(5), target=0, internal_batch_size=3)
    assert proofs(method) == 3  # parts of three and two
    method.attribute(images(5), target=0, internal_batch_size=3)
    assert proofs(method) == 3


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_training_with_a_prior_proves_once(optimizer):
    model, x, y = network(), images(), torch.tensor([0, 1, 2, 0, 1])
    method = certified(model)
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)  # the shift of the normalisation stays zero
    steps = optimizer([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    weights = model[0].weight.detach().clone()
    for _ in range(4):
        steps.zero_grad()
        prior = method.attribute(x, target=y, create_graph=True).abs().mean()
        (nn.functional.cross_entropy(model(x), y) + prior).backward()
        steps.step()
    assert not torch.equal(weights, model[0].weight)
    assert proofs(method) == 1


def edit_data(model):
    model[5].bias.data[0] = 1.0


def edit_in_place(model):
    with torch.no_grad():
        model[1].bias.add_(0.5)


def edit_buffer(model):
    model[1].running_mean[2] = -1.0


def replace_data(model):
    model[5].bias.data = torch.ones(3, dtype=torch.float64)


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(images()).square().sum().backward()
    optimizer.step()


def load(model):
    model.load_state_dict(network(bias=True, seed=1).state_dict())


def swap_layer(model):
    model[2] = nn.ReLU6()


def insert_layer(model):
    model.insert(2, nn.Sigmoid())


def add_hook(model):
    model[2].register_forward_hook(lambda module, inputs, output: output + 1)


def add_pre_hook(model):
    model[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))


def replace_forward(model):
    model[2].forward = torch.sigmoid


def new_parameter(model):
    model[5].bias = nn.Parameter(torch.ones(3, dtype=torch.float64))


def change_setting(model):
    model[3].ceil_mode = True  # harmless
    model[2] = nn.Threshold(0.0, 0.0)
    model[2].threshold = 1.0


CHANGES = [
    edit_data,
    edit_in_place,
    edit_buffer,
    replace_data,
    step,
    load,
    swap_layer,
    insert_layer,
    add_hook,
    add_pre_hook,
    replace_forward,
    new_parameter,
    change_setting,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_that_breaks_homogeneity_is_noticed_at_the_next_call(change):
    model, x = network(bias=True), images()
    for layer in (model[0], model[5]):
        nn.init.zeros_(layer.bias)
    method = certified(model)
    method.attribute(x, target=1)
    change(model)
    with pytest.raises(HomogeneityError) as refusal:
        method.attribute(x, target=1)
    assert refusal.value.certificate is not None
    assert not refusal.value.certificate.homogeneous


def test_a_change_of_an_attribute_alone_is_noticed():
    model = nn.Sequential(nn.Threshold(0.0, 0.0), nn.Linear(3, 2, bias=False)).eval()
    method, x = certified(model), torch.randn(2, 3)
    method.attribute(x, target=0)
    model[0].threshold = 0.1
    with pytest.raises(HomogeneityError, match="threshold"):
        method.attribute(x, target=0)


def test_mending_the_model_is_noticed_too():
    model, x = network(bias=True), images()
    method = certified(model)
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=1)
    for layer in (model[0], model[5]):
        nn.init.zeros_(layer.bias)
    assert torch.equal(method.attribute(x, target=1), XGradient(model).attribute(x, target=1))


def test_training_mode_is_noticed():
    model, x = network(), images()
    method = certified(model)
    method.attribute(x, target=1)
    model.train()
    with pytest.raises(TrainingModeError):
        method.attribute(x, target=1)
    model.eval()
    method.attribute(x, target=1)
    assert proofs(method) == 1


def test_what_a_function_refers_to_is_part_of_what_is_proven():
    model, x = network(), images()
    shift = torch.zeros(3, dtype=torch.float64)
    method = certified(lambda x: model(x) + shift)
    method.attribute(x, target=1)
    method.attribute(x, target=1)
    assert proofs(method) == 1
    shift[1] = 1.0
    with pytest.raises(HomogeneityError, match="adds a constant of up to 1"):
        method.attribute(x, target=1)
    shift = torch.zeros(3, dtype=torch.float64)
    method.attribute(x, target=1)
    shift = torch.ones(3, dtype=torch.float64)
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=1)


def test_additional_arguments_that_the_proof_asked_about_are_asked_again():
    model, x = network(), images()
    method = certified(lambda x, scale, shift: scale * model(x) + shift)
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    method.attribute(x, target=1, additional_forward_args=(one, zero))
    method.attribute(x, target=1, additional_forward_args=(2 * one, zero.clone()))
    assert proofs(method) == 1, "factors are free, and zero is zero"
    with pytest.raises(HomogeneityError, match=r"up to 1 \(an additional forward argument, held constant"):
        method.attribute(x, target=1, additional_forward_args=(one, one))
    numbers = certified(lambda x, shift: model(x) + shift)
    numbers.attribute(x, target=1, additional_forward_args=0)
    with pytest.raises(HomogeneityError):
        numbers.attribute(x, target=1, additional_forward_args=1)


def test_a_branch_on_a_parameter_is_proven_for_that_branch_only():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x.relu() if self.gate > 0 else x.sigmoid()

    model, x = Gated().eval(), torch.randn(3, 4)
    method = certified(model)
    method.attribute(x, target=0)
    model.gate.data.fill_(-1.0)
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=0)


def test_an_index_that_the_proof_looked_at_is_looked_at_again():
    class Picks(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("index", torch.tensor([0, 1]))

        def forward(self, x):
            return torch.cat([x, x**2], 1).index_select(1, self.index)

    model, x = Picks().eval(), torch.randn(2, 3)
    method = certified(model)
    method.attribute(x, target=0)
    model.index.copy_(torch.tensor([0, 4]))
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=0)


def test_the_layout_of_inputs_and_arguments_is_part_of_what_is_proven():
    x, y = torch.randn(4, 4), torch.randn(4, 4)
    branch = certified(lambda x: x if x.is_contiguous() else x + 1)
    branch.attribute(x, target=0)
    with pytest.raises(HomogeneityError):
        branch.attribute(x.t(), target=0)
    branch = certified(lambda x, y: x if y.is_contiguous() else x + 1)
    branch.attribute(x, target=0, additional_forward_args=y)
    with pytest.raises(HomogeneityError):
        branch.attribute(x, target=0, additional_forward_args=y.t())


def test_what_a_proof_names_by_address_stays_at_that_address():
    model = network()
    method = certified(model)
    method.attribute(images(), target=1)
    layer = weakref.ref(model[2])
    model[2] = nn.ReLU6()
    gc.collect()
    assert layer() is not None


class Settings:
    shift = 0.0


SETTINGS = {"plain": Settings()}


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.settings = Settings()
        self.parts = [nn.Linear(3, 3)]
        nn.init.zeros_(self.parts[0].bias)

    def forward(self, x):
        return self.parts[0](x) + self.settings.shift + SETTINGS["plain"].shift + Settings.shift


STATE = {
    "an attribute of an object of the module's": lambda m: (m.settings, "shift", 1.0),
    "an attribute of an object in a global": lambda m: (SETTINGS["plain"], "shift", 1.0),
    "an attribute of a class in a global": lambda m: (Settings, "shift", 1.0),
    "a layer in a plain list": lambda m: (m.parts[0], "bias", nn.Parameter(torch.ones(3))),
    "the forward of the class": lambda m: (Shifted, "forward", lambda self, x: x + 1),
}


@pytest.mark.parametrize("where", STATE)
def test_state_around_the_model_is_part_of_what_is_proven(where, monkeypatch):
    model, x = Shifted().eval(), torch.randn(2, 3)
    method = certified(model)
    method.attribute(x, target=0)
    method.attribute(x, target=0)
    assert proofs(method) == 1
    monkeypatch.setattr(*STATE[where](model))
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=0)


def test_autocast_is_part_of_what_is_proven():
    model, x = network().float(), images().float()
    method = certified(model)
    method.attribute(x, target=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method.attribute(x, target=1)
    assert proofs(method) == 2


class Mixing(nn.Module):
    """Constants that are asked about after they lay in one tensor with values of the input, or in no strided one."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.constant = nn.Parameter(torch.full((1, 3), float(how == "read back")))
        self.factor = nn.Parameter(torch.zeros(6))

    def forward(self, x):
        if self.how == "sparse":
            return (x + (self.constant[0].to_sparse() * 1).to_dense()).relu().sum(1)
        beside = torch.cat([x, torch.ones_like(x) + self.constant], 1)
        if self.how == "element by element":
            return (beside * self.factor + torch.cat([x, x], 1)).relu().sum(1)
        return (x + (beside[:, 3:] - 2)).relu().sum(1)


@pytest.mark.parametrize("how", ["element by element", "read back", "sparse"])
def test_constants_are_followed_through_tensors_that_hold_values_of_the_input_as_well(how):
    model, x = Mixing(how).eval(), torch.rand(1, 3)
    method = certified(model)
    for _ in range(2):
        method.attribute(x)
    assert proofs(method) == 1
    with torch.no_grad():
        (model.factor if how == "element by element" else model.constant).add_(1)
    with pytest.raises(HomogeneityError):
        method.attribute(x)


def test_a_constant_of_the_shape_of_the_input_does_not_rest_on_its_values():
    model = nn.Linear(3, 1, bias=False).eval()
    method = certified(lambda x: model(x + (torch.ones_like(x) - 1)))
    for seed in range(3):
        torch.manual_seed(seed)
        method.attribute(torch.randn(2, 3))
    assert proofs(method) == 1


def test_a_copy_of_a_method_makes_its_own_proofs():
    model, x = network(), images()
    method = certified(model)
    method.attribute(x, target=1)
    other = copy.deepcopy(method)
    nn.init.ones_(other.forward_func[1].bias)
    with pytest.raises(HomogeneityError):
        other.attribute(x, target=1)
    method.attribute(x, target=1)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_degree_is_what_is_proven(k):
    model, x = network(), images()
    power = lambda x: model(x) ** k
    expected = XGradient(power, degree=k).attribute(x, target=1)
    assert torch.equal(certified(power, degree=k).attribute(x, target=1), expected)
    assert torch.equal(certified(power, degree="auto").attribute(x, target=1), expected)
    with pytest.raises(HomogeneityError, match=f"degree {k}, not {k + 1}.*degree={k}"):
        certified(power, degree=k + 1).attribute(x, target=1)


@pytest.mark.parametrize("function", [lambda x: x / x.norm(), lambda x: x.abs().sqrt()])
def test_degrees_below_one_are_refused(function):
    with pytest.raises(DegreeError, match="needs k ≥ 1"):
        certified(function, degree="auto").attribute(torch.randn(2, 3), target=0)
    with pytest.raises(HomogeneityError, match="needs a degree of at least 1"):
        certified(function).attribute(torch.randn(2, 3), target=0)


def test_what_cannot_be_proven_is_refused_and_the_numeric_check_named():
    branch = lambda x: 2 * x if x.sum() > 0 else x
    with pytest.raises(HomogeneityError, match="could not be proven") as refusal:
        certified(branch).attribute(torch.ones(2, 3), target=0)
    assert "validate='numeric'" in str(refusal.value)
    assert refusal.value.certificate.verdict == "unknown"
    assert refusal.value.report is None


def test_a_refusal_names_every_layer_and_survives_pickling():
    model, x = network(bias=True), images()
    with pytest.raises(HomogeneityError) as refusal:
        certified(model).attribute(x, target=1)
    error = pickle.loads(pickle.dumps(refusal.value))
    assert [violation.module for violation in error.certificate.violations] == ["0", "5"]
    for module in ("0 (Conv2d)", "5 (Linear)"):
        assert module in str(error)


def test_a_warning_instead_of_a_refusal_gives_the_numbers_as_they_are():
    model, x = network(bias=True), images()
    with pytest.warns(HomogeneityWarning, match="does not hold"):
        attributions = certified(model, on_violation="warn").attribute(x, target=1)
    assert torch.equal(attributions, XGradient(model, validate="off").attribute(x, target=1))


def test_the_numeric_refusal_quotes_the_certificate():
    model, x = network(bias=True), images()
    with pytest.raises(HomogeneityError) as refusal:
        XGradient(model).attribute(x, target=1)
    certificate = refusal.value.certificate
    assert [v.module for v in certificate.violations] == ["0", "5"]
    for violation in certificate.violations:
        assert violation.reason in str(refusal.value)
    assert [c.module for c in refusal.value.report.culprits] == ["0", "5"]


def test_the_numeric_refusal_of_a_function_names_the_line():
    with pytest.raises(HomogeneityError, match=r"test_certificate_validation\.py:\d+"):
        XGradient(lambda x: x + 0.5).attribute(torch.randn(2, 3), target=0)
    with pytest.raises(HomogeneityError, match="cut off from autograd") as refusal:
        XGradient(lambda x: x * x.detach().abs(), degree=2).attribute(torch.randn(2, 3), target=0)
    assert "test_certificate_validation.py:" in str(refusal.value)


def _counting(of):
    def count():
        return count.number

    count.number = of
    return count


HOLDERS = {
    "array of objects": (lambda: np.array([0], dtype=object), lambda h: h[0], lambda h: h.__setitem__(0, 1)),
    "UserDict": (lambda: UserDict(n=0), lambda h: h["n"], lambda h: h.update(n=1)),
    "UserList": (lambda: UserList([0]), lambda h: h[0], lambda h: h.__setitem__(0, 1)),
    "bytearray": (lambda: bytearray(1), lambda h: h[0], lambda h: h.__setitem__(0, 1)),
    "array": (lambda: array("d", [0]), lambda h: h[0], lambda h: h.__setitem__(0, 1)),
    "attribute of a function": (lambda: _counting(0), lambda h: h(), lambda h: setattr(h, "number", 1)),
    "context variable": (lambda: ContextVar("n", default=0), lambda h: h.get(), lambda h: h.set(1)),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_proof_stands_while_what_holds_a_number_does_not_change_and_no_longer(name):
    make, read, change = HOLDERS[name]
    model, x, holder = network(), images(), make()
    method = certified(lambda x: model(x) + read(holder))
    method.attribute(x, target=1)
    method.attribute(x, target=1)
    assert proofs(method) == 1
    change(holder)
    with pytest.raises(HomogeneityError):
        method.attribute(x, target=1)
