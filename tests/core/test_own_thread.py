"""What is hooked into a model for one call does nothing to calls of other threads."""

import threading

import torch
from torch import nn

from captum_xg._core.own_thread import in_this_thread
from captum_xg._core.recorder import Observer, Recorder


class Paths(Observer):
    """The modules that were entered."""

    def __init__(self):
        self.entered = []

    def enter(self, event):
        self.entered.append(event.path)


def elsewhere(run):
    """Return what a function gives in another thread."""
    found = []

    def body():
        try:
            found.append(run())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return found[0]


def test_a_hook_acts_in_its_own_thread_alone():
    layer, x = nn.Linear(2, 2), torch.rand(1, 2)
    plain = layer(x)
    handle = layer.register_forward_hook(in_this_thread(lambda *_: torch.zeros(1, 2)))
    assert not layer(x).any()
    assert torch.equal(elsewhere(lambda: layer(x)), plain)
    handle.remove()


def test_another_thread_may_run_a_model_that_is_recorded():
    model, x, paths = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.rand(1, 2), Paths()
    plain = model(x)
    with Recorder(paths, followed=dict(model.named_modules())):
        assert torch.equal(elsewhere(lambda: model(x)), plain)
        assert paths.entered == []
        model(x)
    assert paths.entered == ["", "0", "1"]
