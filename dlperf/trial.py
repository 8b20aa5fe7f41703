"""What a problem is, what a trial gets and gives, and how a stored trial reads back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from dlperf import environment
from dlperf.clock import Clock
from dlperf.parameters import Parameters, declared_defaults, defining

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class DataUsed:
    """The data set of a trial, as the tracking store shows it.

    Attributes:
        name: Its name.
        digest: Hash of its content.
        source: Where it was read from, for people.
        splits: Examples per split ("train", "validation", "test").
    """

    name: str
    digest: str
    source: str
    splits: Mapping[str, int]


class Report(Protocol):
    """What a running trial tells: the tracking layer logs it, a test may just collect it."""

    def data(self, used: DataUsed) -> None:
        """Tell the data set, before training starts."""

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Tell parameters that follow from the built network (`num_params`), tags, and what the trial runs on."""

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Tell the metrics of epochs number `first` (from 1) and following; some may have been told already."""


@dataclass
class Context:
    """What a trial is given to run in.

    Attributes:
        name: The run's name, for the progress bar.
        report: Listens to the trial.
        clock: Its time accounts.
        state_file: Where its state is kept between epochs; None keeps none.
        show_progress: Draw a progress bar or epoch lines on the terminal.
    """

    name: str
    report: Report
    clock: Clock = field(default_factory=Clock)
    state_file: Path | None = None
    show_progress: bool = False

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Report parameters and tags that are known once the network is built, and what the trial runs on.

        A GPU is seen only once TensorFlow is loaded, and it is the process of the trial that sees it.
        """
        with self.clock.account("tracking"):
            on = {"dlperf.hardware": environment.hardware(), "dlperf.software": environment.software()}
            self.report.facts(params, {**tags, **on}, environment.describe())


@dataclass(frozen=True)
class SavedModel:
    """A trained Keras model for the store, with an example of its input, float32 (batch, ...)."""

    model: Any
    input_example: Any


@dataclass
class TrialResult:
    """What a trial gives at its end.

    Attributes:
        metrics: Final metrics by name.
        tags: Further tags by name.
        figures: Figures that show the trial itself, by file name without ending; comparisons are `summarize`'s.
        tables: Tables of the trial itself, likewise.
        model: The trained model where it is to be kept.
    """

    metrics: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)
    figures: dict[str, matplotlib.figure.Figure] = field(default_factory=dict)
    model: SavedModel | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTrial(Generic[P]):
    """A finished trial as the tracking store has it.

    Attributes:
        run_id: Its run.
        parameters: Typed parameters.
        params: All logged parameters as text, those that follow from the built network included.
        metrics: Final metrics by name.
        history: Epoch metrics by name, one value per epoch in order; read when they are asked for.
        tags: Tags by name.
        started: When its run started, in milliseconds since 1970.
    """

    run_id: str
    parameters: P
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Mapping[str, Sequence[float]]
    tags: Mapping[str, str]
    started: int = 0


@dataclass
class Summary:
    """What `summarize` makes of trials.

    Attributes:
        tables: Data frames of final metrics, by file name without ending; the first that is shown is the run's
            description.
        figures: Figures by file name without ending, drawn when they are asked for.
        curve_tables: Further data frames, which read the curves of epochs, made when they are asked for; one without
            rows says nothing and is left out.
        shown: The tables that the terminal shows; the first one unless said otherwise.
        trial_metrics: What the comparison says of single trials, by run: metrics by name.
    """

    tables: dict[str, pd.DataFrame]
    figures: Mapping[str, matplotlib.figure.Figure]
    curve_tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    trial_metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def all_tables(self, *, curves: bool = True) -> dict[str, pd.DataFrame]:
        """Return the tables that have rows, those that read curves included unless told otherwise."""
        found = {**self.tables, **(self.curve_tables if curves else {})}
        return {name: table for name, table in found.items() if len(table)}

    def shown_tables(self, *, curves: bool = True) -> dict[str, pd.DataFrame]:
        """Return those of them that are for the terminal."""
        names = self.shown or tuple(self.tables)[:1]
        wanted = {name: self.curve_tables[name] for name in names if curves and name in self.curve_tables}
        found = {**wanted, **{name: self.tables[name] for name in names if name in self.tables}}
        return {name: found[name] for name in names if name in found and len(found[name])}


