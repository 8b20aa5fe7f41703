"""The tracking contract on MLflow: one run, what is logged to it and how it ends."""

from __future__ import annotations

import io
import json
import re
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

import dlperf
from dlperf import tables
from dlperf.environment import command
from dlperf.environment import describe as describe_environment
from dlperf.errors import BadInput, Ended, EnvironmentMissing, in_one_line, one_line
from dlperf.interruption import signals_deferred
from dlperf.metric_names import EPOCH_METRICS
from dlperf.parameters import describe, same_value, unquoted
from dlperf.problem import Comparison, Demo, Problem, Summary
from dlperf.tracking.experiment import artifact_failures
from dlperf.tracking.owner import is_another, this_process
from dlperf.tracking.server import tracking_errors
from dlperf.trial import DataUsed, SavedModel

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

_TAG_CHARACTERS = 7_500  # a tag holds 8,000
_MADE_UP_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


class Run:
    """One MLflow run under the tracking contract; as a context manager it ends the run however the block ends.

    It is the `dlperf.trial.Report` of a trial. An outage of the tracking server does not end a training: epochs wait
    and are sent with the next one.
    """

    def __init__(self, client: mlflow.MlflowClient, uri: str, run: Any) -> None:
        """Wrap an MLflow run.

        Args:
            client: Of the tracking server.
            uri: The tracking server, for messages.
            run: The `mlflow.entities.Run`.
        """
        self._client, self._uri, self._run = client, uri, run
        self.id: str = run.info.run_id
        self._waiting: list[Metric] = []
        self._logged_epochs: set[int] | None = None
        self._reported_epochs: set[int] = set()
        self._final = set(run.data.metrics)
        self._warned = False

    @property
    def params(self) -> dict[str, str]:
        """The parameters it had when it was read."""
        return unquoted(self._run.data.params)

    @property
    def tags(self) -> dict[str, str]:
        """The tags it had when it was read."""
        return dict(self._run.data.tags)

    @property
    def logged_metrics(self) -> set[str]:
        """The names of the metrics it had when it was read."""
        return set(self._run.data.metrics)

    @property
    def finished(self) -> bool:
        """Whether a dlperf program brought it to its end (its MLflow status may say RUNNING again: `--run-id`)."""
        return self.tags.get("dlperf.ended") == "finished"

    def __enter__(self) -> Self:
        """Let the run stand as RUNNING, owned by this process."""
        try:
            with signals_deferred():
                self.set_tags({"dlperf.version": dlperf.__version__, "dlperf.process": this_process()})
                for tag in {"dlperf.ended", "dlperf.failure"} & self.tags.keys():
                    self._client.delete_tag(self.id, tag)
                self._client.update_run(self.id, status="RUNNING")
        except Ended as ended:
            self.end("KILLED", ended.reason)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run FINISHED, FAILED with the reason, or KILLED."""
        killed = isinstance(error, Ended | KeyboardInterrupt)
        try:
            with signals_deferred():
                if error is None:
                    self.end("FINISHED")
                else:
                    self.end("KILLED" if killed else "FAILED", one_line(error, _TAG_CHARACTERS))
        except Exception as unreachable:
            message = f"run {self.id} could not be ended: {one_line(unreachable)}"
            if error is None:
                raise EnvironmentMissing(message) from unreachable
            print(f"dlperf: {message}", file=sys.stderr)

    def end(self, status: str, failure: str = "") -> None:
        """End the run as `status`, FINISHED, FAILED or KILLED, with the reason where it is a failure."""
        reason = {"dlperf.failure": in_one_line(failure, _TAG_CHARACTERS)} if failure else {}
        self.set_tags({"dlperf.ended": status.lower()} | reason)
        self._client.set_terminated(self.id, status)

    @property
    def experiment_id(self) -> str:
        """The experiment it belongs to."""
        return str(self._run.info.experiment_id)

    @property
    def owned_by_another(self) -> bool:
        """Whether another process of this machine is running it."""
        owner = self.tags.get("dlperf.process", "")
        running = self._run.info.status == "RUNNING" and "dlperf.ended" not in self.tags
        return running and is_another(owner)

    def begin(
        self,
        problem: Problem[Any] | Demo | Comparison,
        name: str,
        role: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """Log what defines the run: name, tags, and the parameters that MLflow has not logged already.

        Raises:
            BadInput: If a logged parameter says another value.
        """
        logged = self.params
        operational = {parameter.name for parameter in describe(problem.parameters) if parameter.operational}
        for key, value in params.items():
            if key in operational or key not in logged:
                continue
            if not same_value(problem.parameters, key, logged[key], value):
                raise BadInput(key, value, f"run {self.id} has {key}={logged[key]}, and a run keeps its parameters")
        new = [Param(key, value) for key, value in params.items() if key not in logged]
        self._client.log_batch(self.id, params=new)
        present = self._run.info.run_name or ""
        if present == problem.name or _MADE_UP_NAME.fullmatch(present):
            self._client.update_run(self.id, name=name)
        self.set_tags({"dlperf.problem": problem.name, "dlperf.role": role, **tags})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    def data(self, used: DataUsed) -> None:
        """Log the data set as an input of the run."""
        data_set = Dataset(
            name=used.name,
            digest=used.digest,
            source_type="local",
            source=json.dumps({"uri": used.source}),
            profile=json.dumps({f"{split}_examples": count for split, count in used.splits.items()}),
        )
        with tracking_errors(self._uri):
            self._client.log_inputs(
                self.id, datasets=[DatasetInput(data_set, [InputTag("mlflow.data.context", "training")])]
            )
            self.set_tags({"dlperf.data_digest": used.digest})

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Log parameters and tags that are known once the network is built, and what the run runs on."""
        logged = self.params
        with tracking_errors(self._uri), artifact_failures(self.id):
            self._client.log_batch(self.id, params=[Param(k, v) for k, v in params.items() if k not in logged])
            self.set_tags(tags)
            # The command is what the user typed, not what started the worker that reports the rest.
            self._client.log_dict(self.id, {**environment, "command": command()}, "environment.json")

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of an epoch once, now or, if the server does not answer, with a later epoch."""
        try:
            if self._logged_epochs is None:
                history = self._client.get_metric_history(self.id, EPOCH_METRICS[0])
                self._logged_epochs = {metric.step for metric in history}
        except Exception as error:
            self._warn(error)
        # A worker that takes over from a dead one reports everything again.
        known = (self._logged_epochs or set()) | self._reported_epochs
        now = int(time.time() * 1000)
        for epoch, values in enumerate(metrics, first):
            if epoch not in known:
                self._reported_epochs.add(epoch)
                self._waiting += [Metric(key, value, now, epoch) for key, value in values.items()]
        try:
            self._flush()
        except Exception as error:
            self._warn(error)

    def final_metrics(self, metrics: Mapping[str, float], *, again: bool = False) -> None:
        """Log final metrics, and the epochs that still wait.

        Args:
            metrics: Values by name.
            again: Log also what has been logged before, as the counts of a resumed sweep.

        Raises:
            EnvironmentMissing: If the server does not answer; the trial's state is kept, so that nothing is lost.
        """
        now = int(time.time() * 1000)
        # A trial that was killed here and goes on has logged some of them.
        new = {key: value for key, value in metrics.items() if again or key not in self._final}
        self._waiting += [Metric(key, value, now, 0) for key, value in new.items()]
        self._final.update(metrics)
        try:
            self._flush()
        except Exception as error:
            raise EnvironmentMissing(
                f"{self._uri} does not take the results ({one_line(error)}); nothing is lost, "
                f"go on with MLFLOW_RUN_ID={self.id} once it answers"
            ) from error

    def summary(self, summary: Summary) -> None:
        """Log tables and figures; the first table that is for the terminal is the run's description too."""
        for name, table in summary.all_tables().items():
            self.table(name, table)
        for name, figure in summary.figures.items():
            self.figure(name, figure)
        shown = next(iter(summary.shown_tables().values())).dropna(axis="columns", how="all")
        self.set_tags({"mlflow.note.content": tables.markdown(shown)})

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Log one table as tables/NAME.csv, and where it is not too long to read as .md and .tex."""
        with artifact_failures(self.id):
            for ending, text in tables.files(table).items():
                self._client.log_text(self.id, text, f"tables/{name}.{ending}")

    def figure(self, name: str, figure: matplotlib.figure.Figure) -> None:
        """Log one figure as plots/NAME.png."""
        with artifact_failures(self.id):
            self._client.log_figure(self.id, figure, f"plots/{name}.png", save_kwargs={"dpi": 120})

    def drawing(self, name: str, figure: matplotlib.figure.Figure) -> None:
        """Log one figure as plots/NAME.svg, its text as text; equal figures give equal bytes."""
        import matplotlib

        with artifact_failures(self.id), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            content = io.StringIO()
            figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
            self._client.log_text(self.id, content.getvalue(), f"plots/{name}.svg")

    def files(self, folder: Path) -> None:
        """Log the files of a folder as they lie in it."""
        with artifact_failures(self.id):
            self._client.log_artifacts(self.id, str(folder))

    def model(self, saved: SavedModel) -> None:
        """Log a trained Keras model with its input example."""
        requirements = [f"{name}=={version}" for name, version in _model_requirements().items()]
        with warnings.catch_warnings(), mlflow.start_run(run_id=self.id, nested=True, log_system_metrics=False):
            warnings.simplefilter("ignore")
            mlflow.tensorflow.log_model(
                saved.model, name="model", input_example=saved.input_example, pip_requirements=requirements
            )

    def _flush(self) -> None:
        if self._waiting:
            # While the history could not be read, epochs that stand there may have been added.
            known = self._logged_epochs or set()
            self._waiting = [m for m in self._waiting if m.step not in known or m.step == 0]
            for begin in range(0, len(self._waiting), 900):  # the API takes 1000 metrics a call
                self._client.log_batch(self.id, metrics=self._waiting[begin : begin + 900])
            self._waiting = []

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            print(f"dlperf: the tracking server does not answer, training goes on: {one_line(error)}", file=sys.stderr)
        self._warned = True


def _model_requirements() -> dict[str, str]:
    versions = describe_environment()["versions"]
    return {name: versions[name] for name in ("tensorflow", "keras", "numpy", "mlflow")}
