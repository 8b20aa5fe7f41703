"""How inputs come into the range that a network of fresh weights learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

_PART = 1 << 14  # rows at a time, so that no second copy of the data is made


@dataclass(frozen=True, eq=False)
class InputScaling:
    """Pixels in [0, 1], or features with mean 0 and standard deviation 1 over the training examples.

    Attributes:
        mean: float32, of the shape of an example; None of pixels.
        deviation: float32 likewise, 1 where a feature does not vary.
    """

    mean: NDArray[np.float32] | None = None
    deviation: NDArray[np.float32] | None = None

    def apply(self, inputs: Any) -> Any:
        """Return inputs (batch, ...) as float32; traced by XLA."""
        scaled = ops.cast(inputs, "float32")
        return scaled / 255.0 if self.mean is None else (scaled - self.mean) / self.deviation

    def layer(self) -> keras.layers.Layer:
        """Return the Keras layer that does the same."""
        if self.mean is None or self.deviation is None:
            return keras.layers.Rescaling(1.0 / 255.0)
        axis = tuple(range(1, self.mean.ndim + 1))
        return keras.layers.Normalization(axis=axis, mean=self.mean, variance=np.square(self.deviation))


def scaling_of(inputs: NDArray[Any], rows: NDArray[np.int32]) -> InputScaling:
    """Return the scaling of uint8 or float32 inputs (N, ...), of which `rows` are trained on: uint8 are pixels."""
    if inputs.dtype == np.uint8:
        return InputScaling()
    parts = [rows[begin : begin + _PART] for begin in range(0, len(rows), _PART)]
    mean = sum(inputs[part].sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    variance = sum(np.square(inputs[part] - mean).sum(axis=0) for part in parts) / len(rows)
    deviation = np.sqrt(variance)
    return InputScaling(mean.astype("float32"), np.where(deviation > 0, deviation, 1.0).astype("float32"))
