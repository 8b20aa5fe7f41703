"""Programs that XLA is given to compile, as text (HLO) and taken apart into computations and instructions.

HloModule m, entry_computation_layout={(f32[2,3]{1,0}, f32[3,4]{1,0})->f32[2,4]{1,0}}

ENTRY %main (a: f32[2,3], b: f32[3,4]) -> f32[2,4] {
%a = f32[2,3]{1,0} parameter(0)
%b = f32[3,4]{1,0} parameter(1)
ROOT %dot.1 = f32[2,4]{1,0} dot(f32[2,3]{1,0} %a, f32[3,4]{1,0} %b), lhs_contracting_dims={1}, ...
}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

Sides = tuple[int, ...]

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .* )?{\s*$")
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_SHAPE = re.compile(r"([a-z]+[0-9]*[a-z0-9]*)\[([0-9,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: Its name, unique in its computation.
        kind: What it does ("dot", "convolution", "while").
        shapes: Shapes of its result: several for a tuple.
        dtype: Of its (first) result ("f32", "s32", "pred").
        operands: The instructions of the same computation that it takes.
        literal: What stands in the brackets: the value of a constant, the number of a parameter.
        attributes: The rest of the line.
    """

    name: str
    kind: str
    shapes: tuple[Sides, ...]
    dtype: str
    operands: tuple[str, ...]
    literal: str
    attributes: str

    @cached_property
    def tensorflow_type(self) -> str:
        """Type of the TensorFlow operation that it comes from ("MatMul"); "" where the program does not say."""
        match = re.search(r'op_type="([^"]*)"', self.attributes)
        return match.group(1) if match else ""

    @cached_property
    def tensorflow_name(self) -> str:
        """Name of that operation in its graph; "" where the program does not say."""
        match = re.search(r'op_name="([^"]*)"', self.attributes)
        return match.group(1) if match else ""

    def numbers(self, attribute: str) -> Sides:
        """Return an attribute's numbers: `lhs_contracting_dims={1}`, `feature_group_count=2`; () where it lacks."""
        match = re.search(rf"\b{attribute}={{?([0-9,]+)", self.attributes)
        return tuple(int(number) for number in match.group(1).split(",") if number) if match else ()

    def computations(self, attribute: str) -> list[str]:
        """Return the computations that an attribute names: `body=%b`, `branch_computations={%a, %b}`."""
        match = re.search(rf"\b{attribute}=(?:{{([^}}]*)}}|%?([\w.\-]+))", self.attributes)
        if not match:
            return []
        return [name.strip().lstrip("%") for name in (match.group(1) or match.group(2)).split(",")]


@dataclass
class Computation:
    """Instructions by name, in their order; the last one or the one marked as root is the result."""

    instructions: dict[str, Instruction] = field(default_factory=dict)
    root: str = ""

    @cached_property
    def live(self) -> list[Instruction]:
        """The instructions that the result depends on, in their order; a compiler drops the others."""
        needed: set[str] = set()
        waiting = [self.root] if self.root else []
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += self.instructions[name].operands
        return [instruction for name, instruction in self.instructions.items() if name in needed]


@dataclass
class Program:
    """The computations of a program by name, the one called from outside (`entry`), and its arguments' shapes."""

    computations: dict[str, Computation]
    entry: str
    arguments: tuple[Sides, ...]


def parsed(text: str) -> Program:
    """Take a program apart.

    Args:
        text: HLO as TensorFlow hands it over.
    """
    layout = text.partition("entry_computation_layout={")[2].partition(")->")[0]
    computations: dict[str, Computation] = {}
    entry, current = "", Computation()
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = computations[header.group(2)] = Computation()
            entry = header.group(2) if header.group(1) else entry
        elif match := _INSTRUCTION.match(line):
            instruction = _instruction(*match.groups()[1:])
            current.instructions[instruction.name] = instruction
            if match.group(1) or not current.root:
                current.root = instruction.name
    return Program(computations, entry, tuple(sides for _, sides in _shapes(layout)))


def _instruction(name: str, result: str, kind: str, rest: str) -> Instruction:
    inside, attributes = _cut_at_the_closing_bracket(rest)
    results = _shapes(result)
    return Instruction(
        name, kind, tuple(sides for _, sides in results), results[0][0] if results else "",
        tuple(_NAME.findall(inside)), inside, attributes,
    )  # fmt: skip


def _shapes(text: str) -> list[tuple[str, Sides]]:
    return [(dtype, tuple(int(side) for side in sides.split(",") if side)) for dtype, sides in _SHAPE.findall(text)]


def _cut_at_the_closing_bracket(rest: str) -> tuple[str, str]:
    depth = 1
    for position, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return rest[:position], rest[position + 1 :]
    return rest, ""
