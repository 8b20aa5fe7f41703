"""What a worker of a distributed training reads before it starts: one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dlperf.data.user_data import Reading
from dlperf.process_settings.onednn import Choice

PARENT = "DLPERF_WORKERS_PARENT"
"""The variable that holds the process that commands a worker."""


@dataclass(frozen=True)
class WorkerConfig:
    """The configuration of a worker.

    Attributes:
        index: Its number in the cluster, from 0; 0 for a worker alone.
        cores: The cores it is pinned to; empty pins it to none.
        threads: Threads that compute an operation.
        onednn: Whether TensorFlow computes with its oneDNN operations: "on", "off" or "auto".
        device: "cpu" or "gpu".
        devices: Its devices, as TensorFlow names them; several for MirroredStrategy.
        strategy: "none", "mirrored" or "multi_worker".
        collective: How the workers of multi_worker reduce.
        all_reduce: How the devices of mirrored reduce; "" leaves it to TensorFlow.
        model: The network's name, or a model of the user's own, as the parameter says it.
        weights: What a model of the user's own starts from: "fresh" or "file".
        custom: What registers its classes; "" for nothing.
        model_digest: Its hash, "" for the problem's networks.
        dataset: The data set's name, or KIND:PATH.
        data_dir: Its folder, "" for the usual places.
        reading: How data of the user's own are read.
        train_examples: Images to train on.
        batch_size: Images per step over all replicas that train together.
        learning_rate: Of SGD.
        random_seed: Weights and order follow from it.
        fingerprint: A number that differs where code or parameters of workers differ; a job fills it in.
    """

    index: int
    cores: tuple[int, ...]
    threads: int
    onednn: Choice
    device: str
    devices: tuple[str, ...]
    strategy: str
    collective: str
    all_reduce: str
    model: str
    weights: str
    custom: str
    model_digest: str
    dataset: str
    data_dir: str
    reading: Reading
    train_examples: int
    batch_size: int
    learning_rate: float
    random_seed: int
    fingerprint: int = 0

    def shared(self) -> dict[str, Any]:
        """Return what all workers of a job must have alike; a model's file may lie elsewhere on another host."""
        own = ("index", "cores", "fingerprint", *(("model", "custom") if self.model_digest else ()))
        return {name: value for name, value in asdict(self).items() if name not in own}

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> WorkerConfig:
        """Read the line."""
        values = json.loads(line)
        typed = {"cores": tuple(values["cores"]), "devices": tuple(values["devices"])}
        return cls(**{**values, **typed, "reading": Reading(**values["reading"])})
