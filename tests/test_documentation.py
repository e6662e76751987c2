"""The code of README and guide, the notebooks and the demo do what they say."""

import contextlib
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from effort import thorough

import captum_xg
from captum_xg import XGradient, _version
from captum_xg.cli.command_line import main
from captum_xg.demo import demo_images, demo_model
from captum_xg.demo.assets import ASSETS, LICENCE_FILE, WEIGHT_FILES, training_record
from captum_xg.demo.train import accuracy

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "tutorials"
README = ROOT / "README.md"
GUIDE = sorted((TUTORIALS / "guide").glob("*.md"))
PAGES = [README, *GUIDE]
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
TEXT = "".join(page.read_text() for page in PAGES)


def name_of(path):
    return path.stem


def fenced(page, kind=r"\w*"):
    """Return the fenced blocks of a page in their order, as (language, content)."""
    return re.findall(rf"^```({kind})\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def assert_quotes(quoted, printed):
    """Each part of what is quoted, between ellipses, was printed, in that order; digits may differ by rounding."""
    words, start = printed.split(), 0
    for part in re.split(r"(?<!\S)…(?!\S)", quoted):
        wanted = part.split()
        places = [
            i
            for i in range(start, len(words) - len(wanted) + 1)
            if all(same_word(a, b) for a, b in zip(wanted, words[i : i + len(wanted)], strict=True))
        ]
        assert places, f"not printed: {part}"
        start = places[0] + len(wanted)


def same_word(one, other):
    """Whether words are equal but for the last digits of their numbers; integers must be equal."""
    number = r"\d+(?:\.\d+)?(?:e[+-]\d+)?"
    if re.sub(number, "", one) != re.sub(number, "", other):
        return False
    for a, b in zip(re.findall(number, one), re.findall(number, other), strict=True):
        if a.isdigit() or b.isdigit():
            if a != b:
                return False
        elif max(float(a), float(b)) < 1e-5:  # rounding errors, of which only the size means something
            if not 1e-2 < float(a) / float(b) < 1e2:
                return False
        elif float(a) != pytest.approx(float(b), rel=0.02):
            return False
    return True


@pytest.fixture
def quiet_place(tmp_path, monkeypatch):
    """Let blocks write files where nobody looks, and give them released weights without a download."""
    from captum_xg.models import weights, xfixup_resnet50
    from captum_xg.models.checkpoint_file import Checkpoint

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "download", lambda *_, **__: Path("not downloaded"))
    read = weights.read_checkpoint

    def read_or_make(path, *options, **named):
        if path.name != "not downloaded":
            return read(path, *options, **named)
        return Checkpoint(xfixup_resnet50().state_dict(), None, None)

    monkeypatch.setattr(weights, "read_checkpoint", read_or_make)
    return tmp_path


def run(page, capsys, *, alone):
    """Run the blocks of Python of a page, each alone or one after the other, and compare what is quoted below them."""
    assert {language for language, _ in fenced(page)} <= {"python", "sh", "text", "bibtex"}  # what is Python runs
    namespace = {"__name__": page.stem}
    printed, quotes = "", 0
    for language, block in fenced(page):
        if language == "python":
            capsys.readouterr()
            namespace = {"__name__": page.stem} if alone else namespace
            exec(compile(block, page.name, "exec"), namespace)
            printed = capsys.readouterr().out
        elif language == "text" and not block.startswith("XGradient("):  # the signature
            assert_quotes(block, printed)
            quotes += 1
    return quotes


def test_every_block_of_the_readme_runs_alone_and_prints_what_is_quoted(quiet_place, capsys):
    assert run(README, capsys, alone=True) == 2
    assert (quiet_place / "x_gradient.png").stat().st_size > 1000


@pytest.mark.parametrize("page", GUIDE, ids=name_of)
def test_the_blocks_of_a_page_of_the_guide_run_in_order_and_print_what_is_quoted(page, quiet_place, capsys):
    n_blocks = len(fenced(page, "python"))
    assert n_blocks < 2 or "blocks of this page run one after the other" in " ".join(page.read_text().split())
    quotes = {"concepts": 1, "homogeneity": 4, "conversion": 1, "how_to_degree_rule": 1, "how_to_conversion": 1}
    assert run(page, capsys, alone=False) == quotes.get(page.stem, 0)
    if page.stem == "homogeneity":
        assert (quiet_place / "bias_ledger.png").stat().st_size > 1000


def test_the_readme_stays_a_front_door():
    assert len(README.read_text().splitlines()) <= 200


def test_a_quote_with_another_number_or_word_is_noticed():
    assert_quotes("proven, … 20 operations; 0.0312", "is proven, degree 1 20 operations; 0.0311 more")
    for wrong in ("proven … 21 operations", "20 operations; 0.05", "disproved", "20 … proven"):
        with pytest.raises(AssertionError):
            assert_quotes(wrong, "is proven, degree 1 20 operations; 0.0311 more")


