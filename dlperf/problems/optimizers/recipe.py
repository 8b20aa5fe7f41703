"""What the optimizers problem trains: network, update rule, splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from dlperf.data.dataset import split_rows
from dlperf.models.mlp import classifying_mlp
from dlperf.problems.optimizers.parameters import CLASSES, DROPOUT, FEATURES, UNITS
from dlperf.problems.optimizers.update_rules import rule
from dlperf.training.compiled_epoch import DeviceSplit, fresh_runtime
from dlperf.training.dense_epoch import DenseEpoch
from dlperf.training.dense_graph_epoch import DenseGraphEpoch
from dlperf.training.loop import Prepared
from dlperf.training.objectives import Classification, Split
from dlperf.trial import DataUsed, SavedModel

if TYPE_CHECKING:
    from dlperf.data.dataset import ImageDataset
    from dlperf.problems.optimizers.parameters import OptimizersParameters


def prepare(parameters: OptimizersParameters, dataset: ImageDataset) -> Prepared:
    """Prepare network and update rule on the uint8 images, which the compiled program reads in place.

    A trial that only tries its learning rate has no test set.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    fresh_runtime(parameters.threads)
    optimizer = rule(parameters.update_rule, parameters.update_rules)(parameters.learning_rate)
    images, labels = dataset.train_images.reshape(-1, FEATURES), dataset.train_labels
    train, validation = split_rows(
        len(images), parameters.validation_size, parameters.train_size, parameters.random_seed
    )
    epoch = DenseEpoch if parameters.xla == "all" else DenseGraphEpoch
    compiled = epoch(
        network(parameters, optimizer),
        optimizer,
        images,
        labels,
        objective=Classification(),
        batch_size=parameters.batch_size,
        random_seed=parameters.random_seed,
        prepare=lambda pixels: ops.cast(pixels, "float32") / 255.0,
        rows=train,
    )
    subset = train[: parameters.subset_size]
    evaluated: dict[Split, DeviceSplit] = {"train_subset": compiled.to_device(images[subset], labels[subset])}
    if parameters.validation_size:
        evaluated["validation"] = compiled.to_device(images[validation], labels[validation])
    counts = {"train": parameters.train_size}
    if not parameters.notebook:
        counts["validation"] = parameters.validation_size
    test = None
    if parameters.stage != "search":
        test = compiled.to_device(dataset.test_images.reshape(-1, FEATURES), dataset.test_labels)
        counts["test"] = test.examples
    return Prepared(
        compiled,
        evaluated,
        test,
        DataUsed(dataset.name, dataset.digest, dataset.source, counts),
        save=lambda: SavedModel(saved_model(parameters, compiled.model), dataset.test_images[:2].astype("float32")),
    )


def network(parameters: OptimizersParameters, optimizer: keras.optimizers.Optimizer | None = None) -> keras.Model:
    """Build the network for pixels in [0, 1]; with an optimizer its dropout masks follow from the number of steps."""
    return classifying_mlp(
        UNITS,
        random_seed=parameters.random_seed,
        features=FEATURES,
        classes=CLASSES,
        l2=parameters.l2,
        dropout=DROPOUT if parameters.dropout else None,
        dropout_after=parameters.dropout_after,
        step=(lambda: optimizer.iterations) if optimizer else None,
    )


def saved_model(parameters: OptimizersParameters, trained: keras.Model) -> Any:
    """Make a model of plain Keras layers that takes images with pixels 0 to 255, so that it loads without dlperf."""
    plain = network(parameters.model_copy(update={"l2": 0.0}))
    plain.set_weights(trained.get_weights())
    layers = keras.layers
    return keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1.0 / 255.0), layers.Flatten(), plain])
