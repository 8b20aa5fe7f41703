"""Multilayer perceptrons for regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np

BatchNorm = Literal["between", "everywhere", "nowhere"]


def regression_mlp(
    units: Sequence[int], *, random_seed: int, features: int = 2, batch_norm: BatchNorm = "between"
) -> keras.Model:
    """Build a network of ReLU layers that maps float32 (batch, features) to float32 (batch, 1).

    Args:
        units: Units of each hidden layer.
        random_seed: All initial weights follow from it, whatever was built before.
        features: Inputs.
        batch_norm: Batch normalisation before hidden layers 2, 3, ... ("between", as the assignment orders), also
            before the first one and the output ("everywhere"), or "nowhere".
    """
    seeds = np.random.SeedSequence(random_seed).generate_state(len(units) + 1).tolist()
    x = inputs = keras.Input((features,))
    for i, (width, seed) in enumerate(zip(units, seeds[:-1], strict=True)):
        if batch_norm == "everywhere" or (batch_norm == "between" and i > 0):
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dense(width, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed=seed))(x)
    if batch_norm == "everywhere":
        x = keras.layers.BatchNormalization()(x)
    output = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[-1]))
    return keras.Model(inputs, output(x))
