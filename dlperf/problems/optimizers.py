"""Problem 1: adaptive learning rates on a CIFAR-10 multilayer perceptron, with and without dropout.

Sources: the notebook's Problem 1 (protocol=notebook) and its assignment: 3072-1000-1000-10 with ReLU, batches of 128,
200 epochs, L2 on the hidden layers, dropout of 0.2 on the input and 0.5 after each hidden layer (Srivastava et al.
2014). The corrected protocol chooses each optimizer's learning rate on validation images and repeats the best one over
random seeds, as DeepOBS (Schneider, Balles, Hennig 2019) does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dlperf import data
from dlperf.accounting.mlp import multiplications
from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.problems.training_parameters import ImageParameters, check_images
from dlperf.trial import Context, DataUsed, Problem, SavedModel, StoredTrial, Summary, TrialResult

UNITS = (1000, 1000)
DROPOUT = (0.2, 0.5)
FEATURES, CLASSES = 3072, 10
_SUBSET = 5000
_NOTEBOOK_OPTIMIZERS = ("adagrad", "rmsprop", "nadam", "adadelta", "adam")
_KERAS_LEARNING_RATE = 0.001
_LEARNING_RATES = {  # the corrected protocol's grid
    "adagrad": (0.001, 0.003, 0.01, 0.03, 0.1),
    "rmsprop": (0.00003, 0.0001, 0.0003, 0.001, 0.003),
    "rmsprop_nesterov": (0.00001, 0.00003, 0.0001, 0.0003, 0.001),
    "nadam": (0.00003, 0.0001, 0.0003, 0.001, 0.003),
    "adadelta": (0.03, 0.1, 0.3, 1.0, 3.0),
    "adam": (0.00003, 0.0001, 0.0003, 0.001, 0.003),
}


class OptimizersParameters(ImageParameters):
    """Parameters of the optimizers problem."""

    optimizer: Literal["adagrad", "rmsprop", "rmsprop_nesterov", "nadam", "adadelta", "adam"] = parameter(
        follows="protocol",
        grid=True,
        help="update rule: the notebook's five (adagrad, rmsprop, nadam, adadelta, adam), all six with "
        "protocol=corrected; with protocol=notebook rmsprop_nesterov is Nadam, as the notebook had it",
    )
    dropout: bool = parameter(
        (False, True), grid=True, help="drop 0.2 of the inputs and 0.5 of the units of each hidden layer"
    )
    learning_rate: float = parameter(
        follows="protocol and optimizer",
        grid=True,
        gt=0,
        help="learning rate: Keras's default, or a grid with protocol=corrected, which tries each of several for "
        "search_epochs, chooses by the validation cross-entropy and trains and tests with the best one only",
    )
    batch_size: int = parameter(128, ge=1, le=8192, unit="images", help="images per step")
    epochs: int = parameter(200, ge=1, le=100_000, unit="epochs", help="passes over the training set")
    l2: float = parameter(
        follows="protocol", ge=0, help="weight of the squares of the hidden layers' kernels and biases in the loss"
    )
    search_epochs: int = parameter(
        follows="epochs", ge=1, le=100_000, selects=True, unit="epochs",
        help="passes over the training set for each learning rate that is tried; a tenth of epochs unless given",
    )  # fmt: skip
    search_examples: int = parameter(
        0, ge=0, selects=True, unit="images", help="images to try learning rates on; 0 takes train_examples"
    )
    stage: Literal["final", "search"] = parameter(
        "final", help="search trains for the choice of a learning rate and never reads the test set"
    )
    target_cross_entropy: float = parameter(
        1.5, gt=0, help="epochs and seconds to this cross-entropy on the training subset (in inference) are reported"
    )

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults of the protocol."""
        notebook = given["protocol"] == "notebook"
        optimizer = given.get("optimizer", _NOTEBOOK_OPTIMIZERS[0])
        return {
            **super().following(given),
            "optimizer": optimizer,
            "learning_rate": cls.spanning({**given, "optimizer": optimizer})["learning_rate"][0],
            "l2": 0.01 if notebook else 0.0001,
            "search_epochs": max(1, given["epochs"] // 10),
        }

    @classmethod
    def spanning(cls, given: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """The protocol's optimizers, and at each its learning rates."""
        notebook = given["protocol"] == "notebook"
        found: dict[str, tuple[Any, ...]] = {"optimizer": _NOTEBOOK_OPTIMIZERS if notebook else tuple(_LEARNING_RATES)}
        if "optimizer" in given:
            found["learning_rate"] = (_KERAS_LEARNING_RATE,) if notebook else _LEARNING_RATES[given["optimizer"]]
        return found

    @property
    def update_rule(self) -> str:
        """The rule that is trained with: what the notebook calls RMSProp with Nesterov momentum is Nadam."""
        return "nadam" if self.notebook and self.optimizer == "rmsprop_nesterov" else self.optimizer

    @property
    def subset_size(self) -> int:
        """Training images that are evaluated in inference mode after each epoch."""
        return min(_SUBSET, self.train_size)

    def searching(self) -> OptimizersParameters:
        """Return the trial that tries this one's learning rate."""
        examples = self.search_examples or self.train_examples
        return self.model_copy(update={"stage": "search", "epochs": self.search_epochs, "train_examples": examples})


def check(trials: Sequence[OptimizersParameters]) -> None:
    """Verify the data, and that no two trials are one, before a run exists.

    Raises:
        BadInput: If data_dir, a file in it, train_examples or optimizer cannot be used.
        EnvironmentMissing: If there is no data and it cannot be downloaded.
    """
    if trials[0].notebook and {"nadam", "rmsprop_nesterov"} <= {trial.optimizer for trial in trials}:
        raise BadInput("optimizer", "nadam,rmsprop_nesterov", "both are Nadam with protocol=notebook: give one of them")
    check_images(trials)
    first = trials[0]
    if first.search_examples > first.train_size:
        allowed = f"must be at most {first.train_size}, the images to train on; 0 takes train_examples"
        raise BadInput("search_examples", first.search_examples, allowed)


def run_trial(parameters: OptimizersParameters, context: Context) -> TrialResult:
    """Train one network, and unless its learning rate is only tried test it once.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    with context.clock.account("setup"):
        # TensorFlow is imported here, so that help and bad input need not wait for it.
        from dlperf.problems.optimizer_network import prepared, saved_model
        from dlperf.training import Monitor, Schedule, evaluate, train

        dataset = data.load(parameters.dataset, parameters.data_dir)
        compiled, held, test = prepared(parameters, dataset)
    splits = {"train": parameters.train_size, "validation": parameters.validation_size}
    if parameters.notebook:
        del splits["validation"]
    if test:
        splits["test"] = test.examples
    with context.clock.account("tracking"):
        context.report.data(DataUsed(dataset.name, dataset.digest, dataset.source, splits))
    context.facts(
        {"num_params": str(compiled.model.count_params()), "update_rule": parameters.update_rule},
        {"dlperf.validation": "none" if parameters.notebook else "split"},
    )
    monitor = Monitor("train_loss" if parameters.notebook else "validation_cross_entropy", lower_is_better=True)
    schedule = Schedule(epochs=parameters.epochs, learning_rate=lambda epoch: parameters.learning_rate, monitor=monitor)
    training = train(compiled, held, schedule, context)
    target = Monitor("train_subset_cross_entropy", lower_is_better=True)
    metrics = {
        **training.metrics(parameters.target_cross_entropy, target),
        **(evaluate(compiled, test, context).metrics("test") if test else {}),
        "num_params": compiled.model.count_params(),
    }
    with context.clock.account("reporting"):
        example = dataset.test_images[:2].astype("float32")
        model = SavedModel(saved_model(parameters, compiled.model), example) if parameters.save_model else None
    return TrialResult(metrics, {"dlperf.target_reached": str("epochs_to_target" in metrics).lower()}, model=model)


def next_trials(
    asked: Sequence[OptimizersParameters], finished: Sequence[StoredTrial[OptimizersParameters]]
) -> Sequence[OptimizersParameters]:
    """Try the learning rates with the first random seed; then train with the best one, with all random seeds.

    The notebook's protocol has no validation images to choose by: there every trial asked for is run.
    """
    if asked[0].notebook or asked[0].stage == "search":
        return asked
    first = asked[0].random_seed
    rates: dict[tuple[str, bool], list[OptimizersParameters]] = {}
    for trial in asked:
        if trial.random_seed == first:
            rates.setdefault((trial.optimizer, trial.dropout), []).append(trial)
    chosen = best_rates(finished) | {pair: own[0].learning_rate for pair, own in rates.items() if len(own) == 1}
    searches = [trial.searching() for own in rates.values() if len(own) > 1 for trial in own]
    return searches + [t for t in asked if chosen.get((t.optimizer, t.dropout)) == t.learning_rate]


def best_rates(trials: Sequence[StoredTrial[OptimizersParameters]]) -> dict[tuple[str, bool], float]:
    """Return, by optimizer and dropout, the tried rate of the lowest validation cross-entropy after the last epoch."""
    tried = [trial for trial in trials if trial.parameters.stage == "search"]
    # The best one comes last, and stays.
    tried.sort(key=lambda trial: -trial.metrics.get("validation_cross_entropy", math.inf))
    return {(t.parameters.optimizer, t.parameters.dropout): t.parameters.learning_rate for t in tried}


def summarize(trials: Sequence[StoredTrial[OptimizersParameters]]) -> Summary:
    """Make the notebook's tables and figures of finished trials, the same without the penalty, and rankings."""
    from dlperf.problems.optimizer_tables import summary

    return summary(trials)


def work(parameters: OptimizersParameters) -> float:
    """Estimate the multiplications of a trial: three forward passes' worth per training example, less the input's."""
    forward = multiplications(UNITS, FEATURES, CLASSES)
    steps = math.ceil(parameters.train_size / parameters.batch_size)
    # An update reads and writes each weight and its averages; per weight that takes as long as some 20 multiplications.
    updates = steps * forward * 20
    evaluated = parameters.subset_size + parameters.validation_size
    return float(
        (parameters.train_size * (3 * forward - FEATURES * UNITS[0]) + updates + evaluated * forward)
        * parameters.epochs
    )


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
    varying_rarely=("stage",),
    check=check,
    data_digest=lambda parameters: data.load(parameters.dataset, parameters.data_dir).digest,
    run_trial=run_trial,
    next_trials=next_trials,
    summarize=summarize,
    work=work,
    demo={"optimizer": "adam", "dataset": "digits", "epochs": "5"},
)
