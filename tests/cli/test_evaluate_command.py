"""``captum-xg evaluate``: from a model and data on the command line to a table, numbers and figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from captum_xg.benchmark.evaluation import BatchEvaluation
from captum_xg.cli import evaluation_results
from captum_xg.cli.command_line import main
from captum_xg.datasets.evaluation import labelled_examples
from captum_xg.demo import demo_images, demo_model
from captum_xg.errors import OptionError
from captum_xg.metrics import AttributionBenchmark

MODEL = """
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False))


def biased():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


def colours():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def function():
    return lambda x: x.flatten(1)[:, :3]
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    images, labels = generator.random((12, 1, 6, 6), dtype=np.float32), generator.integers(0, 3, 12)
    np.savez("data.npz", images=images, labels=labels)
    return tmp_path


def _evaluate(*arguments, metrics=("CompletenessGap",)):
    return main(["evaluate", "--metrics", *metrics, "--device", "cpu", *arguments])


@pytest.mark.thorough
def test_a_bare_call_on_the_shipped_network_and_images_works(capsys, directory):
    assert main(["evaluate", "captum_xg.demo:demo_model", "--images", "2", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "2 examples, cpu" in printed
    content = json.loads((directory / "captum-xg-evaluate" / "results.json").read_text())
    four = ["KeepPositiveMask", "KeepNegativeMask", "KeepAbsoluteMask", "RemoveAbsoluteMask"]
    assert list(content["metrics"]) == four
    assert list(content["methods"]) == [
        "gradient", "expected_gradients_1", "integrated_gradients", "xgradient", "random", "blurred_input"
    ]  # fmt: skip
    costs = {name: method["cost"]["gradient_evaluations"] for name, method in content["methods"].items()}
    assert (costs["integrated_gradients"], costs["xgradient"]) == (128, 1)
    benchmark = AttributionBenchmark(demo_model(), ["gradient", "xgradient"], device="cpu")
    for name, method in benchmark.run([demo_images(2)], progress=False).methods.items():
        for metric in four:
            value = content["methods"][name]["estimates"][metric]["value"]
            assert value == pytest.approx(method.estimates[metric].value, rel=1e-4, abs=1e-4)
    for file in ("curves.png", "cost_quality.png"):
        assert (directory / "captum-xg-evaluate" / file).read_bytes().startswith(b"\x89PNG")


def test_what_is_printed_and_written_agree(capsys, directory):
    assert _evaluate("net.py:net", "--data", "data.npz", "--methods", "xgradient", "--output", "out") == 0
    printed = capsys.readouterr().out
    content = json.loads((directory / "out" / "results.json").read_text())
    value = content["methods"]["xgradient"]["estimates"]["CompletenessGap"]["value"]
    for text in (printed, (directory / "out" / "table.md").read_text(), (directory / "out" / "table.tex").read_text()):
        assert f"{value:.4g}" in text
    assert {path.name for path in (directory / "out").iterdir()} == {
        "table.md", "table.tex", "results.json", "cost_quality.png", "partial"
    }  # fmt: skip
    for path in ("table.md", "results.json", "cost_quality.png"):
        assert str(directory / "out" / path) in printed
    data = np.load("data.npz")
    torch.manual_seed(0)
    weight = torch.nn.Linear(36, 3, bias=False).weight
    hits = (torch.from_numpy(data["images"]).flatten(1) @ weight.T).argmax(1).numpy() == data["labels"]
    assert content["accuracy"] == hits.mean()
    assert f"{hits.mean():.1%} recognised" in printed


def test_called_again_it_goes_on_and_another_model_is_refused(capsys, monkeypatch):
    arguments = ("--data", "data.npz", "--methods", "gradient", "--batch-size", "5")
    assert _evaluate("net.py:net", *arguments, "--resume", "kept") == 0
    with monkeypatch.context() as patched:
        patched.setattr(BatchEvaluation, "_part", lambda *_: pytest.fail("done again"))
        assert _evaluate("net.py:net", *arguments, "--resume", "kept") == 0
    capsys.readouterr()
    assert _evaluate("net.py:biased", *arguments, "--resume", "kept") == 3
    assert "changed: model, metric CompletenessGap" in capsys.readouterr().err


@pytest.fixture
def no_pictures(monkeypatch):
    """Draw none: they take seconds."""
    monkeypatch.setattr(evaluation_results, "write_figure", lambda path, *_, **__: path.write_bytes(b"a picture"))


def _kept(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("batch_size", ["50", "3"])
@pytest.mark.parametrize("methods", [["gradient"], ["expected_gradients_1"]])
def test_fewer_images_do_not_overwrite_the_results_on_more(batch_size, methods, capsys):
    arguments = ("net.py:net", "--data", "data.npz", "--methods", *methods, "--batch-size", batch_size)
    assert _evaluate(*arguments) == 0
    before = _kept("captum-xg-evaluate")
    capsys.readouterr()
    assert _evaluate(*arguments, "--images", "6") == 3
    message = capsys.readouterr().err
    assert "images 12 there and 6 now" in message
    assert "Give another --output" in message
    assert _kept("captum-xg-evaluate") == before
    assert _evaluate(*arguments, "--images", "6", "--output", "other") == 0
    assert _evaluate(*arguments, "--images", "100") == 0  # there are no more than 12


def test_other_images_are_said_to_be_other_images_where_an_interrupted_call_has_left_parts(capsys, monkeypatch):
    """Without results there is nothing to overwrite, but the parts are about other references."""
    arguments = ("net.py:net", "--data", "data.npz", "--methods", "expected_gradients_1")
    with monkeypatch.context() as patched:
        patched.setattr(BatchEvaluation, "_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert _evaluate(*arguments) == 130
    capsys.readouterr()
    assert _evaluate(*arguments, "--images", "6") == 3
    message = capsys.readouterr().err
    assert "images" in message
    assert "another number of them" in message


@pytest.mark.usefixtures("no_pictures")
def test_more_images_take_the_place_of_the_results_on_fewer():
    arguments = ("net.py:net", "--data", "data.npz", "--methods", "gradient", "--batch-size", "3")
    assert _evaluate(*arguments, "--images", "6") == 0
    assert _evaluate(*arguments) == 0
    assert json.loads(Path("captum-xg-evaluate", "results.json").read_text())["images"] == 12


@pytest.mark.usefixtures("no_pictures")
def test_more_images_that_fill_up_a_batch_are_refused_with_how_many_there_were(capsys):
    arguments = ("net.py:net", "--data", "data.npz", "--methods", "gradient")
    assert _evaluate(*arguments, "--images", "6") == 0
    before = _kept("captum-xg-evaluate")
    assert _evaluate(*arguments) == 3
    assert "batch 0 is not the one of 6 examples that they were made from" in capsys.readouterr().err
    assert _kept("captum-xg-evaluate") == before


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics": ("CompletenessGap",)}, "metrics MeanAbsoluteRelativeDifference there and not now"),
        ({"methods": ("xgradient",)}, "methods gradient there and not now"),
        ({"target": "net.py:biased"}, "changed: model"),
        ({"target": "net.py:biased", "more": ("--resume", "fresh")}, "net.py:net there and net.py:biased now"),
        ({"more": ("--weights", "zero.pt")}, "changed: model"),
        (
            {"more": ("--weights", "zero.pt", "--resume", "fresh")},
            "net.py:net there and net.py:net with --weights zero",
        ),
        ({"more": ("--data", "other.npz")}, "data data.npz there and other.npz now"),
        ({"more": ("--target", "predicted")}, "explained label there and predicted now"),
        ({"more": ("--batch-size", "5")}, "other examples, or about these in another order"),
        ({"more": ("--mean", "1", "--std", "2")}, "other examples"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_results_are_never_overwritten_by_those_of_another_question(change, said, capsys):
    torch.save({"1.weight": torch.zeros(3, 36)}, "zero.pt")
    np.savez("other.npz", images=np.zeros((12, 1, 6, 6), np.float32), labels=np.arange(12) % 3)
    first = {"metrics": ("CompletenessGap", "MARD"), "methods": ("gradient", "xgradient"), "target": "net.py:net"}

    def evaluate(target, metrics, methods, more=()):
        return _evaluate(target, "--data", "data.npz", "--methods", *methods, *more, metrics=metrics)

    assert evaluate(**first) == 0
    before = _kept("captum-xg-evaluate")
    capsys.readouterr()
    assert evaluate(**{**first, **change}) == 3
    assert said in capsys.readouterr().err
    assert _kept("captum-xg-evaluate") == before


@pytest.mark.usefixtures("no_pictures")
def test_results_with_more_methods_and_metrics_take_the_place_of_those_with_fewer():
    arguments = ("net.py:net", "--data", "data.npz", "--methods", "gradient")
    assert _evaluate(*arguments) == 0
    assert _evaluate(*arguments) == 0
    assert _evaluate(*arguments, "xgradient", metrics=("MARD", "CompletenessGap")) == 0
    content = json.loads(Path("captum-xg-evaluate", "results.json").read_text())
    assert list(content["metrics"]) == ["MeanAbsoluteRelativeDifference", "CompletenessGap"]
    assert {"gradient", "xgradient"} < set(content["methods"])


@pytest.mark.usefixtures("no_pictures")
def test_the_same_data_by_another_path_is_the_same_data(directory):
    assert _evaluate("net.py:net", "--data", "data.npz", "--methods", "gradient") == 0
    assert _evaluate("./net.py:net", "--data", f"{directory}/data.npz", "--methods", "gradient") == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"methods": null, "metrics": {}}', '{"mine": 1}'])
def test_a_file_that_is_no_result_is_not_overwritten(content, capsys):
    Path("captum-xg-evaluate").mkdir()
    Path("captum-xg-evaluate", "results.json").write_text(content)
    assert _evaluate("net.py:net", "--data", "data.npz", "--methods", "gradient") == 3
    assert "results.json" in capsys.readouterr().err
    assert Path("captum-xg-evaluate", "results.json").read_text() == content


def test_a_network_with_biases_gets_a_row_that_says_refused(capsys):
    assert _evaluate("net.py:biased", "--data", "data.npz", "--methods", "gradient", "xgradient") == 0
    printed = capsys.readouterr().out
    assert "xgradient refused: HomogeneityError" in printed
    assert "1 (Linear): adds a bias" in printed


def test_the_shipped_weights_of_a_small_network_can_be_asked_for(capsys):
    target = "captum_xg.models:xsmall_vgg"
    arguments = ("--images", "40", "--methods", "gradient")
    assert _evaluate(target, *arguments, "--output", "random") == 0
    assert _evaluate(target, *arguments, "--weights", "shipped", "--output", "trained") == 0
    shares = [json.loads(Path(name, "results.json").read_text())["accuracy"] for name in ("random", "trained")]
    assert shares[1] > 0.8 > shares[0]
    assert _evaluate("net.py:net", "--data", "data.npz", "--weights", "shipped") == 3
    assert "xsmall_vgg" in capsys.readouterr().err


def test_weights_are_read_from_a_file():
    torch.save({"1.weight": torch.zeros(3, 36)}, "zero.pt")
    assert _evaluate("net.py:net", "--data", "data.npz", "--weights", "zero.pt", "--methods", "gradient") == 0
    labels = np.load("data.npz")["labels"]
    content = json.loads(Path("captum-xg-evaluate", "results.json").read_text())
    assert content["accuracy"] == (labels == 0).mean()


def test_the_predicted_class_can_be_explained():
    assert _evaluate("net.py:net", "--data", "data.npz", "--methods", "gradient", "--target", "predicted") == 0
    assert json.loads(Path("captum-xg-evaluate", "results.json").read_text())["explained"] == "predicted"


def test_a_folder_of_images_is_read_scaled_and_normalised():
    for label in range(3):
        folder = Path("photos", f"class{label}")
        folder.mkdir(parents=True)
        for i in range(4):
            image = torch.full((3, 10, 12), 0.2 * label + 0.1)
            to_pil_image(image).save(folder / f"{i}.png")
    data = labelled_examples("photos", 100, size=8, mean=[0.1] * 3, std=[0.5] * 3)
    assert len(data) == 12
    for x, y in data:
        assert x.shape == (3, 8, 8)
        torch.testing.assert_close(x, torch.full((3, 8, 8), 0.4 * y), atol=0.01, rtol=0)
    few = labelled_examples("photos", 6, size=8)
    assert len(few) == 6
    assert len({y for _, y in few}) > 1  # not the first class only
    assert [y for _, y in few] == [y for _, y in labelled_examples("photos", 6, size=8)]
    arguments = ("--data", "photos", "--size", "8", "--methods", "gradient", "--mean", ".5", ".5", ".5")
    assert _evaluate("net.py:colours", *arguments, "--std", "1", "1", "1") == 0


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((5, 7, 7), np.uint8, (5, 1, 7, 7)),
        ((5, 7, 6, 3), np.uint8, (5, 3, 7, 6)),
        ((5, 3, 7, 6), np.uint8, (5, 3, 7, 6)),
        ((5, 9), np.float64, (5, 9)),
        ((5, 9), np.int64, (5, 9)),
    ],
)
def test_eight_bit_images_are_scaled_and_other_numbers_are_taken_as_they_are(shape, dtype, expected):
    values = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
    np.savez("numbers.npz", images=values, labels=np.arange(5))
    data = labelled_examples("numbers.npz", 3)
    assert len(data) == 3
    x = torch.stack([x for x, _ in data])
    assert x.shape == (3, *expected[1:])
    assert x.dtype == torch.float32
    scale = 255 if dtype == np.uint8 else 1
    assert x.double().sum() == pytest.approx(values[:3].astype(float).sum() / scale, rel=1e-5)


def test_the_demo_images_are_the_default_and_equal_those_of_the_package():
    images, labels = demo_images(20)
    data = labelled_examples("demo", 20)
    assert torch.equal(torch.stack([x for x, _ in data]), images)
    assert [int(y) for _, y in data] == labels.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere"], "there is no such folder"),
        (["--data", "nowhere.npz"], "cannot be read"),
        (["--data", "other.npz"], "images and labels"),
        (["--data", "float_labels.npz"], "one integer per example"),
        (["--data", "many_classes.npz"], "has 3 classes, but a label is 7"),
        (["--data", "demo"], "Does --data fit"),
        (["--data", "data.npz", "--size", "3"], "--size"),
        (["--data", "data.npz", "--mean", "0.5"], "go together"),
        (["--data", "data.npz", "--mean", "1", "2", "--std", "1", "1"], "1 numbers each"),
        (["--data", "data.npz", "--methods", "gradints"], "Did you mean gradient"),
        (["--data", "data.npz", "--device", "nonsense"], "--device nonsense"),
    ],
)
def test_what_cannot_be_run_is_said_with_exit_status_3(arguments, said, capsys):
    np.savez("other.npz", x=np.zeros(3))
    np.savez("float_labels.npz", images=np.zeros((3, 1, 6, 6), np.float32), labels=np.zeros(3))
    np.savez("many_classes.npz", images=np.zeros((3, 1, 6, 6), np.float32), labels=np.array([0, 7, 1]))
    assert main(["evaluate", "net.py:net", "--metrics", "CompletenessGap", *arguments]) == 3
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--images", "0"], ["--images", "x"], ["--target", "none"], ["--batch-size", "-1"]]
)
def test_wrong_arguments_leave_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "net.py:net", *arguments])
    assert left.value.code == 2


def test_an_unknown_metric_is_refused_with_the_known_ones(capsys):
    assert _evaluate("net.py:net", "--data", "data.npz", metrics=["Completenes"]) == 3
    assert "CompletenessGap" in capsys.readouterr().err


def test_a_file_with_pickled_objects_is_not_opened():
    np.savez("pickled.npz", images=np.array([{}, {}], dtype=object), labels=np.arange(2))
    with pytest.raises(OptionError, match=r"pickled\.npz"):
        labelled_examples("pickled.npz", 2)
