"""The store that runs go to: the tracking server that MLflow's settings name, and an experiment of it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.tracking.context.registry import resolve_tags

from dlperf.errors import BadInput, EnvironmentMissing, OutOfMemory, one_line
from dlperf.folders import state_folder
from dlperf.interruption import signals_deferred
from dlperf.parameters import P
from dlperf.problem import Problem
from dlperf.tracking import query, schema, view
from dlperf.tracking.experiment import check_active, check_artifacts, experiment_of_environment, own_experiment
from dlperf.tracking.journal import JournalHeld, journals
from dlperf.tracking.owner import ended_for_memory, is_gone, this_process
from dlperf.tracking.run import PARENT, Run, still_run
from dlperf.tracking.run_source import pages, runs
from dlperf.tracking.sender import NO_USE_TO_WAIT, Sender
from dlperf.tracking.unsent import send_unsent
from dlperf.trial import StoredTrial

_KIND = "mlflow.experimentKind"
_PAUSE = 1.0


class Store:
    """The tracking server that MLflow's settings name, and the experiment runs go to.

    Attributes:
        uri: The server.
        client: Of it.
        sender: Sends what runs with a journal say.
        patience: Seconds in which a run that cannot be made is tried again.
    """

    def __init__(self, uri: str = "", *, entry_point: str = "") -> None:
        """Connect.

        Args:
            uri: The server; the one that MLflow's settings name where this is empty.
            entry_point: Whose experiment runs go to unless the environment names one; else MLflow's default one.

        Raises:
            EnvironmentMissing: If the server cannot be reached or refuses.
        """
        self.uri = uri or mlflow.get_tracking_uri()
        self.patience = 0.0
        schema.check(self.uri)
        self._experiment: Any = None
        self._own_experiment = own_experiment(entry_point) if entry_point else ""
        try:
            self.client = mlflow.MlflowClient(self.uri)
            self.client.search_experiments(max_results=1)
        except Exception as error:
            raise EnvironmentMissing(f"the tracking server {self.uri} cannot be used: {one_line(error)}") from error
        self.sender = Sender(self.client, self.uri)
        # What the image's command has to say of the store that it chose; once, and not by child processes too.
        if self.uri == os.environ.get("MLFLOW_TRACKING_URI") and (note := os.environ.pop("DLPERF_STORE_NOTE", "")):
            print(f"dlperf: {note}", file=sys.stderr, flush=True)

    @property
    def experiment_id(self) -> str:
        """The experiment runs go to: the environment's, until there is a run that is in one.

        Raises:
            BadInput: If the environment's name of it cannot be one.
            EnvironmentMissing: If it is not there, or was deleted.
        """
        return str(self._current_experiment().experiment_id)

    def work_in(self, experiment_id: str, named_by: str) -> None:
        """Let runs go to the experiment of a run that is there; `named_by` leads to it, in a message.

        Raises:
            EnvironmentMissing: If it was deleted.
        """
        # `mlflow run --run-id` names the experiment of its command line, which may be another one.
        self._experiment = self.client.get_experiment(experiment_id)
        check_active(self._experiment, named_by)

    def check_experiment(self) -> None:
        """Verify that runs can be made in the experiment, and keep their artifacts.

        Raises:
            BadInput: If the environment's name of it cannot be one.
            EnvironmentMissing: If it was deleted, or artifacts cannot be kept.
        """
        experiment = self._current_experiment()
        check_artifacts(experiment.artifact_location, f"the experiment {experiment.name}")

    def _current_experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = experiment_of_environment(self.client, self.uri, self._own_experiment)
        return self._experiment

    def _show_as_training(self) -> None:
        """Let the UI open the experiment with its pages for trainings; one of unknown kind it takes for GenAI."""
        self._offer(_KIND, "custom_model_development")

    def offer_view(self, problem: Problem[Any]) -> None:
        """Let the UI have a view of the problem's trials, unless the experiment has one: users may have changed it."""
        self._offer(view.tag(problem.name), view.view(problem))

    def _offer(self, tag: str, value: str) -> None:
        """Give the experiment a tag for the UI, where it has none.

        That it cannot be set is no reason not to run: another start may be setting it at this moment, which databases
        refuse. A server that takes nothing at all refuses the run as well, and that is told.
        """
        if tag not in self._current_experiment().tags:
            with contextlib.suppress(mlflow.MlflowException):
                self.client.set_experiment_tag(self.experiment_id, tag, value)
            with contextlib.suppress(mlflow.MlflowException):
                self._experiment = self.client.get_experiment(self.experiment_id)

    def adopted(self) -> Run | None:
        """Return the run that `mlflow run` made for this program (MLFLOW_RUN_ID), or None, and work in its experiment.

        Raises:
            EnvironmentMissing: If there is no such run, it was deleted, or its artifacts cannot be kept.
        """
        run_id = os.environ.get("MLFLOW_RUN_ID")
        if not run_id:
            return None
        try:
            run = self.client.get_run(run_id)
        except mlflow.MlflowException as error:
            raise EnvironmentMissing(f"MLFLOW_RUN_ID={run_id}: {one_line(error)}") from error
        self.work_in(run.info.experiment_id, f"MLFLOW_RUN_ID={run_id}")
        if run.info.lifecycle_stage != "active":
            restore = f"`mlflow runs restore --run-id {run_id}`"
            raise EnvironmentMissing(f"MLFLOW_RUN_ID={run_id}: this run was deleted: bring it back with {restore}")
        check_artifacts(run.info.artifact_uri, f"run {run_id}")
        self._show_as_training()
        return Run(self.client, self.uri, run)

    def create(self, name: str, parent: Run | None = None, made: Callable[[Run], None] = lambda run: None) -> Run:
        """Make a run; where the server does not answer, try again for `patience` seconds.

        Args:
            name: Its name.
            parent: The run above it.
            made: Takes note of it before a signal is answered.

        Returns:
            The run.

        Raises:
            BadInput: If the environment's name of an experiment cannot be one.
            EnvironmentMissing: If that experiment was deleted, or its artifacts cannot be kept.
        """
        if not parent:
            self.check_experiment()
        tags = {**resolve_tags(), "dlperf.process": this_process(), **({PARENT: parent.id} if parent else {})}
        if not parent:
            self._show_as_training()
        deadline, experiment_id = time.monotonic() + self.patience, self.experiment_id
        while True:
            try:
                with signals_deferred():
                    run = Run(self.client, self.uri, self.client.create_run(experiment_id, run_name=name, tags=tags))
                    made(run)
                    return run
            except mlflow.MlflowException as error:
                if time.monotonic() > deadline or error.error_code in NO_USE_TO_WAIT:
                    raise
                time.sleep(_PAUSE)

    def children(self, parent: Run, tag: str = "dlperf.trial_key") -> dict[str, Run]:
        """Return the runs below `parent` by the value of a tag; of several a finished one, else the newest."""
        children: dict[str, Run] = {}
        # Newest first.
        for run in self._search(f"tags.`{PARENT}` = '{parent.id}'"):
            key = run.data.tags.get(tag)
            if key and (key not in children or (not children[key].finished and run.info.status == "FINISHED")):
                children[key] = Run(self.client, self.uri, run)
        return children

    def end_stale_runs(self) -> list[Run]:
        """End the runs of this machine, in all experiments, that stand as RUNNING though their process is gone.

        Returns:
            Those whose process the kernel has killed because memory had run out.
        """
        for_memory = []
        stale = "attributes.status = 'RUNNING' and tags.`dlperf.process` LIKE '%'"
        # All of them before any is changed: what no longer matches would move those after it to earlier pages.
        for running in list(runs(self.client, stale)):
            run = Run(self.client, self.uri, running)
            if not is_gone(run.tags["dlperf.process"]):
                continue
            try:
                run = self.caught_up(run)
            except BadInput:  # another process sends it
                continue
            except EnvironmentMissing as error:  # it waits on, and is no reason not to start another
                print(f"dlperf: {error}", file=sys.stderr)
                continue
            if run.ended:
                continue
            if run.finished:
                run.end("FINISHED")
            elif ended_for_memory(run.tags):
                run.end("FAILED", OutOfMemory.FAILURE)
                for_memory.append(run)
            else:
                run.end("KILLED", "its process was killed")
        return for_memory

    def caught_up(self, run: Run, state_dir: str = "") -> Run:
        """Send what earlier programs said of a run, and of those below it, and could not send.

        Args:
            run: The run.
            state_dir: Where journals lie, if not where they were told to when it began.

        Returns:
            The run as it is then.

        Raises:
            BadInput: If another process has the run's journal open.
            EnvironmentMissing: If the server does not take what was said of the run itself.
        """
        sent = False
        for folder, header in journals(journal_folder(run, state_dir).parents[1]):
            if run.id not in (header.run_id, header.parent) or self.sender.has(header.run_id):
                continue
            try:
                send_unsent(self.client, folder)
            except JournalHeld as error:
                if header.run_id == run.id:
                    raise still_run(run.id) from error
            except EnvironmentMissing as error:
                if header.run_id == run.id:
                    raise
                print(f"dlperf: {error}", file=sys.stderr)
            else:
                sent = True
        return Run(self.client, self.uri, self.client.get_run(run.id)) if sent else run

    def read_trials(self, problem: Problem[P], run_ids: Sequence[str]) -> list[StoredTrial[P]]:
        """Read trials back."""
        return query.read_trials(self.client, problem, run_ids)

    def _search(self, filter_string: str) -> list[Any]:
        # All of them before any is changed: what no longer matches would move those after it to earlier pages.
        return list(pages(self.client.search_runs, [self.experiment_id], filter_string, max_results=1000))


def journal_folder(run: Run, state_dir: str = "") -> Path:
    """Return where a run's journal lies: below `state_dir`, or what its first start was given, or the default."""
    given = json.loads(run.tags.get("dlperf.given", "{}")).get("state_dir", "")
    return state_folder(state_dir or given) / run.id / "journal"
