"""Archives: written from a store, read beside one and into one."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf import metric_names
from dlperf.analysis.settings import settings as sorted_out
from dlperf.archive import folder as archive_folder
from dlperf.archive import parts
from dlperf.archive.folder import Archive, opened
from dlperf.archive.parts import ArchivedTrial
from dlperf.claims.ledger import claims
from dlperf.claims.verdicts import Verdict, verdicts
from dlperf.cli import main
from dlperf.entry_points import PROBLEMS, load_problem
from dlperf.tracking import query
from dlperf.tracking.archived import ArchivedRuns
from tests.support.archives import archived as trial
from tests.support.archives import write_foreign
from tests.support.empty_store import make_store
from tests.support.made_trials import MadeTrial, log, made, new_store

TEXTS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=4)
NUMBERS = st.floats(allow_nan=False)
CURVES = st.dictionaries(st.text(min_size=1, max_size=8), st.dictionaries(st.integers(0, 400), NUMBERS, max_size=5))
TRIALS = st.builds(
    ArchivedTrial,
    run_id=st.text(min_size=1, max_size=32),
    name=st.text(max_size=40),
    problem=st.sampled_from(PROBLEMS),
    sweep=st.text(min_size=1, max_size=32),
    started=st.integers(0, 2**42),
    ended=st.integers(0, 2**42),
    params=TEXTS,
    tags=TEXTS,
    metrics=st.dictionaries(st.text(min_size=1, max_size=8), NUMBERS, max_size=4),
    curves=CURVES,
)


@given(st.lists(TRIALS, min_size=1, max_size=4, unique_by=lambda trial: trial.run_id))
def test_a_part_reads_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, trials: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("part")
    parts.write(folder / "one", trials)
    parts.write(folder / "two", trials[::-1])
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    assert sorted(parts.read(folder / "one"), key=lambda t: t.run_id) == sorted(trials, key=lambda t: t.run_id)


def texts(archive: Archive) -> set[str]:
    """All names and values of parameters and tags; in the files themselves they are compressed."""
    return {text for each in archive.trials() for pair in (*each.params.items(), *each.tags.items()) for text in pair}


def test_the_reference_is_whole_and_small() -> None:
    reference = opened("archive", archive_folder.REFERENCE)
    assert len(list(reference.trials())) == len(reference) > 0
    assert sum(file.stat().st_size for file in reference.folder.iterdir()) <= 8_000_000
    assert not any(text.startswith(("/", "~")) for text in texts(reference))


def with_throughput(one: MadeTrial) -> MadeTrial:
    """A trial that has logged a curve which is not read back, as every training does."""
    curve = {"examples_per_second": [1000 / seconds for seconds in one.history.get("epoch_seconds", ())]}
    if not one.history:
        return one
    return replace(one, history={**one.history, **curve}, metrics={**one.metrics, "examples_per_second": 1000.0})


Start = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Finished trials of all problems, three of them of one sweep, and a trial that is not finished."""
    with new_store(tmp_path_factory.mktemp("store")) as (uri, client):
        sweep = client.create_run("0", run_name="cutout m=0,2,4").info.run_id
        for problem in PROBLEMS:
            for number in range(3):
                one = with_throughput(made(problem, number))
                params = {**one.params, "data_dir": "/secret"}
                own = {"dlperf.process": "me@here 1", "mlflow.user": "me@here", "mlflow.source.git.commit": "c0ffee"}
                parent = {"mlflow.parentRunId": sweep} if problem == "cutout" else {}
                log(client, replace(one, params=params, tags={**one.tags, **own, **parent}))
        log(client, replace(made("cutout", 9), status="FAILED"))
        client.set_terminated(sweep)
    return uri


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Start:
    """Starts `dlperf` in this process, in an empty folder; gives exit status, output, errors."""
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        return (status, *capfd.readouterr())

    return run


