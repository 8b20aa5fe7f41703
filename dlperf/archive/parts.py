"""One part of an archive: the finished trials of a sweep in a Parquet file, a row per trial."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

_TEXTS = ("run_id", "name", "problem", "sweep")
_TIMES = ("started", "ended")


@dataclass(frozen=True)
class ArchivedTrial:
    """A finished trial as its run in a tracking store had it.

    Attributes:
        run_id: Its run.
        name: The run's name.
        problem: As on the command line.
        sweep: The run of the sweep it belongs to; its own where it was run alone.
        started: In milliseconds since 1970.
        ended: Likewise.
        params: Logged parameters, as text.
        tags: Those that say what it is and what it ran on; none that names its user, host or folders.
        metrics: Final metrics by name.
        curves: Metrics of epochs: values by step, by name.
    """

    run_id: str
    name: str
    problem: str
    sweep: str
    started: int
    ended: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, Mapping[int, float]]


def write(file: Path, trials: Sequence[ArchivedTrial]) -> None:
    """Write a part; equal trials give equal bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    ordered = sorted(trials, key=lambda trial: (trial.started, trial.run_id))
    columns: dict[str, list[Any]] = {
        **{name: [getattr(trial, name) for trial in ordered] for name in (*_TEXTS, *_TIMES)},
        **{name: [sorted(getattr(trial, name).items()) for trial in ordered] for name in ("params", "tags", "metrics")},
        "curves": [[_curve(name, curve) for name, curve in sorted(trial.curves.items())] for trial in ordered],
    }
    table = pa.table(columns, schema=_schema())
    # Curves hardly repeat a value, so that a dictionary would only be in the way; but their bytes of one place do.
    parquet.write_table(
        table,
        file,
        compression="zstd",
        compression_level=19,
        use_dictionary=list(_TEXTS),
        use_byte_stream_split=["curves.list.element.values.list.element"],
    )


def read(file: Path) -> list[ArchivedTrial]:
    """Read a part.

    Raises:
        ValueError: If it is no Parquet file, or one with other columns or curves; the message says which.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it cannot be read as Parquet ({error})") from error
    if not table.schema.equals(_schema()):
        raise ValueError(f"its columns are {', '.join(table.schema.names)}, or of other types than a part's")
    lacking = [name for name in table.schema.names if _lacks_values(table[name].combine_chunks())]
    if lacking:
        raise ValueError(f"a row lacks its {lacking[0]}")
    rows = table.drop_columns(["curves"]).to_pylist(maps_as_pydicts="strict")
    curves = _read_curves(table["curves"].combine_chunks())
    return [ArchivedTrial(**row, curves=own) for row, own in zip(rows, curves, strict=True)]


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    text = pa.string()
    curve = pa.struct([("name", text), ("steps", pa.list_(pa.int32())), ("values", pa.list_(pa.float64()))])
    return pa.schema(
        [
            *((name, text) for name in _TEXTS),
            *((name, pa.int64()) for name in _TIMES),
            *(("params", pa.map_(text, text)), ("tags", pa.map_(text, text)), ("metrics", pa.map_(text, pa.float64()))),
            ("curves", pa.list_(curve)),
        ]
    )


def _lacks_values(column: Any) -> bool:
    """Whether a value is missing, in the column itself or in what its rows hold."""
    import pyarrow as pa

    if column.null_count:
        return True
    if pa.types.is_map(column.type):
        return bool(column.items.null_count)
    if pa.types.is_list(column.type):
        return _lacks_values(column.values)
    if pa.types.is_struct(column.type):
        return any(_lacks_values(child) for child in column.flatten())
    return False


def _curve(name: str, values: Mapping[int, float]) -> dict[str, Any]:
    steps = sorted(values)
    return {"name": name, "steps": steps, "values": [values[step] for step in steps]}


def _read_curves(column: Any) -> list[dict[str, dict[int, float]]]:
    """Return the curves of every row; by way of NumPy, in a tenth of the time that pyarrow takes for lists in lists."""
    structs = column.values
    names, steps, values = (structs.field(name) for name in ("name", "steps", "values"))
    ends = steps.offsets.to_pylist()
    if values.offsets.to_pylist() != ends:
        raise ValueError("a curve has other steps than values")
    points = list(zip(steps.values.to_numpy().tolist(), values.values.to_numpy().tolist(), strict=True))
    curves = [dict(points[begin:end]) for begin, end in itertools.pairwise(ends)]
    named = list(zip(names.to_pylist(), curves, strict=True))
    return [dict(named[begin:end]) for begin, end in itertools.pairwise(column.offsets.to_pylist())]
