"""The compiled epoch of a large dense network: TensorFlow's kernels for the products, XLA for what is done per weight.

With layers of a thousand units the matrix products take most of a step, and XLA's are slower on a CPU than oneDNN's: at
128 x 3072 x 1000 half as fast. What XLA is better at is left to it: penalty, gradient and update in one pass over the
weights, and dropout's hash.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from dlperf.models.dropout import HashedDropout
from dlperf.models.mlp import SquaredPenalty
from dlperf.training.compiled_epoch import Totals
from dlperf.training.dense_epoch import DenseEpoch


class DenseGraphEpoch(DenseEpoch):
    """Trains and evaluates one network of vectors; the same mathematics as `DenseEpoch`, rounded otherwise."""

    _whole_is_xla = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what `DenseEpoch` takes; the penalties of the network have to be `SquaredPenalty`.

        Raises:
            TypeError: If the network has another penalty.
        """
        super().__init__(*arguments, **options)
        self._update = tf.function(self._apply, jit_compile=True, autograph=False)
        self._examples_of = tf.function(self._gathered, jit_compile=True, autograph=False)
        self._penalised: list[tuple[Any, float]] = []
        for layer in self.model.layers:
            if isinstance(layer, HashedDropout):
                layer.compute_with(lambda function: tf.function(function, jit_compile=True, autograph=False))
            for name in ("kernel", "bias"):
                regularizer = getattr(layer, f"{name}_regularizer", None)
                if isinstance(regularizer, SquaredPenalty):
                    self._penalised.append((getattr(layer, name), regularizer.weight))
                elif regularizer is not None:
                    raise TypeError(f"{layer.name}: a penalty of another kind than SquaredPenalty")

    def _penalty(self) -> tf.Tensor:
        """One pass over each matrix, in Eigen's tree of partial sums; XLA's sum takes four times as long."""
        return tf.add_n([2.0 * weight * tf.nn.l2_loss(w.value) for w, weight in self._penalised] or [tf.constant(0.0)])

    def _step(self, rows: tf.Tensor, loss: tf.Tensor, penalty: tf.Tensor, counted: tf.Tensor) -> Totals:
        inputs, targets = self._examples_of(rows), tf.gather(self._targets, rows)
        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            mean_loss = tf.reduce_mean(self._objective.losses(targets, outputs))
        gradients = tape.gradient(mean_loss, self.model.trainable_variables)
        step_penalty = self._penalty()
        self._update(gradients)
        step_counted = tf.reduce_sum(self._objective.counted(targets, outputs))
        loss += tf.cast(mean_loss, tf.float64) * rows.shape[0]
        penalty += tf.cast(step_penalty, tf.float64) * rows.shape[0]
        return loss, penalty, counted + tf.cast(step_counted, tf.float64)

    def _gathered(self, rows: tf.Tensor) -> tf.Tensor:
        return self._prepare(tf.gather(self._inputs, rows))

    def _apply(self, gradients: list[tf.Tensor]) -> None:
        """Add the penalty's gradient, and update; XLA makes one pass over the weights of it."""
        weights = {id(variable): weight for variable, weight in self._penalised}
        variables = self.model.trainable_variables
        whole = [
            gradient + 2.0 * weights[id(variable)] * variable.value if id(variable) in weights else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply(whole, variables)
