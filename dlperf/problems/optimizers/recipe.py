"""What the optimizers problem trains: network, update rule, splits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from dlperf.models.mlp import classifying_mlp
from dlperf.models.own_model import OwnNetwork
from dlperf.problems.model_parameters import model_digest, own_model
from dlperf.problems.optimizers.parameters import DROPOUT, UNITS
from dlperf.problems.optimizers.update_rules import rule
from dlperf.training.compiled_epoch import CompiledEpoch, DeviceSplit, fresh_runtime
from dlperf.training.dense_epoch import DenseEpoch
from dlperf.training.dense_graph_epoch import DenseGraphEpoch
from dlperf.training.image_epoch import ImageEpoch
from dlperf.training.input_scaling import InputScaling, scaling_of
from dlperf.training.loop import Prepared
from dlperf.training.objectives import Classification, Split
from dlperf.trial import DataUsed, SavedModel

if TYPE_CHECKING:
    from dlperf.data.dataset import Dataset
    from dlperf.problems.optimizers.parameters import OptimizersParameters


def prepare(parameters: OptimizersParameters, dataset: Dataset) -> Prepared:
    """Prepare network and update rule on the examples; uint8 ones the compiled program reads in place.

    A trial that only tries its learning rate has no test set.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    fresh_runtime(parameters.threads)
    own = OwnNetwork(own_model(parameters, dataset), parameters.random_seed) if parameters.own_model else None
    as_inputs: Callable[[np.ndarray], np.ndarray] = (lambda inputs: inputs) if own else vectors
    inputs, labels = as_inputs(dataset.train_inputs), dataset.train_labels
    train, validation_inputs, validation_labels = dataset.choose(
        parameters.validation_size, parameters.train_size, parameters.random_seed
    )
    scaling = scaling_of(inputs, train)
    compiled: CompiledEpoch
    if own:
        compiled = _own_epoch(parameters, own, inputs[train], labels[train], scaling)
    else:
        optimizer = _optimizer(parameters)
        epoch = DenseEpoch if parameters.xla == "all" else DenseGraphEpoch
        compiled = epoch(
            network(parameters, inputs.shape[1], len(dataset.label_names), optimizer),
            optimizer,
            inputs,
            labels,
            objective=Classification(),
            batch_size=parameters.batch_size,
            random_seed=parameters.random_seed,
            prepare=scaling.apply,
            rows=train,
        )
    subset = train[: parameters.subset_size]
    evaluated: dict[Split, DeviceSplit] = {"train_subset": compiled.to_device(inputs[subset], labels[subset])}
    if parameters.validation_size:
        evaluated["validation"] = compiled.to_device(as_inputs(validation_inputs), validation_labels)
    counts = {"train": parameters.train_size}
    if not parameters.notebook:
        counts["validation"] = parameters.validation_size
    test = None
    if parameters.stage != "search":
        test = compiled.to_device(as_inputs(dataset.test_inputs), dataset.test_labels)
        counts["test"] = test.examples

    def save() -> SavedModel:
        example = dataset.test_inputs[:2].astype("float32")
        if own:
            return SavedModel(own.saved(scaling.layer()), example)
        return SavedModel(saved_model(parameters, compiled.model, dataset, scaling), example)

    return Prepared(
        compiled,
        evaluated,
        test,
        DataUsed(dataset.name, dataset.digest, dataset.source, counts),
        save=save,
        facts=own.facts("pixels from 0 to 1" if scaling.mean is None else "standardised") if own else {},
        tags={"dlperf.model_digest": model_digest(parameters)} if own else {},
    )


def _own_epoch(
    parameters: OptimizersParameters,
    own: OwnNetwork,
    inputs: np.ndarray,
    labels: np.ndarray,
    scaling: InputScaling,
) -> ImageEpoch:
    """The epoch of images takes a network of any kind: what XLA compiles of it is the preparation alone."""

    def prepared(inputs: Any) -> Any:
        return ops.cast(inputs, "float32") if own.scales_inputs else scaling.apply(inputs)

    return ImageEpoch(
        own.network,
        _optimizer(parameters),
        inputs,
        labels,
        objective=Classification(),
        augment=lambda inputs, row, copy, draws: prepared(inputs),
        prepare=prepared,
        batch_size=parameters.batch_size,
        copies_in_epoch=1,
        copies_in_batch=1,
        micro_batch=parameters.batch_size,
        random_seed=parameters.random_seed,
    )


def _optimizer(parameters: OptimizersParameters) -> keras.optimizers.Optimizer:
    return rule(parameters.update_rule, parameters.update_rules)(parameters.learning_rate)


def vectors(inputs: np.ndarray) -> np.ndarray:
    """Return inputs (N, ...) as vectors (N, features), without a copy."""
    return inputs.reshape(len(inputs), -1)


def network(
    parameters: OptimizersParameters,
    features: int,
    classes: int,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> keras.Model:
    """Build the network for scaled inputs; with an optimizer its dropout masks follow from the number of steps."""
    return classifying_mlp(
        UNITS,
        random_seed=parameters.random_seed,
        features=features,
        classes=classes,
        l2=parameters.l2,
        dropout=DROPOUT if parameters.dropout else None,
        dropout_after=parameters.dropout_after,
        step=(lambda: optimizer.iterations) if optimizer else None,
    )


def saved_model(parameters: OptimizersParameters, trained: keras.Model, dataset: Dataset, scaling: InputScaling) -> Any:
    """Make a model of plain Keras layers that takes inputs as the data have them, so that it loads without dlperf."""
    plain = network(parameters.model_copy(update={"l2": 0.0}), math.prod(dataset.input_shape), len(dataset.label_names))
    plain.set_weights(trained.get_weights())
    layers = [keras.layers.Flatten(), scaling.layer(), plain]
    if scaling.mean is None:  # pixels are scaled as an image
        layers = [scaling.layer(), keras.layers.Flatten(), plain]
    return keras.Sequential([keras.Input(dataset.input_shape), *layers])
