"""captum-xg distance prints the page that it writes, and draws it."""

from captum_xg.cli.command_line import main


def test_page_and_picture_are_written_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch\n\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    layers = torch.nn.Linear(784, 6), torch.nn.ReLU(), torch.nn.Linear(6, 10)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), *layers)\n"
    )
    assert main(["distance", "net.py:make", "--images", "2", "--to", "there"]) == 0
    printed = capsys.readouterr().out
    page = (tmp_path / "there" / "distance.txt").read_text(encoding="utf-8")
    assert printed.startswith(page)
    assert "net.py:make, 2 examples" in page
    assert "linear regions" in page
    assert (tmp_path / "there" / "distance.png").stat().st_size > 1000


def test_what_cannot_run_has_status_3(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("import torch\n\ndef make():\n    return torch.nn.LSTM(28, 4)\n")
    assert main(["distance", "net.py:make", "--images", "2"]) == 3
    assert "Traceback" not in capsys.readouterr().err
