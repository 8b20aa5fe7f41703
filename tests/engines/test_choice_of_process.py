"""Where a trial runs that wants TensorFlow to compute otherwise than this process does."""

from __future__ import annotations

import pytest

from dlperf import engines
from dlperf.engines import in_process, local
from dlperf.engines.execution import Task
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.problems.cutout.problem import PROBLEM
from dlperf.process_settings import onednn


@pytest.mark.parametrize(("wanted", "where"), [("on", "here"), ("off", "in 1 worker")])
@pytest.mark.parametrize("alone", [True, False])
def test_another_choice_gets_a_worker_process(
    monkeypatch: pytest.MonkeyPatch, wanted: str, where: str, alone: bool
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(onednn, "_chosen", "on")
    monkeypatch.setattr(in_process, "run", lambda *_: ran.append("here"))
    monkeypatch.setattr(local, "run", lambda tasks, listener, processes: ran.append(f"in {processes} worker"))
    parameters = CutoutParameters.resolve({"onednn": wanted})
    engines.run(PROBLEM, [Task("cutout", parameters, "a")], None, alone=alone)  # type: ignore[arg-type]
    assert ran == [where]
