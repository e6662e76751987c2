"""A folder belongs to one model: whatever its weights are, other code or other values that it refers to are seen."""

import functools
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from scan_cases import examples, explained, network
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xg import XGradient
from captum_xg.errors import FileError
from captum_xg.scan.model_code import code_of, digest_of_code

SCALE = {"by": 1.0}
FACTOR = 1.0


def helper(x):
    return x * 1.0


def other_helper(x):
    return x * 3.0


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()
        self.table = {"scale": [1.0]}
        self.mask = torch.ones(4)
        self.function = helper

    def forward(self, x):
        return self.after(self.inner(x)) * self.mask * self.table["scale"][0]

    def after(self, x):
        return self.function(x)


def edited(self, x):
    return helper(x) * 3


def hook(module, inputs, output):
    return output * 3


class Called:
    """Called, with settings and a record that it does not look at."""

    factor = 1.0

    def __init__(self, net):
        self.net, self.k, self.calls = net, 1.0, 0

    def __call__(self, x):
        self.calls += 1
        return self.scaled(self.net(x))

    def scaled(self, x):
        return x * self.k * self.factor


class Configured:
    def __init__(self):
        self.k = 1.0
        self.unused = object()


def by_global(net):
    return lambda x: net(x) * SCALE["by"]


def by_plain_global(net):
    return lambda x: net(x) * FACTOR


def by_function(net):
    return lambda x: helper(net(x))


def by_default(net, k):
    def scaled(x, k=k):
        return net(x) * k

    return scaled


def by_closure(net, k):
    return lambda x: net(x) * k


def by_object(net, configured):
    return lambda x: net(x) * configured.k


def constant(net, k):
    scope = {"net": net}
    exec(f"def forward(x): return net(x) * {k}", scope)
    return scope["forward"]


def operation(net, sign):
    scope = {"net": net}
    exec(f"def forward(x): return net(x) {sign} x.sum(1, keepdim=True)", scope)
    return scope["forward"]


def executed(factor):
    scope = {"nn": nn, "network": network}
    body = f"    def forward(self, x): return {factor} * super().forward(x)"
    exec(f"class Net(nn.Sequential):\n{body}", scope)
    return scope["Net"](*network())


def changed(name, monkeypatch):
    """Two forward functions of the same weights that do something else; the change is made in between."""
    net, own, called, configured = network(), Own().eval(), Called(network()), Configured()
    here = sys.modules[__name__]
    first, change, then = {
        "method": (own, lambda: monkeypatch.setattr(Own, "after", edited), own),
        "hook": (net, lambda: net[0].register_forward_hook(hook), net),
        "list in a module": (own, lambda: own.table["scale"].__setitem__(0, 3.0), own),
        "tensor of a module": (own, lambda: own.mask.mul_(3), own),
        "function of a module": (own, lambda: setattr(own, "function", other_helper), own),
        "own forward": (net, lambda: setattr(net, "forward", lambda x: 3 * nn.Sequential.forward(net, x)), net),
        "attribute": (called, lambda: setattr(called, "k", 3.0), called),
        "class attribute": (called, lambda: monkeypatch.setattr(Called, "factor", 3.0), called),
        "entry of a global": (f := by_global(net), lambda: monkeypatch.setitem(SCALE, "by", 3.0), f),
        "global": (f := by_plain_global(net), lambda: monkeypatch.setattr(here, "FACTOR", 3.0), f),
        "function": (f := by_function(net), lambda: monkeypatch.setattr(here, "helper", other_helper), f),
        "default": (by_default(net, 1.0), lambda: None, by_default(net, 3.0)),
        "closure": (by_closure(net, 1.0), lambda: None, by_closure(net, 3.0)),
        "partial": (
            functools.partial(by_default(net, 2), k=1.0),
            lambda: None,
            functools.partial(by_default(net, 2), k=3),
        ),
        "object": (f := by_object(net, configured), lambda: setattr(configured, "k", 3.0), f),
        "constant": (constant(net, 1.0), lambda: None, constant(net, 3.0)),
        "operation": (operation(net, "+"), lambda: None, operation(net, "-")),
        "executed class": (executed(1), lambda: None, executed(3)),
        "bound method": (called.__call__, lambda: setattr(called, "k", 3.0), called.__call__),
    }[name]
    yield first
    change()
    yield then


CHANGES = [
    *("method", "hook", "list in a module", "tensor of a module", "function of a module", "own forward", "attribute"),
    *("class attribute", "entry of a global", "global", "function", "default", "closure", "partial", "object"),
    *("constant", "bound method", "operation", "executed class"),
]


@pytest.mark.parametrize("name", CHANGES)
def test_another_model_of_the_same_weights_is_refused(tmp_path, monkeypatch, name):
    loader = DataLoader(TensorDataset(*examples(8)), batch_size=4)
    for i, forward_func in enumerate(changed(name, monkeypatch)):
        method = XGradient(forward_func, validate="off")
        if i == 0:
            explained(method, loader, tmp_path)
            explained(method, loader, tmp_path)  # as it is the same
            continue
        with pytest.raises(FileError, match="the code of the model, or values that it refers to"):
            explained(method, loader, tmp_path)


def test_what_counts_calls_is_the_model_that_it_was(tmp_path):
    called, loader = Called(network()), DataLoader(TensorDataset(*examples(8)), batch_size=4)
    explained(XGradient(called), loader, tmp_path)
    called.other = 5
    explained(XGradient(called), loader, tmp_path)
    assert called.calls > 2


SCRIPT = """
    import test_model_code as cases, torch
    from captum_xg.scan.model_code import code_of, digest_of_code
    net = cases.network()
    odd = {"a", "b", "c", "d"}
    class Set:
        def __init__(self): self.kinds = {"x", "y", "z", net, len}
        def __call__(self, x): return net(x) if "a" in {"a", "b", "c"} and self.kinds and odd else x
    for f in (cases.Own(), cases.Called(net), cases.by_global(net), Set(), torch.nn.MultiheadAttention(4, 2)):
        found = code_of(f)
        print(digest_of_code(found, found))
"""


@pytest.mark.thorough
def test_every_process_describes_it_alike():
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])

    def said(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        call = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout

    first = said("1")
    assert first == said("2")
    assert len(set(first.split())) == 5


def test_where_code_stands_is_not_part_of_it():
    text, found = "def f(x): return x * 2\n", []
    for lines, file in ((0, "a.py"), (7, "/b/c.py")):
        scope = {}
        exec(compile("\n" * lines + text, file, "exec"), scope)
        found.append(code_of(scope["f"]))
    assert digest_of_code(found[0], found[0]) == digest_of_code(found[1], found[1])
