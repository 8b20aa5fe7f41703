"""The measurement of one number of workers: rounds of steps, then the parts of a step and the machine's ceiling."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from dlperf.errors import EnvironmentMissing, TrialFailed
from dlperf.parameters import with_whole_paths
from dlperf.problems.model_parameters import model_digest
from dlperf.problems.scaling.images import data_used
from dlperf.problems.scaling.job import Job
from dlperf.problems.scaling.parameters import ASSIGNED_EPOCHS, addresses
from dlperf.problems.scaling.worker_config import WorkerConfig
from dlperf.process_settings import onednn
from dlperf.processor import allowed_cores, cores
from dlperf.training import checkpoint
from dlperf.trial import Context, Rehearsed, TrialResult

if TYPE_CHECKING:
    from dlperf.problems.scaling.parameters import ScalingParameters

_ISOLATED_REPEATS = 20
_CEILING_STEPS = 5
_CEILING_REPEATS = 12  # many short ones, so that alone and together see the same drifts of the machine
_ALONE_REPEATS = 3
_REHEARSED_STEPS = 3  # at least


class Measurement:
    """One trial while it is measured."""

    def __init__(self, parameters: ScalingParameters, context: Context) -> None:
        """Take what to measure; nothing is started yet."""
        self._parameters, self._context = parameters, context
        self._open = contextlib.ExitStack()
        self._rounds: list[dict[str, Any]] = []  # as `_round` makes them, and the state on disk keeps them
        self._done = 0  # rounds; a host that does not log has no records of those before its restart
        self._isolated: dict[str, float] = {}
        self._warm_up_seconds = 0.0

    def rounds(self) -> Generator[None, None, None]:
        """Start the workers, warm up, and measure round after round, resuming from the state on disk."""
        parameters, context = self._parameters, self._context
        total = parameters.rounds
        with context.clock.account("setup"):
            used = data_used(parameters)
            job = self._open.enter_context(self._job())
        context.data(used)
        ready = job.ready[0]
        tags = {"dlperf.model_digest": digest} if (digest := model_digest(parameters)) else {}
        context.facts(
            {"gradient_bytes": str(ready["gradient_bytes"]), **ready["facts"]},
            {"dlperf.emulated": parameters.emulated, **tags},
        )
        with context.clock.account("compile"):
            self._warm_up_seconds = job.command("warm_up")[0]["seconds"]
        with context.clock.account("checkpoint"):
            self._restore(job)
        if self._takes_turns:
            yield
        while self._done < total:
            with context.clock.account("train"):
                done = self._round(job)
            self._rounds.append(done)
            self._done += 1
            with context.clock.account("checkpoint"):
                self._save(job)
            context.epochs(self._done, [self._epoch_metrics(done)])
            if self._takes_turns:
                yield
        with context.clock.account("evaluation"):
            self._isolate(job)
        job.leave()

    def result(self) -> TrialResult:
        """Return the metrics and the table of steps."""
        parameters, rounds = self._parameters, self._rounds
        steps = [seconds for record in rounds for seconds in record["step_seconds"]]
        step = statistics.median(steps)
        per_epoch = math.ceil(parameters.examples / parameters.global_batch)
        epochs_seconds = sum(steps) if parameters.epochs else step * per_epoch * ASSIGNED_EPOCHS
        quartiles = statistics.quantiles(steps, n=4) if len(steps) > 1 else [step] * 3
        metrics = {
            "step_seconds": step,
            "step_seconds_p25": quartiles[0],
            "step_seconds_p75": quartiles[2],
            "images_per_second": parameters.global_batch / step,
            "epochs_seconds": epochs_seconds,
            "cost": parameters.price_per_hour * parameters.workers * epochs_seconds / 3600,
            "cpu_ms_per_step": 1000 * statistics.mean(record["cpu_seconds"] for record in rounds),
            "minor_faults_per_step": statistics.mean(record["minor_faults"] for record in rounds),
            "peak_memory_mb": max(record["peak_memory_mb"] for record in rounds),
            "epochs_run": parameters.epochs,
            "warm_up_seconds": self._warm_up_seconds,
            **self._isolated,
        }
        table = pd.DataFrame(
            {"round": number, "step": index, "seconds": seconds}
            for number, record in enumerate(rounds, 1)
            for index, seconds in enumerate(record["step_seconds"], 1)
        )
        return TrialResult(metrics, tables={"steps": table})

    def rehearse(self, seconds: float) -> Rehearsed:
        """Start the workers and time as many steps as fit into `seconds`; nothing is reported.

        Raises:
            EnvironmentMissing: If it needs workers of other hosts.
            TrialFailed: If a worker dies.
        """
        p = self._parameters
        if addresses(p.hosts):
            raise EnvironmentMissing("it runs on several hosts")
        begun = time.monotonic()
        with self._job() as job:
            job.command("warm_up")
            started, steps, memory = time.monotonic(), list[float](), 0.0
            while len(steps) < _REHEARSED_STEPS or time.monotonic() < started + seconds:
                answers = job.command("train", first=len(steps), steps=1)
                steps.append(max(answer["seconds"][0] for answer in answers))
                memory = sum(answer["peak_memory_mb"] for answer in answers)
        step, start = statistics.median(steps), started - begun
        last = _ALONE_REPEATS * _CEILING_STEPS if p.workers == 1 else 2 * _CEILING_REPEATS * _CEILING_STEPS
        test = start + last * step if self._has_ceiling else 0.0
        return Rehearsed(
            start,
            self._steps_of_a_round * step,
            test,
            memory * (2 if self._has_ceiling else 1),  # of as many independent workers beside
            memory if self._takes_turns else 0.0,
        )

    def end(self) -> None:
        """End the workers."""
        self._open.close()

    @property
    def _takes_turns(self) -> bool:
        """Whether others may have a round: a job that waits would keep its memory on a GPU, or its host's address."""
        return self._parameters.device == "cpu" and not addresses(self._parameters.hosts)

    @property
    def _has_ceiling(self) -> bool:
        """Whether independent workers can compute the same: where each of them has a core of its own."""
        return self._takes_turns and self._parameters.strategy != "mirrored"

    @property
    def _steps_of_a_round(self) -> int:
        p = self._parameters
        return math.ceil(p.examples / p.global_batch) if p.epochs else p.steps

    def _job(self, *, independent: bool = False) -> Job:
        """Make the trial's workers, or as many `independent` ones, with their shares of the batch."""
        p = with_whole_paths(self._parameters)
        hosts, digest = addresses(p.hosts), model_digest(p)
        several = p.workers if independent or p.strategy == "multi_worker" else 1
        if hosts and not independent:
            several = 1  # the others are started on their hosts
        # One core per worker; a process with several devices, and a host's only worker, have all cores.
        host_cores = allowed_cores()
        share = [[host_cores[index % len(host_cores)]] for index in range(several)]
        if (p.strategy == "mirrored" or hosts) and not independent:
            share = [host_cores]
        devices = (
            tuple(f"/{p.device}:{index}" for index in range(p.workers)) if p.strategy == "mirrored" else ("/cpu:0",)
        )
        configs = [
            WorkerConfig(
                index=0 if independent else p.host + index,
                cores=tuple(share[index]) if p.device == "cpu" else (),
                threads=min(len(share[index]), cores()),  # of which a quota may leave fewer than there are
                onednn=onednn.said_by_user(p.onednn, onednn.users_setting()),
                device=p.device,
                devices=("/cpu:0",) if independent else devices,
                strategy="none" if independent else p.strategy,
                collective=p.collective,
                all_reduce="" if p.all_reduce == "default" else p.all_reduce,
                model=p.model,
                weights=p.weights,
                custom=p.custom,
                model_digest=digest,
                dataset=p.dataset,
                data_dir=p.data_dir,
                reading=p.reading,
                train_examples=p.examples,
                batch_size=p.global_batch // p.workers if independent else p.global_batch,
                learning_rate=p.learning_rate,
                random_seed=p.random_seed,
            )
            for index in range(several)
        ]
        cluster = p.strategy == "multi_worker" and not independent
        return Job(self._context.name, configs, cluster=cluster, hosts=hosts if cluster else ())

    def _round(self, job: Job) -> dict[str, Any]:
        """Train one round; a step takes as long as its slowest worker, CPU time and faults are means over workers."""
        steps = self._steps_of_a_round
        answers = job.command("train", first=self._done * steps, steps=steps)
        losses = [sum(shares) for shares in zip(*(answer["losses"] for answer in answers), strict=True)]
        if not all(map(math.isfinite, losses)):
            raise TrialFailed(f"the loss is not finite in round {self._done + 1}")
        return {
            "step_seconds": [max(times) for times in zip(*(answer["seconds"] for answer in answers), strict=True)],
            "loss": statistics.mean(losses),
            "cpu_seconds": statistics.mean(answer["cpu_seconds"] for answer in answers) / steps,
            "minor_faults": statistics.mean(answer["minor_faults"] for answer in answers) / steps,
            "peak_memory_mb": max(answer["peak_memory_mb"] for answer in answers),
        }

    def _epoch_metrics(self, done: Mapping[str, Any]) -> dict[str, float]:
        seconds = statistics.median(done["step_seconds"])
        return {
            "train_loss": done["loss"],
            "round_step_seconds": seconds,
            "epoch_seconds": sum(done["step_seconds"]),
            "examples_per_second": self._parameters.global_batch / seconds,
        }

    def _isolate(self, job: Job) -> None:
        """Time all-reduce and input by themselves, and the same compute in independent workers."""
        p = self._parameters
        load = _median_of_slowest(job.command("load", repeats=_ISOLATED_REPEATS))
        reduced = 0.0
        if p.strategy != "none":
            reduced = _median_of_slowest(job.command("reduce", repeats=_ISOLATED_REPEATS))
        self._isolated = {"input_seconds": load, "all_reduce_seconds": reduced}
        if not self._has_ceiling:
            return
        alone, ratios = [], []
        with self._job(independent=True) as independent:
            independent.command("warm_up")
            for repeat in range(_CEILING_REPEATS if p.workers > 1 else _ALONE_REPEATS):
                first = repeat * 2 * _CEILING_STEPS
                (one,) = independent.command("train", only=[0], first=first, steps=_CEILING_STEPS)
                alone += one["seconds"]
                if p.workers == 1:
                    continue  # one worker has no others to compute beside
                answers = independent.command("train", first=first + _CEILING_STEPS, steps=_CEILING_STEPS)
                together = [seconds for answer in answers for seconds in answer["seconds"]]
                ratios.append(statistics.median(one["seconds"]) / statistics.median(together))
        step = statistics.median(seconds for record in self._rounds for seconds in record["step_seconds"])
        single = statistics.median(alone)
        low, middle, high = statistics.quantiles(ratios, n=4) if ratios else (1.0, 1.0, 1.0)
        self._isolated |= {
            "compute_seconds": single - load,
            "wait_seconds": step - single - reduced,
            "ceiling_p25": low,
            "ceiling": middle,
            "ceiling_p75": high,
        }

    def _save(self, job: Job) -> None:
        if self._context.state_file:
            context = self._context
            record = {"rounds": self._rounds, "clock": context.clock.snapshot()}
            record["curve_follows_from"] = context.curve_follows_from
            job.command("save", only=[0], path=str(self._context.state_file), record=record)

    def _restore(self, job: Job) -> None:
        """Resume from the state on disk; only the first worker needs it, and shares it with the others on all hosts."""
        path = self._context.state_file
        stored: Any = path and checkpoint.load(path)
        if stored:
            self._context.check_state(stored[1].get("curve_follows_from", {}))
            self._rounds = stored[1]["rounds"]
            self._context.clock.carry(stored[1]["clock"])
        if stored or addresses(self._parameters.hosts):  # a host that has no state cannot know whether the first has
            answers = job.command("restore", path=str(path) if stored else "", rounds=len(self._rounds))
            self._done = answers[0]["rounds"]


def _median_of_slowest(answers: Sequence[Mapping[str, Any]]) -> float:
    return statistics.median(max(times) for times in zip(*(answer["seconds"] for answer in answers), strict=True))
