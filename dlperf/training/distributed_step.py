"""A training step over replicas: one step for a plain loop, `MirroredStrategy` and `MultiWorkerMirroredStrategy`.

Keras 3's `fit` does not run under MultiWorkerMirroredStrategy (keras issues 20585 and 20601); a custom loop does.
The data lie in every worker's memory once, and a step takes the rows of its replicas, so that which replica sees which
example follows from (random_seed, epoch, step) alone, not from what a file pipeline does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlperf.training.compiled_epoch import on_device
from dlperf.training.objectives import Objective


def strategy_of(
    name: str, *, devices: Sequence[str] = (), collective: str = "auto", all_reduce: str = ""
) -> tf.distribute.Strategy | None:
    """Make the strategy; the workers of MultiWorkerMirroredStrategy are those in TF_CONFIG, which have to be up.

    Args:
        name: "none", the plain loop on one device, "mirrored" or "multi_worker".
        devices: Of MirroredStrategy.
        collective: How the workers of MultiWorkerMirroredStrategy reduce: "auto", "ring" or "nccl".
        all_reduce: How the devices of MirroredStrategy reduce: "nccl", "hierarchical_copy", "reduction_to_one_device",
            or "" for TensorFlow's choice.

    Raises:
        KeyError: A name is none of these.
    """
    if name == "none":
        return None
    if name == "mirrored":
        operations = {
            "nccl": tf.distribute.NcclAllReduce,
            "hierarchical_copy": tf.distribute.HierarchicalCopyAllReduce,
            "reduction_to_one_device": tf.distribute.ReductionToOneDevice,
        }
        chosen = operations[all_reduce]() if all_reduce else None
        return tf.distribute.MirroredStrategy(list(devices), cross_device_ops=chosen)
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation[collective.upper()]
    )
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def agree(strategy: tf.distribute.Strategy, fingerprint: int) -> None:
    """Refuse to train with workers whose code or parameters differ.

    Raises:
        ValueError: Naming the workers that differ from worker 0.
    """
    gathered = strategy.gather(strategy.run(lambda: tf.constant([fingerprint], tf.int64)), axis=0).numpy().tolist()
    other = [index for index, value in enumerate(gathered) if value != gathered[0]]
    if other:
        raise ValueError(f"code or parameters of worker {', '.join(map(str, other))} differ from worker 0's")


class DistributedStep:
    """Trains one classifier on the rows passed to it, over the replicas of a strategy.

    Attributes:
        model: The network; every replica has a copy of the weights, and the copies stay equal.
        optimizer: Applied to the gradients summed over replicas.
        replicas: Replicas in all.
        local_replicas: Those of this process.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy | None,
        build: Callable[[], tuple[keras.Model, keras.optimizers.Optimizer]],
        images: np.ndarray,
        labels: np.ndarray,
        *,
        objective: Objective,
        prepare: Callable[[Any], Any],
    ) -> None:
        """Build the network in the strategy's scope.

        Args:
            strategy: None is the plain loop.
            build: Makes network (logits, without dropout) and optimizer.
            images: uint8 (N, H, W, C), which must not change.
            labels: int32 (N,).
            objective: What is minimised.
            prepare: Makes float32 images of uint8 ones.
        """
        self._strategy = strategy
        self._source = images
        self._images, self._labels = on_device(images), tf.constant(labels, tf.int32)
        self._objective, self._prepare = objective, prepare
        with self._scope():
            self.model, self.optimizer = build()
            self.optimizer.build(self.model.trainable_variables)
        self.replicas = strategy.num_replicas_in_sync if strategy else 1
        self.local_replicas = len(strategy.extended.worker_devices) if strategy else 1
        self._run = tf.function(self._step)
        self._load_rows = tf.function(self._load)
        self._reduced = tf.function(self._reduce)

    def step(self, rows: Sequence[np.ndarray], batch: int) -> float:
        """Train on one batch, of which every local replica has its rows; return their share of the mean loss.

        Args:
            rows: Rows per local replica, int32.
            batch: Rows over all replicas.
        """
        return float(self._run(self._per_replica(rows), np.int32(batch)).numpy())

    def load(self, rows: Sequence[np.ndarray]) -> None:
        """Gather and prepare the rows of the local replicas, and nothing else."""
        float(self._load_rows(self._per_replica(rows)).numpy())

    def reduce(self) -> None:
        """Sum tensors of the gradients' shapes over all replicas, and nothing else."""
        float(self._reduced().numpy())

    @property
    def gradient_bytes(self) -> int:
        """Bytes of a replica's gradients."""
        return sum(int(np.prod(v.shape)) * 4 for v in self.model.trainable_variables)

    def weights(self) -> list[np.ndarray]:
        """Copy the network's and the optimizer's variables."""
        return [np.asarray(v) for v in (*self.model.variables, *self.optimizer.variables)]

    def restore(self, arrays: Sequence[np.ndarray]) -> None:
        """Set what `weights` copied."""
        with self._scope():
            for variable, array in zip((*self.model.variables, *self.optimizer.variables), arrays, strict=True):
                variable.assign(array)

    def share_first(self, number: int) -> int:
        """Give every worker the first one's weights and `number`: a sum over workers to which the others add zero.

        Returns:
            The first worker's number.
        """
        strategy = self._strategy
        assert strategy is not None
        first = strategy.cluster_resolver.task_id == 0
        arrays = [np.asarray(number, np.int64), *self.weights()]
        kinds = sorted({array.dtype for array in arrays}, key=str)  # every worker in the same order

        def summed() -> list[Any]:
            # Of several replicas of the first worker only one speaks.
            context = tf.distribute.get_replica_context()
            speaks = tf.logical_and(first, tf.equal(context.replica_id_in_sync_group, 0))
            shares = [tf.where(speaks, array, tf.zeros_like(array)) for array in arrays]
            for kind in kinds:  # one collective sums tensors of one type
                places = [place for place, array in enumerate(arrays) if array.dtype == kind]
                sums = context.all_reduce(tf.distribute.ReduceOp.SUM, [shares[place] for place in places])
                for place, value in zip(places, sums, strict=True):
                    shares[place] = value
            return shares

        results = tf.function(lambda: strategy.run(summed))()
        received = [strategy.experimental_local_results(result)[0].numpy() for result in results]
        self.restore(received[1:])
        return int(received[0])

    def _scope(self) -> Any:
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def _per_replica(self, rows: Sequence[np.ndarray]) -> Any:
        if self._strategy is None:
            return tf.constant(rows[0], tf.int32)
        here = iter(rows)
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(next(here), tf.int32)
        )

    def _over_replicas(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run on every local replica; return the sum of its results over them."""
        if self._strategy is None:
            return function(*arguments)
        results = self._strategy.run(function, args=arguments)
        return tf.add_n(self._strategy.experimental_local_results(results))

    def _step(self, rows: Any, batch: tf.Tensor) -> tf.Tensor:
        return self._over_replicas(self._train, rows, batch)

    def _train(self, rows: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        images, labels = self._prepare(tf.gather(self._images, rows)), tf.gather(self._labels, rows)
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = tf.reduce_sum(self._objective.losses(labels, logits)) / tf.cast(batch, tf.float32)
            if self.model.losses:
                loss += tf.add_n(self.model.losses) / self.replicas
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)  # sums them over replicas itself
        return loss

    def _load(self, rows: Any) -> tf.Tensor:
        return self._over_replicas(lambda here: tf.reduce_sum(self._prepare(tf.gather(self._images, here))), rows)

    def _reduce(self) -> tf.Tensor:
        def sum_over_replicas() -> tf.Tensor:
            gradients = [tf.ones(v.shape) for v in self.model.trainable_variables]
            context = tf.distribute.get_replica_context()
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            return tf.add_n([tf.reduce_sum(gradient) for gradient in summed])

        return self._over_replicas(sum_over_replicas)
