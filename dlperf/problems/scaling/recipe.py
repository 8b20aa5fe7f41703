"""What the scaling problem trains: networks and their optimizer, the same in every worker."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from dlperf.models.own_model import OwnNetwork, read
from dlperf.models.reference import PREFIX, ModelReference, OwnModel
from dlperf.models.resnet import resnet
from dlperf.problems.scaling.worker_config import WorkerConfig

_MOMENTUM = 0.9


class Network:
    """The network of a worker and what goes into it.

    Attributes:
        facts: What a run logs of a model of the user's own; known once it is built.
    """

    def __init__(self, config: WorkerConfig, shape: tuple[int, ...], classes: int) -> None:
        """Take what to build; a file is read here, outside of any strategy."""
        self._config, self._shape, self._classes = config, shape, classes
        self._own: OwnNetwork | None = None
        self._file: OwnModel | None = None
        self.facts: dict[str, str] = {}
        if config.model.startswith(PREFIX):
            named, keep = ModelReference("model", config.model), config.weights == "file"
            self._file = OwnModel(named, config.custom, keep, shape, classes, f"dataset={config.dataset}")
            read(self._file)

    def build(self) -> tuple[keras.Model, keras.optimizers.Optimizer]:
        """Build a network of logits, and its optimizer."""
        config = self._config
        optimizer = keras.optimizers.SGD(config.learning_rate, momentum=_MOMENTUM)
        if self._file is None:
            return _model(config.model, config.random_seed, self._shape, self._classes), optimizer
        self._own = OwnNetwork(self._file, config.random_seed)
        self.facts = self._own.facts("pixels from 0 to 1")
        return self._own.network, optimizer

    def prepare(self, images: Any) -> Any:
        """Make the network's inputs, float32, of uint8 images."""
        pixels = keras.ops.cast(images, "float32")
        return pixels if self._own and self._own.scales_inputs else pixels / 255.0


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
