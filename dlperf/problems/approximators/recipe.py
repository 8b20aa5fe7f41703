"""What the two protocols of the approximators problem train: scaling, network, optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from dlperf.data.dataset import Points, Samples
from dlperf.data.eggholder import BOUND
from dlperf.models.mlp import regression_mlp
from dlperf.problems.approximators.parameters import EGGHOLDER
from dlperf.training.compiled_epoch import fresh_runtime
from dlperf.training.dense_epoch import DenseEpoch
from dlperf.training.loop import Prepared
from dlperf.training.notebook_optimizers import Nadam
from dlperf.training.objectives import Regression
from dlperf.trial import DataUsed, SavedModel

if TYPE_CHECKING:
    from dlperf.problems.approximators.parameters import ApproximatorsParameters

_MOMENTUM = 0.9


def prepare(parameters: ApproximatorsParameters, samples: Samples) -> Prepared:
    """Prepare the protocol's network and optimizer on the samples; the saved model takes and returns original units.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    fresh_runtime(parameters.threads)
    mean, unit = (0.0, 1.0) if parameters.notebook else (samples.train.targets.mean(), samples.train.targets.std())
    unit = unit or 1.0  # values that do not vary
    centre, reach = _scale(parameters, samples.train.inputs)
    features = samples.train.inputs.shape[1]

    def scaled(points: Points) -> tuple[np.ndarray, np.ndarray]:
        inputs = points.inputs / reach if centre is None else (points.inputs - centre) / reach
        return inputs.astype("float32"), ((points.targets - mean) / unit).astype("float32")

    def network(*, fast_gradient: bool) -> keras.Model:
        settings: Any = {"random_seed": parameters.random_seed, "batch_norm": parameters.batch_norm}
        settings["features"] = features
        return regression_mlp(parameters.layers, **settings, fast_gradient=fast_gradient)

    model = network(fast_gradient=True)
    compiled = DenseEpoch(
        model,
        _optimizer(parameters),
        *scaled(samples.train),
        objective=Regression(float(unit)),
        batch_size=parameters.batch_size,
        random_seed=parameters.random_seed,
    )
    test = compiled.to_device(*scaled(samples.test))
    validation = test if parameters.notebook else compiled.to_device(*scaled(samples.validation))

    def in_original_units() -> SavedModel:
        layers = keras.layers
        plain = network(fast_gradient=False)  # loads without dlperf
        plain.set_weights(model.get_weights())
        before = layers.Rescaling(1.0 / reach)
        if centre is not None:
            before = layers.Normalization(mean=centre, variance=np.square(reach))
        after = layers.Rescaling(float(unit), offset=float(mean))
        whole = keras.Sequential([keras.Input((features,)), before, plain, after])
        return SavedModel(whole, samples.test.inputs[:2].astype("float32"))

    counts = {name: len(getattr(samples, name).targets) for name in ("train", "validation", "test")}
    if parameters.notebook:
        del counts["validation"]  # the notebook validates on its test set
    used = DataUsed(samples.name, samples.digest, samples.source, counts)
    return Prepared(compiled, {"validation": validation}, test, used, save=in_original_units)


def _scale(parameters: ApproximatorsParameters, inputs: np.ndarray) -> tuple[np.ndarray | None, Any]:
    """Return what inputs are lessened and divided by: the course's by their bound, others to standard deviation 1."""
    if parameters.dataset == EGGHOLDER:
        return None, 1.0 if parameters.notebook else float(BOUND)
    deviations = inputs.std(axis=0)
    return inputs.mean(axis=0), np.where(deviations > 0, deviations, 1.0)


def _optimizer(parameters: ApproximatorsParameters) -> keras.optimizers.Optimizer:
    if parameters.notebook:
        nadam = Nadam if parameters.update_rules == "notebook" else keras.optimizers.Nadam
        return nadam(parameters.learning_rate)
    return keras.optimizers.SGD(parameters.learning_rate, momentum=_MOMENTUM, nesterov=True)