@dataclass(frozen=True)
class Problem(Generic[P]):
    """One problem of the project.

    Attributes:
        name: As on the command line.
        summary: One line for the help.
        parameters: Their declarations.
        varying: The parameters that name a trial (`cutout m=4 random_seed=0`).
        compared: The metrics that a comparison shows.
        required: The metrics without which a stored run is no result of the problem.
        curves: The metrics of epochs that its figures, and the audit of early stopping, read.
        varying_rarely: Parameters that name it too where they differ from their default.
        grouped_by: What a comparison takes means by; what the problem varies, random seeds left out, unless given.
        monitor: The metric of epochs that early stopping goes by; "" where there is none.
        check: Verifies before any run exists that trials can be run: the data is there and well formed. Raises BadInput
            or EnvironmentMissing.
        data_digest: Hash of the data a trial uses.
        data_drawn: The data follow from the random seed, and their hash with it.
        run_trial: Runs one trial.
        summarize: Tables and figures of finished trials; a pure function of what is stored.
        work: Estimated scalar multiplications a trial takes, for `dry_run`.
        demo: Parameters of the reduced start in the demo, as text.
        measure: What `run_trial` does, yielding where other trials of a sweep may have a turn: a sweep of measurements
            that are compared takes turns in this process.
        follows: Whether this is a host whose trials another one logs.
        follow: Takes part in them.
        next_trials: Of a sweep: the trials that can be run by now, given those that were asked for and those that have
            finished so far; called until it names no new one.
    """

    name: str
    summary: str
    parameters: type[P]
    varying: tuple[str, ...]
    compared: tuple[str, ...]
    required: tuple[str, ...]
    curves: tuple[str, ...]
    check: Callable[[Sequence[P]], None]
    data_digest: Callable[[P], str]
    run_trial: Callable[[P, Context], TrialResult]
    summarize: Callable[[Sequence[StoredTrial[P]]], Summary]
    work: Callable[[P], float]
    demo: Mapping[str, str]
    varying_rarely: tuple[str, ...] = ()
    data_drawn: bool = False
    grouped_by: tuple[str, ...] = ()
    monitor: str = ""
    measure: Callable[[P, Context], Generator[None, None, TrialResult]] | None = None
    follows: Callable[[Sequence[P]], bool] = lambda trials: False
    follow: Callable[[Sequence[P]], None] = lambda trials: None
    next_trials: Callable[[Sequence[P], Sequence[StoredTrial[P]]], Sequence[P]] = lambda asked, finished: asked

    def trial_name(self, parameters: P) -> str:
        """Return the run name of a trial."""
        values, defaults = defining(parameters), declared_defaults(self.parameters)
        rarely = [name for name in self.varying_rarely if values[name] != defaults[name]]
        return " ".join([self.name, *(f"{name}={values[name]}" for name in (*rarely, *self.varying))])

    def trial_key(self, parameters: P) -> str:
        """Return the hash of all that defines a trial: problem, defining parameters, data."""
        identity = {"problem": self.name, "data": self.data_digest(parameters), **defining(parameters)}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Comparison:
    """The entry point `compare`: tables, verdicts and a report of stored trials.

    Attributes:
        name: As on the command line.
        summary: One line for the help.
        parameters: Their declarations.
    """

    name: str
    summary: str
    parameters: type[Parameters]


@dataclass(frozen=True)
class Demo:
    """The entry point `main`: the reduced start of every problem, below one run.

    Attributes:
        name: As on the command line.
        summary: One line for the help.
        parameters: Their declarations.
        problems: The problems it starts, by name, in order.
    """

    name: str
    summary: str
    parameters: type[Parameters]
    problems: tuple[str, ...]
