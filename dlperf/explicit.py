"""What a user has to give for a trial: the parameters that differ from what would be run without them."""

from __future__ import annotations

from typing import Any

from dlperf.parameters import Parameters, declared_defaults, describe, written


def explicit(parameters: Parameters) -> dict[str, Any]:
    """Return the values that a command has to name to run one trial; a grid's always, as they may have several.

    Args:
        parameters: The trial.

    Returns:
        Values by name, those that follow from others last.

    Raises:
        BadInput: If it is no trial that can be run.
    """
    kind = type(parameters)
    texts = written(parameters)
    defaults = declared_defaults(kind)
    given: dict[str, Any] = {}
    # What follows from others comes last, when those are known.
    for description in sorted(describe(kind), key=lambda each: bool(each.derived_from)):
        name = description.name
        if description.derived_from:
            default = "" if description.grid else written(kind.resolve(given))[name]
        else:
            default = defaults[name]
        if texts[name] != default:
            given[name] = getattr(parameters, name)
    kind.resolve(given)
    return given
