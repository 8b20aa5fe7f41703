"""Whose a run is: of the process that works at it, of one that is gone, of one elsewhere."""

from __future__ import annotations

from pathlib import Path

import psutil

from dlperf.runner import memory
from dlperf.runner.listing import table, unfinished
from dlperf.tracking.journal import Header, Journal, on_disk
from dlperf.tracking.owner import this_process
from dlperf.tracking.store import Store
from tests.support.begun_runs import begin, reread


def test_a_run_that_ended_and_is_gone_on_with_has_an_owner(store: Store) -> None:
    run = begin(store, {})
    run.end("KILLED", "ended by SIGINT")
    resumed = reread(store, run)
    assert not resumed.owned_by_another
    resumed.__enter__()
    resumed.set_tags({"dlperf.process": another_process()})
    assert reread(store, run).owned_by_another
    assert not {"dlperf.ended", "dlperf.failure"} & reread(store, run).tags.keys()


def test_a_run_that_was_killed_while_it_ended_is_finished(store: Store) -> None:
    run = begin(store, {})
    run.__enter__()
    run.set_tags({"dlperf.ended": "finished", "dlperf.process": "x"})
    gone = this_process().replace(" ", " 9999999", 1)
    run.set_tags({"dlperf.process": gone})
    store.end_stale_runs()
    assert store.client.get_run(run.id).info.status == "FINISHED"


def test_only_runs_whose_process_is_gone_are_stale(store: Store) -> None:
    gone, alive, elsewhere, foreign = (begin(store, {}) for _ in range(4))
    for run, process in ((gone, None), (alive, this_process()), (elsewhere, "other-host 1 1")):
        run.__enter__()
        store.client.set_tag(run.id, "dlperf.process", process or this_process().replace(" ", " 9999999", 1))
    store.client.update_run(foreign.id, status="RUNNING")
    store.end_stale_runs()
    statuses = [store.client.get_run(run.id).info.status for run in (gone, alive, elsewhere, foreign)]
    assert statuses == ["KILLED", "RUNNING", "RUNNING", "RUNNING"]


def test_a_stale_run_whose_group_ran_out_of_memory_has_failed_for_that(store: Store, tmp_path: Path) -> None:
    """`dlperf runs` says so before a start ends it, and after."""
    counted = tmp_path / "memory.events"
    counted.write_text("oom 9\noom_kill 3\n")
    gone = this_process().replace(" ", " 9999999", 1)
    stale = []
    for kills in (f"2 {counted}", f"3 {counted}", f"0 {tmp_path}/gone", "?"):
        run = begin(store, {})
        run.__enter__()
        run.set_tags({"dlperf.process": gone, "dlperf.memory_kills": kills})
        stale.append(run)

    def states() -> list[str]:
        listed = table(unfinished(store, tmp_path, {}), {}).set_index("run")["state"]
        return [listed[run.id] for run in stale]

    killed = "killed, can go on from the start"
    assert states() == ["killed (out of memory), can go on from the start", killed, killed, killed]
    (failed,) = store.end_stale_runs()
    assert memory.of_a_stale_run(failed) == (
        f"run {stale[0].id} failed: its program ran out of memory, and the kernel killed it; with half the "
        "micro_batch, which is another trial: dlperf cutout --dataset digits --micro_batch 32"
    )
    assert states() == ["failed (out of memory)", killed, killed, killed]
    assert reread(store, failed).tags["dlperf.failure"] == "memory"


def test_a_run_of_a_container_that_is_gone_is_told_from_one_that_runs(store: Store, tmp_path: Path) -> None:
    """By its journal, where the container had its folder of states on the volume that is looked at."""
    run = begin(store, {})
    run.__enter__()
    run.set_tags({"dlperf.process": "host/pid:[1] 1 1"})
    folder = tmp_path / run.id / "journal"

    def state() -> str:
        journals = {journal.header.run_id: journal for journal in on_disk(tmp_path)}
        return str(table(unfinished(store, tmp_path, journals), journals)["state"][0])

    assert state() == "runs on host/pid:[1]"
    journal = Journal(folder, Header(run.id, "", "", "cutout", store.uri))
    assert state() == "runs on host/pid:[1]"
    journal.close()
    assert state() == "killed elsewhere"


def another_process() -> str:
    """What the process that started this one would have left in a run."""
    host, _, _ = this_process().split()
    parent = psutil.Process().parent()
    assert parent is not None
    return f"{host} {parent.pid} {parent.create_time():.0f}"


def test_a_run_that_another_process_owns_is_not_taken_over(store: Store) -> None:
    run = begin(store, {})
    run.__enter__()
    assert not reread(store, run).owned_by_another  # this one's
    run.set_tags({"dlperf.process": another_process()})
    assert reread(store, run).owned_by_another
    run.end("KILLED", "by hand")
    assert not reread(store, run).owned_by_another
