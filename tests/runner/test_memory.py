"""A trial that gets no memory: it fails as that, and the line has the command of one that needs less."""

from __future__ import annotations

import dataclasses
import pickle
import shlex
from typing import Any

import numpy as np
import pytest

from dlperf import entry_points
from dlperf.engines.execution import Task, execute
from dlperf.errors import OutOfMemory, TrialFailed
from dlperf.parameters import identity, parse
from dlperf.runner.memory import advice, advised, command


def trial(name: str, **given: str) -> Any:
    (only,) = parse(entry_points.load_problem(name).parameters, given).trials
    return only


@pytest.mark.parametrize(
    ("name", "given", "changes"),
    [
        ("cutout", {"m": "32", "protocol": "corrected"}, {"micro_batch": 64}),
        ("cutout", {"m": "8", "depth": "20", "micro_batch": "50", "threads": "1"}, {"micro_batch": 25}),
        ("optimizers", {"optimizer": "adam", "dropout": "true", "protocol": "corrected", "learning_rate": "0.001"}, {}),
        ("approximators", {"units": "64,64", "batch_size": "777"}, {}),
        ("scaling", {"workers": "2", "mode": "weak", "strategy": "multi_worker"}, {"batch_size_per_worker": 32}),
        ("scaling", {"workers": "2", "mode": "strong", "strategy": "multi_worker"}, {"batch_size": 128}),
    ],
)
def test_the_command_runs_the_trial_with_half_of_what_memory_grows_with(
    name: str, given: dict[str, str], changes: dict[str, int]
) -> None:
    problem, full = entry_points.load_problem(name), trial(name, **given)
    changes = changes or {"batch_size": full.batch_size // 2}
    said = advice(problem, full)
    (changed,) = changes
    assert said.startswith(f"; with half the {changed}, which is another trial: dlperf {name} ")
    words = shlex.split(said.partition("trial: ")[2].partition(", or fewer")[0])
    again = trial(name, **dict(zip([word[2:] for word in words[2::2]], words[3::2], strict=True)))
    assert again == full.model_copy(update=changes)
    assert identity(again) != identity(full)


def test_the_command_has_nothing_that_is_so_anyway() -> None:
    words = command(entry_points.load_problem("cutout"), trial("cutout", m="2", dataset="digits", epochs="100"))
    assert words == "dlperf cutout --dataset digits --m 2"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cutout", {"micro_batch": "1"}),
        ("scaling", {"workers": "3", "mode": "strong", "strategy": "multi_worker", "batch_size": "9"}),
        ("architectures", {"subject": "alexnet"}),
    ],
)
def test_where_there_is_no_half_it_needs_more_memory(name: str, given: dict[str, str]) -> None:
    assert advice(entry_points.load_problem(name), trial(name, **given)) == ": it needs more memory"


def test_several_at_a_time_may_be_fewer() -> None:
    side_by_side = trial("cutout", processes="4", threads="1")
    assert advice(entry_points.load_problem("cutout"), side_by_side).endswith(", or fewer at a time (processes)")


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize("error", [MemoryError(), ResourceExhaustedError("OOM when allocating\n\n" + "x" * 5000)])
def test_an_error_for_want_of_memory_is_told_from_others(error: Exception) -> None:
    def fail(*_: object) -> Any:
        raise error

    problem = dataclasses.replace(entry_points.load_problem("approximators"), run_trial=fail)
    parameters = trial("approximators", units="16")
    task = Task("approximators", parameters, "a trial")
    with pytest.raises(OutOfMemory, match=r"^out of memory \((MemoryError|OOM when allocating x+ .*)\)$") as caught:
        execute(problem, task, None)  # type: ignore[arg-type]
    told = pickle.loads(pickle.dumps(caught.value))
    assert (type(told), told.exit_status) == (OutOfMemory, 1)
    assert len(str(told)) < 400
    assert "half the batch_size" in str(advised(problem, parameters, told))
    other = TrialFailed("the loss is not finite")
    assert advised(problem, parameters, other) is other


def test_what_numpy_raises_is_such_an_error() -> None:
    def fail(*_: object) -> Any:
        return np.ones(2**55)

    problem = dataclasses.replace(entry_points.load_problem("approximators"), run_trial=fail)
    with pytest.raises(OutOfMemory, match=r"Unable to allocate 256. PiB"):
        execute(problem, Task("approximators", trial("approximators", units="16"), "a trial"), None)  # type: ignore[arg-type]
