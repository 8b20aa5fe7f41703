"""Problem 2: strong and weak scaling with tf.distribute.

Sources: the assignment's Problem 2, which the notebook left out: strong scaling divides a batch of 256 between the
workers, weak scaling gives each worker its own of 64; throughput, training time, cost and efficiency against workers;
all-reduce variants of MirroredStrategy; collectives of MultiWorkerMirroredStrategy.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal

from dlperf import data
from dlperf.accounting.resnet import count_resnet
from dlperf.declaration import parameter
from dlperf.environment import cores, gpu_count
from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.problems.training_parameters import RunParameters
from dlperf.trial import Context, DataUsed, Problem, StoredTrial, Summary, TrialResult

SYNTHETIC_IMAGES = 10_000
ASSIGNED_EPOCHS = 10
_MULTIPLICATIONS = {"resnet50": 79e6, "convnet": 1.4e6}  # of an image, roughly; ResNets of 6n + 2 are counted


class ScalingParameters(RunParameters):
    """Parameters of the scaling problem."""

    mode: Literal["strong", "weak"] = parameter(
        ("strong", "weak"),
        grid=True,
        help="strong: the workers share batch_size; weak: each has batch_size_per_worker",
    )
    workers: int = parameter(
        follows="the machine",
        ge=1,
        le=4096,
        grid=True,
        help="replicas that train together: 1, 2, 4, ... up to the cores, or the GPUs, unless given",
    )
    strategy: Literal["none", "mirrored", "multi_worker"] = parameter(
        follows="workers and device",
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
    model: Literal["resnet20", "resnet44", "resnet50", "convnet"] = parameter(
        "resnet20", help="network; convnet has no batch normalisation, so that its losses do not depend on workers"
    )
    dataset: Literal["synthetic", "cifar10", "fashion_mnist", "digits"] = parameter(
        "synthetic", help="images of 32 x 32 x 3; synthetic and digits need no files"
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
        "", operational=True, help="one address per host, as node1:12345,node2:12345; else TF_CONFIG's; start on each"
    )
    host_index: int = parameter(0, ge=0, operational=True, help="which of hosts this one is, from 0; only host 0 logs")
    price_per_hour: float = parameter(0.45, ge=0, operational=True, help="price of a worker; a K80 was 0.45 dollars")

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """One worker, and the strategy of several."""
        workers = given.get("workers", 1)
        return {"workers": workers, "strategy": cls.spanning({**given, "workers": workers})["strategy"][-1]}

    @classmethod
    def spanning(cls, given: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Powers of two up to what the machine has; one worker without and with the strategy of several."""
        gpu = given["device"] == "gpu"
        available = max(1, gpu_count() if gpu else cores())
        hosts = addresses(given.get("hosts", ""))
        found: dict[str, tuple[Any, ...]] = {"workers": tuple(2**n for n in range(available.bit_length()))}
        if hosts:
            found["workers"] = (len(hosts) * (available if gpu else 1),)
        if "workers" in given:
            distributed = "mirrored" if gpu and not hosts else "multi_worker"
            if hosts:
                return {**found, "strategy": (distributed,)}
            found["strategy"] = ("none", distributed) if given["workers"] == 1 else (distributed,)
        return found

    def check(self) -> None:
        """Refuse a batch that the workers cannot share, and a plain loop of several.

        Raises:
            BadInput: Naming what is allowed.
        """
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
        return self.host_index if self.hosts else _tf_config().get("task", {}).get("index", 0)

    @property
    def global_batch(self) -> int:
        """Images per step over all workers."""
        return self.batch_size if self.mode == "strong" else self.batch_size_per_worker * self.workers

    @property
    def examples(self) -> int:
        """Images to train on."""
        return self.train_examples or (
            SYNTHETIC_IMAGES if self.dataset == "synthetic" else data.train_size(self.dataset)
        )

    @property
    def emulated(self) -> str:
        """Why a time says nothing about as many real devices; "" where it does."""
        if self.device == "cpu" and self.strategy == "multi_worker" and self.collective == "nccl":
            return "NCCL needs GPUs: without it TensorFlow falls back silently"
        if self.device == "cpu" and self.strategy == "mirrored" and self.workers > 1:
            return "logical CPUs share one pool of threads"
        if self.device == "cpu" and self.workers > cores() * max(1, len(addresses(self.hosts))):
            return f"{self.workers} workers on {cores()} cores"
        return ""


def addresses(hosts: str) -> tuple[str, ...]:
    """Return the addresses of the hosts: those given, else those of TF_CONFIG, as Slurm or Kubernetes set it.

    Raises:
        BadInput: If one is no HOST:PORT, or TF_CONFIG cannot be read.
    """
    found = (
        tuple(each.strip() for each in hosts.split(","))
        if hosts
        else tuple(_tf_config().get("cluster", {}).get("worker", ()))
    )
    for each in found:
        if not re.fullmatch(r"[^\s:]+:[0-9]{1,5}", each) or not 0 < int(each.rpartition(":")[2]) < 65536:
            raise BadInput("hosts", hosts or each, "must be addresses HOST:PORT with commas between, ports below 65536")
    if len(set(found)) < len(found):
        raise BadInput("hosts", hosts, "names an address twice")
    return found


