"""Which stored trials compare: those of one setting, which ran alike except for what the problem varies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from dlperf.analysis.measures import fact
from dlperf.declaration import text
from dlperf.parameters import P, defining, describe
from dlperf.problem import Problem
from dlperf.trial import StoredTrial

CIRCUMSTANCES = {  # by tag: how people call it
    "dlperf.hardware": "hardware",
    "dlperf.software": "software",
    "dlperf.version": "dlperf",
}
ARCHIVE = "dlperf.archive"
"""The tag that trials get which are read from an archive beside others: its name."""
MODEL = "dlperf.model_digest"
"""The tag of trials that train a model of the user's own: its hash."""
DISTURBED = "dlperf.disturbed"
"""The tag of trials beside which other programs ran: how one knows. Their times say nothing of what was timed."""
_DEFAULT = "default"
_SEEDS_OF_A_BLOCK = 2


@dataclass
class Setting(Generic[P]):
    """Trials that may be averaged.

    Attributes:
        number: From 1; the setting with the most trials comes first.
        circumstances: Hardware, software, version, data and, beside others, the hash of the user's own model and the
            archive it is from, by name.
        parameters: The values that all trials share of the parameters that the problem does not vary, by name;
            "default" where every trial has the value derived from its other parameters.
        trials: Its trials, in the order in which they started.
    """

    number: int
    circumstances: Mapping[str, str]
    parameters: Mapping[str, str]
    trials: list[StoredTrial[P]] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, str]:
        """Parameters and circumstances."""
        return {**self.parameters, **self.circumstances}


def settings(problem: Problem[P], trials: Sequence[StoredTrial[P]]) -> list[Setting[P]]:
    """Sort trials into settings: different origins, hardware, software, versions, data or parameters never mix.

    A trial of which a parameter changes nothing, as where dropout is without dropout, stands in the setting of every
    value that others have of it.
    """
    by_key: dict[Any, Setting[P]] = {}
    varying = {*problem.varying, *problem.varying_rarely}
    any_model = any(MODEL in trial.tags for trial in trials)
    any_archived = any(ARCHIVE in trial.tags for trial in trials)
    defaults: dict[Any, Mapping[str, Any]] = {}
    for trial in sorted(trials, key=lambda t: (t.started, t.run_id)):
        circumstances = {name: trial.tags.get(tag, "unknown") for tag, name in CIRCUMSTANCES.items()}
        parameters = _fixed(trial.parameters, varying, defaults)
        digest = trial.tags.get("dlperf.data_digest", "none")
        circumstances["data"] = "drawn from random_seed" if problem.data_drawn(trial.parameters) else digest
        if any_model:
            circumstances["model digest"] = trial.tags.get(MODEL, "none")
        if any_archived:
            circumstances["archive"] = trial.tags.get(ARCHIVE, "")
        key = (*circumstances.items(), *parameters.items())
        by_key.setdefault(key, Setting(0, circumstances, parameters)).trials.append(trial)
    ordered = _without_parts(sorted(_with_guests(by_key.values()), key=lambda setting: -len(setting.trials)))
    for number, setting in enumerate(ordered, 1):
        setting.number = number
    return ordered


def _with_guests(apart: Collection[Setting[P]]) -> Collection[Setting[P]]:
    """Let trials stand in the settings, too, that differ from theirs in parameters that change nothing of them."""
    own = [(setting, list(setting.trials)) for setting in apart]
    for free in {trial.parameters.without_effect() for _, trials in own for trial in trials} - {frozenset()}:
        alike: dict[Any, list[tuple[Setting[P], list[StoredTrial[P]]]]] = {}
        for setting, trials in own:
            key = tuple((name, value) for name, value in setting.facts.items() if name not in free)
            alike.setdefault(key, []).append((setting, trials))
        for group in alike.values():
            for setting, own_trials in group:
                others = (trial for _, trials in group if trials is not own_trials for trial in trials)
                setting.trials += [trial for trial in others if trial.parameters.without_effect() == free]
                setting.trials.sort(key=lambda trial: (trial.started, trial.run_id))
    return apart


