"""A callback for Lightning that logs attributions of a fixed batch as a figure, to see them change in training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_xg._core.modules import evaluation_mode
from captum_xg._core.options import positive_integer
from captum_xg._core.types import Target
from captum_xg.attr.x_gradient import XGradient
from captum_xg.errors import InputError
from captum_xg.integrations.optional import required
from captum_xg.visualization import feature_bars, image_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _base() -> Any:
    try:
        return required("lightning.pytorch", "lightning", "AttributionLogger").Callback
    except ImportError:
        return required("pytorch_lightning", "lightning", "AttributionLogger").Callback


class AttributionLogger(_base()):  # type: ignore[misc]  # known when it is there
    """Logs a figure of the attributions of the same examples at the end of every so many validation epochs.

    Images are drawn beside their attributions, of anything else bars of the features' mean absolute attribution. The
    figure goes to every logger of the trainer that takes figures (``experiment.add_figure`` as of TensorBoard, or
    ``log_image`` as of Weights & Biases), and is kept as :attr:`figure`.

    Args:
        inputs: The examples.
        target: Which output is explained, in the forms that Captum takes.
        every_n_epochs: How often.
        name: What it is logged as.
        model: From the LightningModule to what is explained; itself if None.
        feature_names: Of the columns of a table.
        xgradient_options: Of :class:`~captum_xg.XGradient`; by default ``on_violation="integrate"``.

    Attributes:
        figure: The latest.
        attributions: What it shows.
    """

    def __init__(
        self,
        inputs: Tensor,
        target: Target = None,
        *,
        every_n_epochs: int = 1,
        name: str = "attributions",
        model: Callable[[Any], Any] | None = None,
        feature_names: Sequence[str] | None = None,
        **xgradient_options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(inputs, Tensor):
            raise InputError(f"AttributionLogger: `inputs` must be a tensor but is {type(inputs).__name__}.")
        self.inputs, self.target, self.name = inputs, target, name
        self.every_n_epochs = positive_integer(every_n_epochs, "every_n_epochs", "AttributionLogger")
        self.feature_names = feature_names
        self._model = model
        self._options = {"on_violation": "integrate", **xgradient_options}
        self.figure: Figure | None = None
        self.attributions: Tensor | None = None

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Draw and log, on the first process alone."""
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.current_epoch % self.every_n_epochs:
            return
        with evaluation_mode(pl_module.modules()):
            model = pl_module if self._model is None else self._model(pl_module)
            x = self.inputs.to(pl_module.device)
            with torch.inference_mode(False), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # each epoch would say the same
                self.attributions = XGradient(model, **self._options).attribute(x.clone(), target=self.target).cpu()
        self.figure = self._drawn(self.attributions)
        for logger in trainer.loggers:
            experiment: Any = getattr(logger, "experiment", None)
            if hasattr(experiment, "add_figure"):
                experiment.add_figure(self.name, self.figure, global_step=trainer.global_step)
            elif hasattr(logger, "log_image"):
                logger.log_image(self.name, [self.figure], step=trainer.global_step)

    def _drawn(self, attributions: Tensor) -> Figure:
        x = self.inputs.detach().cpu()
        if x.dim() == 4 and x.shape[1] in (1, 3):
            return image_grid(x, attributions)
        flat = attributions.reshape(len(x), -1)
        names = self.feature_names or [f"feature {i}" for i in range(flat.shape[1])]
        return feature_bars(flat, names)
