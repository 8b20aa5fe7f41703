"""Data frames as people read them: the cells' text, Markdown and LaTeX. Numbers stay numbers in the frames."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from dlperf.accounting.layers import LayerTable


READABLE_ROWS = 500
"""Longer tables are files for programs only."""
LAYER_COLUMNS = ("layer", "output", "parameters", "activations", "multiplications")
"""The columns of a table of layers that the terminal shows."""


def layer_frame(table: LayerTable) -> pd.DataFrame:
    """Lay out a table of layers, with a last row of totals, which says where one is a lower bound.

    Columns: layer, input, description, formula, output (text); parameters, activations, multiplications (nullable
    integers; missing where they are not known); receptive_field (likewise, in pixels), where one is known.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = [
        {
            "layer": row.layer,
            "input": table.shape_text(row.input_shape),
            "description": row.description,
            "formula": row.formula,
            "parameters": row.parameters,
            "activations": row.activations,
            "multiplications": row.multiplications,
            "output": table.shape_text(row.output_shape),
            "receptive_field": row.receptive_field,
        }
        for row in table.rows
    ]
    totals = {name: getattr(table, name) for name in ("parameters", "activations", "multiplications")}
    bound = f"at least, in {' and '.join(table.at_least)}" if table.at_least else ""
    total = "total, at least" if bound else "total"
    frame = pd.DataFrame(
        [*rows, {"layer": total, "input": "", "description": bound, "formula": "", "output": "", **totals}]
    )
    frame = frame.astype(dict.fromkeys((*totals, "receptive_field"), "Int64"))
    return frame if frame["receptive_field"].notna().any() else frame.drop(columns="receptive_field")


def cell(value: Any) -> str:
    """Write a cell: integers with commas from 10,000, other numbers with four digits, "-" for what is missing."""
    import pandas as pd

    if pd.isna(value):
        return "-"
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return f"{int(value):,}" if abs(int(value)) >= 10_000 else str(int(value))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return f"{float(value):,.0f}" if abs(float(value)) >= 1000 else f"{float(value):.4g}"
    return str(value)


def files(frame: pd.DataFrame) -> dict[str, str]:
    """Write a frame as the texts of its files by ending: csv, and where it is not too long to read md and tex."""
    texts = {"csv": frame.to_csv(index=False)}
    if len(frame) <= READABLE_ROWS:
        texts |= {"md": markdown(frame), "tex": latex(frame)}
    return texts


def markdown(frame: pd.DataFrame) -> str:
    """Write a frame as a Markdown table."""
    return _tabulated(frame.map(lambda value: value.replace("|", "\\|") if isinstance(value, str) else value), "pipe")


def latex(frame: pd.DataFrame) -> str:
    """Write a frame as a LaTeX tabular (package booktabs)."""
    return _tabulated(frame, "latex_booktabs")


def _tabulated(frame: pd.DataFrame, layout: str) -> str:
    from tabulate import tabulate

    cells = [[cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    align = ["right" if is_number(frame, column) else "left" for column in frame.columns]
    headers = [str(column).replace("_", " ") for column in frame.columns]
    text: str = tabulate(cells, headers, tablefmt=layout, colalign=align if cells else None, disable_numparse=True)
    return text + "\n"


def is_number(frame: pd.DataFrame, column: str) -> bool:
    """Whether a column holds numbers, which stand to the right."""
    return frame[column].dtype.kind in "iuf"
