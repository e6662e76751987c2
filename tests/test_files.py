"""Results on disk are whole at any time."""

import json
from pathlib import Path

import pytest

from captum_xg._files import write_json


def test_a_file_keeps_what_it_held_if_writing_it_again_is_interrupted(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_json(path, {"done": 1})

    def interrupted(self, text, **_):
        self.write_bytes(text[: len(text) // 2].encode())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_json(path, {"done": 2})
    assert json.loads(path.read_text()) == {"done": 1}
    write_json(path, {"done": 2})
    assert json.loads(path.read_text()) == {"done": 2}
