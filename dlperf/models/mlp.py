"""Multilayer perceptrons for regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

BatchNorm = Literal["between", "everywhere", "nowhere"]


def regression_mlp(
    units: Sequence[int],
    *,
    random_seed: int,
    features: int = 2,
    batch_norm: BatchNorm = "between",
    fast_gradient: bool = True,
) -> keras.Model:
    """Build a network of ReLU layers that maps float32 (batch, features) to float32 (batch, 1).

    Args:
        units: Units of each hidden layer.
        random_seed: All initial weights follow from it, whatever was built before.
        features: Inputs.
        batch_norm: Batch normalisation before hidden layers 2, 3, ... ("between", as the assignment orders), also
            before the first one and the output ("everywhere"), or "nowhere".
        fast_gradient: Compute the output's gradient the fast way for training; a saved model takes Keras's own layer.
    """
    seeds = np.random.SeedSequence(random_seed).generate_state(len(units) + 1).tolist()
    x = inputs = keras.Input((features,))
    for i, (width, seed) in enumerate(zip(units, seeds[:-1], strict=True)):
        if batch_norm == "everywhere" or (batch_norm == "between" and i > 0):
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dense(width, "relu", kernel_initializer=keras.initializers.GlorotUniform(seed=seed))(x)
    if batch_norm == "everywhere":
        x = keras.layers.BatchNormalization()(x)
    output = (_OneUnit if fast_gradient else keras.layers.Dense)(
        1, kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[-1])
    )
    return keras.Model(inputs, output(x))


class _OneUnit(keras.layers.Dense):
    """`Dense(1)` whose kernel gradient is a sum over rows instead of a matrix product.

    XLA computes the product inputs^T (width, batch) times (batch, 1) twenty times slower on a CPU than the sum: for 512
    units nine tenths of the training went there.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return float32 (batch, 1)."""
        return _product(inputs, ops.convert_to_tensor(self.kernel)) + self.bias


@ops.custom_gradient
def _product(inputs: Any, kernel: Any) -> Any:
    """Return inputs (batch, width) times kernel (width, 1)."""

    def gradient(*upstream: Any) -> tuple[Any, Any]:
        (above,) = upstream
        return above * ops.transpose(kernel), ops.sum(inputs * above, axis=0)[:, None]

    return ops.matmul(inputs, kernel), gradient
