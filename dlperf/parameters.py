"""Parameters, declared once: a Pydantic model per problem and what is derived from it.

One declaration gives the validation with bounds and choices, the command line and its help, the MLproject entry, the
text that is logged and the types with which runs are read back (MLflow returns every parameter as a string).

    class Cutout(Parameters):
        m: int = parameter(0, ge=0, grid=True, help="copies of each image")
        protocol: Literal["notebook", "corrected"] = parameter("notebook", help="a named set of defaults")
        epochs: int = parameter(derived_from="protocol", ge=1, help="passes over the training set")

        @classmethod
        def derived_defaults(cls, known):
            return {"epochs": 200 if known["protocol"] == "notebook" else 100}

    parse(Cutout, {"m": "0,4"}).trials  # two instances of Cutout, with epochs filled in
"""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from dlperf.declaration import Description, Value, text
from dlperf.errors import BadInput, did_you_mean

P = TypeVar("P", bound="Parameters")

MAX_RANDOM_SEED = 2**32 - 1
"""The largest `random_seed`: hashes and generators take 32 bits of it."""


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
            BadInput: A default is not among the values that its declaration accepts.
        """
        super().__pydantic_init_subclass__(**kwargs)
        for description in describe(cls):
            for default in description.defaults:
                if description.read(description.write(default)) != default:
                    raise TypeError(f"{cls.__name__}.{description.name}: the default {default!r} has another type")

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Hook: the values of the parameters declared with `derived_from`.

        Args:
            known: Typed values known so far: of every parameter that has a fixed default or was set.

        Returns:
            A value for every parameter declared with `derived_from`; one that was set wins over it.
        """
        return {}

    @classmethod
    def default_grid(cls, known: Mapping[str, Any]) -> dict[str, tuple[Value, ...]]:
        """Hook: the values of the parameters declared with both `derived_from` and `grid`, unless they were set.

        Args:
            known: Typed values known so far, at one point of the grid: of every parameter that has a fixed default or
                was set, and of the derived grid parameters declared before.

        Returns:
            At least one value for every such parameter that follows from them.
        """
        return {}

    def without_effect(self) -> frozenset[str]:
        """Hook: the names of parameters that change nothing of this trial, whatever they hold."""
        return frozenset()

    def check(self) -> None:
        """Hook: rules that bounds can't say, on a complete instance.

        Raises:
            BadInput: A rule is broken.
        """

    def model_post_init(self, context: Any, /) -> None:
        """Run `check`, so that no instance exists that it refuses (BadInput); Pydantic's `context` is not used."""
        self.check()

    @classmethod
    def resolve(cls, values: Mapping[str, Value]) -> Self:
        """Make an instance from some of its values: fixed defaults first, then what follows from them.

        Args:
            values: Typed values by name, one per parameter (no lists).

        Returns:
            The complete instance. Of a default with several values it takes the first.

        Raises:
            BadInput: A name is unknown, a value is not accepted or `check` refused them together.
        """
        refuse_unknown(list(_descriptions(cls)), {name: text(value) for name, value in values.items()})
        descriptions = _descriptions(cls)
        written = {name: descriptions[name].write(value) for name, value in values.items()}
        return _complete(cls, {name: descriptions[name].read(value) for name, value in written.items()})


@dataclass(frozen=True)
class Arguments(Generic[P]):
    """What a user asked for.

    Attributes:
        trials: The points of the grid, complete: the first declared parameter varies slowest, values as ordered.
        explicit: Canonical text of exactly the parameters that the user gave, in the order of declaration.
    """

    trials: tuple[P, ...]
    explicit: dict[str, str]


