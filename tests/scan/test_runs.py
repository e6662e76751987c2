"""Runs that are interrupted, shared, disturbed: nothing is lost, nothing is done twice, and the bytes are the same."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import torch
from effort import tries
from scan_cases import Asked, examples, explained, network, whole
from torch.utils.data import DataLoader, Dataset, TensorDataset

from captum_xg import XGradient
from captum_xg.datasets import Attributions
from captum_xg.datasets.attributions.layout import SHARDS
from captum_xg.errors import FileError, ModelStateError
from captum_xg.scan import claims, locks, shards
from captum_xg.scan.claims import Claims


def contents(folder):
    """Name → bytes of all that a folder holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Mortal(Dataset):
    """Examples, of which the one after so many reads ends the process's run."""

    def __init__(self, data, life):
        self.data, self.life = data, life

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        self.life -= 1
        if self.life < 0:
            raise KeyboardInterrupt  # as Exception it would be that of an example
        return self.data[i]


def test_a_run_that_ends_anywhere_goes_on_to_the_same_bytes(tmp_path):
    model, data = network(), TensorDataset(*examples(50))
    explained(XGradient(model), DataLoader(data, batch_size=3), tmp_path / "whole", shard_size=9)
    draws, runs = random.Random(0), 0
    for life in [18, *(draws.randrange(18, 60) for _ in range(tries(4, 30)))]:
        to, ended = tmp_path / f"{runs}", False
        for longer in range(0, 60, 9):
            runs += 1
            try:
                loader = DataLoader(Mortal(data, life + longer), batch_size=3)
                explained(XGradient(model), loader, to, shard_size=9)
                ended = True
                break
            except KeyboardInterrupt:
                continue
        assert ended
        assert contents(to) == contents(tmp_path / "whole")


def _somewhere_else(rows):
    """Put examples together at an address that is no multiple of 64."""
    x, y = (torch.stack(column) for column in zip(*rows, strict=True))
    memory = torch.empty(x.numel() + 16)
    at = next(i for i in range(16) if memory[i:].data_ptr() % 64 == 4)
    return memory[at : at + x.numel()].view(x.shape).copy_(x), y


