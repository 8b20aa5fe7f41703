"""The declaration of one parameter: how a user's text is read by it, and what it says about itself."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo

from dlperf.errors import BadInput

Value: TypeAlias = bool | int | float | str
"""What a parameter can hold."""

_NO_DEFAULT: Any = object()
_INTEGER = re.compile(r"-?[0-9]+")
# float() alone also takes underscores and the digits of other scripts, which no other reader of a logged text would.
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LARGEST = 10**12  # of an integer that declares no bound: products of a few still fit a float
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
    separator: str = ",",
    is_one_value: Callable[[str], bool] | None = None,
    operational: bool = False,
    selects: bool = False,
    derived_from: str = "",
    absent: Any = None,
    names_file: Callable[[str], str] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Declare a field of a `Parameters` model.

    Args:
        default: The fixed default. A parameter with `grid` may have a tuple of them, one with `derived_from` has none.
        help: What the parameter means, without its type, bounds, choices and default, which are added from here.
        unit: What a number counts ("pixels", "seconds"), "" for none.
        grid: The parameter takes a list on the command line and spans the grid of trials.
        separator: What stands between the values of such a list; a value that holds it has a backslash before it.
        is_one_value: Says of a user's text whether it is one value as it stands, separators included: the name of an
            existing file, say.
        operational: The parameter does not define the result (`data_dir`, `dry_run`): it is left out of the trial's
            key, and may differ when a run is resumed.
        selects: The parameter says which trials there are, not what one of them does (`max_layers`): it is left out of
            the trial's key, but stays as it is when a run is resumed.
        derived_from: There is no fixed default: it follows from this ("protocol and m", "the machine"), and the model's
            `derived_defaults` computes it; the values of a grid come from `default_grid`.
        absent: What a stored run that lacks the parameter was run with, where that is not today's default; a trial with
            this value has the key that it had before there was the parameter.
        names_file: Returns the path that a text ends with, "" if it names no file: what is logged has the file's name
            only, and a trial's identity neither, because the file's content is part of it.
        ge: The value is at least this.
        gt: The value is above this.
        le: The value is at most this.
        lt: The value is below this.

    Returns:
        The Pydantic field, as the right-hand side of the declaration.

    Raises:
        TypeError: `default` and `derived_from` are both set or both missing, or several defaults come without `grid`.
    """
    if (default is _NO_DEFAULT) != bool(derived_from):
        raise TypeError("a parameter has either a default or says what its value follows from")
    defaults: list[Any] = [] if derived_from else list(default) if isinstance(default, tuple) else [default]
    if isinstance(default, tuple) and not (grid and defaults):
        raise TypeError("only a parameter that spans the grid can have several defaults, and at least one")
    return Field(
        **({} if derived_from else {"default": defaults[0]}),
        description=help,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        json_schema_extra={
            "unit": unit,
            "grid": grid,
            "separator": separator,
            "is_one_value": is_one_value,
            "operational": operational,
            "selects": selects,
            "derived_from": derived_from,
            "absent": absent,
            "names_file": names_file,
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
        derived_from: What the default follows from; "" where it is fixed.
        absent: What a stored run that lacks the parameter was run with; None where that is the default.
        unit: What a number counts; "" for none.
        help: What the parameter means.
        grid: It takes a list and spans the grid.
        separator: What stands between the values of the list.
        is_one_value: Whether a user's text is one value as it stands; None where a separator always separates.
        operational: It does not define the result.
        selects: It says which trials there are.
        names_file: Returns the path that a text ends with; None where no text names a file.
    """

    name: str
    type: type
    choices: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    defaults: tuple[Value, ...]
    derived_from: str
    absent: Value | None
    unit: str
    help: str
    grid: bool
    separator: str
    is_one_value: Callable[[str], bool] | None
    operational: bool
    selects: bool
    names_file: Callable[[str], str] | None

    @classmethod
    def of(cls, field: FieldInfo, name: str, owner: str) -> Description:
        """Read a declaration made with `parameter`.

        Args:
            field: The Pydantic field.
            name: Its name.
            owner: The name of its model, for the error.

        Returns:
            What it says.

        Raises:
            TypeError: It has a type that is not supported, or was not declared with `parameter`.
        """
        metadata = field.json_schema_extra
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        kind = str if choices and all(isinstance(choice, str) for choice in choices) else field.annotation
        if kind not in _TYPES or not isinstance(metadata, dict) or "derived_from" not in metadata:
            raise TypeError(f"{owner}.{name}: declare it as int, float, bool, str or Literal, with parameter()")
        settings: dict[str, Any] = metadata
        bounds = [
            (words, getattr(constraint, bound))
            for constraint in field.metadata
            for bound, words in _BOUNDS.items()
            if getattr(constraint, bound, None) is not None
        ]
        return cls(
            name=name,
            type=kind,
            choices=choices,
            bounds=tuple(bounds),
            defaults=tuple(settings["defaults"]),
            derived_from=settings["derived_from"],
            absent=settings["absent"],
            unit=settings["unit"],
            help=field.description or "",
            grid=settings["grid"],
            separator=settings["separator"],
            is_one_value=settings["is_one_value"],
            operational=settings["operational"],
            selects=settings["selects"],
            names_file=settings["names_file"],
        )

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
            parts.append(f"or a {self.list_name} of them")
        return ", ".join(parts)

    @property
    def list_name(self) -> str:
        """How a list of its values is called: "comma list", or "list with ; between"."""
        return "comma list" if self.separator == "," else f"list with {self.separator} between"

    def join(self, values: Iterable[Value]) -> str:
        """Write values as the text of a list."""
        return self.separator.join(self.write(value) for value in values)

    def write(self, value: Value) -> str:
        """Write one value as the text that `read` reads back: its `text`, separators in it marked."""
        written = text(value)
        return written.replace(self.separator, f"\\{self.separator}") if self._marks_separators else written

    def logged(self, value: Value) -> str:
        """Write one value as it is logged: of a path the file's name."""
        path = self.path_in(value)
        return self.write(f"{str(value).removesuffix(path)}{PurePath(path).name}" if path else value)

    def identity(self, value: Value) -> str:
        """Write one value as it defines a trial: without its path, since the file's content does."""
        path = self.path_in(value)
        return self.write(str(value).removesuffix(path) if path else value)

    def path_in(self, value: Value) -> str:
        """The path of the file that a value names, "" if it names none."""
        return self.names_file(value) if self.names_file and isinstance(value, str) else ""

    def with_whole_path(self, value: Value) -> Value:
        """The value with the whole path of the file, or folder (`data_dir`), that it names; others as they are."""
        path = self.path_in(value) or (str(value) if self.name.endswith("_dir") else "")
        return f"{str(value).removesuffix(path)}{os.path.abspath(os.path.expanduser(path))}" if path else value

    @property
    def _marks_separators(self) -> bool:
        return self.grid and self.type is str and not self.choices

    @property
    def default(self) -> str | None:
        """The fixed default as text (a list where the grid spans several); None where it follows from others."""
        return None if self.derived_from else self.join(self.defaults)

    @property
    def meaning(self) -> str:
        """Help and what is allowed, as sentences: "Side of the square. An integer (pixels), at least 0."."""
        sentences = [self.help] if self.allowed == "text" else [self.help, self.allowed]
        return " ".join(f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}." for sentence in sentences)

    def read(self, written: str) -> Value:
        """Read one value.

        Args:
            written: The text of one value; where the parameter spans the grid, a separator in it has a backslash
                before it.

        Returns:
            The value, of the declared type.

        Raises:
            BadInput: It is not of the type, out of bounds, or none of the choices.
        """
        try:
            value = self._convert(written if self.type is str and not self.grid else written.strip())
        except ValueError:
            raise BadInput(self.name, written, f"must be {self.allowed}") from None
        if self.type is int and abs(int(value)) > _LARGEST:
            raise BadInput(self.name, written, f"must be {self.allowed}, and no more than {_LARGEST}")
        return value

    def read_list(self, written: str) -> tuple[Value, ...]:
        """Read what may be a list, if the parameter spans the grid; otherwise one value.

        Args:
            written: The user's text; blanks around separators do not matter.

        Returns:
            The values in the order of the text, duplicates included.

        Raises:
            BadInput: One of them is not accepted.
        """
        if self.is_one_value and self.is_one_value(written):
            return (written,)
        items = re.split(rf"(?<!\\){re.escape(self.separator)}", written) if self.grid else [written]
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
        elif self._marks_separators:
            unmarked = written.replace(f"\\{self.separator}", "")
            value = written.replace(f"\\{self.separator}", self.separator)
            accepted = self.separator not in unmarked and written != ""
        else:
            value, accepted = written, written in self.choices if self.choices else True
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
