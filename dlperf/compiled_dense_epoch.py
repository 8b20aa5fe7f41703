"""The compiled epoch of a small dense network: the whole of it one program of XLA's.

Around networks of 16 to 512 units Keras's `fit` spends most of its time between the operations; here nothing leaves the
program between the first step and the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from dlperf.compiled_epoch import CompiledEpoch, HeldSplit, Segment, segments, shuffled
from dlperf.objectives import Objective, Sums

# Rows whose activations stay in a core's cache.
_EVALUATION_ROWS = 1000


class DenseEpoch(CompiledEpoch):
    """Trains and evaluates one network of vectors on data that lives in memory once.

    An epoch visits every example once, shuffled, in batches; the last batch is smaller where the batch size does not
    divide.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        inputs: np.ndarray,
        targets: np.ndarray,
        *,
        objective: Objective,
        batch_size: int,
        random_seed: int,
    ) -> None:
        """Put the data on the device and define the compiled functions (nothing is traced yet).

        Args:
            model: Maps inputs to float32 (batch, outputs); its losses are penalties.
            optimizer: Applied to the model's trainable variables.
            inputs: Training inputs (N, features), of the dtype the model takes.
            targets: Their targets (N,), as the objective takes them.
            objective: What is minimised and counted.
            batch_size: Examples per step.
            random_seed: All shuffles follow from it and the epoch.
        """
        super().__init__(model, optimizer)
        self._inputs, self._targets = tf.constant(inputs), tf.constant(targets)
        self._objective = objective
        self._examples = len(inputs)
        self._batch_size = min(batch_size, self._examples)
        self._random_seed = random_seed
        # XLA compiles for fixed shapes: full batches are one program, a smaller last one is another.
        order, total = tf.TensorSpec([self._examples], tf.int32), tf.TensorSpec([], tf.float64)
        count = tf.TensorSpec([], tf.int32)
        self._full_steps = tf.function(
            self._steps, input_signature=[order, count, count, total, total], jit_compile=True
        )
        self._rest = self._examples % self._batch_size
        rest = tf.TensorSpec([self._rest], tf.int32)
        self._rest_step = tf.function(self._step, input_signature=[rest, total, total], jit_compile=True)
        self._evaluate_batches = tf.function(self._batches, jit_compile=True)

    @property
    def steps(self) -> int:
        """Steps per epoch; the last one is smaller where the batch size does not divide."""
        return math.ceil(self._examples / self._batch_size)

    def compile(self) -> None:
        """Trace and compile what an epoch needs; weights and optimizer stay as they were.

        An evaluation is compiled for the size of its split when that is first held.
        """
        before = self.state()
        order = tf.range(self._examples, dtype=tf.int32)
        self._full_steps(order, 0, 1, *_zeros())
        if self._rest:
            self._rest_step(order[-self._rest :], *_zeros())
        self.restore(before)

    def train_epoch(self, epoch: int) -> Iterator[Segment]:
        """Train through epoch number `epoch` (from 1), yielding after every segment; the last one is complete."""
        order = shuffled(self._examples, self._random_seed, epoch)
        full = self._examples // self._batch_size

        def run(first: int, last: int, loss: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if first < full:
                loss, counted = self._full_steps(order, first, min(last, full), loss, counted)
            if last > full:
                loss, counted = self._rest_step(order[-self._rest :], loss, counted)
            return loss, counted

        def sums(steps: int, loss: float, counted: float) -> Sums:
            return self._objective.sums(loss, counted, min(steps * self._batch_size, self._examples))

        return segments(run, self.steps, _zeros(), sums)

    def hold(self, inputs: np.ndarray, targets: np.ndarray) -> HeldSplit:
        """Put inputs (N, features) and their targets (N,) on the device, and compile the evaluation on them."""
        padding = -len(inputs) % _EVALUATION_ROWS
        padded = [
            np.concatenate([each, np.zeros((padding, *each.shape[1:]), each.dtype)]) for each in (inputs, targets)
        ]
        split = HeldSplit(tf.constant(padded[0]), tf.constant(padded[1]), len(inputs))
        bounds = tf.constant(split.examples), tf.constant(0), tf.constant(0)
        self._evaluate_batches(split.inputs, split.targets, *bounds, *_zeros())
        return split

    def evaluate(self, split: HeldSplit) -> Iterator[Segment]:
        """Evaluate in inference mode, yielding after every segment."""

        def run(first: int, last: int, loss: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            bounds = tf.constant(first), tf.constant(last)
            return self._evaluate_batches(
                split.inputs, split.targets, tf.constant(split.examples), *bounds, loss, counted
            )

        def sums(batches: int, loss: float, counted: float) -> Sums:
            return self._objective.sums(loss, counted, min(batches * _EVALUATION_ROWS, split.examples))

        return segments(run, math.ceil(split.examples / _EVALUATION_ROWS), _zeros(), sums)

    def _steps(
        self, order: tf.Tensor, first: tf.Tensor, last: tf.Tensor, loss: tf.Tensor, counted: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        step = first
        while step < last:  # over tf.range XLA would compile anew for every `first` and `last`
            rows = tf.slice(order, [step * self._batch_size], [self._batch_size])
            loss, counted = self._step(rows, loss, counted)
            step += 1
        return loss, counted

    def _step(self, rows: tf.Tensor, loss: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, targets = tf.gather(self._inputs, rows), tf.gather(self._targets, rows)
        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            mean_loss = tf.reduce_mean(self._objective.losses(targets, outputs)) + self._penalty()
        gradients = tape.gradient(mean_loss, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        step_counted = tf.reduce_sum(self._objective.counted(targets, outputs))
        step_loss = tf.cast(mean_loss, tf.float64) * rows.shape[0]
        return loss + step_loss, counted + tf.cast(step_counted, tf.float64)

    def _batches(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        examples: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
        loss: tf.Tensor,
        counted: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        penalty = self._penalty()
        batch = first
        while batch < last:
            begin = batch * _EVALUATION_ROWS
            chosen = tf.slice(targets, [begin], [_EVALUATION_ROWS])
            outputs = self.model(tf.slice(inputs, [begin, 0], [_EVALUATION_ROWS, inputs.shape[1]]), training=False)
            is_example = begin + tf.range(_EVALUATION_ROWS) < examples  # what follows is padding
            losses = tf.where(is_example, self._objective.losses(chosen, outputs) + penalty, 0.0)
            loss += tf.cast(tf.reduce_sum(losses), tf.float64)
            seen = tf.where(is_example, self._objective.counted(chosen, outputs), 0.0)
            counted += tf.cast(tf.reduce_sum(seen), tf.float64)
            batch += 1
        return loss, counted


def _zeros() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(0.0, tf.float64), tf.constant(0.0, tf.float64)
