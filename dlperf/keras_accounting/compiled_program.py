"""What a forward pass takes by its compiled program: parameters and multiplications of the HLO that XLA compiles.

TensorFlow hands over the program (HLO), but not XLA's cost analysis, which goes by the same instructions and shapes.
Every multiplication of a sum of products stands in a `dot` or a `convolution`:

    dot: elements of the result x sides that are summed over
    convolution: elements of the result x taps of the window x input channels of a group

On a CPU a dilated convolution is a plain one between two regroupings (space to batch), which pad: such a program's
multiplications are not counted. A transposed convolution is a convolution whose input has zeros between its elements;
its multiplications are counted from the input's side (input elements x taps x output channels of a group), as no
product with such a zero is needed.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from dlperf.errors import one_line

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?\S+ = (.*?) ([a-z][a-z-]*)\((.*)$", re.MULTILINE)
_SHAPE = re.compile(r"[a-z]+[0-9]*\[([0-9,]*)\]")
_UNKNOWN = ("while", "conditional", "custom-call", "call")


@dataclass(frozen=True)
class CompiledCount:
    """What the program of one example says.

    Attributes:
        parameters: Elements of the weights it reads: its arguments without the inputs and without constants.
        not_read: Weights of the model that it does not read, by name, with their elements.
        multiplications: Of its sums of products; None if it has loops, calls or regroupings, so that its work cannot be
            read off.
    """

    parameters: int
    not_read: dict[str, int]
    multiplications: int | None


def count_compiled(model: keras.Model, inputs: Any) -> CompiledCount:
    """Compile a model's inference and count the program.

    Args:
        model: A built model.
        inputs: `keras.KerasTensor`s for one example, nested as the model takes them.

    Raises:
        ValueError: If XLA cannot compile the model.
    """
    function = tf.function(lambda nested: model(nested, training=False), jit_compile=True)
    specs = keras.tree.map_structure(lambda tensor: tf.zeros(tensor.shape, tensor.dtype), inputs)
    try:
        graph = function.get_concrete_function(specs).graph
        with warnings.catch_warnings():
            # Without a device's name, deprecated or not, TensorFlow draws a random number to see where it lands, which
            # its deterministic mode refuses.
            warnings.simplefilter("ignore")
            program = function.experimental_get_compiler_ir(specs)(stage="hlo", device_name="/device:CPU:0")
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise ValueError(f"XLA cannot compile it: {one_line(error)}") from error
    read = {id(variable) for variable in graph.variables}
    unread = {w.path: math.prod(w.shape) for w in model.weights if id(w.value) not in read}
    constants = [tensor for tensor, _ in graph.captures if tensor.dtype != tf.resource]
    others = sum(math.prod(tensor.shape) for tensor in [*keras.tree.flatten(inputs), *constants])
    return CompiledCount(entry_elements(program) - others, unread, multiplications(program))


def entry_elements(program: str) -> int:
    """Return the elements of all arguments of a program in HLO text."""
    layout = program.partition("entry_computation_layout={")[2].partition(")->")[0]
    return sum(_elements(shape) for shape in _SHAPE.findall(layout))


def multiplications(program: str) -> int | None:
    """Return the multiplications of sums of products of a program in HLO text; None where they cannot be read off."""
    if "SpaceToBatch" in program:
        return None
    total = 0
    for result, kind, rest in _INSTRUCTION.findall(program):
        if kind in _UNKNOWN:
            return None
        shapes = [[int(side) for side in sides.split(",") if side] for sides in _SHAPE.findall(rest)]
        if kind == "dot":
            summed = [shapes[0][axis] for axis in _numbers(r"lhs_contracting_dims={([0-9,]*)}", rest)]
            total += _elements(_SHAPE.findall(result)[0]) * math.prod(summed)
        elif kind == "convolution":
            total += _convolution(_elements(_SHAPE.findall(result)[0]), shapes[0], shapes[1], rest)
    return total


def _convolution(elements: int, inputs: list[int], kernel: list[int], rest: str) -> int:
    """Count one convolution; `dim_labels=b01f_01io->b01f` says which axis of the kernel is what."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->", rest)
    assert labels, "XLA writes the labels of every convolution"
    side = dict(zip(labels.group(2), kernel, strict=True))
    taps = math.prod(size for label, size in side.items() if label.isdigit())
    if "lhs_dilate" in rest or "BackpropInput" in rest:
        groups = _numbers(r"feature_group_count=([0-9]+)", rest) or [1]
        return math.prod(inputs) * taps * side["o"] // groups[0]
    return elements * taps * side["i"]


def _numbers(pattern: str, text: str) -> list[int]:
    match = re.search(pattern, text)
    return [int(number) for number in match.group(1).split(",") if number] if match else []


def _elements(sides: str) -> int:
    return math.prod(int(side) for side in sides.split(",") if side)
