"""What the scaling problem trains: networks and their optimizer, the same in every worker."""

from __future__ import annotations

import keras
import numpy as np

from dlperf.models.resnet import resnet

_MOMENTUM = 0.9


def network(
    model: str, learning_rate: float, random_seed: int, input_shape: tuple[int, ...] = (32, 32, 3), classes: int = 10
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Build a network of logits, without dropout, and its optimizer."""
    return _model(model, random_seed, input_shape, classes), keras.optimizers.SGD(learning_rate, momentum=_MOMENTUM)


def _model(name: str, random_seed: int, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    if name == "resnet50":
        keras.utils.set_random_seed(random_seed)
        return keras.applications.ResNet50(
            weights=None, input_shape=input_shape, classes=classes, classifier_activation=None
        )
    if name == "convnet":
        return _without_batch_norm(random_seed, input_shape, classes)
    depth = int(name.removeprefix("resnet"))
    return resnet(depth, random_seed=random_seed, input_shape=input_shape, classes=classes)


def _without_batch_norm(random_seed: int, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Three convolutions: without batch normalisation the losses do not depend on how a batch is divided."""
    layers = keras.layers
    seeds = np.random.SeedSequence(random_seed).generate_state(4).tolist()
    x = inputs = keras.Input(input_shape)
    for filters, seed in zip((16, 32, 64), seeds[:3], strict=True):
        x = layers.Conv2D(
            filters, 3, strides=2, padding="same", activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=seed),
        )(x)  # fmt: skip
    output = layers.Dense(classes, kernel_initializer=keras.initializers.HeNormal(seed=seeds[3]))
    return keras.Model(inputs, output(layers.GlobalAveragePooling2D()(x)))