def test_a_store_becomes_an_archive(start: Start, store: str, tmp_path: Path) -> None:
    status, output, errors = start("archive", "--output", "kept", "--tracking_uri", store)
    assert (status, output) == (0, f"15 trials written to {tmp_path}/kept, which had 0 of the 15 that match\n"), errors
    files = files_of(tmp_path / "kept")
    assert len(files) == 1 + 1 + 1 + 12  # the lock, the index, a sweep, trials that were run alone
    assert not any("me@here" in text or "/secret" in text for text in texts(opened("archive", "kept")))
    kept = {t.name: t for t in opened("archive", "kept").trials("cutout")}
    one = made("cutout", 1)
    assert kept[one.name].curves["train_loss"] == dict(enumerate(one.history["train_loss"], 1))
    assert kept[one.name].metrics == {**one.metrics, "examples_per_second": 1000 / one.history["epoch_seconds"][-1]}
    assert "examples_per_second" not in kept[one.name].curves
    assert (kept[one.name].tags["mlflow.source.git.commit"], "mlflow.user" in kept[one.name].tags) == ("c0ffee", False)
    status, output, errors = start("archive", "--output", "kept", "--tracking_uri", store)
    assert (status, output) == (0, f"0 trials written to {tmp_path}/kept, which had 15 of the 15 that match\n"), errors
    assert files_of(tmp_path / "kept") == files


def test_a_filter_chooses(start: Start, store: str) -> None:
    asked = ["archive", "--output", "kept", "--tracking_uri", store, "--filter"]
    assert start(*asked, "params.m = '2'")[0] == 0
    assert [t.params["m"] for t in opened("archive", "kept").trials()] == ["2"]
    assert start(*asked, "params.m = 'none'")[::2] == (
        1,
        f"dlperf archive: no finished trial with params.m = 'none' at {store}\n",
    )
    status, _, errors = start(*asked, "m is 2")
    assert (status, errors.count("\n")) == (2, 1), errors
    assert errors.startswith("dlperf archive: filter=m is 2: MLflow cannot use it: ")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_store_and_archive_give_equal_bytes(start: Start, store: str, tmp_path: Path) -> None:
    filters = ["--filter", "tags.`dlperf.ended` = 'finished' and attributes.status = 'FINISHED'"]
    assert start("archive", "--output", "kept", "--tracking_uri", store)[0] == 0
    assert start("compare", "--tracking_uri", store, "--output", "of_store", *filters)[0] == 0
    new = make_store(tmp_path / "new.db")
    status, output, errors = start("compare", "--archive", "kept", "--tracking_uri", new, "--output", "of_archive")
    assert status == 0, errors
    assert "cutout: 3 finished trials in 1 setting" in output
    assert files_of(tmp_path / "of_archive") == files_of(tmp_path / "of_store")
    assert "report.html" in files_of(tmp_path / "of_archive")
    # By now the new store has the comparison's own run, which is no trial.
    assert start("compare", "--archive", "kept", "--tracking_uri", new, "--output", "again")[0] == 0
    assert files_of(tmp_path / "again") == files_of(tmp_path / "of_archive")


def test_archives_stand_beside_a_store_in_settings_of_their_own(start: Start, tmp_path: Path) -> None:
    uri = make_store(tmp_path / "mine.db")
    client = mlflow.MlflowClient(uri)
    log(client, made("cutout", 0))
    assert start("archive", "--output", "theirs", "--tracking_uri", uri)[0] == 0
    log(client, made("cutout", 1))
    asked = ["compare", "--problem", "cutout", "--tracking_uri", uri, "--archive", "theirs"]
    assert "cutout: 2 finished trials in 1 setting" in start(*asked)[1]  # which has the archived one itself
    client.delete_run(next(run.info.run_id for run in client.search_runs(["0"]) if run.data.params.get("m") == "0"))
    _, output, _ = start(*asked, "--output", "both")
    assert "cutout: 2 finished trials in 2 settings" in output
    assert "theirs" in (tmp_path / "both" / "report.html").read_text()
    assert "cutout: 1 finished trial in 1 setting" in start(*asked, "--filter", "params.m = '0'")[1]


