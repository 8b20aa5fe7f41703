from __future__ import annotations

import math

import pandas as pd
import pytest

from dlperf.accounting.layers import LayerRow, LayerTable
from dlperf.accounting.vgg import vgg19
from dlperf.tables import cell, latex, layer_frame, markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (9999, "9999"), (10_000, "10,000"), (-62_378_344, "-62,378,344"), (True, "True")),
        *((0.64379, "0.6438"), (1234.5, "1,234"), (math.nan, "-"), (pd.NA, "-"), (None, "-"), ("a_b", "a_b")),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_markdown_and_latex() -> None:
    frame = pd.DataFrame({"layer_name": ["conv_1", "a & b"], "parameters": pd.array([62_378_344, None], "Int64")})
    lines = markdown(frame).splitlines()
    assert [part.strip() for part in lines[0].split("|")[1:3]] == ["layer name", "parameters"]
    assert lines[1].endswith("-:|")
    assert "62,378,344" in lines[2]
    assert lines[3].split("|")[2].strip() == "-"
    text = latex(frame)
    assert "\\toprule" in text
    assert "conv\\_1" in text
    assert "a \\& b" in text


def test_a_table_of_layers_ends_in_its_totals() -> None:
    frame = layer_frame(vgg19())
    assert list(frame["layer"])[-1] == "total"
    for column in ("parameters", "activations", "multiplications"):
        assert frame[column].iloc[:-1].sum() == frame[column].iloc[-1]


def test_what_is_not_counted_is_missing_and_not_zero() -> None:
    row = LayerRow("lstm", "LSTM: not counted", (3,), (4,), "", 10, 4, None)
    table = LayerTable("t", (row,))
    frame = layer_frame(table)
    assert frame["multiplications"].isna().tolist() == [True, False]
    assert table.not_counted == (row,)
    assert "| -" in markdown(frame).replace("  ", " ") or " - |" in markdown(frame)
