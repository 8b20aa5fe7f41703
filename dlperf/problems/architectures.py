"""Problem 3: parameters, activations and multiplications of CNN architectures, each counted three ways.

Sources: the notebook's Problem 3 and its assignment; Krizhevsky et al. 2012 (AlexNet); Simonyan and Zisserman 2014
(VGG19); Szegedy et al. 2014 (Inception). Closed forms stand in `dlperf.accounting` and need no TensorFlow; they are
compared with the same network built in Keras and with the program that XLA is given to compile.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dlperf.accounting.inception import PRESETS, Module
from dlperf.accounting.receptive_field import receptive_field
from dlperf.declaration import parameter
from dlperf.deferred import Deferred
from dlperf.errors import BadInput
from dlperf.problems.engine_parameters import EngineParameters
from dlperf.trial import Context, Problem, StoredTrial, Summary, TrialResult

if TYPE_CHECKING:
    import pandas as pd

SUBJECTS = ("alexnet", "vgg19", "stacked_filters", "inception")
_KERAS = "keras:"
_DEFAULT_MODELS = ("ResNet50", "MobileNetV2")
# Quantities in the order of the table. Each is a metric ACCOUNT/QUANTITY, by closed form, and with the endings below.
_TOTALS = ("num_params", "activations", "multiplications")
_QUANTITIES = (
    *_TOTALS,
    *("receptive_field", "output_size", "output_depth", "params_per_channels_squared"),
    *("multiplications_ratio", "multiplications_saved"),
)
_WAYS = {"closed_form": "", "keras": "_keras", "measured": "_measured"}


class ArchitecturesParameters(EngineParameters):
    """Parameters of the architectures problem."""

    subject: str = parameter(
        (*SUBJECTS, *(_KERAS + name for name in _DEFAULT_MODELS)),
        grid=True,
        help=f"what is counted: {', '.join(SUBJECTS)}, keras:NAME of keras.applications, or keras:PATH.keras",
    )
    input_shape: str = parameter(
        "", help="input of a Keras model, as 224x224x3; needed where the model leaves sides of it open"
    )
    stack_layers: int = parameter(3, ge=1, le=64, help="N of stacked_filters: filters one behind the other")
    stack_filter: int = parameter(5, ge=1, le=63, unit="pixels", help="F of stacked_filters: side of each filter")
    stack_size: int = parameter(32, ge=1, le=1024, unit="pixels", help="side of the input of stacked_filters")
    stack_channels: int = parameter(64, ge=1, le=1024, help="C of stacked_filters: channels in and out")
    preset: Literal["assignment", "3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"] = parameter(
        "assignment", help="numbers of the Inception module: the assignment's, or those of one of GoogLeNet's modules"
    )
    module_size: int = parameter(follows="preset", ge=1, le=1024, unit="pixels", help="side of the module's input")
    module_channels: int = parameter(follows="preset", ge=1, le=8192, help="channels of the module's input")
    conv_1x1: int = parameter(follows="preset", ge=1, le=8192, help="filters of the 1 x 1 branch")
    reduce_3x3: int = parameter(follows="preset", ge=1, le=8192, help="1 x 1 filters before the 3 x 3 branch")
    conv_3x3: int = parameter(follows="preset", ge=1, le=8192, help="filters of the 3 x 3 branch")
    reduce_5x5: int = parameter(follows="preset", ge=1, le=8192, help="1 x 1 filters before the 5 x 5 branch")
    conv_5x5: int = parameter(follows="preset", ge=1, le=8192, help="filters of the 5 x 5 branch")
    pool_projection: int = parameter(follows="preset", ge=1, le=8192, help="1 x 1 filters after the pooling branch")
    dry_run: bool = parameter(False, operational=True, help="list the subjects, count nothing")

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Take the numbers of the preset."""
        module = PRESETS[given["preset"]]
        own = {name: getattr(module, name) for name in Module.__annotations__}
        return {**own, "module_size": own.pop("size"), "module_channels": own.pop("channels")}

    def check(self) -> None:
        """Refuse unknown subjects, and a stack that leaves nothing of its input.

        Raises:
            BadInput: Naming what is allowed.
        """
        if self.subject not in SUBJECTS and not self.keras_model:
            allowed = f"must be one of {', '.join(SUBJECTS)}, keras:NAME of keras.applications, or keras:PATH.keras"
            raise BadInput("subject", self.subject, allowed)
        if self.input_shape and not re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5})*", self.input_shape):
            raise BadInput("input_shape", self.input_shape, "must be sides joined by x, as 224x224x3")
        if self.input_shape and not self.keras_model:
            raise BadInput("input_shape", self.input_shape, f"goes with keras: subjects, not with {self.subject}")
        seen = receptive_field(self.stack_layers, self.stack_filter)
        if self.stack_size < seen:
            allowed = f"must be at least {seen}, which {self.stack_layers} filters of {self.stack_filter} pixels see"
            raise BadInput("stack_size", self.stack_size, allowed)

    @property
    def keras_model(self) -> str:
        """Name in keras.applications or path of a Keras model; "" for the subjects with closed forms of their own."""
        return self.subject.removeprefix(_KERAS) if self.subject.startswith(_KERAS) else ""

    @property
    def keras_file(self) -> Path | None:
        """Path of a saved Keras model, if that is the subject."""
        return Path(self.keras_model).expanduser() if self.keras_model.endswith(".keras") else None

    @property
    def sides(self) -> tuple[int, ...]:
        """`input_shape` as numbers; () where none was given."""
        return tuple(int(side) for side in self.input_shape.split("x")) if self.input_shape else ()

    @property
    def module(self) -> Module:
        """The Inception module."""
        shared = {name: getattr(self, name) for name in Module.__annotations__ if name not in ("size", "channels")}
        return Module(self.module_size, self.module_channels, **shared)


