"""Declarations, and what is read from them."""

import shlex
from collections.abc import Mapping
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf.declaration import parameter, text
from dlperf.errors import BadInput
from dlperf.parameters import (
    Parameters,
    declared_defaults,
    defining,
    describe,
    from_texts,
    identity,
    parse,
    same_value,
    sweep_texts,
    texts,
    unquoted,
    written,
)


class Example(Parameters):
    """One parameter of every kind."""

    m: int = parameter(0, ge=0, grid=True, help="copies of each image")
    depth: int = parameter(44, help="layers, 6n+2")
    protocol: Literal["notebook", "corrected"] = parameter("notebook", help="a named set of defaults")
    learning_rate: float = parameter(0.1, gt=0, lt=10, grid=True, help="step size")
    shift: float = parameter(0.0, help="any number")
    dropout: bool = parameter((False, True), grid=True, help="with dropout")
    epochs: int = parameter(derived_from="protocol and m", ge=1, help="passes over the training set")
    cutout_length: int = parameter(16, ge=0, le=32, unit="pixels", help="side of the square")
    data_dir: str = parameter("", operational=True, help="folder of the data")

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Epochs from typed values of the others."""
        return {"epochs": (200 if known["protocol"] == "notebook" else 100) + known["m"]}

    def check(self) -> None:
        """A rule that bounds can't say."""
        if self.depth % 6 != 2:
            raise BadInput("depth", self.depth, "must be 6n+2")


class Reads(Parameters):
    """A parameter that may name a file, and one that looks like it."""

    dataset: str = parameter("digits", names_file=lambda text: text.partition(":")[2], help="what is read")
    units: str = parameter("64,128", help="units")


def refusal(raw: dict[str, str]) -> str:
    """The message with which `parse` refuses."""
    with pytest.raises(BadInput) as caught:
        parse(Example, raw)
    return str(caught.value)


@given(st.integers(-(10**11), 10**11))
def test_integer_text_reads_back(value: int) -> None:
    depth = 6 * value + 2
    assert parse(Example, {"depth": text(depth)}).trials[0].depth == depth


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_text_has_no_exponent_and_reads_back(value: float) -> None:
    written = text(value)
    assert "e" not in written
    assert parse(Example, {"shift": written}).trials[0].shift == value


@given(st.text(min_size=1))
def test_string_reads_back_as_it_is(value: str) -> None:
    assert parse(Example, {"data_dir": text(value)}).trials[0].data_dir == value


@given(
    st.lists(st.integers(0, 10**11), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(min_value=0, max_value=10, exclude_min=True, exclude_max=True), min_size=1, max_size=4).map(
        lambda values: list(dict.fromkeys(values))
    ),
)
def test_grid_is_the_product_in_order_and_every_trial_reads_back(ms: list[int], rates: list[float]) -> None:
    parsed = parse(Example, {"m": ", ".join(map(str, ms)), "learning_rate": ",".join(map(repr, rates))})
    assert [(each.m, each.learning_rate, each.dropout) for each in parsed.trials] == [
        (m, rate, dropout) for m in ms for rate in rates for dropout in (False, True)
    ]
    assert parsed.explicit == {"m": ",".join(map(text, ms)), "learning_rate": ",".join(map(text, rates))}
    assert parse(Example, parsed.explicit) == parsed
    assert [from_texts(Example, texts(each)) for each in parsed.trials] == list(parsed.trials)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (False, "false"),
        (4, "4"),
        (0.001, "0.001"),
        (1e-4, "0.0001"),
        (1e5, "100000"),
        (2.5e-7, "0.00000025"),
    ],
)
def test_canonical_text(value: bool | int | float, written: str) -> None:
    assert text(value) == written


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"m": "abc"}, "m=abc: must be an integer, at least 0, or a comma list of them"),
        ({"m": "-1"}, "m=-1: must be an integer, at least 0, or a comma list of them"),
        ({"m": "4,4"}, "m=4,4: 4 stands twice; each value may stand once"),
        ({"m": "4,04"}, "m=4,04: 4 stands twice; each value may stand once"),
        ({"m": "1,x"}, "m=1,x: x is not accepted, each must be an integer, at least 0, or a comma list of them"),
        (
            {"m": "1,"},
            "m=1,: an empty item is not accepted, each must be an integer, at least 0, or a comma list of them",
        ),
        ({"dropout": "true,True"}, "dropout=true,True: true stands twice; each value may stand once"),
        ({"depth": "45"}, "depth=45: must be 6n+2"),
        ({"depth": "8,20"}, "depth=8,20: must be an integer"),
        ({"protocol": "x"}, "protocol=x: must be one of notebook, corrected"),
        ({"cutout_length": "33"}, "cutout_length=33: must be an integer (pixels), at least 0 and at most 32"),
        ({"learning_rate": "0"}, "learning_rate=0: must be a number, above 0 and below 10, or a comma list of them"),
    ],
)
def test_refusals_name_parameter_value_and_what_is_allowed(raw: dict[str, str], message: str) -> None:
    assert refusal(raw) == message


