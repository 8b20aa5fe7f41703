"""What an output of a network sees of its input, measured: where the output's gradient is not zero."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def gradient_support(model: keras.Model) -> np.ndarray:
    """Return which input pixels change the output's middle element.

    Args:
        model: A model from float32 (batch, height, width, channels) to a feature map.

    Returns:
        Booleans (height, width).
    """
    image = tf.ones((1, *model.input_shape[1:]))
    with tf.GradientTape() as tape:
        tape.watch(image)
        output = model(image, training=False)
        middle = output[0, output.shape[1] // 2, output.shape[2] // 2, 0]
    gradient = tape.gradient(middle, image)[0].numpy()
    return np.any(gradient != 0, axis=-1)


def support_side(support: np.ndarray) -> int:
    """Return the side of a support that is a full square.

    Args:
        support: Booleans (height, width).

    Raises:
        ValueError: If what is seen is not a full square.
    """
    rows, columns = np.flatnonzero(support.any(axis=1)), np.flatnonzero(support.any(axis=0))
    if (
        not len(rows)
        or not support[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        or len(rows) != len(columns)
    ):
        raise ValueError("what the output sees is not a full square")
    return len(rows)
