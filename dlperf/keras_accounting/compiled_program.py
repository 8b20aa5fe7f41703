"""What a forward pass takes by its compiled program: parameters and multiplications of the HLO that XLA compiles.

TensorFlow hands over the program (HLO), but not XLA's cost analysis, which goes by the same instructions and shapes.
Every multiplication of a sum of products stands in a `dot` or a `convolution`:

    dot: elements of the result x sides that are summed over
    convolution: elements of the result x taps of the window x input channels of a group

Only what the result depends on counts. A loop counts as often as it turns, where that follows from shapes. A compiler
also writes interpolations and look-ups as products, whose factors nobody learned and no layer put out: they are told by
the TensorFlow operation that each instruction comes from, and count none.

On a CPU a dilated convolution is a plain one between two regroupings (space to batch), which pad: it is counted by what
the second one keeps. A transposed convolution is a convolution whose input has zeros between its elements; its
multiplications are counted from the input's side (input elements x taps x output channels of a group), as no product
with such a zero is needed.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from dlperf.errors import one_line
from dlperf.keras_accounting.calls import Trace
from dlperf.keras_accounting.hlo import Computation, Instruction, Program, parsed
from dlperf.keras_accounting.loop_turns import branch, turns

# Products of learned weights or of what layers put out.
_PRODUCTS = re.compile(r"MatMul|Einsum|Conv[123]D|DepthwiseConv|Conv$|^XlaDot|^XlaConv|^$")
# Weights of an interpolation, rows of a one-hot matrix, what cuts out patches: factors that a compiler makes up.
_NO_PRODUCTS = re.compile(
    "^(Resize|ScaleAndTranslate|ImageProjectiveTransform|CropAndResize|Gather|Scatter|Tensor|Unsorted|Segment|OneHot|"
    "Cum|Extract(Image|Volume)Patches|Matrix(Band|Diag|SetDiag)|StridedSlice|AvgPool|Bincount|DenseBincount)"
)
_HARMLESS_CALLS = ("TopK", "Sharding", "X64", "AssumeGatherIndicesInBound", "PadToStatic", "SliceToDynamic")
_NO_CONSTANTS = frozenset({"Placeholder", "ReadVariableOp"})
_SOLVERS = ("fft", "cholesky", "triangular-solve")


@dataclass(frozen=True)
class CompiledCount:
    """What the program of one example says.

    Attributes:
        parameters: Elements of the weights it reads: its arguments without the inputs and without constants.
        not_read: Weights of the model that it does not read, by name, with their elements.
        multiplications: Of its sums of products; None if it has a loop whose turns depend on data, branches that
            differ, or calls of other programs, so that its work cannot be read off.
    """

    parameters: int
    not_read: dict[str, int]
    multiplications: int | None


def count_compiled(trace: Trace) -> CompiledCount:
    """Compile a model's inference on one example and count the program.

    Raises:
        ValueError: If XLA cannot compile the model.
    """
    if any(tensor.dtype == tf.string for tensor in trace.examples):
        raise ValueError("XLA cannot compile it: strings are no part of its programs")
    program = parsed(program_text(trace.function, *trace.examples))
    variables = {id(variable): math.prod(variable.shape) for variable in trace.graph.variables}
    weights = {id(weight.value): weight for weight in trace.model.weights}
    unread = {w.path: math.prod(w.shape) for key, w in weights.items() if key not in variables}
    # What a layer keeps for itself, as the state of its random numbers, is no weight.
    foreign = sum(elements for key, elements in variables.items() if key not in weights)
    arguments = sum(math.prod(sides) for sides in program.arguments)
    others = sum(math.prod(tensor.shape) for tensor in _arguments_beside_variables(trace, program))
    return CompiledCount(arguments - others - foreign, unread, multiplications(program, selections(trace.graph)))


def _arguments_beside_variables(trace: Trace, program: Program) -> list[tf.Tensor]:
    """Return the inputs and constants that the program is given.

    An input whose values say a shape is compiled in, and no argument: what lacks is taken to be integers.
    """
    constants = [tensor for tensor, _ in trace.graph.captures if tensor.dtype != tf.resource]
    tensors = sorted([*trace.examples, *constants], key=lambda tensor: tensor.dtype.is_integer or tensor.dtype.is_bool)
    lacking = len(tensors) + len(trace.graph.variables) - len(program.arguments)
    return tensors[: len(tensors) - lacking] if lacking > 0 else tensors


def program_text(function: Any, *examples: tf.Tensor) -> str:
    """Return the program of a `tf.function` that is to be compiled, as XLA is given it.

    Args:
        function: Made with `jit_compile=True`.
        *examples: Its arguments.

    Raises:
        ValueError: If XLA cannot compile it.
    """
    try:
        with warnings.catch_warnings():
            # Without a device's name, deprecated or not, TensorFlow draws a random number to see where it lands, which
            # its deterministic mode refuses.
            warnings.simplefilter("ignore")
            text: str = function.experimental_get_compiler_ir(*examples)(stage="hlo", device_name="/device:CPU:0")
    except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as error:
        said = str(error).partition("The op is created at")[0]  # TensorFlow adds where, frame by frame
        raise ValueError(f"XLA cannot compile it: {one_line(said)}") from error
    return text


def selections(graph: Any) -> frozenset[str]:
    """Return the names of a TensorFlow graph's products with a diagonal that only constants made.

    They move elements and weigh none: so Keras cuts images into patches.
    """
    found = set()
    for operation in graph.get_operations():
        if _PRODUCTS.search(operation.type) and len(operation.inputs) > 1:
            kinds = _kinds_behind(operation.inputs[1].op)
            if any(kind.startswith("MatrixDiag") for kind in kinds) and not kinds & _NO_CONSTANTS:
                found.add(operation.name)
    return frozenset(found)


def _kinds_behind(operation: Any) -> set[str]:
    """Return the types of the operations that a result comes from, up to the first that is no constant."""
    waiting, seen, kinds = [operation], {operation.name}, set()
    while waiting:
        maker = waiting.pop()
        kinds.add(maker.type)
        if maker.type in _NO_CONSTANTS:
            break
        makers = {tensor.op.name: tensor.op for tensor in maker.inputs}
        waiting += [made for name, made in makers.items() if name not in seen]
        seen |= makers.keys()
    return kinds


def multiplications(program: Program, left_out: frozenset[str] = frozenset()) -> int | None:
    """Return the multiplications of sums of products of a program; None where they cannot be read off.

    Args:
        program: The program.
        left_out: TensorFlow's names of products that count none (`selections`).
    """
    return _Counting(program, left_out).of_computation(program.entry)


def _sum(counts: list[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


class _Counting:
    """Counts the computations of a program, each once."""

    def __init__(self, program: Program, left_out: frozenset[str]) -> None:
        self._program, self._left_out = program, left_out
        self._known: dict[str, int | None] = {}

    def of_computation(self, name: str) -> int | None:
        if name not in self._known:
            live = self._program.computations[name].live
            self._known[name] = _sum([self._of_instruction(name, instruction) for instruction in live])
        return self._known[name]

    def _of_instruction(self, computation: str, instruction: Instruction) -> int | None:
        kind = instruction.kind
        if kind in ("dot", "convolution"):
            return self._of_product(self._program.computations[computation], instruction)
        if kind == "while":
            inside = [*instruction.computations("body"), *instruction.computations("condition")]
            once = _sum([self.of_computation(name) for name in inside])
            if not once:
                return once
            turned = turns(self._program, instruction, computation)
            return None if turned is None else turned * once
        if kind == "conditional":
            branches = instruction.computations("branch_computations")
            branches += instruction.computations("true_computation") + instruction.computations("false_computation")
            taken = branch(self._program, instruction, computation)
            counts = {self.of_computation(name) for name in ([taken] if taken else branches)}
            return counts.pop() if len(counts) == 1 else None
        if kind in ("call", "fusion", "map", "async-start"):
            called = instruction.computations("to_apply") or instruction.computations("calls")
            return _sum([self.of_computation(name) for name in called])
        if kind == "custom-call":
            target = instruction.attributes.partition('custom_call_target="')[2].partition('"')[0]
            return 0 if target.startswith(_HARMLESS_CALLS) else None
        return None if kind in _SOLVERS else 0

    def _of_product(self, computation: Computation, instruction: Instruction) -> int | None:
        if _NO_PRODUCTS.search(instruction.tensorflow_type) or instruction.tensorflow_name in self._left_out:
            return 0
        if not _PRODUCTS.search(instruction.tensorflow_type):
            return None  # what a solver or a transform is made of
        left, right = (computation.instructions[operand].shapes[0] for operand in instruction.operands[:2])
        if instruction.kind == "dot":
            summed = [left[axis] for axis in instruction.numbers("lhs_contracting_dims")]
            # Without an axis that is summed over it works element by element.
            return math.prod(instruction.shapes[0]) * math.prod(summed) if summed else 0
        return _of_convolution(computation, instruction, left, right)


def _of_convolution(
    computation: Computation, instruction: Instruction, inputs: tuple[int, ...], kernel: tuple[int, ...]
) -> int | None:
    """Count one convolution; `dim_labels=b01f_01io->b01f` says which axis of the kernel is what."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->", instruction.attributes)
    assert labels, "XLA writes the labels of every convolution"
    side = dict(zip(labels.group(2), kernel, strict=True))
    taps = math.prod(size for label, size in side.items() if label.isdigit())
    if "lhs_dilate" in instruction.attributes or "BackpropInput" in instruction.attributes:
        groups = instruction.numbers("feature_group_count") or (1,)
        return math.prod(inputs) * taps * side["o"] // groups[0]
    if _is_regrouped(computation, instruction):
        kept = _kept(computation, instruction)
        return None if kept is None else math.prod(kept.shapes[0]) * taps * side["i"]
    return math.prod(instruction.shapes[0]) * taps * side["i"]


def _is_regrouped(computation: Computation, convolution: Instruction) -> bool:
    """Whether a convolution's input was regrouped (space to batch), other changes of its shape left aside."""
    inputs = computation.instructions[convolution.operands[0]]
    while inputs.kind == "reshape" and inputs.tensorflow_type != "SpaceToBatchND":
        inputs = computation.instructions[inputs.operands[0]]
    return inputs.tensorflow_type == "SpaceToBatchND"


def _kept(computation: Computation, convolution: Instruction) -> Instruction | None:
    """Return the end of the regrouping (batch to space) behind a convolution: what is kept of its result."""
    kept, current = None, convolution
    while True:
        users = [each for each in computation.live if current.name in each.operands]
        if len(users) != 1 or users[0].tensorflow_type not in ("BatchToSpaceND", "Squeeze"):
            return kept
        current = users[0]
        kept = current if current.tensorflow_type == "BatchToSpaceND" else kept