def _tf_config() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError:
        raise BadInput("TF_CONFIG", os.environ["TF_CONFIG"], "must be JSON") from None
    return found


def follows(trials: Sequence[ScalingParameters]) -> bool:
    """Return whether this is one of several hosts, and not the first, which logs."""
    return bool(addresses(trials[0].hosts)) and trials[0].host > 0


def follow(trials: Sequence[ScalingParameters]) -> None:
    """Take part in the trials without logging anything.

    Raises:
        TrialFailed: If a worker dies.
        EnvironmentMissing: If a host cannot be reached.
    """
    from dlperf.problems.scaling_measurement import Measurement

    check(trials)
    for trial in trials:
        measurement = Measurement(trial, Context(PROBLEM.trial_name(trial), _Silent()))
        try:
            for _ in measurement.rounds():
                pass
        finally:
            measurement.end()


class _Silent:
    """The report of a host that does not log."""

    def data(self, used: DataUsed) -> None:
        """Tell nobody."""

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Tell nobody."""

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Tell nobody."""


def check(trials: Sequence[ScalingParameters]) -> None:
    """Verify devices and data before a run exists.

    Raises:
        BadInput: If the data, or as many examples, cannot be had.
        EnvironmentMissing: If there are not enough GPUs, or no data.
    """
    first = trials[0]
    if first.device == "gpu":
        wanted, there = max(trial.workers for trial in trials) // max(1, len(addresses(first.hosts))), gpu_count()
        if wanted > there:
            raise EnvironmentMissing(f"workers={wanted} with device=gpu: this machine has {there} GPUs")
    if first.dataset == "synthetic":
        return
    data.check(first.dataset, first.data_dir, first.train_examples)


def measure(parameters: ScalingParameters, context: Context) -> Generator[None, None, TrialResult]:
    """Measure one number of workers, in rounds between which other trials may have theirs.

    Yields:
        After every round.

    Returns:
        The trial's result.

    Raises:
        TrialFailed: If a worker dies or its loss is not finite.
    """
    from dlperf.problems.scaling_measurement import Measurement

    measurement = Measurement(parameters, context)
    try:
        yield from measurement.rounds()
        return measurement.result()
    finally:
        measurement.end()


def run_trial(parameters: ScalingParameters, context: Context) -> TrialResult:
    """Measure one number of workers, without a pause.

    Raises:
        TrialFailed: If a worker dies or its loss is not finite.
    """
    rounds = measure(parameters, context)
    while True:
        try:
            next(rounds)
        except StopIteration as ended:
            result: TrialResult = ended.value
            return result


def summarize(trials: Sequence[StoredTrial[ScalingParameters]]) -> Summary:
    """Make the assignment's tables and figures of finished trials: speed-up, efficiency, cost, laws."""
    from dlperf.problems.scaling_tables import summary

    return summary(trials)


def data_used(parameters: ScalingParameters) -> DataUsed:
    """Return the data set as the store shows it; synthetic images follow from their number alone."""
    splits = {"train": parameters.examples}
    if parameters.dataset == "synthetic":
        return DataUsed("synthetic", f"synthetic-{parameters.examples}", "drawn at random", splits)
    found = data.load(parameters.dataset, parameters.data_dir)
    return DataUsed(found.name, found.digest, found.source, splits)


def work(parameters: ScalingParameters) -> float:
    """Estimate the multiplications of a trial: three forward passes' worth per image."""
    steps = parameters.steps * parameters.repeats
    if parameters.epochs:
        steps = math.ceil(parameters.examples / parameters.global_batch) * parameters.epochs
    known = _MULTIPLICATIONS.get(parameters.model)
    forward = known or count_resnet(int(parameters.model.removeprefix("resnet"))).multiplications
    return float(3 * forward * parameters.global_batch * steps)


PROBLEM = Problem(
    name="scaling",
    summary="Strong and weak scaling with tf.distribute: throughput, time, cost and efficiency against workers.",
    parameters=ScalingParameters,
    varying=("mode", "workers", "strategy", "random_seed"),
    compared=("step_seconds", "images_per_second", "speedup", "cost"),
    curves=("epoch_seconds", "round_step_seconds"),
    required=(
        *("step_seconds", "step_seconds_p25", "step_seconds_p75", "images_per_second", "epochs_seconds", "cost"),
        *("peak_memory_mb", "cpu_ms_per_step", "minor_faults_per_step"),
    ),
    varying_rarely=("collective", "all_reduce"),
    check=check,
    data_digest=lambda parameters: data_used(parameters).digest,
    run_trial=run_trial,
    measure=measure,
    follow=follow,
    follows=follows,
    summarize=summarize,
    work=work,
    demo={"model": "convnet", "dataset": "digits", "steps": "5", "repeats": "2", "batch_size": "128"},
)
