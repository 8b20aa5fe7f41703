"""Problem 3: parameters, activations and multiplications of CNN architectures, counted three ways.

    mlflow run . -e architectures                    # six subjects, twelve networks: 31 to 46 seconds on 2 cores
    mlflow run . -e architectures -P subject=vgg19

Expect all three counts to agree to the last digit: AlexNet as in the paper has 60,965,224 parameters and 724,406,816
multiplications, VGG19 143,667,240 and 19,632,062,464 (results/architectures).

Sources: the notebook's Problem 3 and its assignment; Krizhevsky et al. 2012 (AlexNet); Simonyan and Zisserman 2014
(VGG19); Szegedy et al. 2014 (Inception). Closed forms stand in `dlperf.accounting` and need no TensorFlow; they are
compared with the same network built in Keras and with the program handed to XLA.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from dlperf.models.reference import kind
from dlperf.problem import Problem, Question, Summary
from dlperf.problems.architectures.parameters import SUBJECTS, TOTALS, ArchitecturesParameters
from dlperf.trial import Context, StoredTrial, TrialResult


def verify(trials: Sequence[ArchitecturesParameters]) -> None:
    """Verify the Keras models before a run exists.

    Raises:
        BadInput: If keras.applications has no such model, or a file cannot be read as one.
    """
    named = [trial for trial in trials if trial.keras_model]
    if named:
        for trial in named:
            if trial.keras_model and trial.keras_model.file:
                kind(trial.keras_model)
        from dlperf.problems.architectures.subjects import check_keras_model

        for trial in named:
            check_keras_model(trial)


def data_digest(parameters: ArchitecturesParameters) -> str:
    """Return the hash of the file that is counted and of the one with its classes, "" for a subject known by name."""
    file = parameters.keras_model.file if parameters.keras_model else None
    custom = Path(parameters.custom).expanduser()
    if not file or not file.is_file():
        return ""
    contents = [file.read_bytes()] + ([custom.read_bytes()] if parameters.custom and custom.is_file() else [])
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def run_trial(parameters: ArchitecturesParameters, context: Context) -> TrialResult:
    """Count one subject.

    Raises:
        BadInput: If a Keras model cannot be built for the input shape.
    """
    with context.clock.account("setup"):
        from dlperf.problems.architectures import sentences
        from dlperf.problems.architectures.figures import layer_figure, network_figure
        from dlperf.problems.architectures.subjects import counted
        from dlperf.problems.architectures.tables import three_ways, together
        from dlperf.tables import LAYER_COLUMNS, layer_frame
    context.facts({}, {})
    accounts = counted(parameters, context.clock)
    metrics: dict[str, float] = {}
    for account in accounts:
        metrics |= {f"{account.name}/{name}": value for name, value in account.metrics().items()}
        for quantity in account.closed.at_least:
            layers = ", ".join(row.layer for row in account.closed.unknown(quantity))
            total = f"at least {getattr(account.closed, quantity):,} {quantity}"
            print(f"dlperf {context.name}: {total}: not known of {layers}", file=sys.stderr)
    main = accounts[-1]
    totals = {name: metrics[f"{main.name}/{name}"] for name in TOTALS}
    with context.clock.account("reporting"):
        verdict = together(three_ways(parameters.subject, metrics)["verdict"])
        tables = {f"layers_{account.name}": layer_frame(account.closed) for account in accounts}
        figures = {f"layers_{account.name}": layer_figure(account.closed) for account in accounts}
        drawings = {f"network_{account.name}": network_figure(account.built or account.closed) for account in accounts}
    tags = {"dlperf.verdict": verdict}
    if main.closed.at_least:
        tags["dlperf.at_least"] = ", ".join(main.closed.at_least)
    return TrialResult(
        {**metrics, **totals},
        tags,
        figures,
        drawings,
        tables=tables,
        columns=dict.fromkeys(tables, LAYER_COLUMNS),
        sentences={f"layers_{account.name}": sentences.of_layers(account.closed) for account in accounts},
    )


def summarize(trials: Sequence[StoredTrial[ArchitecturesParameters]]) -> Summary:
    """Lay out what was counted, the three ways side by side, with verdicts."""
    from dlperf.problems.architectures.tables import summary

    return summary(trials)


def questions() -> Sequence[Question]:
    """Return the assignment's questions, with what answers them."""
    from dlperf.problems.architectures import questions as asked

    return asked.questions()


PROBLEM = Problem(
    name="architectures",
    summary="Parameters, activations and multiplications of AlexNet, VGG19, Inception and any Keras model.",
    parameters=ArchitecturesParameters,
    varying=("subject",),
    compared=("num_params", "activations", "multiplications"),
    curves=(),
    required=TOTALS,
    verify=verify,
    data_digest=data_digest,
    run_trial=run_trial,
    summarize=summarize,
    questions=questions,
    work=lambda parameters: 0.0,
    demo={"subject": ",".join(SUBJECTS)},
    example="dlperf architectures --subject vgg19,keras:DenseNet121",
)
