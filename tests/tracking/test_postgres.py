"""A sweep against a real `mlflow server` on a real PostgreSQL, as a team has them, killed and found again.

`main`, with every problem in it, and `compare` run there too: tests/test_demo.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support import postgres
from tests.support.contract import assert_trial
from tests.support.desk import Started, wait_for_line
from tests.support.served_desk import ServedDesk, served

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.skipif(bool(postgres.why_not()), reason=postgres.why_not() or "there is one"),
]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDesk]:
    """A desk at the team's tracking server."""
    with postgres.running() as database, served(tmp_path_factory.mktemp("team"), database) as desk:
        yield desk


def finish(team: ServedDesk, *arguments: str, **environment: str) -> str:
    process = team.popen([sys.executable, *arguments], **environment)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_a_sweep_that_was_killed_is_found_by_its_tags_and_keeps_the_contract(team: ServedDesk) -> None:
    process: Started = team.start("--m", "0,2", "--epochs", "3")
    wait_for_line(process, "cutout m=2 random_seed=0  epoch 1/3")
    process.kill()
    process.communicate()
    killed = team.runs()["cutout m=0,2"]
    assert killed.info.status == "RUNNING"

    output = finish(team, "entrypoints/cutout.py", MLFLOW_RUN_ID=killed.info.run_id)
    assert f"{team.uri}/#/experiments/0/runs/{killed.info.run_id}" in output
    assert "cutout m=0 random_seed=0: finished before, skipped" in output
    runs = team.runs()
    below = team.client.search_runs(["0"], filter_string=f"tags.`mlflow.parentRunId` = '{killed.info.run_id}'")
    assert (runs["cutout m=0,2"].info.status, len(below)) == ("FINISHED", 2)
    for m in (0, 2):
        assert_trial(team, runs[f"cutout m={m} random_seed=0"], epochs=3)
    assert killed.info.artifact_uri.startswith("mlflow-artifacts:/")