def _without_parts(ordered: Sequence[Setting[P]]) -> list[Setting[P]]:
    """Leave out settings all of whose trials stand in an earlier one."""
    left: list[Setting[P]] = []
    seen: list[set[int]] = []
    for setting in ordered:
        trials = {id(trial) for trial in setting.trials}  # a run may be there twice, of a store and of an archive
        if not any(trials <= others for others in seen):
            left.append(setting)
            seen.append(trials)
    return left


def undisturbed(trials: Iterable[StoredTrial[P]]) -> list[StoredTrial[P]]:
    """Return the trials whose times may be compared: no other program is known to have run beside them."""
    return [trial for trial in trials if not trial.tags.get(DISTURBED)]


def timed(trials: Sequence[StoredTrial[P]]) -> tuple[list[StoredTrial[P]], str]:
    """Return the trials that a mean of times is taken over: the undisturbed ones, where there are such.

    Returns:
        These, and which were disturbed, as a cell of a table says it: "2 of 5 left out", "all 5"; "" if none was.
    """
    quiet = undisturbed(trials)
    if not quiet:
        return list(trials), f"all {len(trials)}" if trials else ""
    disturbed = len(trials) - len(quiet)
    return quiet, f"{disturbed} of {len(trials)} left out" if disturbed else ""


def across_machines(settings: Sequence[Setting[P]]) -> list[Setting[P]]:
    """Put settings together that differ in hardware alone, for measures of learning; times are never averaged so.

    The machine stays a block: means and differences are taken within it (`measures.by_seed`, `statistics.mean_of`). A
    machine with a single random seed says nothing of how seeds vary there, and keeps a setting of its own. A trial that
    ran on several machines counts once, since its seed was drawn once.

    Returns:
        The settings, those put together under the number of the first of them.
    """
    alike: dict[Any, list[Setting[P]]] = {}
    for setting in settings:
        facts = {name: value for name, value in setting.facts.items() if name != "hardware"}
        alike.setdefault(tuple(facts.items()), []).append(setting)
    together = []
    for group in alike.values():
        blocks = [s for s in group if len({fact(t, "random_seed") for t in s.trials}) >= _SEEDS_OF_A_BLOCK]
        if len(blocks) < 2:
            together += group
            continue
        once = {(t.kind, fact(t, "random_seed")): t for s in reversed(blocks) for t in s.trials}
        hardware = {**blocks[0].circumstances, "hardware": f"{len(blocks)} machines"}
        together.append(replace(blocks[0], circumstances=hardware, trials=list(once.values())))
        together += [setting for setting in group if setting not in blocks]
    return sorted(together, key=lambda setting: setting.number)


def differing(facts: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the names whose values differ."""
    rows = list(facts)
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len({row.get(name) for row in rows}) > 1]


def _fixed(parameters: P, varying: set[str], defaults: dict[Any, Mapping[str, Any]]) -> dict[str, str]:
    """The texts of the parameters that the problem does not vary; `defaults` keeps what follows from others."""
    values = defining(parameters)
    # Of what defines no result the default: two threads are not one thread in each of two processes.
    known = {
        description.name: description.defaults[0] if description.operational else getattr(parameters, description.name)
        for description in describe(type(parameters))
        if not description.derived_from or description.name in varying
    }

    def follow_from(given: Mapping[str, Any]) -> Mapping[str, Any]:
        # No default follows from the random seed, and some are slow to tell: they ask what the process may use.
        of = tuple((name, value) for name, value in {**known, **given}.items() if name != "random_seed")
        if of not in defaults:
            defaults[of] = type(parameters).derived_defaults({**known, **given})
        return defaults[of]

    def as_derived(name: str, derived: Mapping[str, Any]) -> bool:
        return name in derived and text(derived[name]) == values[name]

    derived = follow_from({})
    given = {
        n: getattr(parameters, n) for n in derived if n in values and n not in known and not as_derived(n, derived)
    }
    for name in [*given]:  # what one who gives the others need not give
        others = {other: value for other, value in given.items() if other != name}
        if as_derived(name, follow_from(others)):
            given = others
    return {
        name: _DEFAULT if name in derived and name not in known and name not in given else value
        for name, value in values.items()
        if name not in varying
    }
