"""Problem 4: cutout and batch augmentation on a CIFAR ResNet.

Sources: the notebook's Problem 4 (protocol=notebook); DeVries & Taylor 2017, "Improved Regularization of Convolutional
Neural Networks with Cutout"; Hoffer et al. 2019, "Augment your batch" (its ResNet-44 recipe: SGD, momentum 0.9, weight
decay 1e-4, drops at epochs 81, 122 and 164 of 200); He et al. 2015, section 4.2 (the network, 45k/5k split, crop and
flip).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dlperf import data
from dlperf.accounting.resnet import blocks_per_stage, count_resnet
from dlperf.declaration import parameter
from dlperf.deferred import Deferred
from dlperf.errors import BadInput
from dlperf.problems.training_parameters import ImageParameters, check_images
from dlperf.trial import Context, DataUsed, Problem, StoredTrial, Summary, TrialResult

if TYPE_CHECKING:
    from dlperf.data.dataset import ImageDataset

# Chunks of at most this many rows train ResNet-44 in about 1 GB, and larger ones are no faster on a CPU.
_MICRO_BATCH = 128


class CutoutParameters(ImageParameters):
    """Parameters of the cutout problem."""

    m: int = parameter(
        4,
        ge=0,
        le=256,
        grid=True,
        help="copies of each image, each with its own cutout; 0 is the baseline without cutout",
    )
    depth: int = parameter(44, help="layers of the ResNet, 6n + 2")
    copies_in: Literal["epoch", "batch"] = parameter(
        follows="protocol",
        help="epoch: m copies of the data set, m times the steps (the notebook); batch: the m copies of an image stand "
        "in one batch of m x batch_size, the steps stay (Hoffer et al.)",
    )
    micro_batch: int = parameter(
        follows="m, batch_size and copies_in",
        ge=1,
        le=65536,
        unit="images",
        help="larger batches are split into chunks of this size, at most, with accumulated gradients, so that memory "
        "does not grow with m; batch-normalisation statistics are those of a chunk",
    )
    cutout_length: int = parameter(follows="protocol", ge=1, le=64, unit="pixels", help="side of the masked square")
    epochs: int = parameter(
        follows="protocol and m", ge=1, le=100_000, unit="epochs", help="passes over the training set, at most"
    )
    learning_rate: float = parameter(follows="protocol", ge=1e-9, help="initial learning rate")
    weight_decay: float = parameter(
        follows="protocol", ge=0, help="added to the gradient: weight_decay x weight, for kernels only"
    )
    patience: int = parameter(
        follows="protocol",
        ge=0,
        unit="epochs",
        help="stop after so many epochs without a better validation accuracy; 0 never stops; in the corrected protocol "
        "only after the last learning-rate drop, and with the best weights restored",
    )
    target_accuracy: float = parameter(
        0.94, gt=0, le=1, help="epochs and seconds to this validation accuracy are reported"
    )

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults of the protocol."""
        notebook = given["protocol"] == "notebook"
        copies_in = given.get("copies_in", "epoch" if notebook else "batch")
        rows = given["batch_size"] * (given["m"] or 1 if copies_in == "batch" else 1)
        return {
            **super().following(given),
            "copies_in": copies_in,
            "micro_batch": min(rows, max(_MICRO_BATCH, given["batch_size"])),
            "cutout_length": 12 if notebook else 16,
            "epochs": 200 if notebook and given["m"] == 0 else 100,
            "learning_rate": 0.001 if notebook else 0.1,
            "weight_decay": 0.0002 if notebook else 0.0001,  # 0.0002 is what Keras's l2(1e-4) adds to the gradient
            "patience": 20 if notebook else 0,
        }

    def check(self) -> None:
        """Refuse a depth that is not 6n + 2.

        Raises:
            BadInput: Naming the nearest depths.
        """
        try:
            blocks_per_stage(self.depth)
        except ValueError as error:
            raise BadInput("depth", self.depth, str(error)) from error

    @property
    def copies(self) -> int:
        """Copies made of each image: one, unmasked, for m=0."""
        return self.m or 1

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch (from 1).

        The notebook's m=0 drops after its 0-based epochs 80, 120, 160 and 180, so the first epoch with a lower rate is
        the 82nd; its runs with cutout keep the rate. Corrected: a tenth after 81, 122 and 164 of 200 epochs, in
        proportion when `epochs` differs.
        """
        if not self.notebook:
            drops = sum(epoch > math.ceil(self.epochs * drop / 200) for drop in (81, 122, 164))
            return self.learning_rate * (1.0, 0.1, 0.01, 0.001)[drops]
        if self.m:
            return self.learning_rate
        passed = sum(epoch - 1 > drop for drop in (80, 120, 160, 180))
        return self.learning_rate * (1.0, 1e-1, 1e-2, 1e-3, 0.5e-3)[passed]


def run_trial(parameters: CutoutParameters, context: Context) -> TrialResult:
    """Train one network and test it once.

    Raises:
        TrialFailed: If the loss is not finite, or the state on disk is damaged.
    """
    with context.clock.account("setup"):
        # TensorFlow is imported here, so that help and bad input need not wait for it.
        from dlperf.problems.cutout_protocols import compiled_epoch, saved_model, split
        from dlperf.training import Schedule, evaluate, train

        dataset = data.load(parameters.dataset, parameters.data_dir)
        train_split, validation_split = split(dataset, parameters)
        compiled = compiled_epoch(parameters, *train_split)
        test = compiled.hold(dataset.test_images, dataset.test_labels)
        validation = test if parameters.notebook else compiled.hold(*validation_split)
    splits = {"train": len(train_split[0]), "validation": len(validation_split[0]), "test": len(dataset.test_images)}
    if parameters.notebook:
        del splits["validation"]  # its test set is its validation set
    with context.clock.account("tracking"):
        context.report.data(DataUsed(dataset.name, dataset.digest, dataset.source, splits))
    context.facts(
        {"num_params": str(compiled.model.count_params())},
        {"dlperf.validation": "test" if parameters.notebook else "split"},
    )
    schedule = Schedule(
        epochs=parameters.epochs,
        learning_rate=parameters.learning_rate_at,
        patience=parameters.patience,
        only_last_plateau=not parameters.notebook,
        restore_best_weights=not parameters.notebook and parameters.patience > 0,
    )
    training = train(compiled, {"validation": validation}, schedule, context)
    tested = evaluate(compiled, test, context)
    metrics = {
        **training.metrics(parameters.target_accuracy, schedule.monitor),
        **tested.metrics("test"),
        "num_params": compiled.model.count_params(),
    }
    with context.clock.account("reporting"):
        figures = {"cutout_examples": _example_figure(parameters, dataset)}
        saved = saved_model(parameters, compiled.model, train_split[0], dataset) if parameters.save_model else None
    return TrialResult(metrics, {"dlperf.target_reached": str("epochs_to_target" in metrics).lower()}, figures, saved)


def summarize(trials: Sequence[StoredTrial[CutoutParameters]]) -> Summary:
    """Make the notebook's figure and the assignment's table of finished trials."""
    import pandas as pd

    from dlperf import plots

    trials = sorted(trials, key=lambda t: (t.parameters.m, t.parameters.random_seed))
    first = trials[0].parameters
    title = f"ResNet-{first.depth} on {first.dataset}"

    def curves(*names: str) -> pd.DataFrame:
        return pd.concat(
            pd.DataFrame(
                {
                    "m": str(t.parameters.m),
                    "random_seed": t.parameters.random_seed,
                    "epoch": range(1, int(t.metrics["epochs_run"]) + 1),
                    **{name: t.history[name] for name in names},
                }
            )
            for t in trials
        )

    def figure(metric: str, says: str, **style: Any) -> Any:
        return plots.epoch_curves(curves(metric), metric, "m", title=f"{title}: {says}", **style)

    figures = {
        "validation_error_by_m": lambda: figure("validation_error", "validation error by copies per image (m)"),
        "learning_rate": lambda: figure("learning_rate", "learning rate", log=True),
    }
    epochs = {"epochs": lambda: curves(*trials[0].history)}
    table = pd.DataFrame([_row(trial) for trial in trials])
    return Summary({"cutout": table}, Deferred(figures), Deferred(epochs))


def work(parameters: CutoutParameters) -> float:
    """Estimate the multiplications of a trial: three forward passes' worth per training example, one per validation."""
    examples = parameters.copies * parameters.train_size
    evaluated = data.train_size(parameters.dataset) // 5 if parameters.notebook else parameters.validation_size
    forward = count_resnet(parameters.depth).multiplications
    return float(forward * (3 * examples + evaluated) * parameters.epochs)


