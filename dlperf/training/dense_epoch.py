"""The compiled epoch of a dense network: the whole of it one program of XLA's.

With networks of 16 to 512 units Keras's `fit` spends most of its time between operations; here nothing leaves the
program between the first step and the last. In larger ones XLA fuses what is done once per weight: penalty, gradient
and update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlperf.data.dataset import shuffled_order
from dlperf.training.compiled_epoch import (
    CompiledEpoch,
    DeviceSplit,
    Segment,
    Totals,
    no_totals,
    on_device,
    segments,
)
from dlperf.training.objectives import Objective, Sums

# Rows whose activations stay in a core's cache.
_EVALUATION_ROWS = 1000


class DenseEpoch(CompiledEpoch):
    """Trains and evaluates one network of vectors on data that lives in memory once.

    An epoch visits every example once, shuffled, in batches; the last batch is smaller where the batch size does not
    divide.
    """

    _whole_is_xla = True

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
        prepare: Callable[[Any], Any] = lambda inputs: inputs,
        rows: np.ndarray | None = None,
    ) -> None:
        """Put the data on the device and define the compiled functions (nothing is traced yet).

        Args:
            model: Maps inputs to float32 (batch, outputs); its losses are penalties.
            optimizer: Applied to the model's trainable variables.
            inputs: Training inputs (N, features), which must not change: on a CPU they are not copied.
            targets: Their targets (N,), as the objective takes them.
            objective: What is minimised and counted.
            batch_size: Examples per step.
            random_seed: All shuffles follow from it and the epoch.
            prepare: Makes the model's input of a batch of inputs, inside XLA.
            rows: The examples to train on among the N, int32; None for all of them.
        """
        super().__init__(model, optimizer)
        self._source = inputs  # the tensor may share its memory
        self._inputs, self._targets = on_device(inputs), tf.identity(targets)
        self._objective, self._prepare = objective, prepare
        self._rows = tf.constant(np.arange(len(inputs)) if rows is None else rows, tf.int32)
        self._examples = len(self._rows)
        self._batch_size = min(batch_size, self._examples)
        self._random_seed = random_seed
        # XLA compiles for fixed shapes: full batches are one program, a smaller last one is another.
        order, total = tf.TensorSpec([self._examples], tf.int32), tf.TensorSpec([], tf.float64)
        count = tf.TensorSpec([], tf.int32)
        self._full_steps = tf.function(
            self._steps,
            input_signature=[order, count, count, total, total, total],
            autograph=False,
            jit_compile=self._whole_is_xla,
        )
        self._rest = self._examples % self._batch_size
        rest = tf.TensorSpec([self._rest], tf.int32)
        self._rest_step = tf.function(
            self._step, input_signature=[rest, total, total, total], autograph=False, jit_compile=self._whole_is_xla
        )
        self._evaluate_batches = tf.function(self._batches, autograph=False, jit_compile=self._whole_is_xla)

    @property
    def steps(self) -> int:
        """Steps per epoch; the last one is smaller where the batch size does not divide."""
        return math.ceil(self._examples / self._batch_size)

    def compile(self) -> None:
        """Trace and compile what an epoch needs; weights and optimizer stay as they were.

        An evaluation is compiled for the size of its split when that is put on the device.
        """
        before = self.state()
        self._full_steps(self._rows, 0, 1, *no_totals())
        if self._rest:
            self._rest_step(self._rows[-self._rest :], *no_totals())
        self.restore(before)

    def train_epoch(self, epoch: int) -> Iterator[Segment]:
        """Train through epoch number `epoch` (from 1), yielding after every segment; the last one is complete."""
        order = tf.gather(self._rows, shuffled_order(self._examples, self._random_seed, epoch))
        full = self._examples // self._batch_size

        def run(first: int, last: int, *totals: tf.Tensor) -> Totals:
            if first < full:
                totals = self._full_steps(order, first, min(last, full), *totals)
            if last > full:
                totals = self._rest_step(order[-self._rest :], *totals)
            return totals

        def sums(steps: int, loss: float, penalty: float, counted: float) -> Sums:
            return self._objective.sums(loss, penalty, counted, min(steps * self._batch_size, self._examples))

        return segments(run, self.steps, sums)

    def to_device(self, inputs: np.ndarray, targets: np.ndarray) -> DeviceSplit:
        """Put inputs (N, features) and their targets (N,) on the device, and compile the evaluation on them."""
        examples, padding = len(inputs), -len(inputs) % _EVALUATION_ROWS
        if padding:
            inputs, targets = (
                np.concatenate([array, np.zeros((padding, *array.shape[1:]), array.dtype)])
                for array in (inputs, targets)
            )
        split = DeviceSplit(tf.identity(inputs), tf.identity(targets), examples)
        bounds = tf.constant(split.examples), tf.constant(0), tf.constant(0)
        self._evaluate_batches(split.inputs, split.targets, *bounds, *no_totals())
        return split

    def evaluate(self, split: DeviceSplit) -> Iterator[Segment]:
        """Evaluate in inference mode, yielding after every segment."""

        def run(first: int, last: int, *totals: tf.Tensor) -> Totals:
            bounds = tf.constant(split.examples), tf.constant(first), tf.constant(last)
            return self._evaluate_batches(split.inputs, split.targets, *bounds, *totals)

        def sums(batches: int, loss: float, penalty: float, counted: float) -> Sums:
            return self._objective.sums(loss, penalty, counted, min(batches * _EVALUATION_ROWS, split.examples))

        return segments(run, math.ceil(split.examples / _EVALUATION_ROWS), sums)

    def _steps(
        self,
        order: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
        loss: tf.Tensor,
        penalty: tf.Tensor,
        counted: tf.Tensor,
    ) -> Totals:
        def train(step: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
            rows = tf.slice(order, [step * self._batch_size], [self._batch_size])
            return step + 1, *self._step(rows, *totals)

        return tuple(tf.while_loop(lambda step, *_: step < last, train, (first, loss, penalty, counted))[1:])

    def _step(self, rows: tf.Tensor, loss: tf.Tensor, penalty: tf.Tensor, counted: tf.Tensor) -> Totals:
        inputs, targets = self._prepare(tf.gather(self._inputs, rows)), tf.gather(self._targets, rows)
        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            mean_loss, step_penalty = tf.reduce_mean(self._objective.losses(targets, outputs)), self._penalty()
            minimised = mean_loss + step_penalty
        gradients = tape.gradient(minimised, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        step_counted = tf.reduce_sum(self._objective.counted(targets, outputs))
        loss += tf.cast(mean_loss, tf.float64) * rows.shape[0]
        penalty += tf.cast(step_penalty, tf.float64) * rows.shape[0]
        return loss, penalty, counted + tf.cast(step_counted, tf.float64)

    def _batches(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        examples: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
        loss: tf.Tensor,
        penalty: tf.Tensor,
        counted: tf.Tensor,
    ) -> Totals:
        penalty_per_example = tf.cast(self._penalty(), tf.float64)

        def evaluate(
            batch: tf.Tensor, loss: tf.Tensor, penalty: tf.Tensor, counted: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            begin = batch * _EVALUATION_ROWS
            chosen = tf.slice(targets, [begin], [_EVALUATION_ROWS])
            rows = tf.slice(inputs, [begin, 0], [_EVALUATION_ROWS, inputs.shape[1]])
            outputs = self.model(self._prepare(rows), training=False)
            is_example = begin + tf.range(_EVALUATION_ROWS) < examples  # what follows is padding
            losses = tf.where(is_example, self._objective.losses(chosen, outputs), 0.0)
            loss += tf.cast(tf.reduce_sum(losses), tf.float64)
            penalty += penalty_per_example * tf.cast(tf.reduce_sum(tf.cast(is_example, tf.int32)), tf.float64)
            seen = tf.where(is_example, self._objective.counted(chosen, outputs), 0.0)
            return batch + 1, loss, penalty, counted + tf.cast(tf.reduce_sum(seen), tf.float64)

        return tuple(tf.while_loop(lambda batch, *_: batch < last, evaluate, (first, loss, penalty, counted))[1:])