@pytest.mark.parametrize("written", ["4.0", "1_000", "1e3", "\u0664", "+4", "0x10", "--4", "9" * 5000])
def test_integers_are_plain_digits(written: str) -> None:
    assert "must be an integer" in refusal({"depth": written})


@pytest.mark.parametrize("written", ["nan", "inf", "-inf", "1e400", "1_0.5", "\u0660.\u0665", "1,5", "."])
def test_floats_are_finite_and_plain(written: str) -> None:
    assert "must be a number" in refusal({"shift": written})


def test_unknown_parameter_names_the_closest_and_all_valid_ones() -> None:
    names = ", ".join(Example.model_fields)
    assert refusal({"cutout-lenght": "3"}) == (
        f"cutout-lenght=3: unknown parameter; did you mean cutout_length? (valid: {names})"
    )
    assert refusal({"zzzz": "3"}) == f"zzzz=3: unknown parameter (valid: {names})"


def test_empty_text_is_not_given() -> None:
    parsed = parse(Example, {"m": "", "data_dir": ""})
    assert parsed.explicit == {}
    assert [each.dropout for each in parsed.trials] == [False, True]


def test_what_follows_sees_typed_values_and_gives_way_to_what_is_given() -> None:
    assert [each.epochs for each in parse(Example, {"m": "1,2", "dropout": "true"}).trials] == [201, 202]
    assert parse(Example, {"protocol": "corrected", "epochs": "5"}).trials[0].epochs == 5
    assert Example.resolve({"protocol": "corrected", "m": 3}).epochs == 103


def test_resolve_refuses_like_parse() -> None:
    for given_values in ({"m": -1}, {"depth": 45}, {"mm": 4}, {"m": True}):
        with pytest.raises(BadInput):
            Example.resolve(given_values)


def test_instances_are_immutable_and_strict() -> None:
    params = Example.resolve({})
    with pytest.raises(pydantic.ValidationError):
        params.m = 4
    with pytest.raises(pydantic.ValidationError):
        Example(**{**params.model_dump(), "m": "4"})
    with pytest.raises(BadInput):
        Example(**{**params.model_dump(), "depth": 45})


def test_from_texts_takes_types_from_the_declarations() -> None:
    params = from_texts(Example, {"m": "16", "epochs": "7", "num_params": "665994", "data_dir": ""})
    assert (params.m, params.epochs, params.depth) == (16, 7, 44)
    with pytest.raises(BadInput):
        from_texts(Example, {"m": "2,4"})


def test_operational_parameters_do_not_define_a_trial() -> None:
    params = Example.resolve({"data_dir": "/data"})
    assert texts(params)["data_dir"] == "/data"
    assert set(texts(params)) - set(defining(params)) == {"data_dir"}


def test_same_value_compares_what_is_read() -> None:
    assert same_value(Example, "learning_rate", "1e-3,0.1", "0.001, 0.10")
    assert not same_value(Example, "learning_rate", "0.1,0.2", "0.2,0.1")
    assert same_value(Example, "dropout", "True", "true")
    assert not same_value(Example, "m", "4", "4.0")
    assert not same_value(Example, "m", "", "4")
    with pytest.raises(KeyError):
        same_value(Example, "num_params", "1", "1")


