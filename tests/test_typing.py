"""What type checkers know of calls that PyTorch's modules would leave untyped."""

import subprocess
import sys
from pathlib import Path

import pytest

import captum_xg

ROOT = Path(captum_xg.__file__).parent.parent
PROGRAM = """
import torch
from torch import nn
from captum_xg import AttributionPriorLoss
from captum_xg.priors import AttributionPrior, GiniSparsity, PriorLoss, TotalVariation

x, y = torch.rand(4, 3), torch.zeros(4, dtype=torch.int64)
loss = AttributionPriorLoss(nn.Linear(3, 3), 0.5 * GiniSparsity() - TotalVariation() / 2 + (lambda a: a.sum()))
reveal_type(loss(x, y))
reveal_type(loss((x,), y, 1.0, step=3, mask=x).total)
reveal_type(GiniSparsity()(x))
reveal_type(sum([GiniSparsity(), TotalVariation()]))
result: PriorLoss = loss(x, y)
result.totl
result.backward()
loss(x)
"""
REVEALED = (
    "captum_xg.priors.prior_loss.PriorLoss",
    "torch._tensor.Tensor",
    "torch._tensor.Tensor",
    "captum_xg.priors.base.AttributionPrior",
)
ERRORS = (
    '"PriorLoss" has no attribute "totl"',
    '"PriorLoss" has no attribute "backward"',
    "Missing positional argument",
)


@pytest.mark.slow
def test_a_loss_gives_a_prior_loss_a_prior_a_tensor_and_mistakes_show(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(program)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    revealed = [line.split("Revealed type is ")[1] for line in found.stdout.splitlines() if "Revealed type" in line]
    assert len(revealed) == len(REVEALED), found.stdout
    for text, expected in zip(revealed, REVEALED, strict=True):
        assert expected in text, text
    errors = [line for line in found.stdout.splitlines() if ": error:" in line]
    assert len(errors) == len(ERRORS), errors
    for line, expected in zip(errors, ERRORS, strict=True):
        assert expected in line
