"""The ordinary network that comes with the package: it is what people have, and it converts."""

import os

import numpy as np
import torch
from fashion_files import write_fashion_mnist

from captum_xg import certify, to_xdnn
from captum_xg.demo import conventional_model, demo_images
from captum_xg.demo.assets import ASSETS
from captum_xg.demo.conventional import WEIGHTS_FILE, ConventionalNet, train_conventional
from captum_xg.demo.train import accuracy


def test_the_shipped_network_is_small_safe_to_load_and_in_evaluation_mode():
    file = ASSETS / WEIGHTS_FILE
    assert file.stat().st_size < 150_000
    state = torch.load(file, weights_only=True)
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    model = conventional_model()
    assert not any(module.training for module in model.modules())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(p.numel() for p in model.parameters()) <= 60_000


def test_it_recognises_what_its_docstring_says():
    assert accuracy(conventional_model(), *demo_images()) >= 0.87
    root = os.environ.get("CAPTUM_XG_FASHION_MNIST")
    if root:
        from captum_xg.datasets.fashion_mnist import load_fashion_mnist

        share = accuracy(conventional_model(), *load_fashion_mnist(root, train=False))
        assert share >= 0.89
        assert f"{share:.1%}".replace("%", " %") in conventional_model.__doc__


def test_certify_disproves_it_for_each_of_the_usual_reasons():
    images, _ = demo_images(2)
    certificate = certify(conventional_model(), images)
    assert certificate.verdict == "disproved"
    kinds = {violation.type for violation in certificate.violations}
    assert {"BatchNorm2d", "Hardswish", "SiLU", "ReLU6", "Sigmoid", "Linear", "ConventionalNet"} <= kinds
    own = [violation for violation in certificate.violations if violation.module == ""]
    assert [violation.op for violation in own] == ["aten.gelu.default"]


def test_it_converts_exactly_first_and_is_proven_afterwards():
    images, _ = demo_images(8)
    model = conventional_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    xdnn, report = to_xdnn(model, images)
    assert report.homogeneous
    assert certify(xdnn, images).degree == 1
    assert report.exact_difference < 1e-5
    assert {change.stage for change in report.changes} == {
        *("functional calls", "batch norms", "activations", "normalisation and gates", "constants"),
    }
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in xdnn.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_training_writes_weights_that_load_and_repeats_itself(tmp_path):
    generator = np.random.default_rng(0)
    made_up = lambda n: (generator.integers(0, 256, (n, 28, 28), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8))
    write_fashion_mnist(tmp_path, train=made_up(256), t10k=made_up(64))
    shares = [train_conventional(tmp_path, tmp_path / name, epochs=1) for name in ("a", "b")]
    assert shares[0] == shares[1]
    first, second = (conventional_model(folder=tmp_path / name).state_dict() for name in ("a", "b"))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    fresh = ConventionalNet().state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in first.items())
