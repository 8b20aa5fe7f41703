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
_setting_before: str | None = None


def default() -> Choice:
    """Return what a trial runs with unless it is told: the user's setting, else on; TensorFlow's choice elsewhere.

    Raises:
        BadInput: If the user's setting is none that TensorFlow reads.
    """
    setting = users_setting()
    if setting is None:
        return "on" if _is_there() else "auto"
    if setting.lower() not in _READ_AS:
        raise BadInput(VARIABLE, setting, "must be 1, true, 0 or false")
    return _READ_AS[setting.lower()]


def users_setting() -> str | None:
    """Return what the user has set, whatever has been chosen here since; None for nothing."""
    return os.environ.get(VARIABLE) if _chosen is None else _setting_before


def take_for_users(setting: str | None) -> None:
    """Let a setting count as the user's: of the process that started this one, or of a resumed run's first start."""
    global _setting_before
    if _chosen is not None:
        _setting_before = setting
    elif setting is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = setting


def choose(choice: Choice | None) -> None:
    """Let TensorFlow compute so in this process.

    Args:
        choice: "auto" leaves it to the user's setting, else to TensorFlow; None where it makes no difference: the
            default, if nothing has been chosen yet.

    Raises:
        TrialFailed: If TensorFlow has been loaded, and computes otherwise.
    """
    global _chosen, _setting_before
    if not can_choose(choice):
        raise TrialFailed(f"onednn={choice}: this process has loaded TensorFlow with another choice")
    if _chosen is None and "tensorflow" not in sys.modules:
        _setting_before, _chosen = os.environ.get(VARIABLE), choice or default()
        if _chosen != "auto":
            os.environ[VARIABLE] = _WRITTEN[_chosen]


def can_choose(choice: Choice | None) -> bool:
    """Whether a trial with this choice can run in this process; one with None always can."""
    if choice is None or (_chosen is None and "tensorflow" not in sys.modules):
        return True
    return _is_on(choice, users_setting()) == _is_on(_chosen or "auto", os.environ.get(VARIABLE))


def said_by_user(choice: Choice, setting: str | None) -> Choice:
    """Return what "auto" comes to with a setting of TF_ENABLE_ONEDNN_OPTS, if there is one."""
    return _READ_AS.get((setting or "").lower(), choice) if choice == "auto" else choice


def _is_on(choice: Choice, setting: str | None) -> bool:
    """What a choice comes to on this processor."""
    choice = said_by_user(choice, setting)
    return _is_there() and has_vector_network_instructions() if choice == "auto" else choice == "on"


def _is_there() -> bool:
    """Whether TensorFlow has oneDNN operations here."""
    return sys.platform == "linux" and os.uname().machine == "x86_64"
