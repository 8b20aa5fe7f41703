"""The entry point `compare`: what stored trials say, without training anything."""

from __future__ import annotations

from typing import Literal

from dlperf.declaration import parameter
from dlperf.entry_points import PROBLEMS, ProblemName
from dlperf.parameters import Parameters
from dlperf.problem import Comparison


class CompareParameters(Parameters):
    """Parameters of the comparison."""

    problem: ProblemName = parameter(PROBLEMS, grid=True, help="whose trials are compared")
    group_by: str = parameter(
        "",
        help="parameters or logged facts, with commas between, over whose values means are taken; what the "
        "problem varies, random_seed left out, unless given (approximators: num_layers)",
    )
    metric: str = parameter(
        "", help="metrics, with commas between, of which means are taken; the problem's own unless given"
    )
    repeats: Literal["newest", "all"] = parameter(
        "newest", help="of several runs of the same trial the newest, or all of them"
    )
    filter: str = parameter("", help="further condition on runs in MLflow's language, as params.dataset = 'cifar10'")
    curves: bool = parameter(
        True, help="read the epochs' curves, which figures, times to a common level and the audit of stopping need"
    )
    patience: int = parameter(
        (5, 10, 20, 40), ge=1, le=100_000, unit="epochs", grid=True, help="patience that the audit of stopping replays"
    )
    wide: bool = parameter(False, help="print all columns of tables, not those alone that answer a question and fit")
    open: bool = parameter(False, help="open the page in the browser of this desktop")
    output: str = parameter("", help="folder for tables, figures and report, besides the run's artifacts")
    tracking_uri: str = parameter("", help="tracking server to query; MLFLOW_TRACKING_URI's unless given")
    archive: str = parameter(
        "",
        help="archives whose trials are compared beside the store's, with commas between: reference, which "
        "comes with dlperf, or folders that `dlperf archive` wrote",
    )
    upgrade: bool = parameter(
        False,
        help="let MLflow upgrade the schema of an older MLflow's store; otherwise a SQLite file is read from "
        "a migrated copy, and a server's database is refused",
    )


COMPARISON = Comparison(
    name="compare",
    summary="Summary tables of stored trials, published figures beside ours with verdicts, and a report.",
    parameters=CompareParameters,
    example="dlperf compare --problem cutout --group_by m --output tables",
)
