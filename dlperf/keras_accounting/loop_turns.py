"""How often a loop of a program turns, and which branch it takes, where that follows from shapes and not from data.

The counter of a loop is evaluated as the program says, step by step, and everything else is left unknown. Values are
computed when they are asked for: of a body with hundreds of instructions only those that lead to the condition.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlperf.keras_accounting.hlo import Instruction, Program

_MOST_TURNS = 20_000  # they are taken one by one, in Python
_MOST_ELEMENTS = 64  # of a value that is computed; no counter is larger

_DTYPES = {"pred": "bool", "s8": "int8", "s16": "int16", "s32": "int32", "s64": "int64",
           "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64", "f32": "float32", "f64": "float64",
}  # fmt: skip
_COMPARISONS = {"EQ": operator.eq, "NE": operator.ne, "LT": operator.lt, "LE": operator.le,
                "GT": operator.gt, "GE": operator.ge}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "negate": np.negative,
    "abs": np.abs,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "select": np.where,
}

_Value = Any  # an array, a list of deferred values (a tuple of the program), or None where it is not known
_Deferred = Callable[[], _Value]


def turns(program: Program, loop: Instruction, computation: str) -> int | None:
    """Return how often a loop's body is run; None where that depends on data.

    Args:
        program: The program.
        loop: A `while` instruction.
        computation: The computation in which it stands; what that one is given is not known.
    """
    evaluator = _Evaluator(program)
    (condition,), (body,) = loop.computations("condition"), loop.computations("body")
    state = evaluator.result(computation, [], at=loop.operands[0])
    for turn in range(_MOST_TURNS):
        goes_on = evaluator.result(condition, [state])()
        if goes_on is None:
            return None
        if not goes_on:
            return turn
        state = evaluator.result(body, [state])
    return None


def branch(program: Program, conditional: Instruction, computation: str) -> str | None:
    """Return the computation that a conditional takes; None where that depends on data.

    Args:
        program: The program.
        conditional: A `conditional` instruction.
        computation: The computation in which it stands.
    """
    index = _Evaluator(program).result(computation, [], at=conditional.operands[0])()
    if index is None:
        return None
    if conditional.computations("true_computation"):
        return conditional.computations("true_computation" if index else "false_computation")[0]
    branches = conditional.computations("branch_computations")
    if index.dtype == bool:
        return branches[0 if index else 1]
    return branches[int(index) if 0 <= int(index) < len(branches) else -1]


class _Evaluator:
    """Evaluates computations on values of which some are known."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def result(self, computation: str, arguments: Sequence[_Deferred], at: str = "") -> _Deferred:
        """Return a computation's result, or that of one of its instructions, to be computed when it is asked for."""
        frame = _Frame(self, self._program.computations[computation].instructions, arguments)
        return frame.deferred(at or self._program.computations[computation].root)


class _Frame:
    """One call of a computation: what has been computed of it."""

    def __init__(
        self, evaluator: _Evaluator, instructions: Mapping[str, Instruction], arguments: Sequence[_Deferred]
    ) -> None:
        self._evaluator, self._instructions, self._arguments = evaluator, instructions, arguments
        self._computed: dict[str, _Value] = {}

    def deferred(self, name: str) -> _Deferred:
        return lambda: self._value(name)

    def _value(self, name: str) -> _Value:
        if name not in self._computed:
            self._computed[name] = self._compute(self._instructions[name])
        return self._computed[name]

    def _compute(self, instruction: Instruction) -> _Value:
        kind, operands = instruction.kind, instruction.operands
        if kind == "parameter":
            number = int(instruction.literal)
            return self._arguments[number]() if number < len(self._arguments) else None
        if kind == "tuple":
            return [self.deferred(operand) for operand in operands]
        if kind == "get-tuple-element":
            whole = self._value(operands[0])
            return whole[instruction.numbers("index")[0]]() if isinstance(whole, list) else None
        if kind == "call":
            (called,) = instruction.computations("to_apply")
            return self._evaluator.result(called, [self.deferred(operand) for operand in operands])()
        if kind in ("copy", "bitcast", "optimization-barrier"):
            return self._value(operands[0])
        if sum(int(np.prod(sides)) for sides in instruction.shapes) > _MOST_ELEMENTS:
            return None
        return self._small(instruction)

    def _small(self, instruction: Instruction) -> _Value:
        """Compute an instruction whose result is small."""
        kind, dtype = instruction.kind, _DTYPES.get(instruction.dtype)
        if dtype is None:
            return None
        if kind == "constant":
            return _constant(instruction.literal, dtype, instruction.shapes[0])
        if kind not in (*_FUNCTIONS, "compare", "not", "convert", "reshape", "broadcast", "divide", "remainder"):
            return None
        values = [self._value(operand) for operand in instruction.operands]
        if any(value is None or isinstance(value, list) for value in values):
            return None
        shape = instruction.shapes[0]
        if kind == "compare":
            direction = instruction.attributes.partition("direction=")[2][:2]
            return _COMPARISONS[direction](*values)
        if kind == "not":
            return np.logical_not(values[0]) if dtype == "bool" else np.invert(values[0])
        if kind == "convert":
            return values[0].astype(dtype)
        if kind == "reshape":
            return values[0].reshape(shape)
        if kind == "broadcast":
            return np.broadcast_to(values[0], shape) if values[0].ndim == 0 else None
        if kind in ("divide", "remainder"):
            return _divided(kind, *values)
        return np.asarray(_FUNCTIONS[kind](*values)).astype(dtype)


def _divided(kind: str, a: Any, b: Any) -> _Value:
    if not np.all(b):
        return None
    if np.issubdtype(a.dtype, np.floating):
        return a / b if kind == "divide" else np.fmod(a, b)
    remainder = np.fmod(a, b)  # XLA's integers are divided towards zero
    return remainder if kind == "remainder" else ((a - remainder) // b).astype(a.dtype)


def _constant(literal: str, dtype: str, shape: tuple[int, ...]) -> _Value:
    if "..." in literal:  # XLA leaves out the elements of what is long
        return None
    words = literal.replace("{", " ").replace("}", " ").replace(",", " ").split()
    try:
        values = [word == "true" for word in words] if dtype == "bool" else [float(word) for word in words]
        exact = np.array([int(word) for word in words]) if dtype.startswith(("int", "uint")) else np.array(values)
        return exact.astype(dtype).reshape(shape)
    except ValueError:
        return None
