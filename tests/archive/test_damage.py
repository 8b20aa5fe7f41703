"""Archives that are damaged, truncated, foreign or a newer program's: refused in one line, whatever was changed."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dlperf.archive.checks import fault
from dlperf.archive.folder import Archive, opened, opened_to_add
from dlperf.errors import BadInput, EnvironmentMissing
from tests.support.archives import archived as trial
from tests.support.archives import write_foreign as write_unchecked


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    Archive("made", tmp_path / "made").folder.mkdir()
    Archive("made", tmp_path / "made").add([trial()])
    return tmp_path / "made"


def test_a_folder_without_an_index_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^archive=.*: must be reference or the folder of an archive"):
        opened("archive", str(tmp_path))


@pytest.mark.parametrize(
    "index",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 1}',
        '{"format": 0, "parts": []}',
        '{"format": "1", "parts": []}',
        '{"format": 1, "parts": [{"file": "x"}]}',
        '{"format": 1, "parts": [7]}',
        '{"format": 1, "parts": 7}',
        '{"format": true, "parts": []}',
        "[" * 100_000,
        '{"format": 1, "parts": [{"file": "a\\u0000b", "sha256": "", "problem": "cutout", "sweep": "", "trials": 1}]}',
        '{"format": 1, "parts": [{"file": "../x", "sha256": "", "problem": "cutout", "sweep": "", "trials": 1}]}',
    ],
)
def test_an_index_that_is_none_is_refused(archive: Path, index: str) -> None:
    (archive / "index.json").write_text(index)
    with pytest.raises(EnvironmentMissing, match=r"index\.json is damaged, or no index") as error:
        opened("archive", str(archive))
    assert "\n" not in str(error.value)


def test_a_newer_archive_is_refused(archive: Path) -> None:
    index = json.loads((archive / "index.json").read_text())
    (archive / "index.json").write_text(json.dumps({**index, "format": 2, "parts": "of another kind"}))
    with pytest.raises(EnvironmentMissing, match=r"has format 2, of a newer dlperf"):
        opened("archive", str(archive))


@pytest.mark.parametrize("change", ["truncated", "one byte", "gone", "a folder"])
def test_a_damaged_part_is_refused(archive: Path, change: str) -> None:
    (part,) = archive.glob("*.parquet")
    content = bytearray(part.read_bytes())
    part.unlink()
    if change == "truncated":
        part.write_bytes(content[:-10])
    elif change == "one byte":
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif change == "a folder":
        part.mkdir()
    with pytest.raises(EnvironmentMissing, match=r"cutout-555555555555\.parquet (is damaged|cannot be read)"):
        list(opened("archive", str(archive)).trials())


def write_foreign(archive: Path, table: pa.Table | str) -> None:
    """Replace the part by another table, or text; its checksum is right: somebody's program may have written it."""
    (part,) = archive.glob("*.parquet")
    if isinstance(table, str):
        part.write_text(table)
    else:
        parquet.write_table(table, part)
    index = json.loads((archive / "index.json").read_text())
    index["parts"][0]["sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
    (archive / "index.json").write_text(json.dumps(index))


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def test_a_foreign_part_is_refused(archive: Path) -> None:
    (part,) = archive.glob("*.parquet")
    whole = parquet.read_table(part)
    for table in ("no Parquet", pa.table({"run_id": ["a"], "loss": [1.0]})):
        write_foreign(archive, table)
        with pytest.raises(EnvironmentMissing, match="is no part of one: it"):
            list(opened("archive", str(archive)).trials())
    lacking = {**dict.fromkeys(whole.schema.names), "tags": [("dlperf.version", None)]}
    lacking |= {"curves": [{"name": "train_loss", "steps": [1, None], "values": [1.0, 2.0]}]}
    for name, value in lacking.items():
        write_foreign(archive, with_column(whole, name, [value]))
        with pytest.raises(EnvironmentMissing, match=f"is no part of one: a row lacks its {name}"):
            list(opened("archive", str(archive)).trials())
    write_foreign(archive, with_column(whole, "curves", [[{"name": "x", "steps": [1], "values": []}]]))
    with pytest.raises(EnvironmentMissing, match="is no part of one: a curve has other steps than values"):
        list(opened("archive", str(archive)).trials())


def test_a_part_that_is_not_what_the_index_says_is_refused(archive: Path) -> None:
    (part,) = archive.glob("*.parquet")
    whole = parquet.read_table(part)
    others = (
        *(whole.slice(0, 0), pa.concat_tables([whole, whole])),
        *(with_column(whole, "problem", ["scaling"]), with_column(whole, "sweep", ["6" * 32])),
    )
    for table in others:
        write_foreign(archive, table)
        with pytest.raises(EnvironmentMissing, match="has other trials than its index says"):
            list(opened("archive", str(archive)).trials())
    write_foreign(archive, whole)
    assert len(list(opened("archive", str(archive)).trials())) == 1
    index = json.loads((archive / "index.json").read_text())
    (archive / "index.json").write_text(json.dumps({**index, "parts": index["parts"] * 2}))
    with pytest.raises(EnvironmentMissing, match="a part is listed twice"):
        opened("archive", str(archive))


@given(st.data())
@settings(max_examples=40)
def test_no_flipped_byte_and_no_cut_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Of a part: another error than one line there is not. Of the index: it says no less, or is refused."""
    folder = tmp_path_factory.mktemp("damaged")
    Archive("made", folder).add([trial()])
    file = data.draw(st.sampled_from(sorted(path for path in folder.iterdir() if path.name != ".lock")))
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
    else:
        file.write_bytes(content[:place])
    read, message = [], ""
    try:
        read = list(opened("archive", str(folder)).trials())
    except EnvironmentMissing as error:
        message = str(error)
    assert "\n" not in message
    assert message or (file.name == "index.json" and read in ([trial()], []))


WHOLE = json.dumps(
    {"file": "cutout-5.parquet", "sha256": "0" * 64, "problem": "cutout", "sweep": "5" * 32, "trials": 1}
)
ODD = ["\ud800.parquet", "\0.parquet", "a\0b", "../x.parquet", "/etc/passwd", "..", ".", "", "a\nb.parquet", "a" * 5000]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 2**63, 1e308, math.inf, -math.inf, math.nan, *ODD, "cutout", "0" * 64, "5" * 32])
    | st.floats()
    | st.text(st.characters(exclude_categories=())),  # lone surrogates among them
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300)
def test_whatever_an_index_says_it_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "indexed"
    folder.mkdir(exist_ok=True)
    part, index = json.loads(WHOLE), {"format": 1, "parts": []}
    for name in data.draw(st.sets(st.sampled_from([*part, "more"]))):
        part[name] = data.draw(JSON)
    index["parts"] = data.draw(st.just([part]) | st.just([part, part]) | JSON)
    if data.draw(st.booleans()):
        index["format"] = data.draw(JSON)
    (folder / "index.json").write_text(json.dumps(index))
    for reading in (lambda: opened("archive", str(folder)), lambda: opened_to_add(folder)):
        said = ""
        try:
            archive = reading()
            len(archive)
            list(archive.trials())
        except EnvironmentMissing as error:
            said = str(error)
        assert "\n" not in said
        assert said.encode() or (index["parts"], index["format"]) == ([], 1)  # a terminal can show it


@pytest.mark.parametrize("name", ODD)
def test_a_part_that_lies_elsewhere_is_not_looked_for(archive: Path, name: str) -> None:
    index = json.loads((archive / "index.json").read_text())
    index["parts"][0]["file"] = name
    (archive / "index.json").write_text(json.dumps(index))
    with pytest.raises(EnvironmentMissing, match=r"index\.json is damaged, or no index \(no part is called '"):
        opened("archive", str(archive))


@pytest.mark.parametrize("number", ["1" + "0" * 4299, "1" + "0" * 6000, "1e400"])
def test_a_format_of_many_digits_is_refused_in_one_line(archive: Path, number: str) -> None:
    (archive / "index.json").write_text(f'{{"format": {number}, "parts": []}}')
    with pytest.raises(EnvironmentMissing, match=r"of a newer dlperf|is damaged, or no index") as error:
        opened("archive", str(archive))
    assert len(str(error.value)) < 3000


def test_a_problem_that_dlperf_does_not_have_is_refused(tmp_path: Path) -> None:
    write_unchecked(tmp_path, {"chess-5.parquet": [trial(problem="chess")]})
    with pytest.raises(EnvironmentMissing, match=r"a part is of the problem 'chess', which is none of optimizers, "):
        opened("archive", str(tmp_path))


def test_a_trial_that_stands_twice_is_damage(tmp_path: Path) -> None:
    one, other = trial("a1"), trial("a2")
    twice = {
        "once": {"cutout-5.parquet": [one, one]},
        "in two parts": {"cutout-5.parquet": [one, other], "cutout-5-2.parquet": [one, other]},
        "in two sweeps": {"cutout-5.parquet": [one, other], "x.parquet": [replace(other, sweep="6" * 32)]},
    }
    for name, contents in twice.items():
        folder = write_unchecked(tmp_path / name, contents)
        with pytest.raises(
            EnvironmentMissing, match=r"has other trials than its index|a[12] stands in another part too"
        ):
            list(opened("archive", str(folder)).trials())


TAGS = dict(trial().tags)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no tags": ({"tags": {}}, "its tag dlperf.problem is not cutout"),
    "no role": ({"tags": {"dlperf.problem": "cutout"}}, "its tag dlperf.role is not trial"),
    "another role": ({"tags": {**TAGS, "dlperf.role": "sweep"}}, "its tag dlperf.role is not trial"),
    "another problem": ({"tags": {**TAGS, "dlperf.problem": "scaling"}}, "its tag dlperf.problem is not cutout"),
    "no name": ({"name": ""}, "its name is empty"),
    "another name": ({"tags": {**TAGS, "mlflow.runName": "other"}}, "not that of its tag mlflow.runName"),
    "a long name": ({"name": "n" * 251}, "longer than 250 characters"),
    "a run that is a path": ({"run_id": "../x"}, "its run '../x' or its sweep"),
    "no run": ({"run_id": ""}, "is no name of a run"),
    "an end before 1970": ({"ended": -5}, "it ran from 1 to -5"),
    "no beginning": ({"started": 0}, "it ran from 0 to 2"),
    "a far end": ({"ended": 2**62}, "which are no milliseconds since 1970"),
    "a long parameter": ({"params": {"m": "9" * 6001}}, "its parameter m has 6001 characters, more than the 6000"),
    "a long tag": ({"tags": {**TAGS, "dlperf.version": "9" * 8001}}, "its tag dlperf.version has 8001 characters"),
    "a text with NUL": ({"params": {"m": "a\0b"}}, "its parameter m has a character that no text has"),
    "a parameter's name": ({"params": {"a*b\n": "x"}}, r"a parameter cannot be called 'a\*b\\n'"),
    "a metric that is a path": ({"metrics": {"../x": 1.0}, "curves": {}}, "a metric cannot be called '../x'"),
    "a metric's long name": ({"metrics": {"x" * 251: 1.0}, "curves": {}}, "a metric cannot be called 'x"),
    "a tag that is a path": ({"tags": {**TAGS, "/x": ""}}, "a tag cannot be called '/x'"),
    "gaps in a curve": ({"curves": {"train_loss": {7: 1.0, 14: 2.0}}}, "is not one of the epochs 1, 2, "),
    "a curve from 0": ({"curves": {"train_loss": {0: 1.0, 1: 2.0}}}, "is not one of the epochs 1, 2, "),
    "a curve before 0": ({"curves": {"train_loss": {-49: 1.0, -48: 2.0}}}, "is not one of the epochs 1, 2, "),
    "no epoch": ({"curves": {"train_loss": {}}}, "is not one of the epochs 1, 2, "),
    "a curve of no metric": (
        {"curves": {"train_rmse": {1: 2.0}}},
        "it has a curve of 'train_rmse', and no such metric",
    ),
    "another last value": (
        {"curves": {"train_loss": {1: 3.0}}},
        "its curve of train_loss ends with 3.0, its metric is",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_trial_that_dlperf_cannot_have_written_is_refused(tmp_path: Path, wrong: str) -> None:
    changes, said = WRONG[wrong]
    archive = write_unchecked(
        tmp_path / "a", {"cutout-5.parquet": [trial("good"), trial(**{"run_id": "bad", **changes})]}
    )
    with pytest.raises(EnvironmentMissing, match=r"cutout-5\.parquet is damaged, or not dlperf's: .*" + said) as error:
        list(opened("archive", str(archive)).trials())
    assert "\n" not in str(error.value)


def test_the_limits_themselves_are_kept(tmp_path: Path) -> None:
    longest = {"params": {"p" * 250: "9" * 6000}, "tags": {**TAGS, "t" * 250: "9" * 8000}, "name": "n" * 250}
    Archive("made", tmp_path).add(
        [trial(**longest, metrics={"train_loss": math.nan}, curves={"train_loss": {1: math.nan}})]
    )
    (read,) = opened("archive", str(tmp_path)).trials()
    assert {name: getattr(read, name) for name in longest} == longest


@given(st.text(max_size=6) | st.text("a./ :-_*\\\n", max_size=6), st.sampled_from(["params", "tags", "metrics"]))
def test_no_name_that_mlflow_refuses_gets_through(name: str, kind: str) -> None:
    from mlflow import MlflowException
    from mlflow.utils import validation

    refuses = {
        "params": validation._validate_param_name,
        "tags": validation._validate_tag_name,
        "metrics": validation._validate_metric_name,
    }
    own = {name: 1.0} if kind == "metrics" else {name: "x"}
    said = fault(trial(**{kind: {**getattr(trial(), kind), **own}}))
    try:
        refuses[kind](name)
    except MlflowException:
        assert "cannot be called" in said
    else:
        assert said == "" or name.endswith("\n")  # which MLflow overlooks


def test_no_value_is_longer_than_mlflow_takes() -> None:
    from mlflow.utils import validation

    limits = (validation.MAX_ENTITY_KEY_LENGTH, validation.MAX_PARAM_VAL_LENGTH, validation.MAX_TAG_VAL_LENGTH)
    assert limits >= (250, 6000, 8000)
