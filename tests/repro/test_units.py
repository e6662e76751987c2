"""Units of an experiment: none is done twice, none is lost, none of other settings comes in."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_processes import results_of

from captum_xg.errors import FileError
from captum_xg.repro.units import UnitFolder, done, effort

NAMES = ("a", "b/c", "α = 0.3", "d e")


def squares(calls, names=NAMES):
    """Units that note that they were done."""

    def unit(i, name):
        def do():
            calls.append(name)
            return {"value": i * i, "list": [0.1 * i]}

        return do

    return {name: unit(i, name) for i, name in enumerate(names)}


def values(found):
    return {name: unit.value for name, unit in found.items()}


def test_a_second_run_does_nothing_and_returns_the_same(tmp_path):
    first, second = [], []
    before = done(tmp_path, {"n": 1}, squares(first), "units")
    after = done(tmp_path, {"n": 1}, squares(second), "units")
    assert (first, second) == (list(NAMES), [])
    assert before == after  # seconds and commits too: they are those of when it was done
    assert list(after) == list(NAMES)
    assert effort(after)[0] == pytest.approx(sum(unit.seconds for unit in before.values()))


@given(st.sets(st.sampled_from(NAMES)))
def test_what_is_missing_is_done_and_nothing_else(tmp_path_factory, missing):
    folder = tmp_path_factory.mktemp("units")
    whole = done(folder, {}, squares([]), "units")
    store = UnitFolder(folder, {})
    for name in missing:
        store._path(name).unlink()
    calls = []
    assert values(done(folder, {}, squares(calls), "units")) == values(whole)
    assert set(calls) == missing


def test_a_unit_that_fails_keeps_those_before_it(tmp_path):
    calls = []
    units = squares(calls)
    units["d e"] = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        done(tmp_path, {}, units, "units")
    done(tmp_path, {}, squares(calls), "units")
    assert calls == list(NAMES)


def test_units_of_other_settings_are_refused(tmp_path):
    done(tmp_path, {"images": 10}, squares([]), "units")
    with pytest.raises(FileError, match=r"images 10 there and 20 now"):
        done(tmp_path, {"images": 20}, squares([]), "units")


def test_a_file_that_was_tampered_with_is_refused(tmp_path):
    done(tmp_path, {}, squares([]), "units")
    path = UnitFolder(tmp_path, {})._path("a")
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "b/c"}))
    with pytest.raises(FileError, match="another unit"):
        done(tmp_path, {}, squares([]), "units")
    path.write_text("{")
    with pytest.raises(FileError):
        done(tmp_path, {}, squares([]), "units")


def test_killed_it_loses_at_most_the_unit_it_was_at(tmp_path):
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from captum_xg.repro.units import done
        def unit(i):
            def do():
                if i == 3:
                    print("at three", flush=True)
                    time.sleep(600)
                return {"i": i}
            return do
        done(Path(sys.argv[1]), {}, {str(i): unit(i) for i in range(5)}, "units")
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at three\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    calls = []
    found = done(tmp_path, {}, {str(i): (lambda i=i: calls.append(i) or {"i": i}) for i in range(5)}, "units")
    assert calls == [3, 4]
    assert values(found) == {str(i): {"i": i} for i in range(5)}


def test_two_processes_share_the_units_and_both_have_all(tmp_path):
    from pathlib import Path

    found = results_of(Path(__file__).with_name("unit_worker.py"), tmp_path)
    assert found[0]["values"] == found[1]["values"] == {str(i): {"square": i * i} for i in range(5)}
    assert sorted(found[0]["calls"] + found[1]["calls"]) == sorted([*range(5), 0])
    # What one process is refused all are; or the others take what it gathers next for what they wait for.
    assert found[0]["refused"] == found[1]["refused"] == "no plums, no plums"
    assert found[0]["first"]
    assert not found[1]["first"]
    assert found[1]["printed"] == ""