def made_on(folder: Path, hardware: str, changes: Mapping[str, float]) -> Archive:
    """An archive of five random seeds of the ten kinds of problem 1; the losses of some optimizers times a factor."""
    folder.mkdir()
    archive = Archive(folder.name, folder)
    trials = []
    for number in range(50):
        one = made("optimizers", number, length=2)
        factor = changes.get(one.params["optimizer"], 1.0)
        metrics = {name: value * factor if name == "train_loss" else value for name, value in one.metrics.items()}
        tags = {**one.tags, "dlperf.hardware": hardware}
        run = f"{folder.name}{number:04d}"
        trials.append(
            ArchivedTrial(
                run, one.name, one.problem, "5" * 32, one.started, one.started + 1, one.params, tags, metrics, {}
            )
        )
    archive.add(trials)
    return archive


def judged(*archives: Archive) -> dict[str, Verdict]:
    problem = load_problem("optimizers")
    found = query.together([query.find_trials(ArchivedRuns(each, labelled=True), problem) for each in archives])
    answers = verdicts(claims("optimizers"), sorted_out(problem, found.trials))
    return {answer.claim.id: answer for answer in answers}


def test_archives_of_two_kinds_of_machine_give_the_same_verdicts_or_say_why_not(tmp_path: Path) -> None:
    wide = made_on(tmp_path / "wide", "made CPU, AVX-512 VNNI, 2 cores, 24 GiB", {})
    narrow = made_on(tmp_path / "narrow", "made CPU, AVX2, 2 cores, 24 GiB", {"adagrad": 3.0})
    same = made_on(tmp_path / "same", "made CPU, AVX2, 2 cores, 24 GiB", {})
    one, other, both, alike = judged(wide), judged(narrow), judged(wide, narrow), judged(wide, same)
    assert {name: answer.verdict for name, answer in one.items()} == {n: a.verdict for n, a in alike.items()}
    assert not any("but" in answer.reason for answer in alike.values())
    apart = {name for name in one if one[name].verdict != other[name].verdict}
    assert {one[name].verdict for name in apart} | {other[name].verdict for name in apart} >= {
        "supported",
        "contradicted",
    }
    for name, answer in both.items():
        decides, beside = (other, one) if "AVX2" in answer.facts.get("hardware", "") else (one, other)
        assert answer.verdict == decides[name].verdict, name
        machine = beside[name].facts.get("hardware", "-")
        named = f" (hardware {machine}, archive " in answer.reason and f"), {beside[name].verdict}: " in answer.reason
        assert named == (name in apart), name


def test_an_archive_becomes_runs_and_overwrites_none(start: Start, store: str, tmp_path: Path) -> None:
    assert start("archive", "--output", "kept", "--tracking_uri", store)[0] == 0
    uri = f"sqlite:///{tmp_path}/new.db"
    into = ["archive", "--import", "kept", "--tracking_uri"]
    assert start(*into, store)[1] == f"0 runs made in {store} of the 15 trials of kept\n"
    assert start(*into, uri)[1] == f"15 runs made in {uri} of the 15 trials of kept\n"
    client = mlflow.MlflowClient(uri)
    runs = {run.data.tags["dlperf.archived_run"]: run for run in client.search_runs(["0"])}
    for kept in opened("archive", "kept").trials():
        run = runs[kept.run_id]
        assert (run.info.status, run.info.run_name) == ("FINISHED", kept.name)
        assert (run.info.start_time, run.info.end_time) == (kept.started, kept.ended)
        assert (run.data.params, run.data.metrics) == (kept.params, kept.metrics)
        assert run.data.tags.items() >= kept.tags.items()
        for name, curve in kept.curves.items():
            assert {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)} == curve
    client.set_tag(next(iter(runs.values())).info.run_id, "mine", "kept")
    assert start(*into, uri)[1] == f"0 runs made in {uri} of the 15 trials of kept\n"
    assert sum("mine" in run.data.tags for run in client.search_runs(["0"])) == 1
    # What was imported is exported as what it was.
    assert start("archive", "--output", "kept", "--tracking_uri", uri)[1].startswith("0 trials written")


def of(folder: str) -> tuple[list[ArchivedTrial], list[tuple[str, str, int]]]:
    """The trials of an archive, and its parts by problem and sweep."""
    index = json.loads(Path(folder, "index.json").read_text())
    facts = sorted((part["problem"], part["sweep"], part["trials"]) for part in index["parts"])
    return sorted(opened("archive", folder).trials(), key=lambda t: t.run_id), facts


