"""TensorFlow's oneDNN operations: on or off in a whole process, chosen before TensorFlow is loaded.

TensorFlow switches them on by itself only on processors with VNNI or newer. Elsewhere its convolutions take twice the
time; results with and without differ by rounding.
"""

from __future__ import annotations

import os
import sys
from typing import Literal

from dlperf.errors import BadInput, TrialFailed
from dlperf.processor import has_vector_network_instructions

Choice = Literal["on", "off", "auto"]
VARIABLE = "TF_ENABLE_ONEDNN_OPTS"

_READ_AS: dict[str, Choice] = {"1": "on", "true": "on", "0": "off", "false": "off"}
_WRITTEN: dict[Choice, str] = {"on": "1", "off": "0"}
_chosen: Choice | None = None


def default() -> Choice:
    """Return what a trial runs with unless it is told: the user's setting, else on; TensorFlow's choice elsewhere.

    Raises:
        BadInput: If the user's setting is none that TensorFlow reads.
    """
    if _chosen is None and VARIABLE in os.environ:
        written = os.environ[VARIABLE]
        if written.lower() not in _READ_AS:
            raise BadInput(VARIABLE, written, "must be 1, true, 0 or false")
        return _READ_AS[written.lower()]
    return "on" if _is_there() else "auto"


def choose(choice: Choice | None) -> None:
    """Let TensorFlow compute so in this process.

    Args:
        choice: None where it makes no difference: the default, if nothing has been chosen yet.

    Raises:
        TrialFailed: If TensorFlow has been loaded, and computes otherwise.
    """
    global _chosen
    if not can_choose(choice):
        raise TrialFailed(f"onednn={choice}: this process has loaded TensorFlow with another choice")
    if _chosen is None and "tensorflow" not in sys.modules:
        _chosen = choice or default()
        if _chosen == "auto":
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = _WRITTEN[_chosen]


def can_choose(choice: Choice | None) -> bool:
    """Whether a trial with this choice can run in this process; one with None always can."""
    if choice is None or (_chosen is None and "tensorflow" not in sys.modules):
        return True
    loaded: Choice = _chosen or _READ_AS.get(os.environ.get(VARIABLE, "").lower(), "auto")
    return _means(loaded) == _means(choice)


def _means(choice: Choice) -> Choice:
    """What a choice comes to on this processor."""
    if choice == "auto":
        return "on" if _is_there() and has_vector_network_instructions() else "off"
    return choice


def _is_there() -> bool:
    """Whether TensorFlow has oneDNN operations here."""
    return sys.platform == "linux" and os.uname().machine == "x86_64"
