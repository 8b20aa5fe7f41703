"""Parameters of the scaling problem: what is measured, on which devices and hosts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from dlperf import data
from dlperf.declaration import parameter
from dlperf.environment import gpu_count
from dlperf.errors import BadInput
from dlperf.models.reference import path_in
from dlperf.problems.model_parameters import ModelParameters
from dlperf.problems.scaling import slurm, tf_config
from dlperf.problems.shared_parameters import OneDnnParameters, RunParameters, UserDataParameters
from dlperf.processor import cores

SYNTHETIC_IMAGES = 10_000
ASSIGNED_EPOCHS = 10
SYNTHETIC = "synthetic"


class ScalingParameters(UserDataParameters, OneDnnParameters, ModelParameters, RunParameters):
    """Parameters of the scaling problem."""

    networks: ClassVar[tuple[str, ...]] = ("resnet20", "resnet44", "resnet50", "convnet")

    mode: Literal["strong", "weak"] = parameter(
        ("strong", "weak"),
        grid=True,
        help="strong: the workers share batch_size; weak: each has batch_size_per_worker",
    )
    workers: int = parameter(
        derived_from="the machine",
        ge=1,
        le=4096,
        grid=True,
        help="replicas that train together: 1, 2, 4, ... up to the cores, or the GPUs, unless given",
    )
    strategy: Literal["none", "mirrored", "multi_worker"] = parameter(
        derived_from="workers and device",
        grid=True,
        help="none: a plain loop, for one worker; mirrored: one process for all devices; multi_worker: a process for "
        "each; one worker is measured both plain and with the strategy of several",
    )
    device: Literal["cpu", "gpu"] = parameter("cpu", help="what a worker computes on: a core of its own, or a GPU")
    collective: Literal["auto", "ring", "nccl"] = parameter(
        "auto", grid=True, help="how the workers of multi_worker reduce"
    )
    all_reduce: Literal["default", "nccl", "hierarchical_copy", "reduction_to_one_device"] = parameter(
        "default", grid=True, help="how the devices of mirrored reduce"
    )
    model: str = parameter(
        "resnet20",
        names_file=path_in,
        help="network: resnet20, resnet44, resnet50, convnet (without batch normalisation, so that its losses do not "
        "depend on workers), keras:FILE, a .keras or .h5 file of your own, or keras:NAME of keras.applications",
    )
    dataset: str = parameter(
        "synthetic",
        names_file=data.path_in,
        help="images of 32 x 32 x 3: synthetic and digits need no files, cifar10, cifar100 and fashion_mnist are read "
        "from data_dir or downloaded; images of your own are npz:FILE, images:FOLDER or parquet:FILE",
    )
    data_dir: str = parameter("", operational=True, help="folder of the data set, as for the other problems")
    train_examples: int = parameter(0, ge=0, unit="images", help="images to train on; 0 takes all")
    batch_size: int = parameter(256, ge=1, le=65536, unit="images", help="strong: images per step over all workers")
    batch_size_per_worker: int = parameter(64, ge=1, le=65536, unit="images", help="weak: images per step and worker")
    steps: int = parameter(30, ge=1, le=1_000_000, unit="steps", help="timed steps of each repeat")
    repeats: int = parameter(3, ge=1, le=1000, help="times that they are measured, in turn with the other trials")
    epochs: int = parameter(
        0,
        ge=0,
        le=100_000,
        unit="epochs",
        help="train through so many epochs instead, each a round; 0 estimates the time of 10",
    )
    learning_rate: float = parameter(0.05, gt=0, help="of SGD with momentum 0.9")
    hosts: str = parameter(
        "",
        operational=True,
        help="one address per host, as node1:12345,node2:12345; else those of TF_CONFIG or "
        "of SLURM's job step; start on each",
    )
    host_index: int = parameter(0, ge=0, operational=True, help="which of hosts this one is, from 0; only host 0 logs")
    price_per_hour: float = parameter(0.45, ge=0, operational=True, help="price of a worker; a K80 was 0.45 dollars")

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return one worker, and the strategy for several."""
        workers = known.get("workers", 1)
        strategy = cls.default_grid({**known, "workers": workers})["strategy"][-1]
        return {**super().derived_defaults(known), "workers": workers, "strategy": strategy}

    @classmethod
    def default_grid(cls, known: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Return powers of two up to what the machine has; one worker both plain and with the strategy for several."""
        gpu = known["device"] == "gpu"
        available = max(1, gpu_count() if gpu else cores())
        hosts = addresses(known.get("hosts", ""))
        grid: dict[str, tuple[Any, ...]] = {"workers": tuple(2**n for n in range(available.bit_length()))}
        if hosts:
            grid["workers"] = (len(hosts) * (available if gpu else 1),)
        if "workers" in known:
            distributed = "mirrored" if gpu and not hosts else "multi_worker"
            if hosts:
                return {**grid, "strategy": (distributed,)}
            grid["strategy"] = ("none", distributed) if known["workers"] == 1 else (distributed,)
        return grid

    def check(self) -> None:
        """Refuse a batch that the workers cannot share, hosts that do not fit, and a plain loop of several workers.

        Raises:
            BadInput: Naming what is allowed.
        """
        super().check()
        data.check_kind(self.dataset, (SYNTHETIC, *data.NAMES))
        self.refuse_idle(self.dataset)
        if self.mode == "strong" and self.batch_size % self.workers:
            raise BadInput("workers", self.workers, f"must divide batch_size={self.batch_size} in strong scaling")
        if self.all_reduce == "nccl" and self.device == "cpu":
            raise BadInput("all_reduce", self.all_reduce, "needs device=gpu: a CPU has no NCCL")
        hosts = addresses(self.hosts)
        if hosts and (self.strategy != "multi_worker" or self.workers % len(hosts)):
            raise BadInput("hosts", ",".join(hosts), "needs strategy=multi_worker, and workers in equal number on each")
        if hosts and self.host >= len(hosts):
            raise BadInput("host_index", self.host, f"must be 0 to {len(hosts) - 1}, one of the {len(hosts)} hosts")
        if self.strategy == "none" and self.workers > 1:
            raise BadInput("strategy", self.strategy, f"is the plain loop of one worker, not of workers={self.workers}")

    @property
    def host(self) -> int:
        """Number of this host, from 0."""
        return self.host_index if self.hosts else _launched().index

    @property
    def global_batch(self) -> int:
        """Images per step over all workers."""
        return self.batch_size if self.mode == "strong" else self.batch_size_per_worker * self.workers

    @property
    def rounds(self) -> int:
        """Rounds that are measured."""
        return self.epochs or self.repeats

    @property
    def facts(self) -> data.Facts:
        """Number, shape and classes of the images; data of the user's own are read for it."""
        if self.dataset == SYNTHETIC:
            return data.Facts(SYNTHETIC_IMAGES, 0, (32, 32, 3), 10)
        return data.facts(self.dataset, self.data_dir, self.reading)

    @property
    def examples(self) -> int:
        """Images to train on."""
        return self.train_examples or self.facts.train

    @property
    def emulated(self) -> str:
        """Why times say nothing about as many real devices; "" where they do."""
        if self.device == "cpu" and self.strategy == "multi_worker" and self.collective == "nccl":
            return "NCCL needs GPUs: without it TensorFlow falls back silently"
        if self.device == "cpu" and self.strategy == "mirrored" and self.workers > 1:
            return "logical CPUs share one pool of threads"
        if self.device == "cpu" and self.workers > cores() * max(1, len(addresses(self.hosts))):
            return f"{self.workers} workers on {cores()} cores"
        return ""


def addresses(hosts: str) -> tuple[str, ...]:
    """Return the addresses in `hosts`, or if it is empty those in TF_CONFIG, or of SLURM's job step.

    Raises:
        BadInput: If one is no HOST:PORT, or the variables cannot be read.
    """
    launched = tf_config.Cluster() if hosts else _launched()
    listed = tuple(address.strip() for address in hosts.split(",")) if hosts else launched.addresses
    named_by = "hosts" if hosts else launched.named_by
    for address in listed:
        if not re.fullmatch(r"[^\s:]+:[0-9]{1,5}", address) or not 0 < int(address.rpartition(":")[2]) < 65536:
            written = hosts or address
            raise BadInput(named_by, written, "must be addresses HOST:PORT with commas between, ports below 65536")
    if len(set(listed)) < len(listed):
        raise BadInput(named_by, ",".join(listed), "names an address twice")
    return listed


def _launched() -> tf_config.Cluster:
    """The hosts that whoever launched this process has told it: Kubernetes, or `srun`."""
    return tf_config.read() if os.environ.get(tf_config.VARIABLE) else slurm.read()