def test_what_was_imported_is_exported_as_what_it_was(start: Start, store: str, tmp_path: Path) -> None:
    assert start("archive", "--output", "kept", "--tracking_uri", store)[0] == 0
    uri = f"sqlite:///{tmp_path}/new.db"
    into = ["archive", "--tracking_uri", uri]
    assert start(*into, "--import", "kept")[0] == 0
    assert start(*into, "--output", "again")[1].startswith("15 trials written")
    assert of("again") == of("kept")
    assert len(of("again")[1]) == 13
    parts = {path.name: path.read_bytes() for path in (tmp_path / "kept").glob("*.parquet")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.parquet")} == parts
    for name in ("kept", "again"):
        assert start(*into, "--import", name)[1] == f"0 runs made in {uri} of the 15 trials of {name}\n"
        assert start("archive", "--import", name, "--tracking_uri", store)[1].startswith("0 runs made")
    # The store that was imported into and its archive say the same, but for the names of its runs.
    ids = {run.info.run_id: run.data.tags["dlperf.archived_run"] for run in mlflow.MlflowClient(uri).search_runs(["0"])}
    assert start("compare", "--tracking_uri", uri, "--problem", "cutout", "--output", "of_store")[0] == 0
    new = make_store(tmp_path / "empty.db")
    asked = ["--problem", "cutout", "--archive", "again", "--tracking_uri", new]
    assert start("compare", *asked, "--output", "of_archive")[0] == 0
    of_store, of_archive = files_of(tmp_path / "of_store"), files_of(tmp_path / "of_archive")
    for name in ("report.html", "report.md"):
        for run, original in ids.items():
            of_store[name] = of_store[name].replace(run.encode(), original.encode())
    assert of_store == of_archive


def test_the_reference_is_small() -> None:
    folder = opened("archive", archive_folder.REFERENCE).folder
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8_000_000


@pytest.mark.slow
def test_sweeps_of_the_reference_come_back_in_as_many_parts(start: Start, tmp_path: Path) -> None:
    """But for the 143 networks of each random seed, which take minutes."""
    reference = opened("archive", archive_folder.REFERENCE).folder
    index = json.loads((reference / "index.json").read_text())
    index["parts"] = [part for part in index["parts"] if part["problem"] != "approximators"]
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "index.json").write_text(json.dumps(index))
    for part in index["parts"]:
        shutil.copy(reference / part["file"], tmp_path / "some")
    into = ["archive", "--tracking_uri", f"sqlite:///{tmp_path}/new.db"]
    assert [start(*into, *how)[0] for how in (("--import", "some"), ("--output", "again"))] == [0, 0]
    trials, facts = of("some")
    assert {trial.problem for trial in trials} == {*PROBLEMS} - {"approximators"}
    # A throughput follows from the seconds of an epoch: its curve is not archived any more.
    kept = [replace(t, curves={name: c for name, c in t.curves.items() if name in metric_names.CURVES}) for t in trials]
    assert of("again") == (kept, facts)
    assert start(*into, "--import", "again")[1].startswith("0 runs made")


