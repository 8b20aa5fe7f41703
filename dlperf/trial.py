"""The life of one trial: what it runs in, what it reports and gives, and how it reads back from the store."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol

from dlperf import environment
from dlperf.clock import Clock
from dlperf.errors import TrialFailed
from dlperf.parameters import P, defining

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd


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
    """What a running trial reports: the tracking layer logs it, a test may just collect it."""

    def data(self, used: DataUsed) -> None:
        """Report the data set, before training starts."""

    def facts(self, params: Mapping[str, str], tags: Mapping[str, str], environment: Mapping[str, Any]) -> None:
        """Report parameters that follow from the built network (`num_params`), tags, and what the trial runs on."""

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Report the metrics of epochs number `first` (from 1) and following; some may have been reported already."""


@dataclass
class Context:
    """A trial's surroundings: its report, clock and state; reporting is booked as tracking time.

    Attributes:
        name: The run's name, for the progress bar.
        report: Listens to the trial.
        clock: Its time accounts.
        state_file: Where its state is kept between epochs; None keeps none.
        show_progress: Draw a progress bar or epoch lines on the terminal.
        curve_follows_from: By name, what has to be equal for a state to be gone on with to the same bits.
    """

    name: str
    report: Report
    clock: Clock = field(default_factory=Clock)
    state_file: Path | None = None
    show_progress: bool = False
    curve_follows_from: Mapping[str, Any] = field(default_factory=dict)
    _state_epoch: int = field(default=0, init=False)
    _state_reason: str = field(default="", init=False)

    @property
    def state_follows_from(self) -> dict[str, Any]:
        """What has to be equal for a state to be gone on with, the GPUs that TensorFlow sees by now included."""
        return {**self.curve_follows_from, "gpus": environment.gpus_as_set()}

    def state_written(self, epoch: int) -> None:
        """Note that the trial's state is on disk as after `epoch`."""
        self._state_epoch = epoch
        if self._state_reason:
            self._state_reason = ""
            self.facts({}, {"dlperf.state": f"written again after epoch {epoch}"})

    def check_state(self, made_with: Mapping[str, Any]) -> None:
        """Refuse a state that was made with something else than this start has, and that would bend the curve.

        Args:
            made_with: What `state_follows_from` was when the state was written; empty of a state of version 0.1.0.

        Raises:
            TrialFailed: If something differs.
        """
        now = json.loads(json.dumps(self.state_follows_from))
        for name, before in made_with.items():
            if name in now and now[name] != before:
                raise TrialFailed(
                    f"the state in {self.state_file} was made with {name}={before}, and here {name}={now[name]} would "
                    "give another curve: go on where it was made, or delete it to train from the start"
                )

    def state_refused(self, reason: str) -> None:
        """Tell once that the state cannot be written, and from where the run could be resumed: training goes on."""
        if self._state_reason:
            return
        self._state_reason = reason
        whence = f"after epoch {self._state_epoch}" if self._state_epoch else "at the start"
        said = f"cannot be written ({reason}): a resumed run would go on {whence}"
        print(f"dlperf {self.name}: the state in {self.state_file} {said}", file=sys.stderr)
        self.facts({}, {"dlperf.state": said})

    def data(self, used: DataUsed) -> None:
        """Report the data set, before training starts."""
        with self.clock.account("tracking"):
            self.report.data(used)

    def epochs(self, first: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Report the metrics of epochs number `first` (from 1) and following."""
        with self.clock.account("tracking"):
            self.report.epochs(first, metrics)

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
        drawings: Figures that are kept as SVG, text as text, likewise.
        tables: Tables of the trial itself, likewise.
        columns: The columns of a table that the terminal shows, by table; all unless given.
        sentences: What a table says, by table.
        model: The trained model where it is to be kept.
    """

    metrics: dict[str, float]
    tags: dict[str, str] = field(default_factory=dict)
    figures: dict[str, matplotlib.figure.Figure] = field(default_factory=dict)
    drawings: dict[str, matplotlib.figure.Figure] = field(default_factory=dict)
    model: SavedModel | None = None
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rehearsed:
    """What a trial takes, as a few of its steps let expect.

    Attributes:
        start_seconds: Until the first step: data, network, compilation.
        epoch_seconds: Of an epoch with its evaluations, or of a round of measurements.
        test_seconds: Of what comes at the end: the evaluation on the test set, or the last measurements.
        peak_memory_mb: Peak of the resident memory of its processes; None where it is unknown.
        waiting_memory_mb: Of that, what it keeps while other trials of its sweep have their turns.
    """

    start_seconds: float
    epoch_seconds: float
    test_seconds: float
    peak_memory_mb: float | None
    waiting_memory_mb: float = 0.0


@dataclass(frozen=True)
class StoredTrial(Generic[P]):
    """A finished trial as the tracking store has it.

    Attributes:
        run_id: Its run.
        parameters: Typed parameters.
        logged_params: All logged parameters as text, those that follow from the built network included.
        metrics: Final metrics by name.
        history: Epoch metrics by name, one value per epoch in order; read when they are asked for.
        tags: Tags by name.
        started: When its run started, in milliseconds since 1970.
    """

    run_id: str
    parameters: P
    logged_params: Mapping[str, str]
    metrics: Mapping[str, float]
    history: Mapping[str, Sequence[float]]
    tags: Mapping[str, str]
    started: int = 0

    @functools.cached_property
    def kind(self) -> tuple[tuple[str, str], ...]:
        """The parameters that define what it does as names and texts, but for its random seed."""
        left_out = {"random_seed", *self.parameters.without_effect()}
        return tuple((name, value) for name, value in defining(self.parameters).items() if name not in left_out)
