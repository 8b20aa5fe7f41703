"""The subjects of the architectures problem: their closed forms, Keras models and compiled programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras

from dlperf.accounting import alexnet, inception, vgg
from dlperf.accounting.layers import LayerTable
from dlperf.accounting.receptive_field import filter_stack, receptive_field
from dlperf.clock import Clock
from dlperf.errors import BadInput, one_line
from dlperf.keras_accounting.calls import traced
from dlperf.keras_accounting.compiled_program import CompiledCount, count_compiled
from dlperf.keras_accounting.gradient_support import gradient_support, support_side
from dlperf.keras_accounting.layer_counts import Count, counts
from dlperf.keras_accounting.model_table import complete_inputs, table_of
from dlperf.models import alexnet as alexnet_model
from dlperf.models import filter_stack as filter_stack_model
from dlperf.models import inception as inception_model
from dlperf.models.model_file import application, loaded
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime, fresh_runtime

# What MobileNetV3, which takes images of any size, was published for.
_PUBLISHED_INPUT = (224, 224, 3)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlperf.problems.architectures.parameters import ArchitecturesParameters


@dataclass
class CountedNetwork:
    """One network, counted three ways.

    Attributes:
        name: Tells it from the subject's other networks.
        closed: Layer by layer in closed form.
        keras_parameters: `count_params()` of the built model.
        built: Layer by layer from the shapes of the built model; None where `closed` already is that.
        compiled: What the compiled program says; None if XLA cannot compile it.
        facts: Further quantities, with the endings _keras and _measured for the other ways.
    """

    name: str
    closed: LayerTable
    keras_parameters: int
    built: LayerTable | None
    compiled: CompiledCount | None
    facts: dict[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Return all counts by metric name; a way that has no count is left out."""
        measured = self.compiled
        values: dict[str, float | None] = {
            "num_params": self.closed.parameters,
            "num_params_keras": self.keras_parameters,
            "num_params_measured": measured.parameters + sum(measured.not_read.values()) if measured else None,
            "activations": self.closed.activations,
            "activations_keras": self.built.activations if self.built else None,
            "multiplications": self.closed.multiplications,
            "multiplications_keras": self.built.multiplications if self.built else None,
            "multiplications_measured": measured.multiplications if measured else None,
            "num_params_plain": self.closed.parameters - self.closed.altered if self.closed.altered else None,
            "layers_not_counted": len(self.closed.unknown("multiplications")),
            "outputs_not_counted": len(self.closed.unknown("activations")),
            **self.facts,
        }
        return {name: value for name, value in values.items() if value is not None}


@counts(alexnet_model.LocalResponseNormalization)
def _local_response_normalization(call: Any) -> Count:
    return Count(f"over {call.operation.depth} channels")


def counted(parameters: ArchitecturesParameters, clock: Clock) -> list[CountedNetwork]:
    """Count the subject's networks; the last one represents it.

    Raises:
        BadInput: If a Keras model cannot be built for the input shape.
    """
    with clock.account("setup"):
        fresh_runtime(cores())  # as in the training problems: a process cannot change the number
    if parameters.keras_model:
        return [_keras_model(parameters, clock)]
    return list(_SUBJECTS[parameters.subject](parameters, clock))


def check_keras_model(parameters: ArchitecturesParameters) -> None:
    """Verify that the Keras model exists.

    Raises:
        BadInput: If keras.applications has no such model, or the file cannot be read as one.
    """
    assert parameters.keras_model is not None
    if parameters.keras_model.file:
        configure_runtime(cores())
        _built(parameters)
        return
    application(parameters.keras_model)


def _alexnet(parameters: ArchitecturesParameters, clock: Clock) -> Iterator[CountedNetwork]:
    for variant, build in alexnet.VARIANTS.items():
        with clock.account("setup"):
            model = alexnet_model.alexnet(**build._asdict())
        yield _counted_network(variant, alexnet.alexnet(variant), model, clock)


def _vgg19(parameters: ArchitecturesParameters, clock: Clock) -> Iterator[CountedNetwork]:
    with clock.account("setup"):
        model = keras.applications.VGG19(weights=None)
    for name, bias in (("without_biases", False), ("with_biases", True)):
        with clock.account("setup"):
            built = model if bias else keras.models.clone_model(model, clone_function=_without_bias)
        yield _counted_network(name, vgg.vgg19(bias=bias), built, clock)


