"""Table 3 on two images: the benchmark's numbers, no work twice, and two processes with the numbers of one."""

import json
from pathlib import Path

import pytest
import table3_samples
import torch
from table3_samples import options
from two_processes import results_of

from captum_xg.benchmark import AttributionBenchmark
from captum_xg.errors import FileError
from captum_xg.metrics import KeepPositiveMask
from captum_xg.repro import table3
from captum_xg.repro.subjects import subjects
from captum_xg.repro.table3 import figure, measure
from captum_xg.repro.table3.scores import Scores


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with results, and the section of the first run."""
    patch = pytest.MonkeyPatch()
    patch.setattr(measure, "BATCH", 1)
    folder = tmp_path_factory.mktemp("table3")
    yield folder, table3.section(options(folder))
    patch.undo()


def numbers(section):
    return json.loads(json.dumps(section.numbers))


def without_seconds(found):
    for network in found["networks"].values():
        del network["seconds"]
    return found


@pytest.mark.thorough
def test_x_gradient_scores_as_integrated_gradients_and_refuses_the_regular_network(done):
    _, section = done
    found = {each.claim.key: each for each in section.findings}
    assert found["table3/on-par"].verdict == "confirmed"
    assert found["table3/refuses"].verdict == "confirmed"
    assert found["table3/cost"].verdict == "confirmed"
    assert "2 of" in section.setting
    assert section.seconds > 0
    assert section.commits


def test_numbers_are_those_of_the_metric_itself(done):
    folder, section = done
    chosen = subjects(options(folder), 2)
    model = chosen.pair("AlexNet").xdnn
    x, y = chosen.rows(range(2))
    x.requires_grad_()
    output = model(x)
    (gradient,) = torch.autograd.grad(output.gather(1, y[:, None]).sum(), x)
    metric = KeepPositiveMask(model)
    metric.update(x.detach(), x.detach() * gradient, y)
    scores = Scores("X-AlexNet", section.numbers["networks"]["X-AlexNet"])
    assert scores.value("paper", "KPM", "XG (1)").value == pytest.approx(float(metric.compute()), rel=1e-5)


def test_a_second_run_runs_no_network_and_says_the_same(done, monkeypatch):
    folder, section = done
    monkeypatch.setattr(figure, "draw", lambda *_: None)
    monkeypatch.setattr(AttributionBenchmark, "run", lambda *_: pytest.fail("the benchmark ran again"))
    again = table3.section(options(folder))
    assert again.to_dict() == section.to_dict()


def test_half_done_it_goes_on_to_the_same_numbers(done, monkeypatch):
    folder, section = done
    monkeypatch.setattr(figure, "draw", lambda *_: None)
    for path in (folder / "units").glob("*small_alexnet.json"):
        path.unlink()
    (lost,) = (folder / "parts" / "xsmall_alexnet").glob("batch000001-xgradient.pt")
    lost.unlink()
    again = table3.section(options(folder))
    assert without_seconds(numbers(again)) == without_seconds(numbers(section))


def test_results_of_other_images_are_refused(done):
    folder, _ = done
    with pytest.raises(FileError, match="other settings"):
        table3.section(options(folder, "--images", "3"))


@pytest.mark.slow
def test_two_processes_have_the_numbers_of_one(done, tmp_path):
    _, section = done
    first, second = results_of(Path(table3_samples.__file__), tmp_path)
    alone = without_seconds(numbers(section))
    for each in (first, second):
        assert without_seconds(json.loads(json.dumps(each))) == alone
