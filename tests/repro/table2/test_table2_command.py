"""The command of Table 2: what it writes, that it goes on where it stopped, and what it refuses."""

import json
from functools import partial

import pytest

from captum_xg.cli.command_line import main
from captum_xg.repro.table2 import claims, measure


@pytest.fixture
def few_steps(monkeypatch):
    """Integrated Gradients with few steps, which takes no time."""
    integrated = measure.integrated
    monkeypatch.setattr(measure, "integrated", lambda *given, steps=4: integrated(*given, steps=min(steps, 4)))


def numbers(folder):
    return json.loads((folder / "section.json").read_text())["numbers"]


@pytest.mark.usefixtures("few_steps")
def test_a_second_run_does_no_work_and_a_half_finished_one_goes_on_to_the_same_numbers(tmp_path, monkeypatch, capsys):
    run = partial(main, ["repro", "table2", "--images", "2", "--exact-images", "0", "--output", str(tmp_path)])
    assert run() == 0
    said = capsys.readouterr().out
    for claim in claims.CLAIMS:
        assert claim.says in said
    first = numbers(tmp_path)
    assert len(first) == 15  # of 6 networks accuracies and distances, of 3 X-DNNs both precisions
    for name in ("accuracy small_vgg 0-2", "distance xsmall_alexnet 0-2"):
        (tmp_path / "units" / f"{name}.json").unlink()
    assert run() == 0
    assert numbers(tmp_path) == first
    for work in ("_predicted", "_compared", "_in_both_precisions"):
        monkeypatch.setattr(measure, work, lambda *_: pytest.fail("work is done again"))
    assert run() == 0
    assert numbers(tmp_path) == first
    assert run.func([*run.args[0][:3], "3", *run.args[0][4:]]) == 3  # other images are other settings


def test_a_negative_number_of_images_is_refused(tmp_path, capsys):
    assert main(["repro", "table2", "--exact-images", "-1", "--output", str(tmp_path)]) == 3
    assert "--exact-images -1" in capsys.readouterr().err


def test_whole_images_are_right_where_their_class_is_among_the_first():
    from torch import nn, tensor

    class Chosen:
        models = "small"
        device = None

        def batch(self, index, size):
            return tensor([[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]]), tensor([index])

    found = measure._predicted(Chosen(), nn.Identity(), 0, 7)
    assert found == {"top1": [1, 0, 0, 0, 0, 0, 0], "top5": [1, 1, 1, 1, 1, 0, 0]}
