from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from dlperf.accounting.alexnet import alexnet
from dlperf.accounting.layers import LayerRow, LayerTable
from dlperf.accounting.vgg import vgg19
from dlperf.tables import cell, latex, layer_frame, markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (9999, "9999"), (10_000, "10,000"), (-62_378_344, "-62,378,344"), (True, "True")),
        *((0.64379, "0.6438"), (1234.5, "1,234"), (math.nan, "-"), (pd.NA, "-"), (None, "-"), ("a_b", "a_b")),
        *((np.int64(12_345), "12,345"), (np.float32(0.1), "0.1"), (2.0, "2"), (1e-9, "1e-09"), (pd.NaT, "-")),
        *((143_667_240.0, "143,667,240"), (-0.5, "-0.5"), (math.inf, "inf"), ("", "")),
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


def test_latex_says_what_the_text_says() -> None:
    text = latex(pd.DataFrame({"a & b": ["50 %", "#1 {z} $x$"], "value": [1.5, 2.5]}))
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\n a \\& b")
    assert "50 \\%" in text
    assert "\\#1 \\{z\\} \\$x\\$" in text
    assert text.endswith("\\bottomrule\n\\end{tabular}\n")


def test_a_table_without_rows_has_its_heads() -> None:
    frame = pd.DataFrame({"layer_name": [], "parameters": []})
    assert [part.strip() for part in markdown(frame).splitlines()[0].split("|")[1:3]] == ["layer name", "parameters"]
    assert "layer name" in latex(frame)


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert "a\\|b" in markdown(pd.DataFrame({"layer": ["a|b"]}))


def test_a_table_of_layers_as_it_is_read() -> None:
    frame = layer_frame(alexnet("paper"))
    assert list(frame.columns) == [
        *("layer", "input", "description", "formula", "parameters", "activations", "multiplications", "output"),
    ]
    first, last = frame.iloc[1], frame.iloc[-1]
    assert (first["input"], first["output"]) == ("3 x 227 x 227", "96 x 55 x 55")
    assert first["formula"] == "(11 x 11 x 3 + 1) x 96 = 34,944"
    assert (last["layer"], last["parameters"], last["multiplications"]) == ("total", 60_965_224, 724_406_816)
    assert (last["input"], last["description"], last["formula"], last["output"]) == ("", "", "", "")
    assert frame.dtypes[["parameters", "activations", "multiplications"]].eq("Int64").all()
    text = markdown(frame)
    assert "11 x 11 filter, 96 filters, stride 4" in text
    assert text.splitlines()[-1].split("|")[5].strip() == "60,965,224"
    assert latex(frame).count("\\\\") == len(frame) + 1


def test_a_table_of_layers_ends_in_its_totals() -> None:
    frame = layer_frame(vgg19())
    assert list(frame["layer"])[-1] == "total"
    for column in ("parameters", "activations", "multiplications"):
        assert frame[column].iloc[:-1].sum() == frame[column].iloc[-1]


def test_what_is_not_known_is_missing_and_the_total_is_at_least() -> None:
    known = LayerRow("dense", "", (3,), (4,), "", 12, 4, 12)
    row = LayerRow("own", "Own: multiplications not known", (3,), (None, 4), "", 10, None, None)
    table = LayerTable("t", (known, row))
    frame = layer_frame(table)
    assert frame["multiplications"].isna().tolist() == frame["activations"].isna().tolist() == [False, True, False]
    assert table.unknown("multiplications") == table.unknown("activations") == (row,)
    assert (table.multiplications, table.activations) == (12, 4)
    assert frame["description"].iloc[-1] == "at least, in activations and multiplications"
    assert frame["output"].tolist() == ["4", "? x 4", ""]
    assert [line.split("|")[7].strip() for line in markdown(frame).splitlines()[2:]] == ["12", "-", "12"]
