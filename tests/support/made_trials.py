"""Trials that were never trained, with the parameters, metrics and tags of real ones: for stores of any size.

Each follows from its problem and number alone. `log` writes one through MLflow's client, as a trial does; `insert`
writes thousands into a SQLite store at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlperf import entry_points
from dlperf.accounting import mlp
from dlperf.metric_names import best, has_best
from dlperf.parameters import defining, texts

ACCOUNTS = ("setup", "compile", "evaluation", "tracking", "checkpoint", "reporting")
_STARTED = 1_700_000_000_000


@dataclass
class MadeTrial:
    """One trial.

    Attributes:
        problem: Its problem.
        name: Its run's name.
        params: Logged parameters.
        metrics: Final metrics.
        history: Epoch metrics by name.
        tags: Tags.
        started: Start, in milliseconds since 1970.
        status: The run's status.
    """

    problem: str
    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    history: dict[str, list[float]]
    tags: dict[str, str]
    started: int = _STARTED
    status: str = "FINISHED"


@dataclass(frozen=True)
class _Kind:
    values: Mapping[str, Any]
    quality: float  # what its curves tend to
    facts: Mapping[str, str] = field(default_factory=dict)


def made(problem: str, number: int, *, length: int = 20, **overrides: Any) -> MadeTrial:
    """Make trial `number` of a problem.

    Args:
        problem: One of the five.
        number: From 0; kinds of trials take turns, and each round has another random seed.
        length: Epochs of its curves.
        **overrides: Typed parameters that win over the kind's.
    """
    module: Any = entry_points.load_problem(problem)
    kinds = _KINDS[problem]()
    kind = kinds[number % len(kinds)]
    seed = {"random_seed": number // len(kinds)} if "random_seed" in module.varying else {}
    parameters = module.parameters.resolve({**seed, **kind.values, **overrides})
    rng = np.random.default_rng([number, len(problem)])
    history = _history(problem, kind.quality, length, rng)
    last = {name: curve[-1] for name, curve in history.items()}
    bests = {f"best_{name}": best(name, curve) for name, curve in history.items() if has_best(name)}
    metrics = {**last, **bests, **_final(problem, parameters, kind, history, rng)}
    identity = hashlib.sha256(str([problem, *defining(parameters).items()]).encode()).hexdigest()[:16]
    tags = {
        **{"dlperf.problem": problem, "dlperf.role": "trial", "dlperf.trial_key": identity, "dlperf.ended": "finished"},
        **{"dlperf.hardware": "made CPU, 2 cores, 24 GiB", "dlperf.software": "python 3.11", "dlperf.version": "0.1.0"},
        "dlperf.data_digest": "0123456789abcdef",
        "dlperf.given": "{}",
    }
    if history:
        tags["dlperf.target_reached"] = str("seconds_to_target" in metrics).lower()
    params = {**texts(parameters), **kind.facts}
    return MadeTrial(problem, module.trial_name(parameters), params, metrics, history, tags, _STARTED + 1000 * number)


@contextlib.contextmanager
def new_store(folder: Path) -> Iterator[tuple[str, Any]]:
    """Make a store in a folder, which is the working directory meanwhile: yield its address and MLflow's client."""
    import mlflow

    from tests.support.empty_store import make_store

    uri = make_store(folder / "mlflow.db")
    with contextlib.chdir(folder):  # where MLflow puts the artifacts of such a store
        yield uri, mlflow.MlflowClient(uri)


def log(client: Any, trial: MadeTrial, experiment_id: str = "0") -> str:
    """Log a trial through MLflow's client; return its run."""
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run(experiment_id, start_time=trial.started, run_name=trial.name, tags=trial.tags)
    curves = [
        Metric(name, value, trial.started, epoch)
        for name, curve in trial.history.items()
        for epoch, value in enumerate(curve, 1)
    ]
    final = [Metric(name, v, trial.started, 0) for name, v in trial.metrics.items() if name not in trial.history]
    client.log_batch(
        run.info.run_id, [*curves, *final], [Param(*each) for each in trial.params.items()], [RunTag("made", "true")]
    )
    if trial.status != "RUNNING":
        client.set_terminated(run.info.run_id, trial.status)
    return str(run.info.run_id)


def insert(database: str, trials: Iterable[MadeTrial]) -> None:
    """Write trials into the SQLite store at path `database`, which MLflow has made."""
    import sqlalchemy as sa
    from mlflow.store.tracking.dbmodels import models

    rows: dict[Any, list[dict[str, Any]]] = {}
    for trial in trials:
        run = {
            "run_uuid": uuid.UUID(
                bytes=hashlib.md5(f"{trial.problem}{trial.name}{trial.started}".encode()).digest()
            ).hex
        }
        common = {"status": trial.status, "start_time": trial.started, "end_time": trial.started + 1, "user_id": "made"}
        rows.setdefault(models.SqlRun, []).append(
            {**run, **common, "name": trial.name, "experiment_id": 0, "lifecycle_stage": "active"}
        )
        tags = {**trial.tags, "mlflow.runName": trial.name}
        rows.setdefault(models.SqlTag, []).extend({**run, "key": k, "value": v} for k, v in tags.items())
        rows.setdefault(models.SqlParam, []).extend({**run, "key": k, "value": v} for k, v in trial.params.items())
        point = {"timestamp": trial.started, "is_nan": False}
        for name, value in trial.metrics.items():
            step = len(trial.history.get(name, ()))
            latest = {**run, **point, "key": name, "value": value, "step": step}
            rows.setdefault(models.SqlLatestMetric, []).append(latest)
            points = list(enumerate(trial.history.get(name, ()), 1)) or [(0, value)]
            rows.setdefault(models.SqlMetric, []).extend({**latest, "value": v, "step": s} for s, v in points)
    with sa.create_engine(f"sqlite:///{database}").begin() as connection:
        for model, own in rows.items():
            connection.execute(sa.insert(model.__table__), own)


