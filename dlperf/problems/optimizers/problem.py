"""Problem 1: adaptive learning rates on a CIFAR-10 multilayer perceptron, with and without dropout.

    mlflow run . -e optimizers                       # 10 trials of 200 epochs, some 5 hours on 2 cores
    python entrypoints/optimizers.py --epochs 10     # the same for 10 epochs: 16 minutes (results/optimizers/notebook)

Expect after 10 epochs: Adam first by training loss (1.95) and by cross-entropy (1.62), RMSProp second by the one and
fourth of five by the other; 15.9 of AdaGrad's loss of 17.6 is weight penalty.

    python entrypoints/optimizers.py --protocol corrected --random_seed 0,1,2      # some 17 hours on 2 cores

Sources: the notebook's Problem 1 (protocol=notebook) and its assignment: 3072-1000-1000-10 with ReLU, batches of 128,
200 epochs, L2 on the hidden layers, dropout of 0.2 on the input and 0.5 after every hidden layer (Srivastava et al.
2014). The corrected protocol chooses every optimizer's learning rate on validation images and repeats the best one
over random seeds, as DeepOBS (Schneider, Balles, Hennig 2019) does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlperf import data
from dlperf.accounting.mlp import multiplications
from dlperf.errors import BadInput
from dlperf.problem import Problem, Question, Summary
from dlperf.problems.model_parameters import model_digest, own_model, verify_models
from dlperf.problems.optimizers.parameters import UNITS, OptimizersParameters
from dlperf.problems.optimizers.search import candidates, least_budget, next_trials
from dlperf.problems.shared_parameters import verify_examples
from dlperf.training.early_stopping import Schedule
from dlperf.trial import Context, StoredTrial, TrialResult

if TYPE_CHECKING:
    from dlperf.training.loop import Prepared


def verify(trials: Sequence[OptimizersParameters]) -> None:
    """Verify the data, and that no two trials are the same, before a run exists.

    Raises:
        BadInput: If data_dir, a file in it, train_examples, optimizer or model cannot be used.
        EnvironmentMissing: If there is no data and it cannot be downloaded.
    """
    if trials[0].notebook and {"nadam", "rmsprop_nesterov"} <= {trial.optimizer for trial in trials}:
        raise BadInput("optimizer", "nadam,rmsprop_nesterov", "both are Nadam with protocol=notebook: give one of them")
    verify_examples(trials)
    first = trials[0]
    if first.search_examples > first.train_size:
        allowed = f"must be at most {first.train_size}, the images to train on; 0 takes train_examples"
        raise BadInput("search_examples", first.search_examples, allowed)
    if first.search == "halving":
        _verify_halving(trials)
    verify_models(trials, lambda trial: own_model(trial, data.load(trial.dataset, trial.data_dir, trial.reading)))


def _verify_halving(trials: Sequence[OptimizersParameters]) -> None:
    first, most = trials[0], max(len(alike) for alike in candidates(trials).values())
    if first.notebook:
        raise BadInput("search", first.search, "needs protocol=corrected, which has examples to choose by")
    if first.search_budget < (least := least_budget(most)):
        allowed = f"must be at least {least}, an epoch for each of {most} learning rates in each round"
        raise BadInput("search_budget", first.search_budget, allowed)


def prepare(parameters: OptimizersParameters) -> Prepared:
    """Put network and data together.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    # TensorFlow is imported here, so that help and bad input need not wait for it.
    from dlperf.problems.optimizers import recipe

    return recipe.prepare(parameters, data.load(parameters.dataset, parameters.data_dir, parameters.reading))


def run_trial(parameters: OptimizersParameters, context: Context) -> TrialResult:
    """Train one network and test it once, unless it only tries a learning rate.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    with context.clock.account("setup"):
        from dlperf.training.loop import Target, train_and_test

        prepared = prepare(parameters)
    schedule = Schedule(
        epochs=parameters.epochs,
        learning_rate=lambda epoch: parameters.learning_rate,
        monitor="train_loss" if parameters.notebook else "validation_cross_entropy",
    )
    return train_and_test(
        prepared,
        schedule,
        context,
        target=Target("train_subset_cross_entropy", parameters.target_cross_entropy),
        facts={"update_rule": parameters.update_rule},
        validation="none" if parameters.notebook else "split",
        save_model=parameters.save_model,
    )


def summarize(trials: Sequence[StoredTrial[OptimizersParameters]]) -> Summary:
    """Make the notebook's tables and figures from finished trials, the same without the penalty, and rankings."""
    from dlperf.problems.optimizers.tables import summary

    return summary(trials)


def work(parameters: OptimizersParameters) -> float:
    """Estimate the multiplications of a trial: three forward passes per training example, less the input's."""
    features = math.prod(parameters.facts.input_shape)
    forward = multiplications(UNITS, features, parameters.facts.classes)
    steps = math.ceil(parameters.train_size / parameters.batch_size)
    # An update reads and writes every weight and its averages, which takes as long as some 20 multiplications a weight.
    updates = steps * forward * 20
    evaluated = parameters.subset_size + parameters.validation_size
    return float(
        (parameters.train_size * (3 * forward - features * UNITS[0]) + updates + evaluated * forward)
        * parameters.epochs
    )


def questions() -> Sequence[Question]:
    """Return the assignment's questions, with what answers them."""
    from dlperf.problems.optimizers import questions as asked

    return asked.questions()


PROBLEM = Problem(
    name="optimizers",
    summary="Adaptive learning rates on a CIFAR-10 multilayer perceptron, with and without dropout.",
    parameters=OptimizersParameters,
    varying=("optimizer", "dropout", "learning_rate", "random_seed"),
    compared=("train_cross_entropy", "test_accuracy", "train_loss", "train_seconds", "seconds_to_target"),
    curves=("epoch_seconds", "train_loss", "train_cross_entropy", "train_subset_cross_entropy"),
    required=(
        *("epochs_run", "train_seconds", "train_loss", "best_train_loss", "train_cross_entropy"),
        *("best_train_cross_entropy", "train_penalty", "train_subset_cross_entropy"),
    ),
    monitor="validation_cross_entropy",
    varying_rarely=("stage", "rung"),
    verify=verify,
    data_digest=lambda parameters: data.load(parameters.dataset, parameters.data_dir, parameters.reading).digest,
    prepare=prepare,
    model_digest=model_digest,
    run_trial=run_trial,
    next_trials=next_trials,
    summarize=summarize,
    questions=questions,
    work=work,
    demo={"optimizer": "adam", "dataset": "digits", "epochs": "5"},
    example="dlperf optimizers --optimizer adam,nadam --dropout false --epochs 10",
)
