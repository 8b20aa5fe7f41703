"""The tracking contract on MLflow: one run, what is logged to it and how it ends."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import mlflow

import dlperf
from dlperf import tables
from dlperf.environment import command
from dlperf.errors import BadInput, Ended, EnvironmentMissing, OutOfMemory, in_one_line, one_line, without_logins
from dlperf.interruption import signals_deferred
from dlperf.metric_names import EPOCH_METRICS
from dlperf.parameters import describe, same_value, unquoted
from dlperf.problem import Comparison, Demo, Problem, Summary
from dlperf.terminal.where import FOR_TRAINING
from dlperf.tracking import artifacts
from dlperf.tracking.delivery import deliver, now
from dlperf.tracking.experiment import artifact_failures
from dlperf.tracking.journal import FOLDERS, Entry, Header, Journal
from dlperf.tracking.owner import is_another, process_tags
from dlperf.tracking.said import Said
from dlperf.tracking.sender import Sender
from dlperf.tracking.server import tracking_errors
from dlperf.trial import DataUsed, SavedModel

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

PARENT = "mlflow.parentRunId"
_TAG_CHARACTERS = 7_500  # a tag holds 8,000
_MADE_UP_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


class Run:
    """One MLflow run under the tracking contract; as a context manager it ends the run however the block ends.

    It is the `dlperf.trial.Report` of a trial. What is said of it goes to the server at once, or, with `keep_journal`,
    to a journal whose sender tells the server: an outage then neither ends a training nor slows it down.
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
        self._final = set(run.data.metrics)
        self._journal: Journal | None = None
        self._sender: Sender | None = None
        self._folder: Path | None = None
        self._ended_journal: Journal | None = None
        self._told: Said | None = None

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

    @property
    def begun(self) -> bool:
        """Whether it says what it was started with by now, so that it can be resumed."""
        return "dlperf.given" in (self._told.tags if self._told else self.tags)

    @property
    def ended(self) -> bool:
        """Whether it had an end when it was read, by MLflow's status."""
        return self._run.info.status not in ("RUNNING", "SCHEDULED")

    @property
    def started(self) -> int:
        """When it was made, in milliseconds since 1970."""
        return int(self._run.info.start_time)

    @property
    def experiment_id(self) -> str:
        """The experiment it belongs to."""
        return str(self._run.info.experiment_id)

    @property
    def artifacts_at(self) -> str:
        """Where its artifacts lie, as MLflow says it."""
        return str(self._run.info.artifact_uri)

    def has_artifact(self, name: str) -> bool:
        """Whether the server has a file of this name, in no folder, among its artifacts."""
        return any(file.path == name for file in self._client.list_artifacts(self.id))

    @property
    def owned_by_another(self) -> bool:
        """Whether another process of this machine is running it."""
        owner = self.tags.get("dlperf.process", "")
        running = self._run.info.status == "RUNNING" and "dlperf.ended" not in self.tags
        return running and is_another(owner)

    @property
    def is_safe(self) -> bool:
        """Whether what it has said outlives this process, on the server or on disk."""
        return self._ended_journal is None or not self._ended_journal.waiting or self._ended_journal.is_on_disk

    @property
    def said(self) -> Said:
        """What it has said, whether the server has taken it or not."""
        if self._told is None:
            self._told = Said(self._run, self._histories())
        return self._told

    def environment(self) -> dict[str, Any]:
        """Return what it said last of what it runs on (environment.json); empty if it has not come so far."""
        if not self.has_artifact(artifacts.ENVIRONMENT):
            return {}
        with tempfile.TemporaryDirectory(prefix="dlperf-") as folder:
            return artifacts.read_environment(self._client.download_artifacts(self.id, artifacts.ENVIRONMENT, folder))

    def keep_journal(self, folder: Path, problem: str, sender: Sender) -> None:
        """Tell the server through a journal from here on.

        Args:
            folder: Where the journal is to lie.
            problem: The entry point.
            sender: What sends it.

        Raises:
            JournalHeld: If another process keeps it, hence runs the run.
            EnvironmentMissing: If it cannot be made, or the server does not tell what the run has said before.
        """
        name = str(self._run.info.run_name or "")
        header = Header(self.id, self.tags.get(PARENT, ""), name, problem, without_logins(self._uri))
        with tracking_errors(self._uri):
            self.said.params  # noqa: B018 - read while the server answers
        self._journal = Journal(folder, header)
        self._sender = sender
        self._ended_journal = None
        sender.take(self._journal)

    def has_finished_meanwhile(self) -> bool:
        """Whether another process has brought it to its end since it was read, and before this one had its journal."""
        if self._client.get_run(self.id).data.tags.get("dlperf.ended") != "finished":
            return False
        if self._journal and self._sender:
            self._sender.complete(self._journal)
            self._journal = None
        return True

    def __enter__(self) -> Self:
        """Let the run stand as RUNNING, owned by this process."""
        try:
            with signals_deferred():
                self.set_tags({"dlperf.version": dlperf.__version__, **process_tags()})
                if of_its_end := {"dlperf.ended", "dlperf.failure"} & self.tags.keys():
                    self._say("no_tags", sorted(of_its_end))
                self._say("running", None)
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
                    reason = OutOfMemory.FAILURE if isinstance(error, OutOfMemory) else one_line(error, _TAG_CHARACTERS)
                    self.end("KILLED" if killed else "FAILED", reason)
        except Exception as unreachable:
            message = f"run {self.id} could not be ended: {one_line(unreachable)}"
            if error is None:
                raise EnvironmentMissing(message) from unreachable
            print(f"dlperf: {message}", file=sys.stderr)

    def end(self, status: str, failure: str = "") -> None:
        """End the run as `status`, FINISHED, FAILED or KILLED, with the reason where it is a failure."""
        reason = {"dlperf.failure": in_one_line(failure, _TAG_CHARACTERS)} if failure else {}
        self.set_tags({"dlperf.ended": status.lower()} | reason)
        self._say("ended", {"status": status, "time": now()})
        if self._journal and self._sender:
            self._sender.complete(self._journal)
            self._ended_journal, self._journal = self._journal, None

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
        self._say("params", {key: value for key, value in params.items() if key not in logged})
        present = self._run.info.run_name or ""
        if present == problem.name or _MADE_UP_NAME.fullmatch(present):
            self._say("name", name)
        self.set_tags({"dlperf.problem": problem.name, "dlperf.role": role, **tags})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._say("tags", dict(tags))

    def data(self, used: DataUsed) -> None:
        """Log the data set as an input of the run."""
        with tracking_errors(self._uri):
            self._say("data", {**vars(used), "splits": dict(used.splits)})
            self.set_tags({"dlperf.data_digest": used.digest})

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Log parameters and tags that are known once the network is built, and what the trial runs on."""
        logged = self.params
        with tracking_errors(self._uri), self.artifacts() as folder:
            self._say("params", {key: value for key, value in params.items() if key not in logged})
            self.set_tags(tags)
            # The command is what the user typed, not what started the worker that reports the rest.
            artifacts.write_environment(folder, {**environment, "command": command()})

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of epochs number `first` (from 1) and following that have not been logged."""
        # A worker that takes over from a dead one reports everything again, as a resumed trial may.
        known, time = self.said.epochs, now()
        points = [
            [key, value, time, epoch]
            for epoch, values in enumerate(metrics, first)
            if epoch not in known
            for key, value in values.items()
        ]
        if points:
            self._say("metrics", points)

    def final_metrics(self, metrics: Mapping[str, float], *, again: bool = False) -> None:
        """Log final metrics.

        Args:
            metrics: Values by name.
            again: Log also what has been logged before, as the counts of a resumed sweep.
        """
        # A trial that was killed here and goes on has logged some of them.
        new = {key: value for key, value in metrics.items() if again or key not in self._final}
        self._final.update(metrics)
        if new:
            self._say("metrics", [[key, value, now(), 0] for key, value in new.items()])

    def compared(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log what a sweep's comparison says of one of its trials, which has ended, as a metric of that."""
        self._say("metrics", [[key, value, now(), 0] for key, value in metrics.items()], run_id)

    def summary(self, summary: Summary, verdicts: str = "", view: str = "") -> None:
        """Log tables and figures, and describe the run by what a start prints first.

        Args:
            summary: The tables and figures.
            verdicts: What the trials say of the claims, in words.
            view: The view of its experiment that shows trials like its own, which the description links to.
        """
        with self.artifacts():
            for name, table in summary.all_tables().items():
                self.table(name, table)
            for name, figure in summary.figures.items():
                self.figure(name, figure)
        self.describe(self._description(summary, verdicts, view))

    def describe(self, markdown: str) -> None:
        """Let MLflow's UI show a text on the run's page; whole lines of it, where it is too long for a tag."""
        if len(markdown) > _TAG_CHARACTERS:
            markdown = markdown[:_TAG_CHARACTERS].rpartition("\n")[0]
        self.set_tags({"mlflow.note.content": markdown})

    def _description(self, summary: Summary, verdicts: str, view: str) -> str:
        """Return the sentence, the verdicts, the table, and the first figure as MLflow's UI serves it, in Markdown."""
        name, table = next(iter(summary.shown_tables().items()))
        columns = [column for column in summary.columns.get(name, table.columns) if column in table]
        shown = tables.markdown(table[columns].dropna(axis="columns", how="all"))
        figure = next(iter(summary.figures), "")
        picture = f"![{figure}](get-artifact?path=plots/{figure}.png&run_uuid={self.id})" if figure else ""
        # First what is read without a click: the UI folds all but some lines.
        said = f"{summary.sentences.get(name, '')} {f'Claims: {verdicts}.' if verdicts else ''}"
        address = f"#/experiments/{self.experiment_id}/runs?viewStateShareKey={view}&{FOR_TRAINING}"
        link = f"[Its trials as a table]({address})" if view else ""
        around = [said, link, picture]
        room = _TAG_CHARACTERS - sum(map(len, around))
        parts = [said, link, shown if len(shown) <= room else f"The table is tables/{name}.md.", picture]
        return "\n\n".join(part.strip() for part in parts if part)

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Log one table as tables/NAME.csv, and where it is not too long to read as .md and .tex."""
        with self.artifacts() as folder:
            artifacts.write_table(folder, name, table)

    def figure(self, name: str, figure: matplotlib.figure.Figure) -> None:
        """Log one figure as plots/NAME.png."""
        with self.artifacts() as folder:
            artifacts.write_figure(folder, name, figure)

    def drawing(self, name: str, figure: matplotlib.figure.Figure) -> None:
        """Log one figure as plots/NAME.svg, its text as text; equal figures give equal bytes."""
        with self.artifacts() as folder:
            artifacts.write_drawing(folder, name, figure)

    def files(self, folder: Path) -> None:
        """Log the files of a folder as they lie in it."""
        with self.artifacts() as own:
            shutil.copytree(folder, own, dirs_exist_ok=True)

    def model(self, saved: SavedModel) -> None:
        """Log a trained Keras model with its input example."""
        with artifact_failures(self.id):
            folder = Path(tempfile.mkdtemp(prefix="dlperf-"))
            artifacts.write_model(folder, saved)
            self._say_files("model", folder)

    @contextlib.contextmanager
    def artifacts(self) -> Iterator[Path]:
        """Log the files that the block writes to a folder, as they lie in it; a block within it writes to the same.

        Raises:
            EnvironmentMissing: If they cannot be written.
        """
        if self._folder:
            yield self._folder
            return
        with artifact_failures(self.id):
            self._folder = folder = Path(tempfile.mkdtemp(prefix="dlperf-"))
            try:
                yield folder
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            finally:
                self._folder = None
            self._say_files("files", folder)

    def _say_files(self, kind: str, folder: Path) -> None:
        self._say(kind, {"folder": self._journal.take_files(folder) if self._journal else str(folder)})

    def _say(self, kind: str, content: Any, run_id: str = "") -> None:
        if self._journal and self._sender:
            self._sender.say(self._journal, kind, content, run_id)
        else:
            deliver(self._client, [Entry(kind, content, run_id or self.id)], Path())
            if kind in FOLDERS:
                shutil.rmtree(content["folder"], ignore_errors=True)
        if self._told and not run_id:
            self._told.add(kind, content)

    def _histories(self) -> dict[str, dict[int, float]]:
        """Return the values of the epoch metrics that the server has, by step."""
        names = [name for name in EPOCH_METRICS if name in self.logged_metrics]
        return {name: {m.step: m.value for m in self._client.get_metric_history(self.id, name)} for name in names}


def still_run(run_id: str) -> BadInput:
    """Return the error that another process runs a run."""
    return BadInput("MLFLOW_RUN_ID", run_id, "is still being run by another process; end that first")