@pytest.mark.parametrize("method", ["LayerIntegratedGradients", "LayerGradientXActivation", "LayerGradCam"])
def test_the_layer_methods_that_the_guide_names_reach_every_parameter_behind_the_layer(method):
    import captum.attr

    from captum_xg import AttributionPriorLoss
    from captum_xg.priors import GiniSparsity

    assert f"`{method}`" in (TUTORIALS / "guide" / "priors.md").read_text()
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 3, 3, bias=False), torch.nn.ReLU(), torch.nn.Flatten()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(48, 3, bias=False))
    layer_method = getattr(captum.attr, method)(model, model[0])

    def attribution(x, target):
        return layer_method.attribute(x, target=target, grad_kwargs={"create_graph": True})

    loss = AttributionPriorLoss(model, GiniSparsity(), attribution=attribution)
    loss(torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])).prior.backward()
    assert model[-1].weight.grad.abs().sum() > 0


def test_the_signature_in_the_guide_is_that_of_the_class():
    (quoted,) = [
        block for _, block in fenced(TUTORIALS / "guide" / "attribution.md", "text") if block.startswith("XGradient(")
    ]

    def parameters(function):
        own = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
        names = [p.name if p.default is p.empty else f"{p.name}={p.default!r}".replace("'", '"') for p in own]
        first = next(i for i, p in enumerate(own) if p.kind is p.KEYWORD_ONLY)
        return ", ".join([*names[:first], "*", *names[first:]])

    said = " ".join(quoted.split())
    assert (
        said == f"XGradient({parameters(XGradient.__init__)}) .attribute({parameters(XGradient.attribute.__wrapped__)})"
    )