def check(trials: Sequence[ArchitecturesParameters]) -> None:
    """Verify before a run exists that Keras models are there.

    Raises:
        BadInput: If keras.applications has no such model, or a file cannot be read as one.
    """
    named = [trial for trial in trials if trial.keras_model]
    if named:
        from dlperf.problems.architecture_subjects import check_keras_model

        for trial in named:
            check_keras_model(trial)


def data_digest(parameters: ArchitecturesParameters) -> str:
    """Return the hash of the file that is counted, "" for what is known by name."""
    file = parameters.keras_file
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file and file.is_file() else ""


def run_trial(parameters: ArchitecturesParameters, context: Context) -> TrialResult:
    """Count one subject.

    Raises:
        BadInput: If a Keras model cannot be built for the input shape.
    """
    with context.clock.account("setup"):
        from dlperf.problems.architecture_figures import layer_figure
        from dlperf.problems.architecture_subjects import counted
        from dlperf.tables import layer_frame
    context.facts({}, {})
    accounts = counted(parameters, context.clock)
    metrics: dict[str, float] = {}
    for account in accounts:
        metrics |= {f"{account.name}/{name}": value for name, value in account.metrics().items()}
        for row in account.closed.not_counted:
            print(f"dlperf {context.name}: {row.layer} ({row.description}): without multiplications", file=sys.stderr)
    main = accounts[-1]
    totals = {name: metrics[f"{main.name}/{name}"] for name in _TOTALS}
    with context.clock.account("reporting"):
        verdict = _together(_three_ways(parameters.subject, metrics)["verdict"])
        tables = {f"layers_{account.name}": layer_frame(account.closed) for account in accounts}
        figures = {f"layers_{account.name}": layer_figure(account.closed) for account in accounts}
    return TrialResult({**metrics, **totals}, {"dlperf.verdict": verdict}, figures, tables=tables)


def summarize(trials: Sequence[StoredTrial[ArchitecturesParameters]]) -> Summary:
    """Lay out what was counted, the three ways beside each other, with verdicts."""
    import pandas as pd

    from dlperf.problems.architecture_figures import subject_figure

    ways = pd.concat([_three_ways(trial.parameters.subject, trial.metrics) for trial in trials], ignore_index=True)
    rows = []
    for (subject, account), group in ways.groupby(["subject", "account"], sort=False):
        values = dict(zip(group["quantity"], group["closed_form"], strict=True))
        if not set(_TOTALS) <= values.keys():  # a run that was made by hand
            continue
        totals = {quantity: int(values[quantity]) for quantity in _TOTALS}
        rows.append({"subject": subject, "account": account, **totals, "three_ways": _together(group["verdict"])})
    table = pd.DataFrame(rows, columns=["subject", "account", *_TOTALS, "three_ways"])
    further = ways[~ways["quantity"].isin(_TOTALS)].dropna(axis="columns", how="all")
    tables = {"architectures": table} | ({"further_quantities": further} if len(further) else {})
    return Summary(
        {**tables, "three_ways": ways}, Deferred({"architectures": lambda: subject_figure(table)}), shown=tuple(tables)
    )


def _three_ways(subject: str, metrics: Mapping[str, float]) -> pd.DataFrame:
    """Return a row for each quantity of each account, and whether its ways agree; a pure function of the metrics."""
    import pandas as pd

    accounts = list(dict.fromkeys(name.partition("/")[0] for name in metrics if "/" in name))
    rows = []
    for account in sorted(accounts, key=_account_order):
        for quantity in _QUANTITIES:
            values = {way: metrics.get(f"{account}/{quantity}{ending}") for way, ending in _WAYS.items()}
            if values["closed_form"] is None:
                continue
            left_out = metrics.get(f"{account}/layers_not_counted", 0) if quantity == "multiplications" else 0
            row = {"subject": subject, "account": account, "quantity": quantity, **values}
            rows.append({**row, "verdict": _verdict(quantity, values, bool(left_out))})
    return pd.DataFrame(rows, columns=["subject", "account", "quantity", *_WAYS, "verdict"])


def _verdict(quantity: str, values: Mapping[str, float | None], incomplete: bool) -> str:
    """Compare the ways: all that are there must be equal (ratios: to a part in 10^12)."""
    if incomplete:
        return "incomplete"
    known = [value for value in values.values() if value is not None]
    if any(
        not math.isclose(known[0], value, rel_tol=1e-12 if "multiplications_" in quantity else 0) for value in known
    ):
        return "differs"
    if quantity in ("num_params", "multiplications") and values["measured"] is None:
        return "not measured"
    return "agrees" if len(known) > 1 else "-"


def _together(verdicts: Iterable[str]) -> str:
    """Return the worst of several verdicts."""
    found = set(verdicts)
    return next((each for each in ("differs", "incomplete", "not measured") if each in found), "agrees")


def _account_order(account: str) -> int:
    order = ("notebook", "corrected", "paper", "without_biases", "with_biases", "stack", "single", "naive", "reduced",
             "googlenet_3b")  # fmt: skip
    return order.index(account) if account in order else len(order)


PROBLEM = Problem(
    name="architectures",
    summary="Parameters, activations and multiplications of AlexNet, VGG19, Inception and any Keras model.",
    parameters=ArchitecturesParameters,
    varying=("subject",),
    compared=("num_params", "activations", "multiplications"),
    curves=(),
    required=_TOTALS,
    check=check,
    data_digest=data_digest,
    run_trial=run_trial,
    summarize=summarize,
    work=lambda parameters: 0.0,
    demo={"subject": ",".join(SUBJECTS)},
)