def parse(cls: type[P], raw: Mapping[str, str]) -> Arguments[P]:
    """Read what a user wrote.

    Args:
        cls: The declarations.
        raw: Texts by parameter name; an empty text is the same as none.

    Returns:
        The trials, and the parameters that were set for them.

    Raises:
        BadInput: The first thing that is wrong: an unknown name, then values in the order of declaration, then the
            rules of `check`, trial by trial.
    """
    refuse_unknown(list(_descriptions(cls)), raw)
    lists: dict[str, tuple[Value, ...]] = {}
    explicit: dict[str, str] = {}
    for description in describe(cls):
        name, written = description.name, raw.get(description.name, "")
        if written:
            lists[name] = description.read_list(written)
            explicit[name] = description.join(lists[name])
            for value in lists[name]:
                if lists[name].count(value) > 1:
                    raise BadInput(name, written, f"{text(value)} stands twice; each value may stand once")
        elif description.defaults:
            lists[name] = description.defaults
    return Arguments(tuple(_complete(cls, point) for point in _points(cls, lists)), explicit)


def from_texts(cls: type[P], texts: Mapping[str, str]) -> P:
    """Read the parameters that one trial's run logged.

    Args:
        cls: The declarations.
        texts: The run's parameters. Unknown ones (`num_params`, or one that has been dropped since) are ignored; one
            that is missing, as in a run of an older version, takes what such runs were run with: the declaration's
            `absent`, or else the default.

    Returns:
        The typed instance.

    Raises:
        BadInput: A text is not accepted (any list, for one: a sweep's parent run is not a trial).
    """
    values: dict[str, Value] = {}
    for name, description in _descriptions(cls).items():
        if texts.get(name, "") != "":
            values[name] = description.read(texts[name])
        elif description.absent is not None:
            values[name] = description.absent
    return _complete(cls, values)


def describe(cls: type[Parameters]) -> Iterator[Description]:
    """What the parameters' declarations say, in their order.

    Args:
        cls: The declarations.

    Yields:
        One description per parameter.

    Raises:
        TypeError: A field has a type that is not supported, or was not declared with `parameter`.
    """
    yield from _descriptions(cls).values()


def texts(params: Parameters) -> dict[str, str]:
    """The text of every parameter of an instance, as it is logged.

    Args:
        params: The instance.

    Returns:
        Texts by name, in the order of declaration.
    """
    return {
        name: description.logged(getattr(params, name)) for name, description in _descriptions(type(params)).items()
    }


def written(params: Parameters) -> dict[str, str]:
    """The text of every parameter of an instance, as a user writes it, with the paths of files.

    Args:
        params: The instance.

    Returns:
        Texts by name, in the order of declaration.
    """
    return {name: description.write(getattr(params, name)) for name, description in _descriptions(type(params)).items()}


def defining(params: Parameters) -> dict[str, str]:
    """The texts of the parameters that define a trial's result: neither operational ones nor those that select trials.

    Args:
        params: The instance.

    Returns:
        Texts by name, in the order of declaration.
    """
    return {
        name: description.logged(getattr(params, name))
        for name, description in _descriptions(type(params)).items()
        if not (description.operational or description.selects)
    }


def identity(params: Parameters) -> dict[str, str]:
    """The texts of the defining parameters without paths, less those that say what there was before they were declared.

    Args:
        params: The instance.

    Returns:
        Texts by name, in the order of declaration; a new parameter changes the identity of no old trial.
    """
    descriptions = _descriptions(type(params))
    return {
        name: descriptions[name].identity(getattr(params, name))
        for name, written in defining(params).items()
        if (absent := descriptions[name].absent) is None or written != text(absent)
    }


def files_named(params: Parameters) -> list[str]:
    """Return the names of the parameters that name a file of the user's own, in the order of declaration."""
    return [name for name, each in _file_descriptions(type(params)).items() if each.path_in(getattr(params, name))]


def with_whole_paths(params: P) -> P:
    """Return the same parameters with whole paths, for a process with another working directory."""
    return params.model_copy(
        update={d.name: d.with_whole_path(getattr(params, d.name)) for d in describe(type(params))}
    )


