"""The images that the scaling problem trains on, the same in every worker; reading them needs no Keras."""

from __future__ import annotations

import numpy as np

from dlperf import data
from dlperf.data.dataset import aligned_empty
from dlperf.data.user_data import Reading
from dlperf.models.reference import OwnModel
from dlperf.problems.scaling.parameters import SYNTHETIC, ScalingParameters
from dlperf.trial import DataUsed

_SYNTHETIC_CLASSES = 10


def data_used(parameters: ScalingParameters) -> DataUsed:
    """Return the data set as the tracking store shows it; synthetic images follow from their number alone."""
    splits = {"train": parameters.examples}
    if parameters.dataset == SYNTHETIC:
        return DataUsed("synthetic", f"synthetic-{parameters.examples}", "drawn at random", splits)
    loaded = data.load(parameters.dataset, parameters.data_dir, parameters.reading)
    return DataUsed(loaded.name, loaded.digest, loaded.source, splits)


def own_model(parameters: ScalingParameters) -> OwnModel:
    """Return the user's own model with the images that it is to fit."""
    assert parameters.own_model is not None
    facts, data_name = parameters.facts, f"dataset={parameters.dataset}"
    keep = parameters.weights == "file"
    return OwnModel(parameters.own_model, parameters.custom, keep, facts.input_shape, facts.classes, data_name)


def examples(dataset: str, data_dir: str, reading: Reading, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the first `count` training images, uint8 (count, H, W, C), their labels, int32 (count,), and classes."""
    if dataset == SYNTHETIC:
        rng, images = np.random.default_rng(0), aligned_empty((count, 32, 32, 3))
        images[:] = rng.integers(0, 256, images.shape, np.uint8)
        return images, rng.integers(0, _SYNTHETIC_CLASSES, count).astype(np.int32), _SYNTHETIC_CLASSES
    loaded = data.load(dataset, data_dir, reading)
    return loaded.train_inputs[:count], loaded.train_labels[:count], len(loaded.label_names)
