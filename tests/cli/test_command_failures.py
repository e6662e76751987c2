"""Whatever goes wrong in reading, building and running, in any command: one message, status 3 and nothing lost."""

import gzip
import io
import os
import re
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST
from torchvision.transforms.functional import to_pil_image

from captum_xg.cli.command_line import main
from captum_xg.demo.assets import ASSETS, IMAGES_FILE, TRAINING_FILE, WEIGHT_FILES

MODELS = '''
"""Models that end in their own ways. HOW is what happens in which phase."""
import os
import torch
from torch import nn


class Odd(BaseException):
    """Not even an Exception."""


class Silent(Exception):
    """Cannot be printed."""

    def __str__(self):
        raise TypeError("no text")


def deep():
    return deep()


def huge():
    return torch.empty(1 << 60)


def ends(how):
    if how == "recursion":
        deep()
    elif how == "memory":
        huge()
    elif how == "python memory":
        raise MemoryError
    elif how == "exit 0":
        raise SystemExit(0)
    elif how == "exit 1":
        raise SystemExit(1)
    elif how == "exit text":
        raise SystemExit("usage: something")
    elif how == "odd":
        raise Odd("odd")
    elif how == "silent":
        raise Silent
    elif how == "several lines":
        raise RuntimeError("first\\n\\nsecond\\nthird")
    elif how == "pipe":
        raise BrokenPipeError(32, "Broken pipe")
    elif how == "interrupt":
        raise KeyboardInterrupt


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False))

    def forward(self, x):
        print("noise from the model")
        ends(os.environ.get("FORWARD"))
        return self.layers(x)


class EvalFails(Net):
    def eval(self):
        ends(os.environ.get("EVAL"))
        return super().eval()


def net():
    return Net()


def double():
    return Net().double()


def nan():
    model = Net()
    nn.init.constant_(model.layers[1].weight, float("nan"))
    return model


def build():
    ends(os.environ.get("BUILD"))


ends(os.environ.get("IMPORT"))
'''

