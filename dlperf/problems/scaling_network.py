"""What the scaling problem trains: networks and images, the same in every worker."""

from __future__ import annotations

import keras
import numpy as np

from dlperf import data
from dlperf.data.dataset import aligned_empty
from dlperf.models.resnet import resnet

_MOMENTUM = 0.9
_CLASSES = 10


def network(model: str, learning_rate: float, random_seed: int) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Build a network of logits, without dropout, and its optimizer."""
    return _model(model, random_seed), keras.optimizers.SGD(learning_rate, momentum=_MOMENTUM)


def examples(dataset: str, data_dir: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `count` training images, uint8 (count, 32, 32, 3), and labels, int32 (count,)."""
    if dataset == "synthetic":
        rng, images = np.random.default_rng(0), aligned_empty((count, 32, 32, 3))
        images[:] = rng.integers(0, 256, images.shape, np.uint8)
        return images, rng.integers(0, _CLASSES, count).astype(np.int32)
    found = data.load(dataset, data_dir)
    return found.train_images[:count], found.train_labels[:count]


def _model(name: str, random_seed: int) -> keras.Model:
    if name == "resnet50":
        keras.utils.set_random_seed(random_seed)
        return keras.applications.ResNet50(
            weights=None, input_shape=(32, 32, 3), classes=_CLASSES, classifier_activation=None
        )
    if name == "convnet":
        return _without_batch_norm(random_seed)
    return resnet(int(name.removeprefix("resnet")), random_seed=random_seed)


def _without_batch_norm(random_seed: int) -> keras.Model:
    """Three convolutions: without batch normalisation the losses do not depend on how a batch is divided."""
    layers = keras.layers
    seeds = np.random.SeedSequence(random_seed).generate_state(4).tolist()
    x = inputs = keras.Input((32, 32, 3))
    for filters, seed in zip((16, 32, 64), seeds[:3], strict=True):
        x = layers.Conv2D(
            filters, 3, strides=2, padding="same", activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=seed),
        )(x)  # fmt: skip
    output = layers.Dense(_CLASSES, kernel_initializer=keras.initializers.HeNormal(seed=seeds[3]))
    return keras.Model(inputs, output(layers.GlobalAveragePooling2D()(x)))
