"""What a problem is: its parameters, its hooks, and the tables and figures that its finished trials give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dlperf.declaration import parameter
from dlperf.parameters import P, Parameters, declared_defaults, defining, identity
from dlperf.processor import instruction_set
from dlperf.trial import Context, Rehearsed, StoredTrial, TrialResult

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

T = TypeVar("T")


class TrackedParameters(Parameters):
    """Parameters of everything that logs runs."""

    finish_seconds: float = parameter(
        60.0,
        ge=0,
        le=86_400,
        unit="seconds",
        operational=True,
        help="the longest wait for a tracking server that does not answer, at the end, and for the run of a trial",
    )
    wide: bool = parameter(
        False, operational=True, help="print all columns of tables, not those alone that answer a question and fit"
    )
    open: bool = parameter(
        False, operational=True, help="open the page that ends a sweep, or the demo, in the browser of this desktop"
    )


class Deferred(Mapping[str, T]):
    """A mapping whose values are made when they are first asked for: what nobody asks for costs nothing."""

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        """Take the functions that make the values."""
        self._makers = dict(makers)
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """Make the value, once."""
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._makers)


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
        columns: The columns of a table that answer its question, by table; all unless given.
        sentences: What a table says, by table, made when it is asked for: its numbers in words, and no comparative that
            repetitions do not carry.
        trial_metrics: What the comparison says of single trials, by run: metrics by name.
    """

    tables: dict[str, pd.DataFrame]
    figures: Mapping[str, matplotlib.figure.Figure]
    curve_tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)
    trial_metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def all_tables(self, *, curves: bool = True) -> dict[str, pd.DataFrame]:
        """Return the tables that have rows; with `curves`, those that read curves too."""
        tables = {**self.tables, **(self.curve_tables if curves else {})}
        return {name: table for name, table in tables.items() if len(table)}

    def shown_tables(self, *, curves: bool = True) -> dict[str, pd.DataFrame]:
        """Return those of them that are for the terminal."""
        names = self.shown or tuple(self.tables)[:1]
        tables = {name: self.curve_tables[name] for name in names if curves and name in self.curve_tables}
        tables |= {name: self.tables[name] for name in names if name in self.tables}
        return {name: tables[name] for name in names if name in tables and len(tables[name])}


@dataclass(frozen=True)
class Answer:
    """What trials say to a question.

    Attributes:
        sentence: The answer; it has no number that its table has not, and no comparative below significance.
        table: The numbers.
        command: What would have to be run to settle it; "" where it is settled.
        values: The fewest independent values that a comparison of it rests on: where trials of several settings answer,
            those with the most decide. 0 where it compares nothing.
    """

    sentence: str
    table: pd.DataFrame | None = None
    command: str = ""
    values: int = 0