def _without_bias(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    return type(layer).from_config({**config, "use_bias": False} if "use_bias" in config else config)


def _stacked_filters(parameters: ArchitecturesParameters, clock: Clock) -> Iterator[CountedNetwork]:
    size, channels = parameters.stack_size, parameters.stack_channels
    layers, kernel = parameters.stack_layers, parameters.stack_filter
    seen = receptive_field(layers, kernel)
    for name, shape in (("single", (1, seen)), ("stack", (layers, kernel))):
        with clock.account("setup"):
            model = filter_stack_model.filter_stack(*shape, size, channels)
        network = _counted_network(name, filter_stack(*shape, size, channels), model, clock)
        with clock.account("evaluation"):
            measured = support_side(gradient_support(model))
        network.facts = {
            "receptive_field": receptive_field(*shape),
            "receptive_field_measured": measured,
            "output_size": network.closed.rows[-1].output_shape[0],
            "output_size_keras": model.output_shape[1],
            "params_per_channels_squared": network.closed.parameters / channels**2,
            "params_per_channels_squared_keras": network.keras_parameters / channels**2,
        }
        yield network


def _inception(parameters: ArchitecturesParameters, clock: Clock) -> Iterator[CountedNetwork]:
    def counted_module(name: str, module: inception.Module, *, reduced: bool) -> CountedNetwork:
        with clock.account("setup"):
            model = inception_model.inception(module, reduced=reduced)
        network = _counted_network(name, inception.inception(module, reduced=reduced), model, clock)
        network.facts["output_depth"] = network.closed.rows[-1].output_shape[-1]
        network.facts["output_depth_keras"] = model.output_shape[-1]
        return network

    if parameters.preset == "assignment":
        yield counted_module("googlenet_3b", inception.PRESETS["3b"], reduced=True)
    naive = counted_module("naive", parameters.module, reduced=False)
    yield naive
    reduced = counted_module("reduced", parameters.module, reduced=True)
    for ending in ("", "_keras", "_measured"):
        ratio = naive.metrics()[f"multiplications{ending}"] / reduced.metrics()[f"multiplications{ending}"]
        reduced.facts[f"multiplications_ratio{ending}"] = ratio
        reduced.facts[f"multiplications_saved{ending}"] = 1 - 1 / ratio
    yield reduced


_SUBJECTS: dict[str, Callable[[ArchitecturesParameters, Clock], Iterator[CountedNetwork]]] = {
    "alexnet": _alexnet,
    "vgg19": _vgg19,
    "stacked_filters": _stacked_filters,
    "inception": _inception,
}


def _counted_network(name: str, closed: LayerTable, model: keras.Model, clock: Clock) -> CountedNetwork:
    with clock.account("evaluation"):
        trace = traced(model, complete_inputs(model))
        built = table_of(trace)
    with clock.account("compile"):
        compiled = count_compiled(trace)
    return CountedNetwork(name, closed, model.count_params(), built, compiled)


def _keras_model(parameters: ArchitecturesParameters, clock: Clock) -> CountedNetwork:
    with clock.account("setup"):
        model = _built(parameters)
    with clock.account("evaluation"):
        try:
            trace = traced(model, complete_inputs(model, parameters.input_shapes))
        except ValueError as error:
            if not parameters.input_shape:
                raise BadInput("subject", parameters.subject, one_line(error)) from error
            raise BadInput("input_shape", parameters.input_shape, f"{parameters.subject} {one_line(error)}") from error
        closed = table_of(trace)
    with clock.account("compile"):
        try:
            compiled = count_compiled(trace)
        except ValueError as error:
            print(f"dlperf {parameters.subject}: not measured: {one_line(error)}", file=sys.stderr)
            compiled = None
    return CountedNetwork("model", closed, model.count_params(), None, compiled)


def _built(parameters: ArchitecturesParameters) -> keras.Model:
    assert parameters.keras_model is not None
    if parameters.keras_model.file:
        return loaded(parameters.keras_model, parameters.custom, parameters.unsafe)
    build = application(parameters.keras_model)
    shapes = parameters.input_shapes
    if shapes.keys() - {""}:
        allowed = f"{parameters.subject} has one input: its sides joined by x, as 224x224x3"
        raise BadInput("input_shape", parameters.input_shape, allowed)
    try:
        model = build(weights=None, **({"input_shape": shapes[""]} if shapes else {}))
        is_open = None in model.inputs[0].shape[1:]
        return build(weights=None, input_shape=_PUBLISHED_INPUT) if is_open and not shapes else model
    except (ValueError, TypeError) as error:
        raise BadInput("input_shape", parameters.input_shape, f"{parameters.subject}: {one_line(error)}") from error
