"""Problem 5: depth against width, networks that approximate the eggholder function.

    mlflow run . -e approximators                    # 143 networks, up to 2,000 epochs: 37 minutes on 2 cores
    python entrypoints/approximators.py --max_units 128 --max_layers 2 --epochs 50     # 13 networks: a minute or two

Expect of the first, with update_rules=keras3 (results/approximators), a test RMSE of 284 to 290 with one hidden layer,
91 to 201 with two and 72 to 184 with three (predicting the mean: 300); at equal total units three layers have 0.78
times the RMSE of two.

Sources: the notebook's Problem 5 (protocol=notebook) and its assignment: 1 to 3 hidden layers of 16 to 512 units, at
most 512 in all, 100,000 noisy samples, batches of 1,000, up to 2,000 epochs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlperf.accounting.mlp import multiplications
from dlperf.problem import Problem, Summary
from dlperf.problems.approximators.parameters import ApproximatorsParameters
from dlperf.training.early_stopping import Schedule
from dlperf.trial import Context, StoredTrial, TrialResult

if TYPE_CHECKING:
    from dlperf.data.eggholder import Samples

_VALIDATION_SHARE = 0.1


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
        from dlperf.problems.approximators.recipe import prepare
        from dlperf.training.loop import Target, train_and_test

        drawn = samples(parameters.random_seed, parameters.notebook)
        prepared = prepare(parameters, drawn)
    schedule = Schedule(
        epochs=parameters.epochs,
        learning_rate=parameters.learning_rate_at,
        monitor="validation_rmse",
        patience=parameters.patience,
        restore_best_weights=True,
    )
    result = train_and_test(
        prepared,
        schedule,
        context,
        target=Target("validation_rmse", parameters.target_rmse),
        facts={"num_layers": str(len(parameters.layers)), "total_units": str(sum(parameters.layers))},
        validation="test" if parameters.notebook else "split",
        save_model=parameters.save_model,
    )
    result.metrics["r_squared"] = 1.0 - (result.metrics["test_rmse"] / float(drawn.test.targets.std())) ** 2
    return result


def summarize(trials: Sequence[StoredTrial[ApproximatorsParameters]]) -> Summary:
    """Make the notebook's tables and figures from finished trials, and test what its text claims."""
    from dlperf.problems.approximators.tables import summary

    return summary(trials)


def work(parameters: ApproximatorsParameters) -> float:
    """Estimate the multiplications of a trial that is not stopped early: three forward passes per example."""
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
    verify=lambda trials: None,
    data_digest=lambda parameters: samples(parameters.random_seed, parameters.notebook).digest,
    data_drawn=True,
    run_trial=run_trial,
    summarize=summarize,
    work=work,
    demo={"max_units": "64", "max_layers": "2", "epochs": "30"},
    example="dlperf approximators --units '64,128;256' --random_seed 0,1,2",
)
