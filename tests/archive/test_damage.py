"""Archives that are damaged, truncated, foreign or a newer program's: refused in one line, whatever was changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dlperf.archive.folder import Archive, opened
from dlperf.errors import BadInput, EnvironmentMissing
from tests.support.archives import archived as trial


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    Archive("made", tmp_path / "made").folder.mkdir()
    Archive("made", tmp_path / "made").add("5" * 32, [trial()])
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
        *(with_column(whole, "problem", ["scaling"]), with_column(whole, "started", [-5])),
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
    Archive("made", folder).add("5" * 32, [trial()])
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
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
