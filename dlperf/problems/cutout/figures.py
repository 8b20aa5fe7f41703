"""Figures of the cutout problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dlperf.problems import plots
from dlperf.problems.cutout.notebook_images import notebook_images
from dlperf.problems.cutout.parameters import CutoutParameters

if TYPE_CHECKING:
    from dlperf.data.dataset import Dataset


def curve_figures(
    epochs: Callable[..., pd.DataFrame],
    title: str,
    published: Callable[[str], plots.Published],
) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw the notebook's figure and the learning rate, a line per m.

    Args:
        epochs: Makes the table of epochs with the named metrics; called when a figure is drawn.
        title: Precedes what a figure shows.
        published: Returns the published points of a metric, by m.
    """

    def figure(metric: str, says: str, **style: Any) -> Figure:
        return plots.epoch_curves(
            epochs(metric), metric, "m", title=f"{title}: {says}", published=published(metric), **style
        )

    return {
        "validation_error_by_m": lambda: figure("validation_error", "validation error by copies per image (m)"),
        "learning_rate": lambda: figure("learning_rate", "learning rate", log=True),
    }


def example_figure(parameters: CutoutParameters, dataset: Dataset) -> Figure:
    """Show two images before and after cutout, the notebook's where the data set has them."""
    # This imports TensorFlow, for which a summary of stored trials should not wait.
    from dlperf.training.augment import cutout

    names, pixels = zip(*notebook_images(dataset), strict=True)
    images = np.stack(pixels).astype("float32") / 255
    rng = np.random.default_rng(parameters.random_seed)
    centres = rng.integers(0, images.shape[1:3], (2, 2))
    length = parameters.mask_length(*images.shape[1:3])
    masked = np.asarray(cutout(images, centres, length))
    colours = 3 if images.shape[-1] >= 3 else 1
    pairs = zip(names, images[..., :colours], masked[..., :colours], strict=True)
    return plots.image_grid(
        [[(name, before), (f"{name}, {length} x {length} cut out", after)] for name, before, after in pairs]
    )
