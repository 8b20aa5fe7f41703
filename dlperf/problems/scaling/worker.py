"""One worker of a distributed training: `python -m dlperf.problems.scaling.worker`, which a `job` starts and commands.

The first line of standard input is the configuration, every further one a command, answered with one line of JSON.
When standard input closes, the commanding process is gone, and the worker ends, even in the middle of a collective.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
from typing import Any

from dlperf.errors import one_line
from dlperf.problems.scaling.worker_config import PARENT, WorkerConfig
from dlperf.process_settings import onednn

_WARM_UP_STEPS = 2
_SET_PARENT_DEATH_SIGNAL = 1  # of prctl(2)


def main() -> None:
    """Serve commands until standard input closes."""
    _end_with_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps what libraries print out of the answers
    config = WorkerConfig.from_json(sys.stdin.readline())
    if config.cores:
        os.sched_setaffinity(0, config.cores)  # before TensorFlow counts them
    onednn.take_for_users(None)  # the job has read it: what this process inherits may be an earlier problem's choice
    onednn.choose(config.onednn)
    commands: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(commands,), daemon=True).start()
    try:
        worker = _Worker(config)
        _answer(answers, {"gradient_bytes": worker.step.gradient_bytes, "facts": worker.network.facts})
        while True:
            command = commands.get()
            _answer(answers, getattr(worker, command.pop("do"))(**command))
    except Exception as error:
        import traceback

        traceback.print_exc()
        _answer(answers, {"error": f"{type(error).__name__}: {one_line(error)}"})
        # Not `sys.exit`: a worker whose peers are gone would wait for them.
        os._exit(1)


def _end_with_parent() -> None:
    """Let the kernel end this process with its parent, where it can.

    The thread that reads standard input cannot while TensorFlow waits for a peer and holds the interpreter's lock, as
    it does for minutes for one that was ended before it had come up.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(os.environ[PARENT]):  # it is gone already
        os._exit(1)


def _read(commands: queue.Queue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    os._exit(0)


def _answer(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


class _Worker:
    """The replicas of this process, and the commands they take."""

    def __init__(self, config: WorkerConfig) -> None:
        import keras
        import tensorflow as tf

        from dlperf.problems.scaling.images import examples
        from dlperf.problems.scaling.recipe import Network
        from dlperf.training.distributed_step import DistributedStep, agree, strategy_of
        from dlperf.training.objectives import Classification

        # Not `configure_runtime`: a worker is measured, and deterministic operations would be measured with it.
        tf.config.threading.set_intra_op_parallelism_threads(config.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        devices = config.devices
        if config.device == "cpu" and len(devices) > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * len(devices))
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        keras.utils.set_random_seed(config.random_seed)
        strategy = strategy_of(
            config.strategy,
            devices=devices,
            collective=config.collective,
            all_reduce=config.all_reduce,
        )
        if config.strategy == "multi_worker":
            agree(strategy, config.fingerprint)
        images, labels, classes = examples(config.dataset, config.data_dir, config.reading, config.train_examples)
        self.config, self.network = config, Network(config, images.shape[1:], classes)
        self.step = DistributedStep(
            strategy,
            self.network.build,
            images,
            labels,
            objective=Classification(),
            prepare=self.network.prepare,
        )

    def warm_up(self) -> dict[str, Any]:
        """Trace, train a few steps on the first batch, and restore the weights."""
        before = self.step.weights()
        begun = time.perf_counter()
        for _ in range(_WARM_UP_STEPS):
            self._train(0)
            self.step.load(self._rows(0)[0])
            if self.config.strategy != "none":
                self.step.reduce()
        seconds = time.perf_counter() - begun
        self.step.restore(before)
        return {"seconds": seconds}

    def train(self, first: int, steps: int) -> dict[str, Any]:
        """Train and time `steps` steps from number `first` (from 0)."""
        seconds, losses = [], []
        before = resource.getrusage(resource.RUSAGE_SELF)
        for number in range(first, first + steps):
            begun = time.perf_counter()
            losses.append(self._train(number))
            seconds.append(time.perf_counter() - begun)
        after = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": seconds,
            "losses": losses,
            "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "minor_faults": after.ru_minflt - before.ru_minflt,
            "peak_memory_mb": after.ru_maxrss / 1024,
        }

    def reduce(self, repeats: int) -> dict[str, Any]:
        """Time the all-reduce of the gradients by itself."""
        return {"seconds": [_seconds(self.step.reduce) for _ in range(repeats)]}

    def load(self, repeats: int) -> dict[str, Any]:
        """Time gathering and preparing a batch by itself."""
        return {"seconds": [_seconds(lambda: self.step.load(self._rows(0)[0])) for _ in range(repeats)]}

    def save(self, path: str, record: dict[str, Any]) -> dict[str, Any]:
        """Write weights, optimizer and `record`."""
        from pathlib import Path

        from dlperf.training import checkpoint

        arrays = {f"variable_{i}": array for i, array in enumerate(self.step.weights())}
        checkpoint.save(Path(path), arrays, record)
        return {}

    def restore(self, path: str, rounds: int) -> dict[str, Any]:
        """Restore what `save` wrote: the first worker reads it and shares it with the others, which need not see it."""
        from pathlib import Path

        from dlperf.training import checkpoint

        if self.config.index == 0 and path:
            stored = checkpoint.load(Path(path))
            assert stored is not None
            arrays, _ = stored
            self.step.restore([arrays[f"variable_{i}"] for i in range(len(arrays))])
        if self.config.strategy == "multi_worker":
            rounds = self.step.share_first(rounds)
        return {"rounds": rounds}

    def leave(self) -> dict[str, Any]:
        """Reduce once more: who sees the end of it knows that all have begun it, hence ended all that is measured."""
        self.step.reduce()
        return {}

    def _train(self, number: int) -> float:
        rows, batch = self._rows(number)
        return self.step.step(rows, batch)

    def _rows(self, number: int) -> tuple[list[Any], int]:
        from dlperf.problems.scaling.job import rows_of

        config = self.config
        return rows_of(
            number,
            examples=config.train_examples,
            batch_size=config.batch_size,
            replicas=self.step.replicas,
            first=config.index * self.step.local_replicas if config.strategy == "multi_worker" else 0,
            local=self.step.local_replicas,
            random_seed=config.random_seed,
        )


def _seconds(function: Any) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
