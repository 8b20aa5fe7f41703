"""A Keras model of the user's own, made ready to be trained: weights that follow from a random seed, logits as outputs.

The architecture is what the user's file, or keras.applications, says; nothing of it is changed but the activation of
the last layer, which the loss takes over, and seeds, which follow from ours.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from dlperf.errors import one_line
from dlperf.models.model_file import application, loaded
from dlperf.models.reference import OwnModel

_ADAPTED = (keras.layers.Normalization, keras.layers.Discretization)
_CHECKED_ROWS = 4
# Layers and operations that leave out a part of the numbers, as the last of a model.
_NO_LOGITS = ("relu", "leakyrelu", "prelu", "elu", "sigmoid", "tanh")
_LEAST = 1e-30  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Trainable:
    """A network that is ready to be trained.

    Attributes:
        network: Maps float32 (batch, *shape) to logits, float32 (batch, classes).
        scales_inputs: It scales its inputs itself, in a Rescaling or Normalization layer.
        outputs: What the user's model gives: "softmax" or "logits".
        notes: What a user should know of its seeds and frozen layers, in lines.
    """

    network: keras.Model
    scales_inputs: bool
    outputs: str
    notes: tuple[str, ...]


def read(own: OwnModel) -> None:
    """Read the model's file, which is kept for what is built of it.

    Raises:
        BadInput: It cannot be read.
    """
    if own.reference.file:
        loaded(own.reference, own.custom)


def trainable(own: OwnModel, random_seed: int) -> Trainable:
    """Build the network; its weights and random layers follow from `random_seed`, whatever was built before.

    Raises:
        BadInput: The model cannot be read, or does not fit the data.
    """
    model, notes = _built(own, random_seed)
    flat = _is_flattened(model, own)
    _check_outputs(model, own)
    layer, outputs = _activation(model, own)
    if outputs == "softmax" and hasattr(layer, "activation"):
        layer.activation = keras.activations.linear
    x = inputs = keras.Input(own.shape)
    x = model(keras.layers.Flatten()(x) if flat else x)
    if outputs == "softmax" and not hasattr(layer, "activation"):
        x = ops.log(ops.maximum(x, _LEAST))
    if x.dtype != "float32":
        x = keras.layers.Activation("linear", dtype="float32")(x)
    network = keras.Model(inputs, x)
    if not network.trainable_variables:
        raise own.reference.refuse("has no weights to train: they are frozen, or there are none")
    if other := {v.dtype for v in network.trainable_variables} - {"float32"}:
        raise own.reference.refuse(f"has weights of {other.pop()}, must be float32 (mixed precision keeps them so)")
    return Trainable(network, _scales_inputs(model), outputs, tuple(notes))


class OwnNetwork:
    """A user's model while it is trained.

    Attributes:
        network: Maps float32 (batch, ...) to logits, float32 (batch, classes).
        scales_inputs: It scales its inputs itself, and is to be given them as the data have them.
    """

    def __init__(self, own: OwnModel, random_seed: int) -> None:
        """Build the network; its weights follow from `random_seed`.

        Raises:
            BadInput: The model cannot be read, or does not fit the data.
        """
        self._own = own
        built = trainable(own, random_seed)
        self.network, self.scales_inputs, self._outputs = built.network, built.scales_inputs, built.outputs

    def facts(self, inputs: str) -> dict[str, str]:
        """Return what a run logs of it; `inputs` says how they come to it where it does not scale them itself."""
        return {
            "model_inputs": "as the data have them" if self.scales_inputs else inputs,
            "model_outputs": self._outputs,
        }

    def saved(self, *before: keras.Layer) -> keras.Model:
        """Return the user's model as it was made, its own outputs included, with the trained weights.

        Args:
            *before: Layers that make its inputs of the data's, where it does not scale them itself.
        """
        return plain(self._own, self.network, *(() if self.scales_inputs else before))


def plain(own: OwnModel, trained: keras.Model, *before: keras.Layer) -> keras.Model:
    """Return the user's model as it was made, its own outputs included, with the weights of a trained network.

    Args:
        own: What was trained.
        trained: The network.
        *before: Layers that make its inputs of the data's.
    """
    model, _ = _built(own, 0)
    model.set_weights(trained.get_weights())
    flat = [keras.layers.Flatten()] if _is_flattened(model, own) else []
    return keras.Sequential([keras.Input(own.shape), *before, *flat, model]) if before or flat else model


@functools.lru_cache(maxsize=8)
def check(own: OwnModel) -> tuple[str, ...]:
    """Verify that the model fits the data, and that what it draws follows from the random seed.

    Returns:
        What the user should know, in lines.

    Raises:
        BadInput: It does not fit, or a layer's training is not repeated where all of its state is restored.
    """
    one, other = trainable(own, 0), trainable(own, 1)
    if layer := _unrepeatable(one.network, own.shape):
        raise own.reference.refuse(
            f"layer {layer} draws random numbers from elsewhere than a keras.random.SeedGenerator of its own, so that "
            "a run could be neither repeated nor resumed to the bit"
        )
    notes = [*one.notes]
    if not own.keep_weights:
        alike = [
            variable.path
            for variable, again in zip(one.network.trainable_variables, other.network.trainable_variables, strict=True)
            if np.ptp(first := variable.numpy()) > 0 and np.array_equal(first, again.numpy())
        ]
        notes += [f"{path} starts alike with every random_seed: its seed is in the class's code" for path in alike]
    return tuple(notes)


def _built(own: OwnModel, random_seed: int) -> tuple[keras.Model, list[str]]:
    with _seeded_libraries(random_seed):
        if own.reference.file is None:
            return _of_applications(own), []
        source = loaded(own.reference, own.custom)
        if not isinstance(source, keras.Model):
            raise own.reference.refuse(f"holds a {type(source).__name__}, must be a model")
        notes: list[str] = []
        seeds = (int(np.random.SeedSequence([random_seed, place]).generate_state(1)[0]) for place in itertools.count())
        config = _reseeded(keras.saving.serialize_keras_object(source), seeds, notes, "")
        config.pop("compile_config", None)
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        if not model.built:
            try:
                model.build((None, *own.shape))
            except (ValueError, TypeError) as error:
                raise own.reference.refuse(f"cannot be built for {own.data}: {one_line(error)}") from error
    if own.keep_weights:
        model.set_weights(source.get_weights())
        return model, []
    pairs = list(zip(model._flatten_layers(), source._flatten_layers(), strict=True))
    for layer, original in pairs:
        if isinstance(layer, _ADAPTED) and original.get_weights():
            layer.set_weights(original.get_weights())
            layer.finalize_state()
    frozen = [layer.name for layer, _ in pairs if _is_frozen(layer)]
    if frozen:
        notes.append(f"{_listed(frozen)} is frozen at fresh weights: weights=file keeps the file's")
    return model, notes


def _is_frozen(layer: keras.Layer) -> bool:
    inner = layer._flatten_layers(include_self=False)
    return bool(layer.weights) and not (inner or layer.trainable or isinstance(layer, _ADAPTED))


def _of_applications(own: OwnModel) -> keras.Model:
    build = application(own.reference)
    try:
        return build(weights=None, input_shape=own.shape, classes=own.classes, classifier_activation=None)
    except (ValueError, TypeError) as error:
        raise own.reference.refuse(f"cannot be built for {own.data}: {one_line(error)}") from error


@contextlib.contextmanager
def _seeded_libraries(random_seed: int) -> Iterator[None]:
    """Let what is built draw from `random_seed`, and others who draw from Python or NumPy notice nothing of it."""
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(random_seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _reseeded(config: Any, seeds: Iterator[int], notes: list[str], layer: str) -> Any:
    """Return a configuration in which every seed is the next of `seeds`, and note initialisers that had their own."""
    if isinstance(config, Sequence) and not isinstance(config, str):
        return [_reseeded(value, seeds, notes, layer) for value in config]
    if not isinstance(config, dict):
        return config
    inner = config.get("config")
    if isinstance(inner, dict):
        layer = str(inner.get("name", layer))
        if config.get("module") == "keras.initializers" and isinstance(inner.get("seed"), int):
            kind, seed = config["class_name"], inner["seed"]
            notes.append(f"the seed {seed} of {layer}'s {kind} is replaced by one that follows from random_seed")
    return {
        name: next(seeds)
        if name == "seed" and (value is None or isinstance(value, int))
        else _reseeded(value, seeds, notes, layer)
        for name, value in config.items()
    }


def _is_flattened(model: keras.Model, own: OwnModel) -> bool:
    """Whether images come to the model as vectors.

    Raises:
        BadInput: The model takes something else than the data have.
    """
    if len(model.inputs) != 1:
        raise own.reference.refuse(f"has {len(model.inputs)} inputs, must have one")
    wanted = model.inputs[0].shape[1:]
    same_rank = len(wanted) == len(own.shape)
    if same_rank and all(side in (None, there) for side, there in zip(wanted, own.shape, strict=True)):
        return False
    if wanted == (math.prod(own.shape),):
        return True
    raise own.reference.refuse(f"takes inputs of {_sides(wanted)}, but {own.data} has {_sides(own.shape)}")


def _check_outputs(model: keras.Model, own: OwnModel) -> None:
    if len(model.outputs) != 1:
        raise own.reference.refuse(f"has {len(model.outputs)} outputs, must have one, of a number per class")
    shape = model.outputs[0].shape[1:]
    if shape != (own.classes,):
        raise own.reference.refuse(f"has outputs of {_sides(shape)}, but {own.data} has {own.classes} classes")


def _activation(model: keras.Model, own: OwnModel) -> tuple[Any, str]:
    """Return the layer that makes the outputs, and what these are."""
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return _activation(last, own)
    function = getattr(last, "activation", None)
    name = type(last).__name__.lower() if function is None else getattr(function, "__name__", str(function))
    if name == "softmax":
        return last, "softmax"
    if name in ("linear", "log_softmax") or (function is None and name not in _NO_LOGITS):
        return last, "logits"
    raise own.reference.refuse(f"ends in {name}, must end in softmax, or in logits without an activation")


def _scales_inputs(model: keras.Model) -> bool:
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return any(isinstance(layer, kinds) for layer in model._flatten_layers())


def _unrepeatable(network: keras.Model, shape: tuple[int, ...]) -> str:
    """Return the name of the first layer whose training gives something else where all state is restored."""
    inputs = np.random.default_rng(0).random((_CHECKED_ROWS, *shape), np.float32)
    before = [variable.numpy() for variable in network.variables]
    runs = []
    for _ in range(2):
        runs.append(_layer_outputs(network, inputs))
        for variable, value in zip(network.variables, before, strict=True):
            variable.assign(value)
    for (name, first), (_, second) in zip(*runs, strict=True):
        if not np.array_equal(first, second, equal_nan=True):
            return name
    return ""


def _layer_outputs(network: keras.Model, inputs: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Train one pass; return every output by its layer's name, in the order in which they are made."""
    seen: list[tuple[str, np.ndarray]] = []
    call = keras.Layer.__call__

    def recording(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
        result = call(layer, *arguments, **options)
        tensors = filter(ops.is_tensor, keras.tree.flatten(result))
        seen.extend((layer.name, ops.convert_to_numpy(tensor)) for tensor in tensors)
        return result

    keras.Layer.__call__ = recording
    try:
        network(inputs, training=True)
    finally:
        keras.Layer.__call__ = call
    return seen


def _sides(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape) or "a single number"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
