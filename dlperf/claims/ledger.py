"""The ledger: every published figure, and every sentence that trials can test, as an item of claims.yaml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dlperf.entry_points import ProblemName

# Measures that follow from what was asked for: a number that is counted, not measured.
_COUNTED = {"num_params", "networks", "learning_rate"}

COMPUTED = "computed"
"""The measure of a claim that its closed form decides: it needs no trial."""

Facts: TypeAlias = Mapping[str, Any]
"""Values by name of a parameter, a logged fact or a metric; a list means any of its values."""


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(_Item):
    """Compares a number with the published one, or with the closed form.

    Attributes:
        equals: The number equals the reference, within the tolerance.
        at_least: It is at least the reference, less the tolerance.
        at_most: It is at most the reference, plus the tolerance.
        relative: Tolerance as a share of the reference.
        absolute: Tolerance in the number's unit.
        printed_to: What the last digit counts that the source printed ("16M": a million). It may have been rounded or
            cut off: the number is less than one such unit away.
    """

    equals: Literal["published", "closed_form"] | None = None
    at_least: Literal["published", "closed_form"] | None = None
    at_most: Literal["published", "closed_form"] | None = None
    relative: float = Field(0.0, ge=0)
    absolute: float = Field(0.0, ge=0)
    printed_to: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _one(self) -> Bound:
        if sum(reference is not None for reference in (self.equals, self.at_least, self.at_most)) != 1:
            raise ValueError("a bound is one of equals, at_least and at_most")
        if self.printed_to and (self.equals != "published" or self.relative or self.absolute):
            raise ValueError("printed_to is the whole tolerance of a published number")
        return self

    @property
    def reference(self) -> str:
        """The number it compares with, by name."""
        return self.equals or self.at_least or self.at_most or ""


class Ratio(Bound):
    """Compares the ratio of two means."""

    ratio_of: Facts
    to: Facts


class Extreme(_Item):
    """Of the groups of trials by a parameter, the named one has the lowest, or the highest, mean."""

    lowest: Any = None
    highest: Any = None
    by: str


class Trend(_Item):
    """Means of kinds of trial against a quantity: they fall, rise, or fall less and less."""

    falls_with: str = ""
    rises_with: str = ""
    levels_off_with: str = ""

    @property
    def quantity(self) -> str:
        """What they are set against."""
        return self.falls_with or self.rises_with or self.levels_off_with


class Paired(_Item):
    """One kind of trial has lower, or higher, means than another, for every value of a third quantity.

    Attributes:
        lower_for: The kind that is lower.
        higher_for: The kind that is higher.
        than: The other.
        for_every: What pairs them: networks of as many units, the same optimizer.
        times: The factor between them: 1 is "lower" or "higher", 2 what "much" is taken for.
    """

    lower_for: Facts | None = None
    higher_for: Facts | None = None
    than: Facts
    for_every: str = ""
    times: float = Field(1.0, ge=1)


class Claim(_Item):
    """One claim.

    Attributes:
        id: PROBLEM/NAME, unique.
        problem: The problem whose trials test it.
        says: What is claimed; a sentence of the source in double quotes.
        source: Whose claim it is.
        place: Where it stands there.
        published: Its number; None for a sentence.
        closed_form: Name of the formula in `dlperf.claims.closed_forms` that gives the number; "" for none.
        where: Which trials it is about.
        needs: The conditions under which their figures are comparable with the published one.
        measure: What is read from every trial; see `dlperf.analysis.measures.measured`.
        rule: How it is tested.
        because: Why the rule has that tolerance.
        kinds: The fewest different trials, random seeds aside, that can test it: a few do not settle a mean over
            networks, or a trend.
    """

    id: str = Field(pattern=r"^[a-z]+/[a-z0-9-]+$")
    problem: ProblemName
    says: str
    source: Literal["notebook", "paper", "assignment", "library"]
    place: str
    published: float | None = None
    closed_form: str = ""
    where: Facts = Field(default_factory=dict)
    needs: Facts = Field(default_factory=dict)
    measure: str
    rule: Ratio | Bound | Extreme | Trend | Paired
    because: str = ""
    kinds: int = Field(1, ge=1)

    @property
    def arithmetic(self) -> bool:
        """Whether a count decides it, and no experiment."""
        return self.problem == "architectures" or self.measure in {*_COUNTED, COMPUTED}

    @property
    def over(self) -> Literal["networks", "random seeds"]:
        """What is drawn: a claim about networks is tested on networks, any other on random seeds."""
        about_networks = self.problem == "approximators" and isinstance(self.rule, Trend | Paired)
        return "networks" if about_networks else "random seeds"

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        wanted = self.rule.reference if isinstance(self.rule, Bound) else ""
        if wanted == "published" and self.published is None:
            raise ValueError("its rule compares with a published number, and there is none")
        if wanted == "closed_form" and not self.closed_form:
            raise ValueError("its rule compares with a closed form, and none is named")
        if self.measure == COMPUTED and (wanted != "published" or not self.closed_form or self.where or self.needs):
            raise ValueError("what is computed is a closed form against a published number, and no trial's")
        return self


def claims(problem: str = "") -> tuple[Claim, ...]:
    """Return the claims on one problem, or all of them, in the order of the file."""
    return tuple(item for item in _all() if problem in ("", item.problem))


@functools.cache
def _all() -> tuple[Claim, ...]:
    text = resources.files("dlperf.claims").joinpath("claims.yaml").read_text()
    # Where PyYAML was built without libyaml, its slow loader does the same.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(Claim.model_validate(item) for item in yaml.load(text, Loader=loader))