def test_where_the_loader_puts_a_batch_in_memory_changes_no_bit(tmp_path):
    data = TensorDataset(*examples(50))
    for name, collate in (("a", None), ("b", _somewhere_else)):
        loader = DataLoader(data, batch_size=5, collate_fn=collate)
        explained(XGradient(network(classes=1)), loader, tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_settings_model_and_data_of_another_run_are_refused_by_name(tmp_path):
    model, (x, y) = network(), examples(20)
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    explained(XGradient(model), loader, tmp_path)
    before = contents(tmp_path)
    other = x.clone()
    other[19] += 1
    cases = [
        (XGradient(model), loader, {"targets": "true"}, 'the targets: "predicted" there, "true" now'),
        (XGradient(network(seed=3)), loader, {}, "the weights or the settings of the model"),
        (XGradient(model), DataLoader(TensorDataset(other, y), batch_size=4), {}, r"the data \(digest\)"),
        (XGradient(model), DataLoader(TensorDataset(x, (y + 1) % 4), batch_size=4), {}, r"the data \(digest\)"),
        (XGradient(model), DataLoader(TensorDataset(x[:9], y[:9]), batch_size=4), {}, "examples: 20 there, 9 now"),
        (XGradient(model), DataLoader(TensorDataset(x, y), batch_size=5), {}, "the batch size: 4 there, 5 now"),
        (XGradient(model, multiply_by_inputs=False), loader, {}, "options of the method"),
        (XGradient(model), loader, {"on_violation": "integrate"}, "whether what is refused is integrated"),
    ]
    for method, loader_now, options, said in cases:
        with pytest.raises(FileError, match=f"attributions of another run.*{said}.*Give another folder"):
            explained(method, loader_now, tmp_path, **options)
    assert contents(tmp_path) == before
    explained(XGradient(model), loader, tmp_path, on_violation="record")  # as nothing of it would be otherwise


def test_a_used_method_is_the_method_that_it_was(tmp_path):
    model, (x, y) = network(bias=True), examples(8)
    method, loader = XGradient(model, on_violation="integrate"), DataLoader(TensorDataset(x, y), batch_size=4)
    explained(method, loader, tmp_path, on_violation="integrate")
    with pytest.warns(UserWarning, match="Said once"):
        method.attribute(x, target=0)
    explained(method, loader, tmp_path, on_violation="integrate")


def _explain_in_a_process(to, delay):
    torch.set_num_threads(1)
    time.sleep(delay)
    loader = DataLoader(TensorDataset(*examples(120)), batch_size=3)
    explained(XGradient(network()), loader, to, shard_size=6)


def test_runs_at_the_same_time_share_the_work(tmp_path):
    _explain_in_a_process(tmp_path / "a", 0)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_explain_in_a_process, args=(tmp_path / "b", 0)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_a_shard_is_explained_by_one_process_only(tmp_path):
    with Claims(tmp_path, 8) as one:
        assert one.take(0)
        assert one.take(8)
        script = f"""
            from captum_xg.scan.claims import Claims
            from pathlib import Path
            with Claims(Path({str(tmp_path)!r}), 8) as other:
                print([other.take(first) for first in (0, 8, 16)])
        """
        found = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == "[False, False, True]"
        assert one.take(16)  # as the other process has ended


def test_runs_in_threads_of_one_process_do_not_take_each_others_shards(tmp_path):
    def elsewhere():
        script = f"""
            from captum_xg.scan.claims import Claims
            from pathlib import Path
            with Claims(Path({str(tmp_path)!r}), 8) as other:
                print([other.take(first) for first in (0, 8, 16)])
        """
        call = [sys.executable, "-c", textwrap.dedent(script)]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()

    with Claims(tmp_path, 8) as one:
        assert one.take(0)
        with Claims(tmp_path, 8) as other:
            assert [other.take(first) for first in (0, 8)] == [False, True]
            assert not one.take(8)
            assert elsewhere() == "[False, False, True]"
            waiting = threading.Thread(target=other.wait_for, args=(0,))
            waiting.start()
            assert waiting.is_alive()
            one.release(0)
            waiting.join(60)
            assert not waiting.is_alive()
            assert one.take(0)
        # What the first has is still locked for other processes, although the second has ended.
        assert elsewhere() == "[False, True, True]"
    assert elsewhere() == "[True, True, True]"


def test_what_a_dead_process_had_taken_is_done_by_those_that_live(tmp_path):
    script = f"""
        from captum_xg.scan.claims import Claims
        from pathlib import Path
        with Claims(Path({str(tmp_path)!r}), 4) as other:
            other.take(0), other.take(8)
            print("taken", flush=True)
            input()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "taken\n"
    worker = multiprocessing.get_context("fork").Process(target=_explain_twenty, args=(tmp_path,))
    worker.start()
    try:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / SHARDS).glob("0*"))) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        holder.send_signal(signal.SIGKILL)
        worker.join(60)
        assert worker.exitcode == 0
    finally:
        holder.kill()
        holder.wait()
        worker.kill()
    Attributions(tmp_path).verify()


def _explain_twenty(to):
    torch.set_num_threads(1)
    explained(XGradient(network()), DataLoader(TensorDataset(*examples(20)), batch_size=4), to, shard_size=4)


def test_without_locks_the_work_is_done_all_the_same(tmp_path, monkeypatch):
    loader = DataLoader(TensorDataset(*examples(20)), batch_size=4)
    explained(XGradient(network()), loader, tmp_path / "a", shard_size=4)
    monkeypatch.setattr(locks, "fcntl", None)
    explained(XGradient(network()), loader, tmp_path / "b", shard_size=4)
    both = (contents(tmp_path / name) for name in "ab")
    one, other = ({name: part for name, part in each.items() if name != claims.LOCKS} for each in both)
    assert one == other


def test_a_full_disk_ends_the_run_and_what_was_written_is_kept(tmp_path, monkeypatch):
    model, data = network(), Asked(*examples(40))
    loader = DataLoader(data, batch_size=4)
    explained(XGradient(model), loader, tmp_path / "whole", shard_size=8)
    write, count = shards.write_shard, [0]

    def full_after_two(path, shard):
        count[0] += 1
        if count[0] > 2:
            raise FileError(f"{path} cannot be written: No space left on device.")
        write(path, shard)

    monkeypatch.setattr(shards, "write_shard", full_after_two)
    with pytest.raises(
        FileError, match=r"00000016\.safetensors cannot be written: No space left on device.*goes on with example 16"
    ):
        explained(XGradient(model), loader, tmp_path / "a", shard_size=8)
    assert sorted(path.name for path in (tmp_path / "a" / SHARDS).iterdir()) == [
        "00000000.safetensors",
        "00000008.safetensors",
    ]
    monkeypatch.undo()
    data.asked.clear()
    explained(XGradient(model), loader, tmp_path / "a", shard_size=8)
    again = [4, 12, *range(4), *range(8, 12)]  # one of each shard, and a batch of the first and the last
    assert data.asked[17 : 17 + len(again)] == again
    assert sorted(data.asked[17 + len(again) :]) == list(range(16, 40))
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path):
    loader = DataLoader(TensorDataset(*examples(8)), batch_size=4)
    (tmp_path / SHARDS).mkdir()
    for folder in (tmp_path, tmp_path / SHARDS):
        (folder / ".captum-xg-0123456789abcdef").write_bytes(b"half")
    explained(XGradient(network()), loader, tmp_path)
    assert not list(tmp_path.glob(".captum-xg-*"))
    assert [path.name for path in (tmp_path / SHARDS).iterdir()] == ["00000000.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [claims.LOCKS, "index.json", SHARDS]


class Trained(Dataset):
    """Examples whose model is trained while they are explained."""

    def __init__(self, data, change):
        self.data, self.change, self.asked = data, change, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        self.asked += 1
        if self.asked == 30:
            self.change()
        return self.data[i]


@pytest.mark.parametrize("seen", [True, False])
def test_a_model_that_changes_during_the_run_is_noticed(tmp_path, seen):
    model, data = network(), TensorDataset(*examples(40))
    explained(XGradient(model), DataLoader(data, batch_size=4), tmp_path / "whole", shard_size=8)

    def change():
        weight = model[0].weight
        with torch.no_grad():
            (weight if seen else weight.data).mul_(1.5)

    loader = DataLoader(Trained(data, change), batch_size=4)
    with pytest.raises(ModelStateError, match="the model has changed" if seen else "the model is not what it was"):
        explained(XGradient(model), loader, tmp_path / "a", shard_size=8)
    assert json.loads((tmp_path / "a" / "index.json").read_text())["complete"] is False
    assert len(list((tmp_path / "a" / SHARDS).iterdir())) == (1 if seen else 0)  # of which it is known
    explained(XGradient(network()), DataLoader(data, batch_size=4), tmp_path / "a", shard_size=8)
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


def test_a_model_that_changes_without_a_sign_before_the_run_is_interrupted_leaves_nothing(tmp_path):
    model, data = network(), TensorDataset(*examples(40))

    def change():
        model[0].weight.data.mul_(1.5)

    loader = DataLoader(Mortal(Trained(data, change), 50), batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        explained(XGradient(model), loader, tmp_path, shard_size=8)
    assert not list((tmp_path / SHARDS).iterdir())


SCRIPT = """
    import sys, torch
    from scan_cases import *
    from captum_xg import XGradient
    from torch.utils.data import DataLoader, TensorDataset
    torch.set_num_threads(1)
    loader = DataLoader(TensorDataset(*examples(600)), batch_size=2)
    print("begins", flush=True)
    explained(XGradient(network()), loader, sys.argv[1], shard_size=6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 3])
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(tmp_path, processes):
    """Kill all processes of a run by SIGKILL, again and again, until one comes to its end."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def started(to):
        launch = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", f"{processes}"]
        call = [sys.executable, *launch, str(script), str(to)]
        silent = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(call, env=environment, start_new_session=True, **silent)
        assert process.stdout.readline() == b"begins\n"
        return process

    process = started(tmp_path / "whole")
    began = time.monotonic()
    assert process.wait() == 0
    takes = time.monotonic() - began
    draws, kills = random.Random(processes), 0
    to = 0
    while kills < 20:
        process = started(tmp_path / f"{to}")
        try:
            process.wait(draws.uniform(0.0, 1.0) * takes)
            assert process.returncode == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert contents(tmp_path / f"{to}") == contents(tmp_path / "whole")
        to += 1
    assert started(tmp_path / f"{to}").wait() == 0
    assert contents(tmp_path / f"{to}") == contents(tmp_path / "whole")
    assert len(whole(Attributions(tmp_path / f"{to}"))) == 600
