"""An epoch as compiled calls: what the training loop needs of it, whatever the network is.

A call runs a *segment*, as many steps as fit into two seconds, but at least one: so signals are answered and progress
is shown, while sums and state stay in the graph. How an epoch is cut into segments changes no bit of its result.

Only the compiled modules, the distributed step and the fused batch normalisation name TensorFlow; models, losses,
optimizers and augmentation are Keras 3.
"""

from __future__ import annotations

import abc
import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlperf.data.dataset import ALIGNMENT
from dlperf.errors import TrialFailed
from dlperf.training.objectives import Sums

# Sums so far, float64: loss, penalty, and what the objective counts.
Totals = tuple[tf.Tensor, tf.Tensor, tf.Tensor]

# A call costs 5 ms of CPU at ResNet-44, whatever it computes.
_SEGMENT_SECONDS = 2.0
_runtime_threads: int | None = None


def configure_runtime(threads: int) -> None:
    """Make TensorFlow's operations deterministic, on `threads` threads, and quick to start on a CPU.

    Raises:
        TrialFailed: If this process already computes with another number of threads, which cannot be changed.
    """
    global _runtime_threads
    if _runtime_threads == threads:
        return
    if _runtime_threads is not None:
        raise TrialFailed(f"threads={threads}: this process already computes with {_runtime_threads} threads")
    if not tf.config.list_physical_devices("GPU"):
        # TensorFlow's graph optimizer made no step faster on a CPU, and evaluation slower; it took half of the
        # time of a ResNet-44's first step.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()
    _runtime_threads = threads


@contextmanager
def graph_optimizer(*, on: bool) -> Iterator[None]:
    """Let TensorFlow rewrite the graphs that are called within, or not; it rounds otherwise where it fuses layers.

    On a GPU it always does: it lays tensors out as the GPU wants them.
    """
    on = on or bool(tf.config.list_physical_devices("GPU"))
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not on})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def fresh_runtime(threads: int) -> None:
    """Configure the runtime, and forget what earlier trials of this process have left in Keras: graphs and names.

    Raises:
        TrialFailed: If this process already computes with another number of threads, which cannot be changed.
    """
    configure_runtime(threads)
    keras.backend.clear_session()


@dataclass(frozen=True)
class Segment:
    """Progress inside an epoch: `done` of `total` steps after `seconds`, with the sums so far."""

    done: int
    total: int
    seconds: float
    sums: Sums


@dataclass(frozen=True)
class DeviceSplit:
    """Inputs and targets on the device, to evaluate on; there may be rows after the first `examples`, as padding."""

    inputs: tf.Tensor
    targets: tf.Tensor
    examples: int


class CompiledEpoch(abc.ABC):
    """Trains and evaluates one network on data that lives in memory once.

    Attributes:
        model: The network.
        optimizer: Applied to its trainable variables.
    """

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Take the network and build the optimizer for it."""
        self.model, self.optimizer = model, optimizer
        # One replica has nothing to reduce, and TensorFlow's reduction would keep every traced program, with its
        # weights and data, until the process ends: it registers a gradient function for good.
        optimizer._all_reduce_sum_gradients = lambda pairs: pairs
        self._build_optimizer()

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """Steps per epoch; the last one is smaller where the batch size does not divide."""

    @abc.abstractmethod
    def compile(self) -> None:
        """Trace and compile what an epoch and an evaluation need; weights and optimizer stay as they were."""

    @abc.abstractmethod
    def train_epoch(self, epoch: int) -> Iterator[Segment]:
        """Train through epoch number `epoch` (from 1), yielding after every segment; the last one is complete."""

    @abc.abstractmethod
    def to_device(self, inputs: np.ndarray, targets: np.ndarray) -> DeviceSplit:
        """Put a split on the device, to evaluate on it."""

    @abc.abstractmethod
    def evaluate(self, split: DeviceSplit) -> Iterator[Segment]:
        """Evaluate in inference mode, yielding after every segment."""

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of the steps that follow.

        Keras's SGD keeps the learning rate inside its velocity, so that after a drop the old, large steps would go on
        for a while; PyTorch, in which the published recipes were written, keeps it outside. Rescaling the velocity
        makes the two the same (Goyal et al. 2017, section 3, "momentum correction").
        """
        if isinstance(self.optimizer, keras.optimizers.SGD):
            for velocity in self.optimizer.momentums:
                velocity.assign(velocity * (value / float(self.optimizer.learning_rate)))
        self.optimizer.learning_rate = value

    def weights(self) -> dict[str, np.ndarray]:
        """Copy the network's weights, moving statistics included, by position."""
        return {f"weight_{i}": v.numpy() for i, v in enumerate(self.model.variables)}

    def state(self) -> dict[str, np.ndarray]:
        """Copy the weights and the optimizer's variables, by position."""
        return self.weights() | self._optimizer_state()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set what `state` copied; the optimizer's part may be missing."""
        for i, variable in enumerate(self.model.variables):
            variable.assign(arrays[f"weight_{i}"])
        if "optimizer_0" in arrays:
            self._restore_optimizer(arrays)

    def _build_optimizer(self) -> None:
        self.optimizer.build(self.model.trainable_variables)

    def _optimizer_state(self) -> dict[str, np.ndarray]:
        return {f"optimizer_{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)}

    def _restore_optimizer(self, arrays: dict[str, np.ndarray]) -> None:
        for i, variable in enumerate(self.optimizer.variables):
            variable.assign(arrays[f"optimizer_{i}"])

    def _penalty(self) -> tf.Tensor:
        losses = self.model.losses  # computed anew whenever it is read
        return tf.add_n(losses) if losses else tf.constant(0.0)


def on_device(array: np.ndarray) -> tf.Tensor:
    """Return an array as a tensor; on a CPU an aligned uint8 array is shared, not copied.

    The caller has to keep the array alive and unchanged for as long as the tensor is used.
    """
    shareable = array.dtype == np.uint8 and array.flags.c_contiguous and array.ctypes.data % ALIGNMENT == 0
    if not shareable or not array.size or tf.config.list_physical_devices("GPU"):
        return tf.identity(array)
    # DLPack refuses read-only arrays, which the data sets are; no compiled epoch writes into its data.
    pointer = ctypes.cast(array.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
    return tf.experimental.dlpack.from_dlpack(np.ctypeslib.as_array(pointer, array.shape).__dlpack__())


def no_totals() -> Totals:
    """Return the sums before the first step."""
    zero = tf.constant(0.0, tf.float64)
    return zero, zero, zero


def segments(
    run: Callable[..., Totals],
    total: int,
    sums: Callable[..., Sums],
) -> Iterator[Segment]:
    """Run `total` steps in calls of about two seconds.

    Args:
        run: Takes first step, step after the last, and the totals so far; returns the totals.
        total: Steps.
        sums: Names the totals, passed as Python numbers, after a number of steps.
    """
    started = time.perf_counter()
    totals: Any = no_totals()
    done, size = 0, 1
    while done < total:
        begun = time.perf_counter()
        last = min(done + size, total)
        totals = run(done, last, *totals)
        named = sums(last, *(value.numpy().item() for value in totals))
        seconds = max(time.perf_counter() - begun, 1e-6)
        size = max(1, int(_SEGMENT_SECONDS * (last - done) / seconds))
        done = last
        yield Segment(done, total, time.perf_counter() - started, named)
