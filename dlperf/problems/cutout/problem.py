"""Problem 4: cutout and batch augmentation on a CIFAR ResNet.

    mlflow run . -e cutout -P m=0,2,4,8,16,32        # ResNet-44, CIFAR-10: some 380 hours on 2 cores, m=4 some 24
    python entrypoints/cutout.py --m 0,2,4,8 --depth 20 --train_examples 5000 --epochs 10      # 28 minutes

Expect of the second (results/cutout) a final error of 0.495 (m=0), 0.517 (2), 0.421 (4) and 0.353 (8): time is linear
in m, and at equal time more copies are not ahead. At full length the notebook's baseline has an error of 0.1575.

Sources: the notebook's Problem 4 (protocol=notebook); DeVries & Taylor 2017, "Improved Regularization of Convolutional
Neural Networks with Cutout"; Hoffer et al. 2019, "Augment your batch" (its ResNet-44 recipe: SGD, momentum 0.9, weight
decay 1e-4, drops at epochs 81, 122 and 164 of 200); He et al. 2015, section 4.2 (the network, 45k/5k split, crop and
flip).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlperf import data
from dlperf.accounting.resnet import count_resnet
from dlperf.problem import Problem, Question, Summary
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.problems.model_parameters import model_digest, own_model, verify_models
from dlperf.problems.shared_parameters import refuse_other_than_images, verify_examples
from dlperf.training.early_stopping import Schedule
from dlperf.trial import Context, StoredTrial, TrialResult

if TYPE_CHECKING:
    from dlperf.training.loop import Prepared


def verify(trials: Sequence[CutoutParameters]) -> None:
    """Verify data and model before a run exists.

    Raises:
        BadInput: If the data cannot be used, or are no images, or the model cannot be trained on them.
        EnvironmentMissing: If there is no data and it cannot be downloaded.
    """
    verify_examples(trials)
    refuse_other_than_images(trials[0].dataset, trials[0].reading)
    verify_models(trials, lambda trial: own_model(trial, data.load(trial.dataset, trial.data_dir, trial.reading)))


def prepare(parameters: CutoutParameters) -> Prepared:
    """Put network, augmentation and data together.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    # TensorFlow is imported here, so that help and bad input need not wait for it.
    from dlperf.problems.cutout import recipe

    return recipe.prepare(parameters, data.load(parameters.dataset, parameters.data_dir, parameters.reading))


def run_trial(parameters: CutoutParameters, context: Context) -> TrialResult:
    """Train one network and test it once.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    with context.clock.account("setup"):
        from dlperf.problems.cutout.figures import example_figure
        from dlperf.training.loop import Target, train_and_test

        prepared = prepare(parameters)
    result = train_and_test(
        prepared,
        schedule(parameters),
        context,
        target=Target("validation_accuracy", parameters.target_accuracy),
        facts={},
        validation="test" if parameters.notebook else "split",
        save_model=parameters.save_model,
    )
    with context.clock.account("reporting"):
        images = data.load(parameters.dataset, parameters.data_dir, parameters.reading)
        result.figures["cutout_examples"] = example_figure(parameters, images)
    return result


def schedule(parameters: CutoutParameters) -> Schedule:
    """Return the protocol's schedule."""
    return Schedule(
        epochs=parameters.epochs,
        learning_rate=parameters.learning_rate_at,
        patience=parameters.patience,
        only_last_plateau=not parameters.notebook,
        restore_best_weights=not parameters.notebook and parameters.patience > 0,
    )


def summarize(trials: Sequence[StoredTrial[CutoutParameters]]) -> Summary:
    """Make the notebook's figure and the assignment's table from finished trials."""
    from dlperf.problems.cutout.tables import summary

    return summary(trials)


def work(parameters: CutoutParameters) -> float:
    """Estimate the multiplications of a trial: three forward passes per training example, one per validation."""
    examples = parameters.copies * parameters.train_size
    facts = parameters.facts
    evaluated = facts.train // 5 if parameters.notebook else parameters.validation_size
    height, width, channels = facts.input_shape
    forward = 1  # of a model of the user's own it is not known here: only the ratio of trials is used then
    if parameters.own_model is None:
        size = round(math.sqrt(height * width))
        forward = count_resnet(parameters.depth, size=size, channels=channels, classes=facts.classes).multiplications
    return float(forward * (3 * examples + evaluated) * parameters.epochs)


def questions() -> Sequence[Question]:
    """Return the assignment's questions, with what answers them."""
    from dlperf.problems.cutout import questions as asked

    return asked.questions()


PROBLEM = Problem(
    name="cutout",
    summary="ResNet with cutout batch augmentation: validation error and time by copies per image (m).",
    parameters=CutoutParameters,
    varying=("m", "random_seed"),
    compared=("validation_error", "test_error", "train_seconds", "seconds_to_target"),
    curves=("epoch_seconds", "validation_error", "validation_accuracy", "learning_rate"),
    required=(
        "epochs_run",
        "train_seconds",
        "best_validation_error",
        "validation_error",
        "learning_rate",
        "test_error",
    ),
    monitor="validation_accuracy",
    verify=verify,
    data_digest=lambda parameters: data.load(parameters.dataset, parameters.data_dir, parameters.reading).digest,
    prepare=prepare,
    model_digest=model_digest,
    run_trial=run_trial,
    summarize=summarize,
    questions=questions,
    work=work,
    demo={"m": "0,4", "dataset": "digits", "depth": "8", "epochs": "4"},
    example="dlperf cutout --m 0,4 --depth 20 --train_examples 5000 --epochs 10",
)
