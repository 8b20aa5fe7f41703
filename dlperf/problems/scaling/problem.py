"""Problem 2: strong and weak scaling with tf.distribute.

    mlflow run . -e scaling                          # synthetic images, 1 and 2 workers: 6 minutes on 2 cores
    mlflow run . -e scaling -P dataset=cifar10       # as results/scaling; nothing is longer at full length but the data

Expect from two workers on two cores 1.93 (strong) and 1.92 (weak) times the throughput of one, 0.967 and 0.956 of what
the machine gives two processes that know nothing of each other; the all-reduce takes about 1 % of a step.

Sources: the assignment's Problem 2, which the notebook left out: strong scaling divides a batch of 256 between the
workers, weak scaling gives every worker one of 64; throughput, training time, cost and efficiency against workers;
all-reduce variants of MirroredStrategy; collectives of MultiWorkerMirroredStrategy.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from dlperf import data
from dlperf.accounting.resnet import count_resnet
from dlperf.environment import gpu_count
from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.problem import Distributed, Problem, Question, Summary
from dlperf.problems.model_parameters import model_digest, verify_models
from dlperf.problems.scaling.parameters import SYNTHETIC, ScalingParameters, addresses
from dlperf.problems.shared_parameters import refuse_less_than_a_batch, refuse_other_than_images
from dlperf.processor import cores
from dlperf.trial import Context, DataUsed, Rehearsed, StoredTrial, TrialResult

_MULTIPLICATIONS = {
    "resnet50": 79e6,
    "convnet": 1.4e6,
}  # of an image of 32 x 32, roughly; ResNets of 6n + 2 are counted

_RESNET50_LEAST = 32  # pixels a side, of keras.applications


def logged_elsewhere(trials: Sequence[ScalingParameters]) -> bool:
    """Return whether this is one of several hosts but not the first, which alone logs."""
    return bool(addresses(trials[0].hosts)) and trials[0].host > 0


def take_part(trials: Sequence[ScalingParameters]) -> None:
    """Take part in the trials without logging anything.

    Raises:
        TrialFailed: If a worker dies.
        EnvironmentMissing: If a host cannot be reached.
    """
    from dlperf.problems.scaling.measurement import Measurement

    verify(trials)
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
        """Report nothing."""

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Report nothing."""

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Report nothing."""


def verify(trials: Sequence[ScalingParameters]) -> None:
    """Verify devices and data before a run exists.

    Raises:
        BadInput: If the data cannot be used, or has too few examples, or the model cannot be trained on them.
        EnvironmentMissing: If there are not enough GPUs, or no data.
    """
    first = trials[0]
    if first.device == "gpu":
        wanted, there = max(trial.workers for trial in trials) // max(1, len(addresses(first.hosts))), gpu_count()
        if wanted > there:
            raise EnvironmentMissing(f"workers={wanted} with device=gpu: this machine has {there} GPUs")
    if first.dataset != SYNTHETIC:
        _verify_images(trials)
    if first.own_model:
        from dlperf.problems.scaling.images import own_model

        verify_models(trials, own_model)


def _verify_images(trials: Sequence[ScalingParameters]) -> None:
    first = trials[0]
    data.check(first.dataset, first.data_dir, first.train_examples, first.reading)
    refuse_other_than_images(first.dataset, first.reading)
    height, width, _ = first.facts.input_shape
    if first.model == "resnet50" and min(height, width) < _RESNET50_LEAST:
        least = f"{_RESNET50_LEAST} x {_RESNET50_LEAST}"
        raise BadInput(
            "model", first.model, f"takes images of at least {least}, {first.dataset} has {height} x {width}"
        )
    largest = max(trials, key=lambda trial: trial.global_batch)
    name = "batch_size" if largest.mode == "strong" else "batch_size_per_worker"
    refuse_less_than_a_batch(first.dataset, first.examples, name, largest.global_batch)


def measure(parameters: ScalingParameters, context: Context) -> Generator[None, None, TrialResult]:
    """Measure one number of workers in rounds, between which other trials may have theirs.

    Yields:
        After every round.

    Returns:
        The trial's result.

    Raises:
        TrialFailed: If a worker dies or its loss is not finite.
    """
    from dlperf.problems.scaling.measurement import Measurement

    measurement = Measurement(parameters, context)
    try:
        yield from measurement.rounds()
        return measurement.result()
    finally:
        measurement.end()


def rehearse(parameters: ScalingParameters, seconds: float) -> Rehearsed:
    """Time a few steps of a trial's workers.

    Raises:
        EnvironmentMissing: If it needs workers of other hosts.
        TrialFailed: If a worker dies.
    """
    from dlperf.problems.scaling.measurement import Measurement

    return Measurement(parameters, Context(PROBLEM.trial_name(parameters), _Silent())).rehearse(seconds)


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
    """Make the assignment's tables and figures from finished trials: speed-up, efficiency, cost, laws."""
    from dlperf.problems.scaling.tables import summary

    return summary(trials)


def data_digest(parameters: ScalingParameters) -> str:
    """Return the hash of the images."""
    from dlperf.problems.scaling.images import data_used

    return data_used(parameters).digest


def work(parameters: ScalingParameters) -> float:
    """Estimate the multiplications that a trial's time is worth: three forward passes per image, and idle cores."""
    steps = parameters.steps * parameters.repeats
    if parameters.epochs:
        steps = math.ceil(parameters.examples / parameters.global_batch) * parameters.epochs
    all_cores = parameters.device == "gpu" or parameters.strategy == "mirrored"
    idle = 1.0 if all_cores else cores() / min(parameters.workers, cores())  # a worker has one core
    height, width, channels = parameters.facts.input_shape
    if parameters.own_model:
        forward = 1.0  # not known here: only the ratio of trials is used then
    elif parameters.model in _MULTIPLICATIONS:
        forward = _MULTIPLICATIONS[parameters.model] * height * width / 32**2
    else:
        depth, side = int(parameters.model.removeprefix("resnet")), round(math.sqrt(height * width))
        forward = count_resnet(depth, size=side, channels=channels, classes=parameters.facts.classes).multiplications
    return float(3 * forward * parameters.global_batch * steps * idle)


def questions() -> Sequence[Question]:
    """Return the assignment's questions, with what answers them."""
    from dlperf.problems.scaling import questions as asked

    return asked.questions()


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
    verify=verify,
    data_digest=data_digest,
    model_digest=model_digest,
    run_trial=run_trial,
    distributed=Distributed(measure, logged_elsewhere, take_part, lambda parameters: parameters.rounds, rehearse),
    summarize=summarize,
    questions=questions,
    work=work,
    demo={"model": "convnet", "dataset": "digits", "steps": "5", "repeats": "2", "batch_size": "128"},
    example="dlperf scaling --workers 1,2 --dataset cifar10",
)