WAYS = [
    "recursion", "memory", "python memory", "exit 0", "exit 1", "exit text", "odd", "silent", "several lines", "pipe"
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with models, whole files and damaged ones."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "net.py").write_text(MODELS)
    generator = np.random.default_rng(0)
    images, labels = generator.random((6, 1, 6, 6), dtype=np.float32), np.arange(6) % 3
    np.savez(folder / "good.npz", images=images, labels=labels)
    whole = (folder / "good.npz").read_bytes()
    (folder / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.npz").write_bytes(b"")
    (folder / "crc.npz").write_bytes(whole[:200] + bytes([whole[200] ^ 0xFF]) + whole[201:])
    np.save(folder / "single.npy", images)
    (folder / "misnamed.npz").write_bytes((folder / "single.npy").read_bytes())
    (folder / "text.npz").write_text("images and labels")
    with zipfile.ZipFile(folder / "no_arrays.npz", "w") as archive:
        archive.writestr("images", b"text")
        archive.writestr("labels", b"text")
    arrays = {
        "objects": {"images": np.array([{}, {}], dtype=object), "labels": np.arange(2)},
        "texts": {"images": np.array(["a", "b"]), "labels": np.arange(2)},
        "records": {"images": np.zeros(2, dtype=[("a", "f4")]), "labels": np.arange(2)},
        "complex": {"images": images + 1j, "labels": labels},
        "number": {"images": np.float32(1), "labels": np.arange(1)},
        "nobody": {"images": images[:0], "labels": labels[:0]},
        "nan": {"images": np.where(images > 0.99, np.nan, images) * np.nan, "labels": labels},
        "beyond": {"images": images.astype(np.float64) * 1e300, "labels": labels},
        "negative": {"images": images, "labels": labels - 1},
        "wrapping": {"images": images, "labels": labels.astype(np.uint64) + np.uint64(2**63)},
        "fewer": {"images": images, "labels": labels[:4]},
        "matrix": {"images": images, "labels": labels[:, None]},
    }
    for name, content in arrays.items():
        np.savez(folder / f"{name}.npz", **content)
        np.save(folder / f"{name}.npy", content["images"])
    for name in ("truncated", "empty", "text"):
        (folder / f"{name}.npy").write_bytes((folder / f"{name}.npz").read_bytes())
    (folder / "cut.npy").write_bytes((folder / "single.npy").read_bytes()[:100])
    np.save(folder / "integers.npy", np.arange(36).reshape(1, 36))
    np.save(folder / "pixels.npy", np.zeros((2, 1, 6, 6), np.uint8))
    os.mkfifo(folder / "pipe.npz")
    os.mkfifo(folder / "pipe.npy")
    os.mkfifo(folder / "pipe.pt")
    weights = {"layers.1.weight": torch.ones(3, 36)}
    torch.save(weights, folder / "good.pt")
    whole = (folder / "good.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pt").write_bytes(b"")
    torch.save({"layers.1.weight": torch.empty(3, 36, device="meta")}, folder / "meta.pt")
    torch.save({"layers.1.weight": torch.ones(3, 36).to_sparse()}, folder / "sparse.pt")
    torch.save({"layers.1.weight": torch.ones(3, 35)}, folder / "shape.pt")
    torch.save(torch.nn.Linear(2, 2), folder / "module.pt")
    torch.save({"a": 1}, folder / "dict.pt")
    torch.save(torch.empty(2, 36, device="meta"), folder / "meta_tensor.pt")
    torch.save(torch.ones(2, 36).to_sparse(), folder / "sparse_tensor.pt")
    (folder / "photos" / "class").mkdir(parents=True)
    to_pil_image(torch.zeros(3, 6, 6)).save(folder / "photos" / "class" / "0.png")
    (folder / "photos" / "class" / "1.png").write_bytes((folder / "photos" / "class" / "0.png").read_bytes()[:40])
    for name, size in (("0", 6), ("1", 7)):
        (folder / "sizes" / "class").mkdir(parents=True, exist_ok=True)
        to_pil_image(torch.zeros(3, size, size)).save(folder / "sizes" / "class" / f"{name}.png")
    (folder / "no_photos").mkdir()
    for root, damage in (("cut_gz", _cut), ("text_gz", lambda _: b"no archive"), ("empty_gz", lambda _: b"")):
        (folder / root).mkdir()
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / root / f"{name}-ubyte.gz").write_bytes(damage(gzip.compress(generator.bytes(4000))))
    raw = folder / "bad_raw" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x05abc")
    (folder / "a_file").write_text("not a folder")
    for name, damage in (
        ("no_assets", None),
        ("cut_weights", "weights"),
        ("cut_images", "images"),
        ("bad_record", "record"),
    ):
        (folder / name).mkdir()
        if damage is not None:
            for file in (*WEIGHT_FILES.values(), IMAGES_FILE, TRAINING_FILE):
                (folder / name / file).write_bytes((ASSETS / file).read_bytes())
    for name, file in (("cut_weights", WEIGHT_FILES["with biases"]), ("cut_images", IMAGES_FILE)):
        (folder / name / file).write_bytes((folder / name / file).read_bytes()[:500])
    (folder / "bad_record" / TRAINING_FILE).write_text('{"test_accuracy": null}')
    header, row = "index," + ",".join("abc"), "0,1,2,3\n"
    for name, (x, y) in {
        "csv_text": (f"{header}\n0,1,2,word\n", "index,y\n0,1\n"),
        "csv_ragged": (f"{header}\n0,1\n0,1,2,3,4,5,6\n0,1,2\n", "index,y\n0,1\n"),
        "csv_empty": ("", ""),
        "csv_no_y": (f"{header}\n{row}", "index,z\n0,1\n"),
        "csv_bytes": (f"{header}\n{row}", b"\xff\xfe\x00\x81index"),
    }.items():
        (folder / name).mkdir()
        (folder / name / "NHANESI_subset_X.csv").write_text(x)
        (folder / name / "NHANESI_subset_y.csv").write_bytes(y if isinstance(y, bytes) else y.encode())
    (folder / "csv_lonely").mkdir()
    (folder / "csv_lonely" / "NHANESI_subset_X.csv").write_text(f"{header}\n{row}")
    (folder / "npy_cut").mkdir()
    (folder / "npy_cut" / "X_sparsity.csv").write_text(f"{header}\n{row}")
    (folder / "npy_cut" / "y_sparsity.npy").write_bytes(b"\x93NUMPY")
    return folder


def _cut(content):
    return content[: len(content) // 2]


@pytest.fixture(autouse=True)
def here(files, tmp_path, monkeypatch):
    """An empty current folder, no network, and no waiting for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILES", str(files))

    def offline(self):
        if not self._check_exists():
            raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried x, got:\n<urlopen error>\n")

    monkeypatch.setattr(FashionMNIST, "download", offline)
    return tmp_path


def refused(capsys, arguments, status=3):
    """The message of a command that ends with status 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = main([re.sub(r"@(?=[\w.])", f"{os.environ['FILES']}/", part) for part in arguments])
    said = capsys.readouterr().err
    assert found == status, said
    (message,) = re.findall(rf"^(captum-xg {arguments[0]}: (?:.+\n?)+)", said, re.MULTILINE)
    assert "Traceback" not in said
    assert "weights_only" not in said
    assert "allow_pickle" not in said
    assert not re.search(r"(\(\)|:)\.", said)  # a reason that is empty
    return message


CONVERT = ("convert", "@net.py:net", "--to", "x.pt")
EVALUATE = ("evaluate", "@net.py:net", "--metrics", "CompletenessGap", "--methods", "gradient", "--device", "cpu")
DECOY = ("repro", "decoy", "--output", "out")
SPARSITY = ("repro", "sparsity", "--output", "out")

DATA = [
    "truncated", "empty", "crc", "misnamed", "text", "no_arrays", "objects", "texts", "records", "complex",
    "number", "nobody", "nan", "beyond", "negative", "wrapping", "fewer", "matrix", "pipe", "nowhere",
]  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_arrays_that_cannot_be_evaluated_on(name, capsys):
    assert f"{name}.npz" in refused(capsys, [*EVALUATE, "--data", f"@{name}.npz"])


EXAMPLES = [
    "truncated.npy", "empty.npy", "text.npy", "cut.npy", "objects.npy", "texts.npy", "records.npy", "complex.npy",
    "number.npy", "nobody.npy", "nan.npy", "integers.npy", "pixels.npy", "pipe.npy", "nowhere.npy", "good.npz",
    "truncated.pt", "empty.pt", "module.pt", "dict.pt", "meta_tensor.pt", "sparse_tensor.pt", "pipe.pt",
    "nowhere.pt",
]  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_that_cannot_be_converted_with(name, capsys, here):
    assert name in refused(capsys, [*CONVERT, "--examples", f"@{name}"])
    assert not list(here.iterdir())


WEIGHTS = ["truncated", "empty", "meta", "sparse", "shape", "module", "dict", "pipe", "nowhere"]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize(
    "command", [(*CONVERT, "--input", "2,36"), (*EVALUATE, "--data", "@good.npz")], ids=lambda c: c[0]
)
def test_weights_that_cannot_be_loaded(command, name, capsys):
    assert f"{name}.pt" in refused(capsys, [*command, "--weights", f"@{name}.pt"])


FASHION = {
    "absent": "not there and cannot be downloaded", "cut_gz": "damaged", "text_gz": "damaged", "empty_gz": "damaged",
    "bad_raw": "damaged or incomplete", "a_file": "not a folder",
}  # fmt: skip


@pytest.mark.parametrize("root", FASHION)
@pytest.mark.parametrize(
    "command",
    [
        lambda r: [*EVALUATE, "--data", f"fashion-mnist:{r}"],
        lambda r: [*DECOY, "--data", r],
        lambda r: ["demo", "--retrain", r],
    ],
    ids=["evaluate", "decoy", "retrain"],
)
def test_images_that_are_not_there_or_damaged(command, root, files, capsys):
    arguments = command(str(files / root))
    message = refused(capsys, arguments)
    assert root in message
    # An archive that is empty decompresses to an empty file, which is then what is damaged.
    assert FASHION[root] in message


@pytest.mark.parametrize(
    "arguments",
    [
        (*EVALUATE, "--data", "{}"),
        (*EVALUATE, "--data", "{}.npz"),
        (*EVALUATE, "--data", "fashion-mnist:{}"),
        (*EVALUATE, "--data", "@good.npz", "--weights", "{}"),
        (*EVALUATE, "--data", "@good.npz", "--output", "{}"),
        (*EVALUATE, "--data", "@good.npz", "--resume", "{}"),
        (*CONVERT, "--examples", "{}.npy"),
        (*CONVERT, "--input", "2,36", "--to", "{}"),
        ("certify", "{}.py", "--input", "1,36"),
        (*SPARSITY, "--data", "{}"),
        ("demo", "--output", "{}"),
        ("demo", "--assets", "{}"),
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_names_that_are_too_long_are_said_in_our_own_words(arguments, capsys, here):
    message = refused(capsys, [part.format("long" * 80) for part in arguments])
    assert "longlong" in message
    assert "failed with" not in message
    assert all("longlong" not in path.name for path in here.rglob("*"))


def test_images_in_the_home_of_the_user_are_found(files, capsys, here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "there").symlink_to(files / "cut_gz")
    assert "damaged" in refused(capsys, [*EVALUATE, "--data", "fashion-mnist:~/there"])


@pytest.mark.parametrize("folder", ["photos", "sizes", "no_photos"])
def test_folders_of_images_that_are_damaged_or_do_not_fit(folder, capsys):
    message = refused(capsys, [*EVALUATE, "--data", f"@{folder}"])
    assert {"photos": "1.png", "sizes": "--size", "no_photos": "one subfolder"}[folder] in message


@pytest.mark.parametrize(
    "folder", ["csv_text", "csv_ragged", "csv_empty", "csv_no_y", "csv_bytes", "csv_lonely", "npy_cut"]
)
def test_tables_that_are_damaged(folder, capsys):
    pytest.importorskip("pandas")
    assert folder in refused(capsys, [*SPARSITY, "--data", f"@{folder}"])


@pytest.mark.parametrize("folder", ["no_assets", "cut_weights", "cut_images", "bad_record"])
def test_assets_that_are_missing_or_damaged(folder, capsys, here):
    assert folder in refused(capsys, ["demo", "--images", "1", "--assets", f"@{folder}"])
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "device", ["meta", "gpu", "cuda:99", "cuda:-1", "cuda:", "mps", "xpu", "hpu", "", "0", "Küche"]
)
@pytest.mark.parametrize(
    "command",
    [(*EVALUATE, "--data", "@good.npz"), (*DECOY, "--data", "@bad_raw"), SPARSITY],
    ids=["evaluate", "decoy", "sparsity"],
)
def test_devices_that_are_not_there(command, device, capsys):
    message = refused(capsys, [*command, "--device", device])
    assert f"--device {device}" in message
    assert len(message.splitlines()) == 1
    assert ("Did you mean cuda" in message) == (device == "gpu")


@pytest.mark.parametrize(
    "shape", ["99999999999,784", "1,99999999999999999999", f"1,{10**400}", ",".join(["9999999"] * 9)]
)
@pytest.mark.parametrize("command", ["certify", "convert"])
def test_inputs_that_there_is_no_room_for(command, shape, capsys):
    message = refused(capsys, [command, "@net.py:net", "--input", shape])
    assert "--input" in message
    assert "cannot be made here" in message


RUNS = {
    "certify": ("certify", "@net.py:{}", "--input", "2,1,6,6"),
    "convert": ("convert", "@net.py:{}", "--input", "2,1,6,6"),
    "evaluate": ("evaluate", "@net.py:{}", "--data", "@good.npz", "--metrics", "CompletenessGap", "--device", "cpu"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("phase", "factory"), [("FORWARD", "net"), ("EVAL", "EvalFails"), ("BUILD", "build"), ("IMPORT", "net")]
)
@pytest.mark.parametrize("command", RUNS)
def test_a_model_that_ends_in_its_own_way_gives_no_verdict(command, phase, factory, way, capsys, monkeypatch, here):
    monkeypatch.setenv(phase, way)
    message = refused(capsys, [part.format(factory) for part in RUNS[command]])
    kind = {"exit": "SystemExit", "recursion": "RecursionError", "odd": "Odd", "pipe": "BrokenPipeError"}.get(
        way.split()[0], ""
    )
    assert kind in message
    if way == "several lines":
        assert "first second third" in message or ("first" in message and command == "convert")
    assert not list(here.glob("*.pt"))


@pytest.mark.parametrize("phase", ["FORWARD", "BUILD", "IMPORT"])
@pytest.mark.parametrize("command", RUNS)
def test_an_interruption_has_the_status_of_shells(command, phase, capsys, monkeypatch):
    monkeypatch.setenv(phase, "interrupt")
    factory = "build" if phase == "BUILD" else "net"
    assert "interrupted" in refused(capsys, [part.format(factory) for part in RUNS[command]], status=130)


def test_a_model_that_gives_nan_is_not_evaluated(capsys):
    assert "NaN" in refused(capsys, [part.format("nan") for part in RUNS["evaluate"]])


def _fifo(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    "obstacle", [_fifo, Path.mkdir, lambda path: path.symlink_to(path.name)], ids=["pipe", "folder", "loop"]
)
@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((*CONVERT, "--input", "2,1,6,6"), "x.pt"),
        (("demo", "--output", "x.png"), "x.png"),
        (("demo", "--output", "x.png", "--retrain", "@bad_raw"), "x.png"),
        (("demo", "--retrain", "@bad_raw", "--assets", "new"), f"new/{TRAINING_FILE}"),
        ((*EVALUATE, "--data", "@good.npz", "--output", "out"), "out/table.tex"),
        ((*EVALUATE, "--data", "@good.npz", "--output", "out"), "out/cost_quality.png"),
    ],
    ids=["convert", "demo", "retrain and picture", "retrain", "evaluate, table", "evaluate, figure"],
)
def test_what_cannot_be_written_is_said_before_the_work_and_stays_what_it_is(arguments, path, obstacle, capsys, here):
    (here / path).parent.mkdir(exist_ok=True)
    obstacle(here / path)
    before = [(file, file.lstat().st_mode, file.lstat().st_ino) for file in sorted(here.rglob("*"))]
    assert f"{Path(path).name} cannot be written" in refused(capsys, arguments)
    assert [(file, file.lstat().st_mode, file.lstat().st_ino) for file in sorted(here.rglob("*"))] == before


@pytest.mark.parametrize(
    "arguments",
    [
        (*EVALUATE, "--data", "@good.npz", "--output", "there"),
        (*EVALUATE, "--data", "@good.npz", "--resume", "there"),
        (*DECOY[:2], "--data", "@bad_raw", "--output", "there/below"),
        ("demo", "--output", "there/x.png"),
        ("demo", "--retrain", "@bad_raw", "--assets", "there"),
    ],
    ids=["output", "resume", "repro", "picture", "retrain"],
)
def test_a_file_in_the_place_of_a_folder_is_said(arguments, capsys, here):
    (here / "there").write_bytes(b"old")
    refused(capsys, arguments)
    assert (here / "there").read_bytes() == b"old"


def test_the_result_of_convert_goes_through_a_link(capsys, here):
    (here / "x.pt").symlink_to("real.pt")
    assert main([part.replace("@", os.environ["FILES"] + "/") for part in (*CONVERT, "--input", "2,1,6,6")]) == 0
    assert (here / "x.pt").is_symlink()
    assert set(torch.load(here / "real.pt", weights_only=True)) == {"layers.1.weight"}


def test_double_precision_in_files_becomes_that_of_the_model(files, capsys, here):
    np.save("double.npy", np.random.default_rng(0).random((4, 1, 6, 6)))
    np.save("half.npy", np.random.default_rng(0).random((4, 1, 6, 6)).astype(">f2"))
    np.savez("double.npz", images=np.load("double.npy"), labels=np.arange(4) % 3)
    for factory in ("net", "double"):
        for examples in ("double.npy", "half.npy"):
            assert main(["convert", f"{files}/net.py:{factory}", "--examples", examples]) == 0
        arguments = ["--metrics", "CompletenessGap", "--methods", "xgradient", "--output", factory, "--device", "cpu"]
        assert main(["evaluate", f"{files}/net.py:{factory}", "--data", "double.npz", *arguments]) == 0


def test_the_traceback_can_be_asked_for(capsys, monkeypatch, files):
    monkeypatch.setenv("CAPTUM_XG_DEBUG", "1")
    monkeypatch.setenv("FORWARD", "exit 0")
    assert main(["certify", f"{files}/net.py:net", "--input", "1,36"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "in ends" in said


def test_what_nobody_has_foreseen_is_one_line_too(capsys, monkeypatch, files):
    def bug(*_, **__):
        raise ZeroDivisionError("a bug\nof ours")

    monkeypatch.setattr("captum_xg.homogeneity.certificate.certificate.Certificate.__str__", bug)
    message = refused(capsys, ["certify", "@net.py:net", "--input", "1,36"])
    assert (
        message == "captum-xg certify: failed with ZeroDivisionError: a bug of ours. CAPTUM_XG_DEBUG=1 shows where.\n"
    )


# --- the output ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_is_gone_gives_neither_a_verdict_nor_a_message(buffered, files, monkeypatch, capsys):
    """As with ``captum-xg certify … | head``, which ends before there is a verdict to print."""
    receiving, sending = os.pipe()
    os.close(receiving)
    with io.TextIOWrapper(os.fdopen(sending, "wb", -1 if buffered else 0), write_through=not buffered) as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert main(["certify", f"{files}/net.py:net", "--input", "1,36"]) == 141
        # What is left in the buffer is nothing that the interpreter would stumble over at its end.
    assert "captum-xg" not in capsys.readouterr().err


def test_a_full_disk_behind_the_output_is_no_verdict(files, monkeypatch, capsys):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["certify", f"{files}/net.py:net", "--input", "1,36"]) == 3
    assert "No space left" in capsys.readouterr().err


def test_without_any_output_the_status_is_the_verdict(files, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["certify", f"{files}/net.py:net", "--input", "1,36"]) == 0


def test_output_in_an_encoding_without_greek_is_no_failure(monkeypatch, files):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["certify", f"{files}/net.py:net", "--input", "1,36"]) == 0
