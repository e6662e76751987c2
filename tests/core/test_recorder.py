"""One recorder tells its observers of every operation and module of a forward pass, and leaves nothing behind."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from captum_xg._core.recorder import Observer, Recorder

X = torch.tensor([[1.0, -2.0, 3.0]])


class IntermediateDtypes(Observer):
    def __init__(self):
        self.seen = set()

    def after(self, event):
        self.seen.update(tensor.dtype for tensor in event.results if tensor.dtype.is_floating_point)


class Notes(Observer):
    """Writes down, as text, what it is told."""

    def __init__(self):
        self.lines = []

    def before(self, event):
        self.lines.append(f"{event.name} in {event.module or 'the model'}")

    def after(self, event):
        self.lines.append(f"{event.name} gave {len(event.results)}")

    def enter(self, event):
        self.lines.append(f"enter {event.path}")

    def leave(self, event):
        self.lines.append(f"leave {event.path}")


def test_an_observer_of_six_lines_sees_dtypes_that_casts_hide():
    dtypes = IntermediateDtypes()
    with Recorder(dtypes):
        (X.half() * 2).float()
    assert dtypes.seen == {torch.float16, torch.float32}


def test_operations_and_modules_are_told_in_order():
    model, notes = nn.Sequential(nn.ReLU(), nn.Identity()), Notes()
    with Recorder(notes, followed=dict(model.named_modules())):
        model(X)
    assert notes.lines == [
        *("enter ", "enter 0", "aten::relu in 0", "aten::relu gave 1", "leave 0", "enter 1", "leave 1", "leave ")
    ]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_all_observers_see_one_pass():
    first, second, runs = Notes(), Notes(), []

    def model(x):
        runs.append(x)
        return x + 1

    with Recorder(first, second) as recorder:
        model(X)
    assert first.lines == second.lines
    order = []

    class Ordered(Notes):
        def before(self, event):
            order.append(self)

        after = before

    first, second = Ordered(), Ordered()
    with Recorder(first, second):
        X.neg()
    assert order == [first, second, second, first]
    assert len(runs) == recorder.n_ops == 1


def test_arguments_have_names_and_defaults_before_an_operation_in_place_overwrites_them():
    seen = []

    class Arguments(Observer):
        def before(self, event):
            seen.append((event.name, event.arguments["alpha"], event.arguments["self"].tolist()))

        def after(self, event):
            seen.append((event.records_gradients, event.output.tolist()))

    x = X.clone()
    with Recorder(Arguments()), torch.no_grad():
        x.add_(1)
    assert seen == [("aten::add_", 1, X.tolist()), (False, (X + 1).tolist())]


def test_places_are_the_module_and_the_line_of_source():
    class Shifted(nn.Module):
        def forward(self, x):
            return x + 1

    sites = []

    class Places(Observer):
        def before(self, event):
            sites.append(event.site())

    model = nn.Sequential(nn.Identity(), Shifted())
    with Recorder(Places(), names={id(module): (path, module) for path, module in model.named_modules()}):
        model(X)
    (site,) = sites
    assert (site.module, site.type, site.op) == ("1", "Shifted", "aten.add.Tensor")
    assert site.location.split(":")[0].endswith("test_recorder.py")


def test_what_observers_compute_is_not_recorded():
    class Busy(Observer):
        def __init__(self):
            self.sizes = []

        def _look(self, tensor):
            self.sizes.append(float(tensor.square().sum()))

        def before(self, event):
            self._look(event.tensors[0])

        def after(self, event):
            self._look(event.results[0])

        def enter(self, event):
            self._look(event.args[0])

        def leave(self, event):
            self._look(event.output)

    class Functions(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    model, busy = nn.ReLU(), Busy()
    with Functions() as functions, Recorder(busy, followed={"": model}) as recorder:
        model(X)
    assert recorder.n_ops == 1
    assert len(busy.sizes) == 4
    assert "square" not in functions.names


def test_results_are_told_apart_by_the_memory_they_lie_in():
    seen = {}

    class Memory(Observer):
        def after(self, event):
            seen[event.name] = len(event.fresh), len(event.views)

    with torch.no_grad(), Recorder(Memory()):
        X.clone().t().chunk(3)[0].mul_(2)
    assert seen == {"aten::clone": (1, 0), "aten::t": (0, 1), "aten::split": (0, 3), "aten::mul_": (0, 0)}


def test_no_activation_is_kept_alive():
    alive = []

    class Counts(Observer):
        def before(self, event):
            alive.append(sum(reference() is not None for reference in references))

        def after(self, event):
            references.append(weakref.ref(event.output))

    references = []
    gc.disable()  # it is reference counts alone that let activations go
    try:
        with torch.no_grad(), Recorder(Counts(), IntermediateDtypes()):
            x = X
            for _ in range(5):
                x = x + 1
    finally:
        gc.enable()
    assert max(alive) == 1


def test_operators_that_take_functions_are_told_as_a_whole():
    seen = []

    class Whole(Observer):
        def after(self, event):
            seen.append((event.takes_functions, event.arguments, len(event.tensors), len(event.results)))

    with torch.no_grad(), Recorder(Whole()):
        torch.ops.higher_order.cond(True, lambda x: (x + 1,), lambda x: (x - 1,), (X,))
    assert seen == [(True, {}, 1, 1)]


def test_after_an_error_hooks_are_gone_and_modules_left():
    class Failing(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    model, notes = nn.Sequential(Failing()), Notes()
    recorder = Recorder(notes, followed=dict(model.named_modules()))
    with pytest.raises(ValueError, match="no"), recorder:
        model(X)
    assert recorder.module == ""
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