def _row(trial: StoredTrial[CutoutParameters]) -> dict[str, Any]:
    parameters, metrics = trial.parameters, trial.metrics
    return {
        "m": parameters.m,
        "random_seed": parameters.random_seed,
        "epochs": int(metrics["epochs_run"]),
        "train_seconds": metrics["train_seconds"],
        "seconds_per_epoch": metrics["train_seconds"] / metrics["epochs_run"],
        "best_validation_error": metrics["best_validation_error"],
        "final_validation_error": metrics["validation_error"],
        "test_error": metrics["test_error"],
        "epochs_to_target": metrics.get("epochs_to_target", math.nan),
        "seconds_to_target": metrics.get("seconds_to_target", math.nan),
    }


def _example_figure(parameters: CutoutParameters, dataset: ImageDataset) -> Any:
    """Show two images before and after cutout, as the notebook does (its images 7 and 3)."""
    import numpy as np

    from dlperf import plots
    from dlperf.augment import cutout

    images = dataset.train_images[[7, 3]].astype("float32") / 255
    rng = np.random.default_rng(parameters.random_seed)
    centres = rng.integers(0, images.shape[1:3], (2, 2))
    masked = np.asarray(cutout(images, centres, parameters.cutout_length))
    names = [dataset.label_names[dataset.train_labels[i]] for i in (7, 3)]
    pairs = zip(names, images, masked, strict=True)
    return plots.image_grid(
        [
            [(name, before), (f"{name}, {parameters.cutout_length} x {parameters.cutout_length} cut out", after)]
            for name, before, after in pairs
        ]
    )


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
    check=check_images,
    data_digest=lambda parameters: data.load(parameters.dataset, parameters.data_dir).digest,
    run_trial=run_trial,
    summarize=summarize,
    work=work,
    demo={"m": "0,4", "dataset": "digits", "depth": "8", "epochs": "6"},
)
