"""Problem 5: depth against width, networks that approximate the eggholder function.

    mlflow run . -e approximators                    # 143 networks, up to 2,000 epochs: 40 minutes on 2 cores
    python entrypoints/approximators.py --max_units 128 --max_layers 2 --epochs 50     # 13 networks: a minute or two

Expect of the first (results/approximators) a test RMSE of 284 to 290 with one hidden layer, 117 to 202 with two and 66
to 168 with three (predicting the mean: 300); at equal total units three layers have 0.74 times the RMSE of two.

Sources: the notebook's Problem 5 (protocol=notebook) and its assignment: 1 to 3 hidden layers of 16 to 512 units, at
most 512 in all, 100,000 noisy samples, batches of 1,000, up to 2,000 epochs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dlperf import data
from dlperf.accounting.mlp import multiplications
from dlperf.problem import Problem, Question, Summary
from dlperf.problems.approximators.parameters import EGGHOLDER, ApproximatorsParameters
from dlperf.problems.shared_parameters import VALIDATION_SHARE, refuse_less_than_a_batch
from dlperf.training.early_stopping import Schedule
from dlperf.trial import Context, StoredTrial, TrialResult

if TYPE_CHECKING:
    from dlperf.data.dataset import Samples
    from dlperf.training.loop import Prepared

_DRAWN = 80_000  # to train on, of the eggholder function


def verify(trials: Sequence[ApproximatorsParameters]) -> None:
    """Verify the user's samples before a run exists.

    Raises:
        BadInput: If the file cannot be used, or does not fill a batch.
    """
    first = trials[0]
    if data.kind(first.dataset):
        examples = len(samples(first).train.targets)
        refuse_less_than_a_batch(first.dataset, examples, "batch_size", first.batch_size)


def samples(parameters: ApproximatorsParameters) -> Samples:
    """Return the samples of a trial.

    Raises:
        BadInput: If the user's file cannot be used.
    """
    if data.kind(parameters.dataset):
        return _split(parameters.dataset, parameters.random_seed)
    return _drawn(parameters.random_seed, parameters.notebook)


@functools.lru_cache(maxsize=4)
def _drawn(random_seed: int, notebook: bool) -> Samples:
    """Draw the protocol's samples."""
    from dlperf.data import eggholder

    share = 0.0 if notebook else VALIDATION_SHARE
    return eggholder.draw(random_seed, continuous=not notebook, validation_share=share)


@functools.lru_cache(maxsize=4)
def _split(dataset: str, random_seed: int) -> Samples:
    """Return the user's samples, with those to validate on chosen by the random seed where the file has none."""
    from dlperf.data.dataset import Points, split_rows

    there = data.load_samples(dataset)
    if len(there.validation.targets):
        return there
    total = len(there.train.targets)
    held_out = max(1, int(total * VALIDATION_SHARE))
    train, validation = (
        Points(there.train.inputs[rows], there.train.targets[rows])
        for rows in split_rows(total, held_out, total - held_out, random_seed)
    )
    return replace(there, train=train, validation=validation)


def prepare(parameters: ApproximatorsParameters) -> Prepared:
    """Put network and samples together.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    # TensorFlow is imported here, so that help and bad input need not wait for it.
    from dlperf.problems.approximators import recipe

    return recipe.prepare(parameters, samples(parameters))


def run_trial(parameters: ApproximatorsParameters, context: Context) -> TrialResult:
    """Train one network and test it once.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    with context.clock.account("setup"):
        from dlperf.training.loop import Target, train_and_test

        used = samples(parameters)
        prepared = prepare(parameters)
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
        target=Target("validation_rmse", parameters.target_rmse) if parameters.target_rmse else None,
        facts={"num_layers": str(len(parameters.layers)), "total_units": str(sum(parameters.layers))},
        validation="test" if parameters.notebook else "split",
        save_model=parameters.save_model,
    )
    result.metrics["r_squared"] = 1.0 - (result.metrics["test_rmse"] / float(used.test.targets.std())) ** 2
    return result


def summarize(trials: Sequence[StoredTrial[ApproximatorsParameters]]) -> Summary:
    """Make the notebook's tables and figures from finished trials, and test what its text claims."""
    from dlperf.problems.approximators.tables import summary

    return summary(trials)


def work(parameters: ApproximatorsParameters) -> float:
    """Estimate the multiplications of a trial that is not stopped early: three forward passes per example."""
    features, examples = 2, _DRAWN
    if data.kind(parameters.dataset):
        examples, features = samples(parameters).train.inputs.shape
    return float(multiplications(parameters.layers, features) * 3 * examples * parameters.epochs)


def questions() -> Sequence[Question]:
    """Return the assignment's questions, with what answers them."""
    from dlperf.problems.approximators import questions as asked

    return asked.questions()


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
    verify=verify,
    data_digest=lambda parameters: samples(parameters).digest,
    data_drawn=lambda parameters: parameters.dataset == EGGHOLDER,
    prepare=prepare,
    run_trial=run_trial,
    summarize=summarize,
    questions=questions,
    work=work,
    demo={"max_units": "64", "max_layers": "2", "epochs": "30"},
    example="dlperf approximators --units '64,128;256' --random_seed 0,1,2",
)
