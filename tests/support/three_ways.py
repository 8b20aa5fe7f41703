"""A model counted in closed form, by Keras and in its compiled program, which have to agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from dlperf.accounting.layers import LayerTable
from dlperf.keras_accounting.calls import traced
from dlperf.keras_accounting.compiled_program import count_compiled
from dlperf.keras_accounting.model_table import complete_inputs, table_of
from dlperf.processor import cores
from dlperf.training.compiled_epoch import configure_runtime

# The layers below start the runtime, which tests of other files want configured.
configure_runtime(cores())


def assert_three_ways(model: keras.Model, *input_shape: int) -> LayerTable:
    """Closed form, Keras and the compiled program agree."""
    trace = traced(model, complete_inputs(model, input_shape))
    table, compiled = table_of(trace), count_compiled(trace)
    assert not table.at_least
    assert table.parameters == model.count_params() == compiled.parameters + sum(compiled.not_read.values())
    assert table.multiplications == compiled.multiplications
    return table


def one(layer: Callable[..., Any], *shapes: tuple[int, ...]) -> keras.Model:
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(*inputs))
