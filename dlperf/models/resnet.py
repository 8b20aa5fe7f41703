"""The CIFAR ResNets of He et al. (2015), section 4.2, as the Keras example and the notebook built them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from dlperf.accounting.resnet import FILTERS, blocks_per_stage
from dlperf.models.batch_norm import FusedBatchNormalization


def resnet(
    depth: int,
    *,
    random_seed: int,
    projection: bool = True,
    conv_bias: bool = True,
    weight_decay: float = 0.0,
    decay_dense: bool = False,
    batch_norm_momentum: float = 0.99,
    batch_norm_epsilon: float = 1e-3,
    fused_batch_norm: bool = True,
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
) -> keras.Model:
    """Build a ResNet v1 of 6n + 2 layers that maps float32 (batch, H, W, C) to logits, float32 (batch, classes).

    With the defaults and depth 44 it is the notebook's network: 665,994 parameters, 662,826 of them trainable. Option A
    of the paper (`projection=False`, `conv_bias=False`) has 661,754 and 658,586.

    Args:
        depth: Layers, 6n + 2.
        random_seed: All initial weights follow from it, whatever was built before.
        projection: Where the shape changes, a 1x1 convolution without batch normalisation (the notebook's); else the
            identity, subsampled and padded with zero channels (option A).
        conv_bias: Whether convolutions have biases.
        weight_decay: Gradient contribution per kernel weight w is weight_decay * w, that is a penalty of
            weight_decay / 2 * w^2 in the loss. Keras's `l2(1e-4)` is a weight_decay of 2e-4. Biases and batch
            normalisation are not decayed.
        decay_dense: Decay the dense layer's kernel too; the notebook did not.
        batch_norm_momentum: Share of the old moving statistics kept at every step.
        batch_norm_epsilon: Added to the variance.
        fused_batch_norm: Use the fused layer for training; a saved model takes Keras's.
        input_shape: Height, width, channels.
        classes: Outputs.

    Raises:
        ValueError: If `depth` is not 6n + 2.
    """
    layers = keras.layers
    blocks = blocks_per_stage(depth)
    norm_layer = FusedBatchNormalization if fused_batch_norm else layers.BatchNormalization
    seeds = iter(np.random.SeedSequence(random_seed).generate_state(depth + 2).tolist())

    def kernel(decayed: bool = True) -> dict[str, Any]:
        return {
            "kernel_initializer": keras.initializers.HeNormal(seed=next(seeds)),
            "kernel_regularizer": keras.regularizers.L2(weight_decay / 2) if weight_decay and decayed else None,
        }

    def convolution(x: Any, filters: int, size: int, strides: int) -> Any:
        return layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=conv_bias, **kernel())(x)

    def normalise(x: Any) -> Any:
        return norm_layer(momentum=batch_norm_momentum, epsilon=batch_norm_epsilon)(x)

    def shortcut(x: Any, filters: int) -> Any:
        if projection:
            return convolution(x, filters, 1, 2)
        added = filters - x.shape[-1]
        # A 1x1 pooling window with stride 2 subsamples; the zero channels are halved between the two sides.
        subsampled = layers.AveragePooling2D(1, strides=2)(x)
        return keras.ops.pad(subsampled, [[0, 0], [0, 0], [0, 0], [added // 2, added - added // 2]])

    inputs = keras.Input(input_shape)
    x = layers.ReLU()(normalise(convolution(inputs, FILTERS[0], 3, 1)))
    for stage, filters in enumerate(FILTERS):
        for block in range(blocks):
            shape_changes = stage > 0 and block == 0
            y = layers.ReLU()(normalise(convolution(x, filters, 3, 2 if shape_changes else 1)))
            y = normalise(convolution(y, filters, 3, 1))
            x = layers.ReLU()(layers.add([shortcut(x, filters) if shape_changes else x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    dense = layers.Dense(classes, **kernel(decay_dense))
    return keras.Model(inputs, dense(x), name=f"resnet{depth}")