def _history(problem: str, quality: float, epochs: int, rng: np.random.Generator) -> dict[str, list[float]]:
    if problem == "architectures":
        return {}
    falling = quality * (1 + 2 * np.exp(-np.arange(epochs) / 5)) + rng.normal(0, 0.02 * quality, epochs)
    seconds = 2 + rng.random(epochs) / 10
    curves: dict[str, np.ndarray] = {"train_loss": falling}
    if problem == "scaling":
        curves["round_step_seconds"] = falling / 100
    else:
        curves |= {"validation_loss": falling * 1.1, "learning_rate": np.full(epochs, 0.001)}
    if problem == "approximators":
        curves |= {"train_rmse": falling, "validation_rmse": falling}
    elif problem != "scaling":
        error = np.clip(falling / 4, 0, 1)
        curves |= {"train_cross_entropy": falling, "train_penalty": falling / 10, "train_subset_cross_entropy": falling}
        curves |= {"validation_error": error, "validation_accuracy": 1 - error, "validation_cross_entropy": falling}
    return {name: [float(value) for value in curve] for name, curve in (curves | {"epoch_seconds": seconds}).items()}


def _final(
    problem: str, parameters: Any, kind: _Kind, history: Mapping[str, list[float]], rng: np.random.Generator
) -> dict[str, float]:
    if problem == "architectures":
        counts = {
            "num_params": 1e6 * kind.quality,
            "activations": 1e7 * kind.quality,
            "multiplications": 1e9 * kind.quality,
        }
        return {**counts, **{f"model/{name}{way}": value for name, value in counts.items() for way in ("", "_keras")}}
    epochs = len(history["epoch_seconds"])
    seconds = sum(history["epoch_seconds"])
    found = {"train_seconds": seconds, "epochs_run": float(epochs), "peak_memory_mb": 900.0}
    found |= {f"{account}_seconds": float(rng.random()) for account in ACCOUNTS}
    found["wall_seconds"] = seconds + sum(found[f"{account}_seconds"] for account in ACCOUNTS)
    if problem == "scaling":
        step = kind.quality * float(1 + rng.normal(0, 0.02))
        images = parameters.global_batch / step
        split = {f"{part}_seconds": step / 10 for part in ("input", "all_reduce", "wait")}
        return (
            found
            | split
            | {
                **{
                    "step_seconds": step,
                    "step_seconds_p25": step,
                    "step_seconds_p75": step,
                    "images_per_second": images,
                },
                **{"epochs_seconds": 390 * step, "cost": 390 * step * parameters.workers * 0.45 / 3600},
                **{"compute_seconds": 0.7 * step, "ceiling": 0.97, "cpu_ms_per_step": 1000 * step},
                "minor_faults_per_step": 1.0,
            }
        )
    found |= {"best_epoch": float(epochs), "stopped_early": 0.0, "num_params": float(kind.facts.get("num_params", 1e6))}
    if kind.quality < 1 or problem == "approximators":
        found |= {"epochs_to_target": epochs / 2, "seconds_to_target": seconds / 2}
    if problem == "approximators":
        rmse = history["validation_rmse"][-1]
        return found | {"test_rmse": rmse, "test_loss": rmse, "r_squared": 1 - (rmse / 1000) ** 2}
    accuracy = history["validation_accuracy"][-1]
    return found | {"test_accuracy": accuracy, "test_error": 1 - accuracy, "test_loss": history["train_loss"][-1]}


def _optimizers() -> list[_Kind]:
    names = ("adagrad", "rmsprop", "nadam", "adadelta", "adam")
    return [
        _Kind({"optimizer": name, "dropout": dropout}, 0.8 + 0.1 * place + 0.3 * dropout, {"update_rule": name})
        for dropout in (False, True)
        for place, name in enumerate(names)
    ]


def _scaling() -> list[_Kind]:
    facts = {"gradient_bytes": "1090000"}
    return [
        _Kind(
            {"mode": mode, "workers": workers, "strategy": strategy, "device": "gpu"},
            0.5 / (workers if mode == "strong" else 1) + 0.01 * math.log2(workers), facts,
        )
        for mode in ("strong", "weak")
        for workers, strategy in ((1, "none"), *((n, "mirrored") for n in (1, 2, 4, 8)))
    ]  # fmt: skip


def _architectures() -> list[_Kind]:
    return [_Kind({"subject": f"keras:Model{number}"}, 1 + number / 100) for number in range(2000)]


def _cutout() -> list[_Kind]:
    return [_Kind({"m": m}, 1.2 / (1 + m / 8)) for m in (0, 2, 4, 8, 16, 32)]


def _approximators() -> list[_Kind]:
    return [
        _Kind(
            {"units": ",".join(map(str, units)), "processes": 1},
            300 / len(units) - sum(units) / 20,
            {
                **{"num_layers": str(len(units)), "total_units": str(sum(units))},
                "num_params": str(mlp.num_params(units)),
            },
        )
        for units in mlp.networks()
    ]


_KINDS = {
    "optimizers": _optimizers,
    "scaling": _scaling,
    "architectures": _architectures,
    "cutout": _cutout,
    "approximators": _approximators,
}