@dataclass(frozen=True)
class Question:
    """A question of the assignment.

    Attributes:
        name: PROBLEM/NAME; the explanation of that name stands below the answer.
        asks: The question.
        answer: What trials of one setting, or none, say to it; None where none of them is about it.
        figures: Names of the summary's figures that show it.
        claims: Patterns of the names of claims about it, as shells have them.
    """

    name: str
    asks: str
    answer: Callable[[Sequence[StoredTrial[Any]]], Answer | None]
    figures: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Distributed(Generic[P]):
    """What a problem has besides, if its trials run on the workers of several hosts.

    Attributes:
        measure: What `run_trial` does, yielding where other trials of a sweep may have a turn: a sweep of measurements
            that are compared takes turns in this process.
        logged_elsewhere: Whether this is a host whose trials another one logs.
        take_part: Takes part in them.
        rounds: How many rounds a trial has.
        rehearse: Times a trial's steps for so many seconds, for `dry_run`.
    """

    measure: Callable[[P, Context], Generator[None, None, TrialResult]]
    logged_elsewhere: Callable[[Sequence[P]], bool]
    take_part: Callable[[Sequence[P]], None]
    rounds: Callable[[P], int]
    rehearse: Callable[[P, float], Rehearsed]


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
        grouped_by: What a comparison takes means by; by default what the problem varies, random seeds left out.
        monitor: The metric of epochs that early stopping goes by; "" where there is none.
        verify: Verifies before any run exists that trials can be run: the data is there and well formed. Raises
            BadInput or EnvironmentMissing.
        data_digest: Hash of the data a trial uses.
        model_digest: Hash of the user's own model, which stands for its name in a trial's identity; "" where there is
            none.
        data_drawn: Whether a trial's data follow from the random seed, and their hash with it.
        run_trial: Runs one trial.
        summarize: Tables and figures of finished trials; a pure function of what is stored.
        work: Estimated scalar multiplications a trial takes, for `dry_run`; of a user's own model their ratio alone.
        prepare: Puts network and data of a trial together, as `training.loop.Prepared`, so that `dry_run` can time a
            few steps; None where trials train nothing, or are `distributed`.
        demo: Parameters of the reduced start in the demo, as text.
        example: A command line, for the end of the help.
        distributed: How its trials run over several hosts and in turns; None where they do not.
        questions: The assignment's questions, with what answers them from trials.
        mathematics: Number of what the curve of a trial follows from beside its parameters; raised when the same
            parameters give another curve than before, so that no state is gone on with in another way.
        next_trials: Of a sweep: from the trials asked for and those finished so far, the trials that can be run by now;
            called until it names no new one.
    """

    name: str
    summary: str
    parameters: type[P]
    varying: tuple[str, ...]
    compared: tuple[str, ...]
    required: tuple[str, ...]
    curves: tuple[str, ...]
    verify: Callable[[Sequence[P]], None]
    data_digest: Callable[[P], str]
    run_trial: Callable[[P, Context], TrialResult]
    summarize: Callable[[Sequence[StoredTrial[P]]], Summary]
    work: Callable[[P], float]
    demo: Mapping[str, str]
    example: str
    varying_rarely: tuple[str, ...] = ()
    prepare: Callable[[P], Any] | None = None
    model_digest: Callable[[P], str] = lambda parameters: ""
    data_drawn: Callable[[P], bool] = lambda parameters: False
    grouped_by: tuple[str, ...] = ()
    monitor: str = ""
    distributed: Distributed[P] | None = None
    questions: Callable[[], Sequence[Question]] = tuple
    mathematics: int = 1
    next_trials: Callable[[Sequence[P], Sequence[StoredTrial[P]]], Sequence[P]] = lambda asked, finished: asked

    def trial_name(self, parameters: P) -> str:
        """Return the run name of a trial."""
        values, defaults = defining(parameters), declared_defaults(self.parameters)
        rarely = [name for name in self.varying_rarely if values[name] != defaults[name]]
        return " ".join([self.name, *(f"{name}={values[name]}" for name in (*rarely, *self.varying))])

    def trial_key(self, parameters: P) -> str:
        """Return the hash of all that defines a trial: problem, defining parameters, data."""
        everything = {"problem": self.name, **self._identity(parameters)}
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]

    def curve_follows_from(self, parameters: P) -> dict[str, Any]:
        """Return, by name, what has to be equal for a trial's state to be gone on with to the same bits."""
        here = {"mathematics": self.mathematics, "instruction set": instruction_set()}
        return {**here, **self._identity(parameters)}

    def _identity(self, parameters: P) -> dict[str, Any]:
        model = {"model": digest} if (digest := self.model_digest(parameters)) else {}
        return {"data": self.data_digest(parameters), **identity(parameters), **model}


@dataclass(frozen=True)
class Comparison:
    """The entry point `compare`: tables, verdicts and a report of stored trials.

    Attributes:
        name: As on the command line.
        summary: One line for the help.
        parameters: Their declarations.
        example: A command line, for the end of the help.
    """

    name: str
    summary: str
    parameters: type[Parameters]
    example: str


@dataclass(frozen=True)
class Demo:
    """The entry point `main`: the reduced start of every problem, below one run.

    Attributes:
        name: As on the command line.
        summary: One line for the help.
        parameters: Their declarations.
        example: A command line, for the end of the help.
        problems: The problems it starts, by name, in order.
    """

    name: str
    summary: str
    parameters: type[Parameters]
    example: str
    problems: tuple[str, ...]
