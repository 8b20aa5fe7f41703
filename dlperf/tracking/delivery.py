"""How each kind of entry is told to MLflow; telling it twice changes nothing.

MLflow's SQL stores drop a point that equals one they have in key, step, value and time, and entries carry their times.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag

from dlperf.errors import one_line
from dlperf.tracking.journal import Entry

_MOST_POINTS, _MOST_TEXTS = 900, 100  # MLflow takes 1,000 metrics a call, 100 parameters, 100 tags
_REFUSED = "INVALID_PARAMETER_VALUE"
_MODEL = "model"


def deliver_next(client: mlflow.MlflowClient, entries: Sequence[Entry], folder: Path) -> int:
    """Tell MLflow as `deliver` does, but leave out what it refuses.

    One that the server refuses for what it says, and would refuse each time, is told in a line and counts: what comes
    after it, as the end of the run, is not to wait for it forever.
    """
    try:
        return deliver(client, entries, folder)
    except mlflow.MlflowException as error:
        if error.error_code != _REFUSED or _is_of_deleted_run(error):
            raise
        first = entries[0]
        said = f"dlperf: the tracking server refuses {first.kind} of run {first.run_id}: {one_line(error)}: left out"
        with contextlib.suppress(OSError):
            print(said, file=sys.stderr, flush=True)
        return 1


def why_not(error: Exception, run_id: str) -> str:
    """Say in one line why something could not be sent, and what brings back a run that was deleted."""
    restore = f"; bring it back with `mlflow runs restore --run-id {run_id}`"
    return one_line(error) + (restore if _is_of_deleted_run(error) else "")


def _is_of_deleted_run(error: Exception) -> bool:
    # MLflow has no code of its own for it.
    return isinstance(error, mlflow.MlflowException) and "state is deleted" in str(error)


def deliver(client: mlflow.MlflowClient, entries: Sequence[Entry], folder: Path) -> int:
    """Tell MLflow the first of some entries, and those after it that go with it in one call.

    Args:
        client: Of the tracking server.
        entries: At least one.
        folder: Where the files of entries lie.

    Returns:
        How many entries that were.
    """
    first = entries[0]
    if first.kind != "metrics":
        _BY_KIND[first.kind](client, first.run_id, first.content, folder)
        return 1
    points: list[Sequence[Any]] = []
    count = 0
    for entry in entries:
        if (entry.kind, entry.run_id) != (first.kind, first.run_id) or (points and len(points) > _MOST_POINTS):
            break
        points += entry.content
        count += 1
    for begin in range(0, len(points), _MOST_POINTS):
        client.log_batch(first.run_id, metrics=[Metric(*point) for point in points[begin : begin + _MOST_POINTS]])
    return count


def _params(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, str], _: Path) -> None:
    for part in _parts(content):
        client.log_batch(run_id, params=[Param(key, value) for key, value in part])


def _tags(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, str], _: Path) -> None:
    for part in _parts(content):
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in part])


def _parts(content: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    items = list(content.items())
    return [items[begin : begin + _MOST_TEXTS] for begin in range(0, len(items), _MOST_TEXTS)]


def _no_tags(client: mlflow.MlflowClient, run_id: str, content: Sequence[str], _: Path) -> None:
    there = client.get_run(run_id).data.tags
    for name in content:
        if name in there:
            client.delete_tag(run_id, name)


def _name(client: mlflow.MlflowClient, run_id: str, content: str, _: Path) -> None:
    client.update_run(run_id, name=content)


def _running(client: mlflow.MlflowClient, run_id: str, _content: None, _: Path) -> None:
    client.update_run(run_id, status="RUNNING")


def _ended(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, Any], folder: Path) -> None:
    if content["status"] == "FINISHED":
        # A start that does not find this journal takes the run for killed, and says so.
        _no_tags(client, run_id, ["dlperf.failure"], folder)
    client.set_terminated(run_id, content["status"], content["time"])


def _data(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, Any], _: Path) -> None:
    data_set = Dataset(
        name=content["name"],
        digest=content["digest"],
        source_type="local",
        source=json.dumps({"uri": content["source"]}),
        profile=json.dumps({f"{split}_examples": count for split, count in content["splits"].items()}),
    )
    client.log_inputs(run_id, datasets=[DatasetInput(data_set, [InputTag("mlflow.data.context", "training")])])


def _files(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, str], folder: Path) -> None:
    files = folder / content["folder"]
    if files.exists():  # else it was sent, and the program was killed before it could note that
        client.log_artifacts(run_id, str(files))


def _model(client: mlflow.MlflowClient, run_id: str, content: Mapping[str, str], folder: Path) -> None:
    """Log a folder that `mlflow.tensorflow.save_model` wrote, as `log_model` would, without loading the model."""
    files = folder / content["folder"]
    if not files.exists():
        return
    experiment = client.get_run(run_id).info.experiment_id
    made = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    model = next(iter(made), None) or client.create_logged_model(experiment, name=_MODEL, source_run_id=run_id)
    description = yaml.safe_load((files / "MLmodel").read_text())
    description |= {"run_id": run_id, "model_id": model.model_id, "artifact_path": model.artifact_location}
    (files / "MLmodel").write_text(yaml.safe_dump(description))
    client.log_model_artifacts(model.model_id, str(files))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])


_BY_KIND: dict[str, Callable[[mlflow.MlflowClient, str, Any, Path], None]] = {
    "params": _params,
    "tags": _tags,
    "no_tags": _no_tags,
    "name": _name,
    "running": _running,
    "ended": _ended,
    "data": _data,
    "files": _files,
    "model": _model,
}


def now() -> int:
    """Return the time as MLflow counts it, in milliseconds; later than what was said before, if the clock goes back."""
    global _last
    _last = max(_last, int(time.time() * 1000))
    return _last


_last = 0