def test_of_a_path_the_files_name_is_logged_and_nothing_defines_a_trial() -> None:
    here, there = (Reads.resolve({"dataset": f"npz:{folder}/my.npz"}) for folder in ("/here", "/there"))
    other, course = (Reads.resolve({"dataset": written}) for written in ("npz:/here/other.npz", "digits"))
    assert texts(here) == defining(here) == texts(there) == {"dataset": "npz:my.npz", "units": "64,128"}
    assert identity(here) == identity(there) == identity(other) == {"dataset": "npz:", "units": "64,128"}
    assert identity(course)["dataset"] == texts(course)["dataset"] == "digits"
    assert written(here)["dataset"] == parse(Reads, {"dataset": "npz:/here/my.npz"}).explicit["dataset"]
    assert texts(from_texts(Reads, texts(here))) == texts(from_texts(Reads, written(here))) == texts(here)
    assert same_value(Reads, "dataset", "npz:/here/my.npz", "npz:my.npz")
    assert not same_value(Reads, "dataset", "npz:/here/my.npz", "npz:/here/other.npz")
    assert sweep_texts([here, there, other])["dataset"] == "npz:my.npz,npz:other.npz"


def test_declared_defaults_leave_out_what_follows() -> None:
    defaults = declared_defaults(Example)
    assert defaults["dropout"] == "false,true"
    assert defaults["data_dir"] == ""
    assert "epochs" not in defaults


def test_sweep_texts_list_distinct_values() -> None:
    sweep = sweep_texts(parse(Example, {"m": "4,0", "learning_rate": "1e-3"}).trials)
    assert (sweep["m"], sweep["learning_rate"], sweep["dropout"], sweep["epochs"]) == (
        "4,0",
        "0.001",
        "false,true",
        "204,200",
    )
    assert sweep_texts([]) == {}


def test_descriptions_in_order_of_declaration() -> None:
    described = {each.name: each for each in describe(Example)}
    assert list(described) == list(Example.model_fields)
    assert described["epochs"].default is None
    assert described["cutout_length"].meaning == "Side of the square. An integer (pixels), at least 0 and at most 32."
    assert described["protocol"].type_text == "notebook|corrected"


def test_wrong_declarations_show_when_they_are_made() -> None:
    with pytest.raises(TypeError, match="either a default"):
        parameter(help="neither")
    with pytest.raises(TypeError, match="either a default"):
        parameter(4, derived_from="m", help="both")
    with pytest.raises(TypeError, match="several defaults"):
        parameter((1, 2), help="no grid")
    with pytest.raises(TypeError, match="with parameter"):
        type("Bare", (Parameters,), {"__annotations__": {"m": int}, "m": 4})
    with pytest.raises(TypeError, match="declare it as"):
        type("List", (Parameters,), {"__annotations__": {"m": list}, "m": parameter("", help="a list")})
    with pytest.raises(TypeError, match="another type"):
        type("Text", (Parameters,), {"__annotations__": {"m": int}, "m": parameter("4", help="a string")})
    with pytest.raises(BadInput, match="at least 1"):
        type("Low", (Parameters,), {"__annotations__": {"m": int}, "m": parameter(0, ge=1, help="too low")})


@given(st.text(min_size=1))
def test_quotes_of_the_shell_are_undone(written: str) -> None:
    assert unquoted({"units": shlex.quote(written)}) == {"units": written}


def test_other_quotes_stay() -> None:
    logged = {"a": "'", "b": "'x", "c": "64,128", "d": "'plain'"}
    assert unquoted(logged) == logged


def test_an_integer_without_a_bound_has_one_all_the_same() -> None:
    """What is computed of it, as a trial's work, is a float."""
    parse(Example, {"m": str(10**12)})
    with pytest.raises(BadInput, match=r"m=1000000000001: must be .*, and no more than 1000000000000"):
        parse(Example, {"m": str(10**12 + 1)})