def sweep_texts(trials: Sequence[Parameters]) -> dict[str, str]:
    """The texts for a sweep's parent run.

    Args:
        trials: The sweep's trials, all of one class.

    Returns:
        By parameter, its distinct values over the trials in order of appearance, joined by its separator.
    """
    if not trials:
        return {}
    rows = [texts(trial) for trial in trials]
    return {
        name: description.separator.join(dict.fromkeys(row[name] for row in rows))
        for name, description in _descriptions(type(trials[0])).items()
    }


def same_value(cls: type[Parameters], name: str, a: str, b: str) -> bool:
    """Whether two texts say the same value of a parameter, as "1e-3" and "0.001" do.

    Args:
        cls: The declarations.
        name: The parameter; if it spans the grid, the texts are compared as lists, order included.
        a: One text.
        b: The other.

    Returns:
        True if they are equal, or are read to equal values; of a path the file's name is compared.

    Raises:
        KeyError: There is no such parameter.
    """
    description = _descriptions(cls)[name]
    try:
        return a == b or _compared(description, a) == _compared(description, b)
    except BadInput:
        return False


def _compared(description: Description, listed: str) -> list[Value]:
    values = description.read_list(listed)
    return [description.logged(value) if isinstance(value, str) else value for value in values]


def unquoted(params: Mapping[str, str]) -> dict[str, str]:
    """Undo the shell quoting in which `mlflow run` logs a parameter that MLproject does not declare.

    Args:
        params: Texts by name; `units=64;128` stands there as '64;128', quotes included.

    Returns:
        The texts as the user wrote them.
    """
    plain = {}
    for name, written in params.items():
        try:
            parts = shlex.split(written) if written.startswith("'") else []
        except ValueError:  # no closing quote
            parts = []
        plain[name] = parts[0] if len(parts) == 1 and shlex.quote(parts[0]) == written else written
    return plain


def declared_defaults(cls: type[Parameters]) -> dict[str, str]:
    """The texts of the fixed defaults, empty ones included.

    Args:
        cls: The declarations.

    Returns:
        Texts by name, in the order of declaration, without the parameters that follow from others.
    """
    return {name: parameter.default for name, parameter in _descriptions(cls).items() if parameter.default is not None}


@functools.cache
def _descriptions(cls: type[Parameters]) -> dict[str, Description]:
    """The descriptions by name: read once per class, because every trial and every text asks for them."""
    return {name: Description.of(field, name, cls.__name__) for name, field in cls.model_fields.items()}


@functools.cache
def _file_descriptions(cls: type[Parameters]) -> dict[str, Description]:
    return {name: description for name, description in _descriptions(cls).items() if description.names_file}


def _points(cls: type[Parameters], lists: Mapping[str, tuple[Value, ...]]) -> list[dict[str, Value]]:
    """The points of the grid; a list that follows from others may differ from point to point, and varies fastest."""
    points = [dict(zip(lists, point, strict=True)) for point in itertools.product(*lists.values())]
    for name, description in _descriptions(cls).items():
        if description.grid and description.derived_from and name not in lists:
            points = [{**point, name: value} for point in points for value in cls.default_grid(point)[name]]
    return points


def _complete(cls: type[P], values: Mapping[str, Value]) -> P:
    """Add fixed defaults to accepted values, then what follows from them, and make the instance."""
    descriptions = _descriptions(cls)
    fixed = {name: description.defaults[0] for name, description in descriptions.items() if description.defaults}
    known = fixed | dict(values)
    missing = [name for name in descriptions if name not in known]
    derived = cls.derived_defaults(known) if missing else {}
    return cls(**known, **{name: derived[name] for name in missing})


def refuse_unknown(names: Sequence[str], raw: Mapping[str, str]) -> None:
    """Refuse what is not declared, and name what was probably meant.

    Args:
        names: The declared names.
        raw: Texts by name.

    Raises:
        BadInput: For the first name that is not declared.
    """
    for name, written in raw.items():
        if name not in names:
            hint = did_you_mean(name.replace("-", "_").lower(), names)
            raise BadInput(name, written, f"unknown parameter{hint} (valid: {', '.join(names)})")