def test_a_trial_that_cannot_be_archived_is_left_out_and_named(start: Start, tmp_path: Path) -> None:
    uri = make_store(tmp_path / "mine.db")
    client = mlflow.MlflowClient(uri)
    log(client, made("cutout", 0))
    odd = log(client, made("cutout", 1))
    for name in made("cutout", 1).history:
        client.log_metric(odd, name, 0.5, step=77)
    status, output, errors = start("archive", "--output", "kept", "--tracking_uri", uri)
    assert (status, output.split(" to ")[0], errors.count("\n")) == (0, "1 trial written", 1)
    assert re.search(rf"\({odd}\): its curve of \w+ is not one of the epochs 1, 2, \.\.\.", errors)
    assert len(opened("archive", "kept")) == 1
    status, output, errors = start("compare", "--problem", "cutout", "--tracking_uri", uri, "--output", "compared")
    assert "cutout: 1 finished trial in 1 setting" in output
    report = (tmp_path / "compared" / "report.md").read_text()
    assert f"({odd}): its curve of epoch_seconds is not one of the epochs 1, 2, ..." in report


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"problem": "chess"}, "none of optimizers, "),
        ({"tags": {}}, "its tag dlperf.problem is not cutout"),
        ({"params": {"m": "9" * 9000}}, "9000 characters"),
        ({"metrics": {"../x": 1.0}, "curves": {}}, "a metric cannot be called '../x'"),
        ({"ended": -5}, "it ran from 1 to -5"),
        ({"curves": {"train_loss": {7: 1.0, 14: 2.0}}}, "its curve of train_loss is not one of the epochs"),
        ("twice", "stands in another part too"),
        ("a surrogate", "no part is called '\\ud800.parquet'"),
    ],
)
def test_nothing_is_made_of_an_archive_that_dlperf_cannot_have_written(
    start: Start, tmp_path: Path, wrong: Any, said: str
) -> None:
    parts_of = {"cutout-5.parquet": [trial("good")], "cutout-6.parquet": [trial("bad")]}
    if isinstance(wrong, dict):
        parts_of["cutout-6.parquet"] = [trial("bad", **wrong)]
    elif wrong == "twice":
        parts_of["cutout-6.parquet"] = parts_of["cutout-5.parquet"]
    write_foreign(tmp_path / "theirs", parts_of)
    if wrong == "a surrogate":
        index = (tmp_path / "theirs" / "index.json").read_text().replace("cutout-6.", "\\ud800.")
        (tmp_path / "theirs" / "index.json").write_text(index)
    uri = f"sqlite:///{tmp_path}/new.db"
    status, output, errors = start("archive", "--import", "theirs", "--tracking_uri", uri)
    assert (status, output, errors.count("\n")) == (3, "", 1), errors
    assert said in errors
    assert not (tmp_path / "new.db").exists()
    empty = make_store(tmp_path / "empty.db")
    status, output, errors = start("compare", "--archive", "theirs", "--tracking_uri", empty)
    assert (status, output, errors.count("\n")) == (3, "", 1), errors
    assert said in errors


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-is-called-so/x", "file/x"])
def test_a_name_that_cannot_be_an_archive_is_bad_input(start: Start, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    status, _, errors = start("archive", "--import", name)
    assert (status, errors.count("\n")) == (2, 1), errors


def test_a_damaged_archive_makes_no_run_and_no_store(start: Start, store: str, tmp_path: Path) -> None:
    assert start("archive", "--output", "kept", "--tracking_uri", store)[0] == 0
    part = next((tmp_path / "kept").glob("scaling-*"))
    part.write_bytes(part.read_bytes()[:-1])
    status, _, errors = start("archive", "--import", "kept", "--tracking_uri", f"sqlite:///{tmp_path}/new.db")
    assert (status, errors.count("\n")) == (3, 1), errors
    assert not (tmp_path / "new.db").exists()
    status, _, errors = start("compare", "--archive", "kept", "--tracking_uri", store)
    assert (status, errors.count("\n")) == (3, 1), errors
    assert "scaling" in errors


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "output=: give either output=FOLDER"),
        (["--output", "a", "--import", "b"], "output=a: give either output=FOLDER"),
        (["--import", "b"], "import=b: must be reference or the folder of an archive"),
        (["--import", "b", "--filter", "x"], "filter=x: cannot be given together with import"),
        (["--inport", "b"], "inport=b: unknown parameter; did you mean import?"),
    ],
)
def test_bad_input(start: Start, arguments: list[str], line: str) -> None:
    status, _, errors = start("archive", *arguments)
    assert (status, errors.count("\n")) == (2, 1), errors
    assert errors.startswith(f"dlperf archive: {line}")


def test_numbers_that_are_none_are_kept(tmp_path: Path) -> None:
    parts.write(tmp_path / "part", [trial(curves={"train_loss": {1: math.nan, 2: math.inf}})])
    (read,) = parts.read(tmp_path / "part")
    assert math.isnan(read.curves["train_loss"][1])
    assert read.curves["train_loss"][2] == math.inf
