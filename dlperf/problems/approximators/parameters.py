"""Parameters of the approximators problem, and the defaults of its two protocols."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from dlperf import data
from dlperf.accounting.mlp import networks
from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.problems.shared_parameters import TrainingParameters, refuse_notebook
from dlperf.processor import cores

EGGHOLDER = "eggholder"
_SMALLEST = 16
_WARM_UP_EPOCHS = 5
_EGGHOLDER_TARGET = 150.0  # half of what predicting the mean gives


class ApproximatorsParameters(TrainingParameters):
    """Parameters of the approximators problem."""

    processes: int = parameter(
        derived_from="the machine", ge=1, le=1024, operational=True,
        help="trials that run side by side, each in a process of its own: one per core unless given",
    )  # fmt: skip
    threads: int = parameter(
        derived_from="the machine", ge=1, le=1024,
        help="threads that compute a network: 1 unless given; results are equal to the bit only for the same number",
    )  # fmt: skip
    dataset: str = parameter(
        EGGHOLDER,
        absent=EGGHOLDER,
        names_file=data.path_in,
        help="the function: eggholder is drawn from random_seed; samples of one of your own are npz:FILE with x_train, "
        "y_train, x_test and y_test",
    )
    units: str = parameter(
        derived_from="max_units and max_layers",
        grid=True,
        separator=";",
        help="hidden units of one network, as 64,128; all networks of powers of two from 16 unless given",
    )
    max_units: int = parameter(
        512, ge=_SMALLEST, le=65_536, selects=True, help="hidden units of a network in all, at most"
    )
    max_layers: int = parameter(3, ge=1, le=8, selects=True, help="hidden layers of a network, at most")
    batch_norm: Literal["between", "everywhere", "nowhere"] = parameter(
        "between",
        help="batch normalisation: between hidden layers (a network of one layer has none), everywhere (before the "
        "first layer and the output too), or nowhere",
    )
    batch_size: int = parameter(1000, ge=1, le=70_000, unit="examples", help="examples per step")
    epochs: int = parameter(
        derived_from="protocol", ge=1, le=100_000, unit="epochs", help="passes over the training set, at most"
    )
    learning_rate: float = parameter(derived_from="protocol", ge=1e-9, help="initial learning rate")
    update_rules: Literal["notebook", "keras3"] = parameter(
        derived_from="protocol",
        absent="keras3",
        help="generation of Nadam, with which protocol=notebook trains: notebook, that of TensorFlow 2.3, whose "
        "momentum rises slowly; keras3, Keras's of today",
    )
    patience: int = parameter(
        derived_from="protocol",
        ge=0,
        unit="epochs",
        help="stop after so many epochs without a lower validation RMSE; 0 never stops; the best weights are restored",
    )
    target_rmse: float = parameter(
        derived_from="dataset",
        ge=0,
        help="epochs and seconds to this validation RMSE are reported: 150 with eggholder; of a function of your own "
        "none unless given, and 0 reports none",
    )

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol's defaults; one thread per trial, because networks train side by side."""
        notebook = known["protocol"] == "notebook"
        return {
            "threads": 1,
            "processes": max(1, cores() // known.get("threads", 1)),
            "units": str(_SMALLEST),
            "epochs": 2000 if notebook else 300,
            "learning_rate": 0.001 if notebook else 0.02,
            "update_rules": "notebook" if notebook else "keras3",
            "patience": 20 if notebook else 50,
            "target_rmse": _EGGHOLDER_TARGET if known["dataset"] == EGGHOLDER else 0.0,
        }

    @classmethod
    def default_grid(cls, known: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Return all networks within the bounds."""
        layouts = networks(known["max_units"], known["max_layers"], _SMALLEST)
        return {"units": tuple(",".join(map(str, units)) for units in layouts)}

    def check(self) -> None:
        """Refuse `units` that describe no network, or one outside the bounds, and a function that there is not.

        Raises:
            BadInput: Naming what is allowed.
        """
        data.check_kind(self.dataset, (EGGHOLDER,), ("npz",))
        refuse_notebook(self.dataset, self.protocol)
        if not re.fullmatch(r"[1-9]\d{0,6}(,[1-9]\d{0,6})*", self.units):
            allowed = "must be the units of each hidden layer, at least 1, as 64,128; several networks as 64,128;256"
            raise BadInput("units", self.units, allowed)
        if len(self.layers) > self.max_layers:
            raise BadInput("units", self.units, f"has {len(self.layers)} layers, but max_layers is {self.max_layers}")
        if sum(self.layers) > self.max_units:
            raise BadInput("units", self.units, f"has {sum(self.layers)} units, but max_units is {self.max_units}")

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of the hidden layers, in order."""
        return tuple(int(width) for width in self.units.split(","))

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 1): constant in the notebook's protocol, else half a cosine to 0.

        It warms up over five epochs: without them 128,256,128 diverges at a rate of 0.02, with them only at 0.05
        (measured, see results/approximators).
        """
        if self.notebook:
            return self.learning_rate
        warm_up = min(1.0, epoch / (_WARM_UP_EPOCHS + 1))
        return self.learning_rate * warm_up * 0.5 * (1.0 + math.cos(math.pi * (epoch - 1) / self.epochs))
