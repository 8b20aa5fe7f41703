"""Problem 5: depth against width, networks that approximate the eggholder function.

Sources: the notebook's Problem 5 (protocol=notebook) and its assignment: 1 to 3 hidden layers of 16 to 512 units, at
most 512 in all, 100,000 noisy samples, batches of 1,000, up to 2,000 epochs.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dlperf.accounting.mlp import multiplications, networks
from dlperf.declaration import parameter
from dlperf.environment import cores
from dlperf.errors import BadInput
from dlperf.problems.training_parameters import TrainingParameters
from dlperf.trial import Context, DataUsed, Problem, SavedModel, StoredTrial, Summary, TrialResult

if TYPE_CHECKING:
    from dlperf.data.eggholder import Samples

_SMALLEST = 16
_VALIDATION_SHARE = 0.1
_WARM_UP_EPOCHS = 5


class ApproximatorsParameters(TrainingParameters):
    """Parameters of the approximators problem."""

    processes: int = parameter(
        follows="the machine", ge=1, le=1024, operational=True,
        help="trials that run side by side, each in a process of its own: one per core unless given",
    )  # fmt: skip
    threads: int = parameter(
        follows="the machine", ge=1, le=1024,
        help="threads that compute a network: 1 unless given; results are equal to the bit only for the same number",
    )  # fmt: skip
    units: str = parameter(
        follows="max_units and max_layers",
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
        follows="protocol", ge=1, le=100_000, unit="epochs", help="passes over the training set, at most"
    )
    learning_rate: float = parameter(follows="protocol", ge=1e-9, help="initial learning rate")
    patience: int = parameter(
        follows="protocol",
        ge=0,
        unit="epochs",
        help="stop after so many epochs without a lower validation RMSE; 0 never stops; the best weights are restored",
    )
    target_rmse: float = parameter(150.0, gt=0, help="epochs and seconds to this validation RMSE are reported")

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults of the protocol; one thread, because networks run side by side."""
        notebook = given["protocol"] == "notebook"
        return {
            "threads": 1,
            "processes": max(1, cores() // given.get("threads", 1)),
            "units": str(_SMALLEST),
            "epochs": 2000 if notebook else 300,
            "learning_rate": 0.001 if notebook else 0.02,
            "patience": 20 if notebook else 50,
        }

    @classmethod
    def spanning(cls, given: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """All networks within the bounds."""
        found = networks(given["max_units"], given["max_layers"], _SMALLEST)
        return {"units": tuple(",".join(map(str, units)) for units in found)}

    def check(self) -> None:
        """Refuse what is no network, or one outside the bounds.

        Raises:
            BadInput: Naming what is allowed.
        """
        if not re.fullmatch(r"[1-9]\d{0,6}(,[1-9]\d{0,6})*", self.units):
            allowed = "must be the units of each hidden layer, at least 1, as 64,128; several networks as 64,128;256"
            raise BadInput("units", self.units, allowed)
        if len(self.layers) > self.max_layers:
            raise BadInput("units", self.units, f"has {len(self.layers)} layers, but max_layers is {self.max_layers}")
        if sum(self.layers) > self.max_units:
            raise BadInput("units", self.units, f"has {sum(self.layers)} units, but max_units is {self.max_units}")

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(int(width) for width in self.units.split(","))

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch (from 1): constant in the notebook's protocol, else half a cosine towards 0.

        Five epochs lead up to it: without them 128,256,128 diverges at 0.02, with them at 0.05 (measured, see
        results/approximators).
        """
        if self.notebook:
            return self.learning_rate
        warm_up = min(1.0, epoch / (_WARM_UP_EPOCHS + 1))
        return self.learning_rate * warm_up * 0.5 * (1.0 + math.cos(math.pi * (epoch - 1) / self.epochs))


@functools.lru_cache(maxsize=4)
def samples(random_seed: int, notebook: bool) -> Samples:
    """Draw the protocol's samples."""
    from dlperf.data import eggholder

    share = 0.0 if notebook else _VALIDATION_SHARE
    return eggholder.draw(random_seed, continuous=not notebook, validation_share=share)


def run_trial(parameters: ApproximatorsParameters, context: Context) -> TrialResult:
    """Train one network and test it once.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    with context.clock.account("setup"):
        # TensorFlow is imported here, so that help and bad input need not wait for it.
        from dlperf.problems.approximator_network import prepared
        from dlperf.training import Monitor, Schedule, evaluate, train

        drawn = samples(parameters.random_seed, parameters.notebook)
        compiled, validation, test, saved = prepared(parameters, drawn)
    splits = {name: len(getattr(drawn, name).targets) for name in ("train", "validation", "test")}
    if parameters.notebook:
        del splits["validation"]  # its test set is its validation set
    with context.clock.account("tracking"):
        context.report.data(DataUsed("eggholder", drawn.digest, "drawn from random_seed", splits))
    num_params = compiled.model.count_params()
    context.facts(
        {
            "num_layers": str(len(parameters.layers)),
            "total_units": str(sum(parameters.layers)),
            "num_params": str(num_params),
        },
        {"dlperf.validation": "test" if parameters.notebook else "split"},
    )
    schedule = Schedule(
        epochs=parameters.epochs,
        learning_rate=parameters.learning_rate_at,
        monitor=Monitor("validation_rmse", lower_is_better=True),
        patience=parameters.patience,
        restore_best_weights=True,
    )
    training = train(compiled, {"validation": validation}, schedule, context)
    tested = evaluate(compiled, test, context).metrics("test")
    metrics = {
        **training.metrics(parameters.target_rmse, schedule.monitor),
        **tested,
        "r_squared": 1.0 - (tested["test_rmse"] / float(drawn.test.targets.std())) ** 2,
        "num_params": num_params,
    }
    with context.clock.account("reporting"):
        model = SavedModel(saved(), drawn.test.inputs[:2].astype("float32")) if parameters.save_model else None
    tags = {"dlperf.target_reached": str("epochs_to_target" in metrics).lower()}
    return TrialResult(metrics, tags, model=model)


def summarize(trials: Sequence[StoredTrial[ApproximatorsParameters]]) -> Summary:
    """Make the notebook's tables and figures of finished trials, and test what its text claims."""
    from dlperf.problems.approximator_tables import summary

    return summary(trials)


def work(parameters: ApproximatorsParameters) -> float:
    """Estimate the multiplications of a trial that is not stopped early: three forward passes' worth per example."""
    return float(multiplications(parameters.layers) * 3 * 80_000 * parameters.epochs)


PROBLEM = Problem(
    name="approximators",
    summary="Depth against width: networks of 1 to 3 hidden layers that approximate the eggholder function.",
    parameters=ApproximatorsParameters,
    varying=("units", "random_seed"),
    compared=("test_rmse", "r_squared", "train_seconds", "seconds_to_target"),
    curves=("epoch_seconds", "validation_rmse"),
    required=(
        "epochs_run",
        "best_epoch",
        "train_seconds",
        "best_validation_rmse",
        "test_rmse",
        "r_squared",
        "num_params",
    ),
    monitor="validation_rmse",
    grouped_by=("num_layers",),
    check=lambda trials: None,
    data_digest=lambda parameters: samples(parameters.random_seed, parameters.notebook).digest,
    data_drawn=True,
    run_trial=run_trial,
    summarize=summarize,
    work=work,
    demo={"max_units": "64", "max_layers": "2", "epochs": "30"},
)