def commands():
    """Return the commands that README, guide and notebooks tell the reader to type, without comments."""
    texts = [content for page in PAGES for _, content in fenced(page, "sh")]
    texts += [text.replace("\n", " ") for text in re.findall(r"(?<!`)`(captum-xg [^`]*)`", TEXT)]
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text())["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        texts += [line for text in prose for line in text.splitlines() if line.startswith("    captum-xg ")]
    lines = [part for text in texts for line in text.splitlines() for part in line.split("#")[0].split("&&")]
    return sorted({" ".join(line.split()) for line in lines if line.strip().startswith("captum-xg ")})


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_shown_has_all_the_arguments_that_it_needs(command):
    from captum_xg.cli.command_line import _parser

    arguments = shlex.split(command)[1:]
    with contextlib.suppress(SystemExit) if "--help" in arguments else contextlib.nullcontext():
        _parser().parse_args(arguments)


def test_scripts_that_are_named_exist():
    named = re.findall(r"tests/[\w/]+\.py", TEXT)
    assert len(named) > 5
    assert not [path for path in named if not (ROOT / path).exists()]


def test_the_accuracies_in_the_guide_are_those_on_record():
    guide = (TUTORIALS / "guide" / "conversion.md").read_text()
    networks = json.loads((ASSETS / "small_models.json").read_text())["networks"]
    for label, name in (("AlexNet", "alexnet"), ("VGG", "vgg"), ("Fixup-ResNet", "fixup_resnet")):
        numbers = [networks[f"{x}small_{name}"] for x in ("", "x")]
        cells = [f"{100 * n['mean']:.2f} ± {100 * n['standard_error']:.2f} %" for n in numbers]
        assert f"| {label} | {cells[0]} | {cells[1]} |" in guide


def anchors(page):
    """Return the anchors that headings of a page have, on the site and on GitHub."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, TUTORIALS / "index.md", *sorted((TUTORIALS / "reference").glob("*.md"))])
def test_the_paths_that_a_page_links_to_exist(page):
    for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_and_notebook_is_in_the_contents_of_the_site():
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", (TUTORIALS / "index.md").read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    listed = {re.sub(r".*<(.*)>", r"\1", line) for line in lines}
    more = [*(TUTORIALS / "reference").glob("*.md"), *(TUTORIALS / "paper").glob("*.md")]
    pages = [page.relative_to(TUTORIALS) for page in [*GUIDE, *more, *NOTEBOOKS]]
    assert listed == {str(page.with_suffix("")) for page in pages}


def test_every_public_name_is_in_the_reference():
    import importlib

    pages = "".join(page.read_text() for page in (TUTORIALS / "reference").glob("*.md"))
    documented = re.findall(r"automodule:: (\S+)", pages)
    packages = [importlib.import_module(name) for name in documented]  # whose `__all__` Sphinx goes through
    named = {name for package in packages for name in getattr(package, "__all__", ())}
    assert {"captum_xg.homogeneity", "captum_xg.priors", "captum_xg.metrics", "captum_xg.errors"} <= set(documented)
    assert not set(captum_xg.__all__) - named - {"__version__"}


@pytest.mark.parametrize(
    "notebook",
    # The guide's pages run what the others show.
    [NOTEBOOKS[0], *thorough(NOTEBOOKS[1:])],
    ids=name_of,
)
def test_a_tutorial_runs_from_a_clean_kernel_and_its_claims_hold(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in all tests; two threads on a busy core wait for each other
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.read(notebook, as_version=4)
    assert any("assert " in cell.source for cell in content.cells if cell.cell_type == "code")
    NotebookClient(content, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()


def test_the_guide_and_the_notebook_name_the_same_ways_for_a_model():
    cells = json.loads((TUTORIALS / "05_your_own_model.ipynb").read_text())["cells"]
    ways = [re.findall(r"^\|.*\|$", text, re.MULTILINE) for text in ("".join(cell["source"]) for cell in cells)]
    (table,) = filter(None, ways)
    assert len(table) > 5
    assert "\n".join(table) in (TUTORIALS / "guide" / "attribution.md").read_text()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_the_committed_outputs_of_a_tutorial_are_complete_and_speak_of_no_machine(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert not re.search(r"site-packages|/home/|/tmp/|/root/", json.dumps(outputs))


def test_the_demo_prints_verdicts_numbers_and_a_refusal_and_writes_a_picture(tmp_path, capsys):
    assert main(["demo", "--images", "2", "--output", str(tmp_path / "new" / "picture.png")]) == 0
    text = capsys.readouterr().out
    assert "network without biases: Homogeneous of degree 1" in text
    assert "network with biases: NOT homogeneous of degree 1" in text
    assert "Integrated Gradients (128)" in text
    assert "HomogeneityError" in text
    assert "0 (Conv2d): adds a bias" in text
    # The two numbers that the demo is about: equal to rounding on one network, far apart on the other.
    equal, different = (float(v) for v in re.findall(r"largest relative difference between the two: (\S+)", text))
    assert equal < 1e-6
    assert different > 0.3
    assert str(tmp_path / "new" / "picture.png") in text
    picture = (tmp_path / "new" / "picture.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000


@pytest.mark.thorough
def test_the_demo_runs_as_a_module_without_a_terminal_encoding(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "MPLBACKEND": "agg"}
    command = [sys.executable, "-m", "captum_xg", "demo", "--images", "1", "--output", "p.png"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p.png").exists()


def test_a_picture_that_cannot_be_written_is_an_error_before_anything_is_computed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output", str(tmp_path / "file" / "p.png")]) == 3
    captured = capsys.readouterr()
    assert "captum-xg demo:" in captured.err
    assert captured.out == ""


def test_the_demo_refuses_more_images_than_are_shipped(tmp_path, capsys):
    assert main(["demo", "--images", "501", "--output", str(tmp_path / "p.png")]) == 3
    assert "500" in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()


def test_the_command_without_arguments_prints_its_help(capsys):
    assert main([]) == 2
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["--version"]])
def test_help_and_version_exit_with_zero(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("bias", [False, True])
def test_the_shipped_networks_are_small_safe_and_recognise_88_percent(bias):
    name = "with biases" if bias else "without biases"
    file = ASSETS / WEIGHT_FILES[name]
    assert file.stat().st_size < 500_000
    state = torch.load(file, weights_only=True)
    assert any(key.endswith("bias") for key in state) is bias
    assert accuracy(demo_model(bias=bias), *demo_images()) >= 0.88
    assert training_record()["test_accuracy"][name] >= 0.88


def test_the_shipped_images_are_the_first_ones_of_the_test_set_and_come_with_their_licence():
    images, labels = demo_images()
    assert images.shape == (500, 1, 28, 28)
    assert images.dtype == torch.float32
    assert 0 == images.min() < images.max() == 1
    assert set(labels.tolist()) == set(range(10))
    assert "Zalando" in (ASSETS / LICENCE_FILE).read_text()
    root = os.environ.get("CAPTUM_XG_FASHION_MNIST")
    if root:
        from captum_xg.datasets.fashion_mnist import load_fashion_mnist

        original = load_fashion_mnist(root, train=False)
        assert torch.equal(original[0][:500], images)
        assert torch.equal(original[1][:500], labels)


@pytest.mark.parametrize("n", [0, -1, 501])
def test_demo_images_refuses_a_number_that_it_does_not_have(n):
    with pytest.raises(ValueError, match="between 1 and 500"):
        demo_images(n)


@pytest.mark.thorough
def test_retraining_writes_files_that_the_demo_can_use(tmp_path, capsys):
    # A made-up data set of the right form: the real one takes minutes.
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, n in (("train", 600), ("t10k", 520)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = generator.integers(0, 40, (n, 28, 28), dtype=np.uint8)
        images[np.arange(n), 4 + labels, :] = 255
        header = b"\x00\x00\x08\x03" + n.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\x00\x00\x08\x01" + n.to_bytes(4, "big") + labels.tobytes())
    out, picture = tmp_path / "assets", tmp_path / "p.png"
    arguments = ["demo", "--retrain", str(tmp_path), "--epochs", "1", "--assets", str(out), "--output", str(picture)]
    assert main([*arguments, "--images", "8"]) == 0
    assert str(out) in capsys.readouterr().out
    images, labels = demo_images(folder=out)
    assert images.shape == (500, 1, 28, 28)
    assert labels[:10].tolist() == list(range(10))
    assert picture.exists()


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert version("captum-xg") == _version.__version__
