"""Models with the weights that ``--weights`` names."""

from __future__ import annotations

import argparse

import torch

from captum_xg.assets import ASSETS
from captum_xg.cli.model_spec import Model, load_target
from captum_xg.errors import OptionError
from captum_xg.models import load_checkpoint
from captum_xg.models.small_weights import load_small


def loaded_model(options: argparse.Namespace) -> Model:
    """Return the model with the weights that were asked for."""
    model = load_target(options.target)
    if options.weights is None:
        return model
    if not isinstance(model, torch.nn.Module):
        raise OptionError(f"{options.target} is a {type(model).__name__}, which --weights cannot be loaded into.")
    if options.weights != "shipped":
        load_checkpoint(model, options.weights)
        return model
    name, shipped = options.target.rpartition(":")[2], sorted(path.stem for path in ASSETS.glob("*small_*.pt"))
    # By the name of the factory: a model of the user's own with that name is refused by the fit of its names.
    if name not in shipped:
        raise OptionError(
            f"--weights shipped: there are none for {options.target}, only for captum_xg.models:NAME with NAME one of "
            f"{', '.join(shipped)}."
        )
    return load_small(model, name)
