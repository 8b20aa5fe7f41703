"""The questions of problem 3: closed forms answer them, and trials say whether Keras and the compiled program agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from dlperf.accounting.alexnet import alexnet
from dlperf.accounting.inception import PRESETS, inception
from dlperf.accounting.layers import LayerTable
from dlperf.accounting.receptive_field import filter_stack, receptive_field
from dlperf.accounting.vgg import vgg19
from dlperf.problem import Answer, Question
from dlperf.problems.architectures.parameters import ArchitecturesParameters
from dlperf.problems.architectures.tables import three_ways, together
from dlperf.tables import layer_frame
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[ArchitecturesParameters]]


def questions() -> tuple[Question, ...]:
    """Return the assignment's questions."""
    return (
        Question(
            "architectures/alexnet",
            "How many parameters does AlexNet have, layer by layer?",
            _counted("alexnet", _alexnet),
            figures=("architectures",),
            claims=("architectures/alexnet-*",),
        ),
        Question(
            "architectures/vgg19",
            "Where are VGG19's parameters, and where is its memory?",
            _counted("vgg19", _vgg19),
            figures=("work_and_weights",),
            claims=("architectures/vgg19-*",),
        ),
        Question(
            "architectures/stacked-filters",
            "What do N stacked filters of F x F see, and three of 5 x 5?",
            _counted("stacked_filters", _stacked_filters),
            claims=("architectures/stack*", "architectures/single-*", "architectures/equal-outputs-*"),
        ),
        Question(
            "architectures/inception",
            "Why is the naive Inception module too expensive, and what do 1 x 1 convolutions save?",
            _counted("inception", _inception),
            claims=("architectures/inception-*", "architectures/googlenet-*"),
        ),
        Question(
            "architectures/any-model",
            "And any other Keras model?",
            _others,
            claims=("architectures/keras-*",),
        ),
    )


def _counted(subject: str, in_closed_form: Callable[[], Answer]) -> Callable[[Trials], Answer | None]:
    """Answer by closed forms, and say whether the subject's trials, the other ways of counting, agree; None without."""

    def answer(trials: Trials) -> Answer | None:
        agreed = _agreement(trials, subject)
        if not agreed:
            return None
        counted = in_closed_form()
        return replace(counted, sentence=f"{counted.sentence} {agreed}")

    return answer


def _alexnet() -> Answer:
    paper, one_group = alexnet("paper"), alexnet("corrected")
    dense = sum(row.parameters for row in paper.rows if row.layer.startswith("fc"))
    return Answer(
        f"Split over two GPUs as in the paper it has {paper.parameters:,} parameters, in one group "
        f"{one_group.parameters:,}; {_percent(dense, paper.parameters)} of the paper's stand in the three dense "
        f"layers.",
        layer_frame(paper),
    )


def _vgg19() -> Answer:
    table = vgg19()
    dense = [row for row in table.rows if row.layer.startswith("fc")]
    first = next(row for row in table.rows if row.layer.startswith("conv"))
    early = sum(row.activations or 0 for row in table.rows if row.layer.startswith(("conv1", "conv2")))
    return Answer(
        f"Of {table.parameters:,} parameters {_percent(sum(row.parameters for row in dense), table.parameters)} stand "
        f"in the three dense layers, {_percent(dense[0].parameters, table.parameters)} in {dense[0].layer} alone; the "
        f"first convolution, {first.layer}, has {first.parameters:,}. Memory is elsewhere: of {table.activations:,} "
        f"activations the first two blocks' convolutions hold {_percent(early, table.activations)}.",
        layer_frame(table),
    )


def _stacked_filters() -> Answer:
    side = receptive_field(3, 5)
    stack, single = filter_stack(3, 5, 32, 1), filter_stack(1, side, 32, 1)
    return Answer(
        f"As much as one filter of side NF - N + 1: three of 5 x 5 see {side} x {side} pixels. Per pair of channels "
        f"they have {stack.parameters} weights, the single filter of {side} x {side} has {single.parameters}.",
        layer_frame(stack),
    )


def _inception() -> Answer:
    naive, reduced = (inception(PRESETS["assignment"], reduced=kind) for kind in (False, True))
    depths = [table.rows[-1].output_shape[-1] for table in (naive, reduced)]
    saved = naive.multiplications - reduced.multiplications
    return Answer(
        f"Its 3 x 3 and 5 x 5 filters read all 256 channels: {naive.multiplications:,} multiplications, and "
        f"{depths[0]} channels for the next module to read. With 1 x 1 convolutions before them it takes "
        f"{reduced.multiplications:,}, which saves {_percent(saved, naive.multiplications)}, and hands on {depths[1]}.",
        _both(naive, reduced),
    )


def _others(trials: Trials) -> Answer | None:
    models = [trial for trial in trials if trial.parameters.subject.startswith("keras:")]
    if not models:
        return None
    ways = pd.concat([three_ways(t.parameters.subject, t.metrics) for t in models], ignore_index=True)
    verdict = together(ways["verdict"])
    names = ", ".join(t.parameters.subject.removeprefix("keras:") for t in models[:5])
    more = f" and {len(models) - 5} more" if len(models) > 5 else ""
    said = "give the same numbers" if verdict == "agrees" else f"beside each other: {verdict}"
    return Answer(f"{names}{more}: closed form, Keras's own count and the compiled program {said}.", ways)


def _agreement(trials: Trials, subject: str) -> str:
    """Whether the three ways of counting gave equal numbers; "" where no trial is there."""
    own = [trial for trial in trials if trial.parameters.subject == subject]
    if not own:
        return ""
    verdict = together(pd.concat([three_ways(subject, t.metrics) for t in own])["verdict"])
    if verdict.startswith("agrees"):
        return "Keras's own count and the program that is compiled give the same numbers, as far as they have them."
    return f"Against Keras's own count and the compiled program: {verdict}."


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _both(naive: LayerTable, reduced: LayerTable) -> pd.DataFrame:
    frames = [layer_frame(table).assign(module=name) for name, table in (("naive", naive), ("reduced", reduced))]
    return pd.concat(frames, ignore_index=True)
