"""Parameters, each declared once: a Pydantic model per problem and what is derived from it.

One declaration gives the validation with bounds and choices, the command line and its help, the MLproject entry, the
text that is logged and the types with which runs are read back (MLflow returns every parameter as a string).

    class Cutout(Parameters):
        m: int = parameter(0, ge=0, grid=True, help="copies of each image")
        protocol: Literal["notebook", "corrected"] = parameter("notebook", help="a named set of defaults")
        epochs: int = parameter(follows="protocol", ge=1, help="passes over the training set")

        @classmethod
        def following(cls, given):
            return {"epochs": 200 if given["protocol"] == "notebook" else 100}

    parse(Cutout, {"m": "0,4"}).trials  # two instances of Cutout, with epochs filled in
"""

from __future__ import annotations

import difflib
import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field

from dlperf.errors import BadInput

Value: TypeAlias = bool | int | float | str
"""What a parameter can hold."""

P = TypeVar("P", bound="Parameters")

_NO_DEFAULT: Any = object()
_INTEGER = re.compile(r"-?[0-9]+")
# float() alone also takes underscores and the digits of other scripts, which no other reader of a logged text would.
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_TYPES: dict[type, tuple[str, str]] = {  # the type's name, and how a sentence calls one of its values
    int: ("integer", "an integer"),
    float: ("number", "a number"),
    bool: ("true or false", "true or false"),
    str: ("text", "text"),
}


