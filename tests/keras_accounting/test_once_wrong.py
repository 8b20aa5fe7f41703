"""Models whose totals were wrong without a word once: what is right of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.support.three_ways import assert_three_ways, one


class Encoder(keras.Model):
    """A model class of its own with a recurrent layer inside."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [layers.Embedding(20, 6), layers.LSTM(5), layers.Dense(20)]

    def call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x


class FromFunction(layers.Layer):
    """Calls a layer through a `keras.Function`."""

    def __init__(self) -> None:
        super().__init__()
        inputs = keras.KerasTensor((None, 4))
        self.dense = layers.Dense(3)
        self.function = keras.Function(inputs, self.dense(inputs))

    def call(self, x: Any) -> Any:
        return self.function(x)


class Gated(layers.Dense):
    """Has a weight more than the layer that it inherits from."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.gate = self.add_weight(shape=(self.units,), name="gate")


class Mixing(layers.Conv2D):
    """Multiplies more than the layer that it inherits from."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, kernel) @ np.ones((self.filters, self.filters), "float32")


class Unused(layers.Layer):
    """Runs a layer whose output it does not put out."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.unused = layers.Dense(3), layers.Dense(5)

    def call(self, x: Any) -> Any:
        self.unused(x)
        return self.dense(x)


def one_head_of_two(x: Any) -> Any:
    inside = keras.Input((4,))
    return keras.Model(inside, [layers.Dense(3)(inside), FromFunction()(inside), layers.Dense(2)(inside)])(x)[0]


def cut_out_by_tensorflow(x: Any) -> Any:
    def cut(x: Any) -> Any:
        return tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID")

    return layers.Lambda(cut, output_shape=(4, 4, 12))(x)


def patches(x: Any) -> Any:
    return layers.Dense(6)(layers.Reshape((-1, 12))(keras.ops.image.extract_patches(x, (2, 2))))


# What a reviewer found counted wrong without a word: parameters, activations and multiplications that are right.
FOUND: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], str, tuple[int, int, int]]] = {
    "a class with a recurrent layer": (lambda x: Encoder()(x), (7,), "int32", (480, 7 + 42 + 5 + 20, 1_640)),
    "a layer through a function": (lambda x: FromFunction()(x), (4,), "float32", (15, 4 + 3, 12)),
    "a weight more than its class": (Gated(3), (4,), "float32", (18, 4 + 3, 12)),
    "a product more than its class": (
        Mixing(3, 2, use_bias=False), (4, 4, 2), "float32", (24, 32 + 27, 9 * 8 * 3 + 9 * 9),
    ),
    "a layer as activation": (layers.Dense(4, activation=layers.PReLU()), (6,), "float32", (32, 6 + 4, 24)),
    "products as activation": (layers.Dense(4, activation=layers.Dense(4)), (6,), "float32", (48, 6 + 4, 40)),
    "a layer in an activation layer": (layers.Activation(layers.LeakyReLU()), (4,), "float32", (0, 4 + 4, 0)),
    "patches that are cut out": (patches, (8, 8, 3), "float32", (78, 192 + 192 + 16 * 6, 16 * 12 * 6)),
    "patches that TensorFlow cuts out": (cut_out_by_tensorflow, (8, 8, 3), "float32", (0, 192 + 192, 0)),
    "one head of two": (one_head_of_two, (4,), "float32", (15 + 15 + 10, 4 + 3 + 3 + 2, 12)),
    "a layer in vain": (lambda x: Unused()(x), (4,), "float32", (15 + 25, 4 + 3 + 5, 12)),
    "element by element": (lambda x: keras.ops.einsum("bij,bij->bij", x, x), (4, 5), "float32", (0, 40, 0)),
    "pairs of elements": (lambda x: keras.ops.einsum("bi,bj->bij", x, x), (4,), "float32", (0, 4 + 16, 0)),
    "attention in four dimensions": (
        lambda x: layers.Attention()([x, x]), (3, 5, 4), "float32", (0, 120, 3 * 2 * 5 * 5 * 4),
    ),
    "attention in windows": (
        lambda x: layers.Attention()([keras.ops.reshape(x, (-1, 4, 3))] * 2),
        (8, 3), "float32", (0, 48, 2 * 2 * 4 * 4 * 3),
    ),
    "random numbers of a recurrent layer": (
        layers.LSTM(5, dropout=0.2, recurrent_dropout=0.2), (7, 4), "float32", (200, 28 + 5, 7 * 9 * 20),
    ),
    "categories": (lambda x: layers.Dense(2)(layers.CategoryEncoding(5)(x)), (3,), "int32", (12, 3 + 5 + 2, 10)),
    "counts of categories": (
        lambda x: layers.Dense(2)(layers.CategoryEncoding(5, output_mode="count")(x)), (3,), "int32", (12, 10, 10),
    ),
    "random preprocessing": (layers.RandomGrayscale(), (4, 4, 3), "float32", (0, 48, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_counted_wrong_without_a_word(name: str) -> None:
    function, shape, dtype, right = FOUND[name]
    inputs = keras.Input(shape, dtype=dtype)
    table = assert_three_ways(keras.Model(inputs, function(inputs)))
    assert (table.parameters, table.activations, table.multiplications) == right


def test_weights_that_no_call_uses_are_in_the_table() -> None:
    model = one(layers.Dense(2), (4,))
    model.further = layers.Dense(3)
    model.further.build((None, 4))
    table = assert_three_ways(model)
    assert (table.rows[-1].layer, table.rows[-1].parameters) == ("not called", 15)
