"""The compiled epoch of an image classifier: gather, augment, step and sum the metrics without leaving the graph."""

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
    graph_optimizer,
    no_totals,
    segments,
)
from dlperf.training.objectives import Objective, Sums
from dlperf.training.vector_update import VectorUpdate

# (images uint8 (rows, H, W, C), image index int32 (rows,), copy index int32 (rows,), uniform float32 (rows, DRAWS))
# -> float32 (rows, H, W, C). Compiled by XLA.
Augmentation = Callable[[Any, Any, Any, Any], Any]
# images uint8 (rows, H, W, C) -> float32 (rows, H, W, C), for evaluation.
Preparation = Callable[[Any], Any]

DRAWS = 8  # per row; more than any augmentation takes so far
_EVALUATION_ROWS = 250


class ImageEpoch(CompiledEpoch):
    """Trains and evaluates one image classifier on data that lives in memory once, as uint8.

    Batch augmentation (Hoffer et al. 2019): an epoch visits the ids 0 .. images * copies_in_epoch - 1, shuffled;
    id i is copy i % copies_in_epoch of image i // copies_in_epoch. A step takes `batch_size` ids, and
    `copies_in_batch` rows per id. The rows are split into chunks of at most `micro_batch`, whose gradients are
    accumulated, so that memory does not grow with the number of copies.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        objective: Objective,
        augment: Augmentation,
        prepare: Preparation,
        batch_size: int,
        copies_in_epoch: int,
        copies_in_batch: int,
        micro_batch: int,
        random_seed: int,
        optimized_evaluation: bool = False,
    ) -> None:
        """Put the data on the device and define the compiled functions (nothing is traced yet).

        Args:
            model: Maps float32 images to logits; its losses are the penalties.
            optimizer: Applied to the model's trainable variables.
            images: Training images, uint8 (N, H, W, C); whatever else `augment` and `prepare` take will do.
            labels: Their classes, int32 (N,).
            objective: What is minimised and counted.
            augment: Makes training examples of images, inside XLA.
            prepare: Makes examples of images for evaluation.
            batch_size: Distinct ids per step.
            copies_in_epoch: Copies of every image among the ids of an epoch.
            copies_in_batch: Rows per id within one step.
            micro_batch: Rows per chunk, at most.
            random_seed: All shuffles and draws follow from it, the epoch and the step.
            optimized_evaluation: Let TensorFlow's graph optimizer fuse layers in evaluations, which rounds otherwise.
        """
        super().__init__(model, optimizer)
        self._images, self._labels = tf.constant(images), tf.constant(labels, tf.int32)
        self._objective, self._augment, self._prepare = objective, augment, prepare
        # XLA fuses the augmentation's small operations; the convolutions around it are faster without it on a CPU.
        self._augmented = tf.function(self._draw_and_augment, jit_compile=True, autograph=False)
        self._batch_size = batch_size
        self._copies_in_epoch, self._copies_in_batch = copies_in_epoch, copies_in_batch
        self._micro_batch = micro_batch
        self._random_seed, self._optimized_evaluation = random_seed, optimized_evaluation
        self._ids = len(images) * copies_in_epoch
        in_chunks = batch_size * copies_in_batch > micro_batch
        self._accumulated = tf.Variable(tf.zeros([self._update.size])) if in_chunks else None
        ids = tf.TensorSpec([None], tf.int32)
        count, seed = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int64)
        totals = [tf.TensorSpec([], tf.float64)] * 3
        self._train_steps = tf.function(
            self._steps, input_signature=[ids, count, count, seed, *totals], autograph=False
        )
        self._evaluate_batches = tf.function(
            self._batches,
            input_signature=[
                tf.TensorSpec([None, *images.shape[1:]], self._images.dtype),
                tf.TensorSpec([None], tf.int32),
                *[count, count, *totals],
            ],
            autograph=False,
        )

    @property
    def steps(self) -> int:
        """Steps per epoch; the last one is smaller where batch_size does not divide."""
        return math.ceil(self._ids / self._batch_size)

    def compile(self) -> None:
        """Trace and compile everything an epoch and an evaluation need; weights and optimizer stay as they were.

        XLA compiles when a shape first comes, so this runs a chunk of every size that the epoch needs, or the whole
        step where its chunks cut through the copies of an image.
        """
        before = self.state()
        for batch in {min(self._batch_size, self._ids), self._ids % self._batch_size} - {0}:
            rows = batch * self._copies_in_batch
            chunks = math.ceil(rows / self._micro_batch)
            sizes = {(i + 1) * rows // chunks - i * rows // chunks for i in range(chunks)}
            whole = any(size % self._copies_in_batch for size in sizes)
            for count in {batch} if whole else {size // self._copies_in_batch for size in sizes}:
                ids = tf.range(count, dtype=tf.int32)
                self._train_steps(ids, 0, 1, np.int64(0), *no_totals())
        self._evaluate(self._images[:1], self._labels[:1], 0, 1, *no_totals())
        self.restore(before)

    def train_epoch(self, epoch: int) -> Iterator[Segment]:
        """Train through epoch number `epoch` (from 1), yielding after every segment; the last one is complete."""
        ids = tf.constant(shuffled_order(self._ids, self._random_seed, epoch))

        def run(first: int, last: int, *totals: tf.Tensor) -> Totals:
            return self._train_steps(ids, first, last, np.int64(epoch), *totals)

        def sums(steps: int, loss: float, penalty: float, counted: float) -> Sums:
            rows = min(steps * self._batch_size, self._ids) * self._copies_in_batch
            return self._objective.sums(loss, penalty, counted, rows)

        return segments(run, self.steps, sums)

    def to_device(self, inputs: np.ndarray, targets: np.ndarray) -> DeviceSplit:
        """Put images, uint8 (N, H, W, C), and their labels (N,) on the device, to evaluate on them."""
        return DeviceSplit(tf.constant(inputs), tf.constant(targets, tf.int32), len(inputs))

    def evaluate(self, split: DeviceSplit) -> Iterator[Segment]:
        """Evaluate in inference mode, yielding after every segment."""

        def run(first: int, last: int, *totals: tf.Tensor) -> Totals:
            return self._evaluate(split.inputs, split.targets, first, last, *totals)

        def sums(batches: int, loss: float, penalty: float, counted: float) -> Sums:
            return self._objective.sums(loss, penalty, counted, min(batches * _EVALUATION_ROWS, split.examples))

        return segments(run, math.ceil(split.examples / _EVALUATION_ROWS), sums)

    def _build_optimizer(self) -> None:
        self._update = VectorUpdate(self.optimizer, self.model.trainable_variables)

    def _optimizer_state(self) -> dict[str, np.ndarray]:
        return self._update.state()

    def _restore_optimizer(self, arrays: dict[str, np.ndarray]) -> None:
        self._update.restore(arrays)

    def _steps(
        self,
        ids: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
        epoch: tf.Tensor,
        loss: tf.Tensor,
        penalty: tf.Tensor,
        counted: tf.Tensor,
    ) -> Totals:
        def train(step: tf.Tensor, loss: tf.Tensor, penalty: tf.Tensor, counted: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = ids[step * self._batch_size : (step + 1) * self._batch_size]
            images, copies = batch // self._copies_in_epoch, batch % self._copies_in_epoch
            # Copy after copy, not image after image: a chunk then holds as many distinct images as it can, which its
            # batch-normalisation statistics need.
            count = tf.size(batch)
            row = tf.range(count * self._copies_in_batch)
            rows = tf.stack([tf.gather(images, row % count), tf.gather(copies, row % count) + row // count])
            # Epoch, step and, in the lowest 16 bits, chunk: no two chunks of a training share a seed.
            place = epoch * 2**40 + tf.cast(step, tf.int64) * 2**16
            seed = tf.stack([tf.constant(self._random_seed, tf.int64), place])
            if self._accumulated is None:
                gradient, *sums = self._gradient(rows, seed, tf.constant(1.0))
            else:
                gradient, *sums = self._accumulate(self._accumulated, rows, seed)
            self._update.apply(gradient)
            return step + 1, loss + sums[0], penalty + sums[1], counted + sums[2]

        return tuple(tf.while_loop(lambda step, *_: step < last, train, (first, loss, penalty, counted))[1:])

    def _accumulate(self, accumulated: tf.Variable, rows: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Sum the gradient of the mean loss over `rows` chunk by chunk into `accumulated`."""
        accumulated.assign(tf.zeros_like(accumulated))
        total = tf.shape(rows)[1]
        chunks = (total + self._micro_batch - 1) // self._micro_batch

        def add(chunk: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # Chunks of equal size, give or take one row. (At most 8,192 x 256 rows in chunks of at least one: the
            # products fit into 64 bits, not into 32.)
            begin, end = _border(chunk, total, chunks), _border(chunk + 1, total, chunks)
            share = tf.cast(end - begin, tf.float32) / tf.cast(total, tf.float32)
            chunk_seed = seed + tf.stack([tf.constant(0, tf.int64), tf.cast(chunk, tf.int64)])
            gradient, *chunk_sums = self._gradient(rows[:, begin:end], chunk_seed, share)
            accumulated.assign_add(gradient)
            return chunk + 1, *(a + b for a, b in zip(sums, chunk_sums, strict=True))

        sums = tf.while_loop(lambda chunk, *_: chunk < chunks, add, (tf.constant(0), *no_totals()))[1:]
        return accumulated.value(), *sums

    def _gradient(self, rows: tf.Tensor, seed: tf.Tensor, share: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The gradient of share * (mean loss + penalty) over one chunk, as a vector, and its sums."""
        image, copy = rows[0], rows[1]
        labels = tf.gather(self._labels, image)
        examples = self._augmented(tf.gather(self._images, image), image, copy, seed)
        count = tf.cast(tf.size(image), tf.float32)
        with tf.GradientTape() as tape:
            logits = self.model(examples, training=True)
            mean_loss, penalty = tf.reduce_mean(self._objective.losses(labels, logits)), self._penalty()
            weighted = (mean_loss + penalty) * share
        variables = self.model.trainable_variables
        gradients = tape.gradient(weighted, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        sums = (tf.cast(mean * count, tf.float64) for mean in (mean_loss, penalty))
        return self._update.vector(gradients), *sums, self._count(labels, logits)

    def _count(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(self._objective.counted(labels, logits), tf.float64))

    def _draw_and_augment(self, images: tf.Tensor, image: tf.Tensor, copy: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return self._augment(images, image, copy, tf.random.stateless_uniform([tf.size(image), DRAWS], seed))

    def _evaluate(self, images: tf.Tensor, labels: tf.Tensor, first: int, last: int, *totals: tf.Tensor) -> Totals:
        with graph_optimizer(on=self._optimized_evaluation):
            evaluated: Totals = self._evaluate_batches(images, labels, first, last, *totals)
        return evaluated

    def _batches(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
        loss: tf.Tensor,
        penalty: tf.Tensor,
        counted: tf.Tensor,
    ) -> Totals:
        self.model._clear_losses()  # of activities, which belong to the step that was traced before
        if self._optimized_evaluation:
            # Version 0.1.0 traced the penalties twice, and only then the graph optimizer sums them as it did there.
            _ = self.model.losses
        penalty_per_example = tf.cast(self._penalty(), tf.float64)

        def evaluate(
            batch: tf.Tensor, loss: tf.Tensor, penalty: tf.Tensor, counted: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            span = slice(batch * _EVALUATION_ROWS, (batch + 1) * _EVALUATION_ROWS)
            logits = self.model(self._prepare(images[span]), training=False)
            losses = self._objective.losses(labels[span], logits)
            loss += tf.reduce_sum(tf.cast(losses, tf.float64))
            penalty += penalty_per_example * tf.cast(tf.size(losses), tf.float64)
            return batch + 1, loss, penalty, counted + self._count(labels[span], logits)

        return tuple(tf.while_loop(lambda batch, *_: batch < last, evaluate, (first, loss, penalty, counted))[1:])


def _border(chunk: tf.Tensor, total: tf.Tensor, chunks: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(chunk, tf.int64) * tf.cast(total, tf.int64) // tf.cast(chunks, tf.int64)
    return tf.cast(wide, tf.int32)