def parameter(
    default: Any = _NO_DEFAULT,
    *,
    help: str,
    unit: str = "",
    grid: bool = False,
    operational: bool = False,
    follows: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Declare a field of a `Parameters` model.

    Args:
        default: The fixed default. A parameter with `grid` may have a tuple of them. None of either with `follows`.
        help: What the parameter means, without its type, bounds, choices and default, which are added from here.
        unit: What a number counts ("pixels", "seconds"), "" for none.
        grid: The parameter takes a comma list on the command line and spans the grid of trials.
        operational: The parameter does not define the result (`data_dir`, `dry_run`): it is left out of the trial's
            key, and may differ when a run is resumed.
        follows: There is no fixed default: it follows from this ("protocol and m", "the machine"), and the model's
            `following` computes it.
        ge: The value is at least this.
        gt: The value is above this.
        le: The value is at most this.
        lt: The value is below this.

    Returns:
        The Pydantic field, as the right-hand side of the declaration.

    Raises:
        TypeError: Neither or both of `default` and `follows` are given, or several defaults without `grid`.
    """
    if (default is _NO_DEFAULT) != bool(follows):
        raise TypeError("a parameter has either a default or says what its value follows from")
    defaults: list[Any] = [] if follows else list(default) if isinstance(default, tuple) else [default]
    if isinstance(default, tuple) and not (grid and defaults):
        raise TypeError("only a parameter that spans the grid can have several defaults, and at least one")
    return Field(
        **({} if follows else {"default": defaults[0]}),
        description=help,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        json_schema_extra={
            "unit": unit,
            "grid": grid,
            "operational": operational,
            "follows": follows,
            "defaults": defaults,
        },
    )


@dataclass(frozen=True)
class Description:
    """What one declaration says, for the reader of a text, the command line's help and MLproject.

    Attributes:
        name: The parameter's name.
        type: int, float, bool or str.
        choices: The accepted texts; empty where any value of the type is one.
        bounds: Pairs of "at least", "above", "at most" or "below" and the bound.
        defaults: The fixed default (several where the grid spans them); empty where the value follows from others.
        follows: What the default follows from; "" where it is fixed.
        unit: What a number counts; "" for none.
        help: What the parameter means.
        grid: It takes a comma list and spans the grid.
        operational: It does not define the result.
    """

    name: str
    type: type
    choices: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    defaults: tuple[Value, ...]
    follows: str
    unit: str
    help: str
    grid: bool
    operational: bool

    @property
    def type_text(self) -> str:
        """The type in words: "integer", "number", "true or false", "text", or the choices with bars between."""
        return "|".join(self.choices) if self.choices else _TYPES[self.type][0]

    @property
    def allowed(self) -> str:
        """What is accepted, to follow "must be": "an integer (pixels), at least 0, or a comma list of them"."""
        parts = [f"one of {', '.join(self.choices)}" if self.choices else _TYPES[self.type][1]]
        if self.unit:
            parts[0] += f" ({self.unit})"
        if self.bounds:
            parts.append(" and ".join(f"{words} {text(bound)}" for words, bound in self.bounds))
        if self.grid:
            parts.append("or a comma list of them")
        return ", ".join(parts)

    @property
    def default(self) -> str | None:
        """The fixed default as text (a comma list where the grid spans several); None where it follows from others."""
        return None if self.follows else ",".join(text(value) for value in self.defaults)

    @property
    def meaning(self) -> str:
        """Help and what is allowed, as sentences: "Side of the square. An integer (pixels), at least 0."."""
        sentences = [self.help] if self.allowed == "text" else [self.help, self.allowed]
        return " ".join(f"{each[:1].upper()}{each[1:].rstrip('.')}." for each in sentences)

    def read(self, written: str) -> Value:
        """Read one value.

        Args:
            written: The text of one value, without commas where the parameter spans the grid.

        Returns:
            The value, of the declared type.

        Raises:
            BadInput: It is not of the type, out of bounds, or none of the choices.
        """
        try:
            value = self._convert(written if self.type is str and not self.grid else written.strip())
        except ValueError:
            raise BadInput(self.name, written, f"must be {self.allowed}") from None
        return value

    def read_list(self, written: str) -> tuple[Value, ...]:
        """Read what may be a comma list, if the parameter spans the grid; otherwise one value.

        Args:
            written: The text as the user gave it; blanks around commas do not matter.

        Returns:
            The values in the order given, duplicates included.

        Raises:
            BadInput: One of them is not accepted.
        """
        items = written.split(",") if self.grid else [written]
        values = []
        for item in items:
            try:
                values.append(self.read(item))
            except BadInput as error:
                which = f"{item.strip() or 'an empty item'} is not accepted, each " if len(items) > 1 else ""
                raise BadInput(self.name, written, which + error.allowed) from None
        return tuple(values)

    def _convert(self, written: str) -> Value:
        """Text to value; ValueError for anything that is not accepted (int() raises it for absurdly long ones too)."""
        value: Value
        if self.type is bool:
            value = {"true": True, "false": False}.get(written.lower(), "")
            accepted = value != ""
        elif self.type is int:
            accepted = _INTEGER.fullmatch(written) is not None
            value = int(written) if accepted else 0
        elif self.type is float:
            accepted = _FLOAT.fullmatch(written) is not None
            value = float(written) if accepted else 0.0
            accepted = accepted and math.isfinite(value)
        else:
            value = written
            accepted = written in self.choices if self.choices else not self.grid or ("," not in value and value != "")
        if not (accepted and all(_within(value, words, bound) for words, bound in self.bounds)):
            raise ValueError
        return value


def _within(value: Any, words: str, bound: float) -> bool:
    """Whether a number keeps a bound."""
    comparisons: dict[str, bool] = {
        "at least": value >= bound,
        "above": value > bound,
        "at most": value <= bound,
        "below": value < bound,
    }
    return comparisons[words]


class Parameters(BaseModel):
    """Base of a problem's parameters: immutable, complete and within bounds, whichever way it was made.

    `parse` makes instances from what a user wrote, `from_texts` from what a run logged and `resolve` from Python
    values. Field types are int, float, bool, str and Literal of strings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Look at the declarations when they are made, so that a wrong one shows on import and not in a user's run.

        Args:
            **kwargs: Class keywords, passed on.

        Raises:
            TypeError: A field or its default has a type that is not supported, or was not declared with `parameter`.
            BadInput: A default is not among the values its own declaration accepts.
        """
        super().__pydantic_init_subclass__(**kwargs)
        for description in describe(cls):
            for default in description.defaults:
                if description.read(text(default)) != default:
                    raise TypeError(f"{cls.__name__}.{description.name}: the default {default!r} has another type")

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Hook: the values of the parameters declared with `follows`.

        Args:
            given: Typed values of every parameter with a fixed default, and of those with `follows` that were given.

        Returns:
            A value for every parameter declared with `follows`. Those that were given win over it.
        """
        return {}

    def check(self) -> None:
        """Hook: rules that bounds can't say, on a complete instance.

        Raises:
            BadInput: A rule is broken.
        """

    def model_post_init(self, context: Any, /) -> None:
        """Run `check`, so that no instance exists that breaks it.

        Args:
            context: Pydantic's validation context, not used.

        Raises:
            BadInput: `check` refused the values.
        """
        self.check()

    @classmethod
    def resolve(cls, given: Mapping[str, Value]) -> Self:
        """Make an instance from some of its values: fixed defaults first, then what follows from them.

        Args:
            given: Typed values by name, one per parameter (no lists).

        Returns:
            The complete instance. Of a default with several values it takes the first.

        Raises:
            BadInput: A name is unknown, a value is not accepted or `check` refused them together.
        """
        _refuse_unknown(cls, {name: text(value) for name, value in given.items()})
        descriptions = _descriptions(cls)
        return _complete(cls, {name: descriptions[name].read(text(value)) for name, value in given.items()})


@dataclass(frozen=True)
class Given(Generic[P]):
    """What a user asked for.

    Attributes:
        trials: The points of the grid, complete: the first declared parameter varies slowest, values as ordered.
        given: Canonical text of exactly the parameters that were given, in the order of declaration, lists with commas.
    """

    trials: tuple[P, ...]
    given: dict[str, str]


def parse(cls: type[P], raw: Mapping[str, str]) -> Given[P]:
    """Read what a user wrote.

    Args:
        cls: The declarations.
        raw: Texts by parameter name; an empty text means that the parameter is not given.

    Returns:
        The trials and what was given.

    Raises:
        BadInput: The first thing that is wrong: an unknown name, then values in the order of declaration, then the
            rules of `check` on each trial.
    """
    _refuse_unknown(cls, raw)
    lists: dict[str, tuple[Value, ...]] = {}
    given: dict[str, str] = {}
    for description in describe(cls):
        name, written = description.name, raw.get(description.name, "")
        if written:
            lists[name] = description.read_list(written)
            given[name] = ",".join(text(value) for value in lists[name])
            for value in lists[name]:
                if lists[name].count(value) > 1:
                    raise BadInput(name, written, f"{text(value)} stands twice; each value may stand once")
        elif description.defaults:
            lists[name] = description.defaults
    points = itertools.product(*lists.values())
    return Given(tuple(_complete(cls, dict(zip(lists, point, strict=True))) for point in points), given)


def from_texts(cls: type[P], texts: Mapping[str, str]) -> P:
    """Read the parameters that one trial's run logged.

    Args:
        cls: The declarations.
        texts: The run's parameters. Unknown ones (`num_params`, or one that has been dropped since) are ignored; one
            that is missing, as in a run of an older version, takes its default.

    Returns:
        The typed instance.

    Raises:
        BadInput: A text is not accepted (any comma list, for one: a sweep's parent run is not a trial).
    """
    return _complete(
        cls, {each.name: each.read(texts[each.name]) for each in describe(cls) if texts.get(each.name, "") != ""}
    )


def describe(cls: type[Parameters]) -> Iterator[Description]:
    """What each parameter's declaration says, in the order of declaration.

    Args:
        cls: The declarations.

    Yields:
        One description per parameter.

    Raises:
        TypeError: A field has a type that is not supported, or was not declared with `parameter`.
    """
    yield from _descriptions(cls).values()


def text(value: Value) -> str:
    """The canonical plain text of a value: "true", "4", "0.001" (never an exponent), or the string itself.

    Args:
        value: The value.

    Returns:
        A text that `Description.read` reads back to an equal value.

    Raises:
        TypeError: It is no value that a parameter can hold.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        plain = format(Decimal(float.__repr__(value)), "f")
        return plain.rstrip("0").removesuffix(".") if "." in plain else plain
    if isinstance(value, str):
        return value
    raise TypeError(f"a parameter can't hold {value!r}")


def texts(params: Parameters) -> dict[str, str]:
    """The text of every parameter of an instance, as it is logged.

    Args:
        params: The instance.

    Returns:
        Texts by name, in the order of declaration.
    """
    return {each.name: text(getattr(params, each.name)) for each in describe(type(params))}


def defining(params: Parameters) -> dict[str, str]:
    """The texts of the parameters that define a trial's result: all but the operational ones.

    Args:
        params: The instance.

    Returns:
        Texts by name, in the order of declaration.
    """
    return {each.name: text(getattr(params, each.name)) for each in describe(type(params)) if not each.operational}


def sweep_texts(trials: Sequence[Parameters]) -> dict[str, str]:
    """The texts for a sweep's parent run.

    Args:
        trials: The sweep's trials, all of one class.

    Returns:
        For each parameter its distinct values over the trials in order of appearance, with commas between.
    """
    rows = [texts(trial) for trial in trials]
    return {name: ",".join(dict.fromkeys(row[name] for row in rows)) for name in (rows[0] if rows else {})}


def same_value(cls: type[Parameters], name: str, a: str, b: str) -> bool:
    """Whether two texts say the same value of a parameter, as "1e-3" and "0.001" do.

    Args:
        cls: The declarations.
        name: The parameter; if it spans the grid, the texts are compared as lists, order included.
        a: One text.
        b: The other.

    Returns:
        True if they are equal, or are read to equal values.

    Raises:
        KeyError: There is no such parameter.
    """
    description = _descriptions(cls)[name]
    try:
        return a == b or description.read_list(a) == description.read_list(b)
    except BadInput:
        return False


def declared_defaults(cls: type[Parameters]) -> dict[str, str]:
    """The texts of the fixed defaults, empty ones included.

    Args:
        cls: The declarations.

    Returns:
        Texts by name, in the order of declaration, without the parameters that follow from others.
    """
    return {each.name: each.default for each in describe(cls) if each.default is not None}


@functools.cache
def _descriptions(cls: type[Parameters]) -> dict[str, Description]:
    """The descriptions by name: read once per class, because every trial and every text asks for them."""
    found = {}
    for name, field in cls.model_fields.items():
        metadata = field.json_schema_extra
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        kind = str if choices and all(isinstance(choice, str) for choice in choices) else field.annotation
        if kind not in _TYPES or not isinstance(metadata, dict) or "follows" not in metadata:
            raise TypeError(f"{cls.__name__}.{name}: declare it as int, float, bool, str or Literal, with parameter()")
        settings: dict[str, Any] = metadata
        bounds = [
            (words, getattr(constraint, bound))
            for constraint in field.metadata
            for bound, words in _BOUNDS.items()
            if getattr(constraint, bound, None) is not None
        ]
        found[name] = Description(
            name=name,
            type=kind,
            choices=choices,
            bounds=tuple(bounds),
            defaults=tuple(settings["defaults"]),
            follows=settings["follows"],
            unit=settings["unit"],
            help=field.description or "",
            grid=settings["grid"],
            operational=settings["operational"],
        )
    return found


def _complete(cls: type[P], values: Mapping[str, Value]) -> P:
    """Add fixed defaults to accepted values, then what follows from them, and make the instance."""
    descriptions = _descriptions(cls)
    known = {name: each.defaults[0] for name, each in descriptions.items() if each.defaults} | dict(values)
    missing = [name for name in descriptions if name not in known]
    followed = cls.following(known) if missing else {}
    return cls(**known, **{name: followed[name] for name in missing})


def _refuse_unknown(cls: type[Parameters], raw: Mapping[str, str]) -> None:
    """Raise BadInput for the first name that is not declared."""
    names = list(_descriptions(cls))
    for name, written in raw.items():
        if name not in names:
            closest = difflib.get_close_matches(name.replace("-", "_").lower(), names, n=1)
            hint = f"; did you mean {closest[0]}?" if closest else ""
            raise BadInput(name, written, f"unknown parameter{hint} (valid: {', '.join(names)})")
