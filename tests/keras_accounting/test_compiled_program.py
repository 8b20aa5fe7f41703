from __future__ import annotations

import keras
import numpy as np
import pytest

from dlperf.keras_accounting.calls import traced
from dlperf.keras_accounting.compiled_program import CompiledCount, count_compiled, multiplications
from dlperf.keras_accounting.hlo import parsed
from dlperf.keras_accounting.model_table import complete_inputs

LABELS = "window={size=3x3}, dim_labels=b01f_01io->b01f"


def count(*lines: str, before: str = "") -> int | None:
    """Count a program of these instructions, the last of which is the result."""
    return multiplications(parsed(f"HloModule m\n{before}\nENTRY %main {{\n" + "\n".join(lines) + "\n}\n"))


def given(**shapes: str) -> list[str]:
    """Write parameters with these shapes."""
    return [f"  %{name} = {shape} parameter({number})" for number, (name, shape) in enumerate(shapes.items())]


def test_a_program_is_taken_apart() -> None:
    layout = "{(f32[2,3]{1,0}, f8e4m3fn[3,4]{1,0}, /*index=2*/f32[])->(f32[2,4]{1,0})}"
    lines = [
        *("%add (a: f32[], b: f32[]) -> f32[] {", "  ROOT %s.1 = f32[] add(f32[] %a, f32[] %b)", "}"),
        *("ENTRY %main.7 (x: f32[2,3]) -> (s32[], f32[2,3]) {", "  %x = f32[2,3]{1,0} parameter(0)"),
        *("  %n = s32[] constant(-7)", '  %unused = f32[2,3]{1,0} negate(f32[2,3]{1,0} %x), metadata={op_type="Neg"}'),
        *("  ROOT %t = (s32[], /*index=1*/f32[2,3]{1,0}) tuple(s32[] %n, f32[2,3]{1,0} %x)", "}"),
    ]
    program = parsed(f"HloModule m, entry_computation_layout={layout}\n\n" + "\n".join(lines))
    assert program.arguments == ((2, 3), (3, 4), ())
    assert (program.entry, list(program.computations)) == ("main.7", ["add", "main.7"])
    main = program.computations["main.7"]
    assert [instruction.name for instruction in main.live] == ["x", "n", "t"]
    assert main.instructions["t"].shapes == ((), (2, 3))
    assert main.instructions["t"].operands == ("n", "x")
    assert (main.instructions["n"].literal, main.instructions["n"].dtype) == ("-7", "s32")
    assert main.instructions["unused"].tensorflow_type == "Neg"


def test_products_of_matrices() -> None:
    dot = "  ROOT %d.1 = f32[5,2,4]{2,1,0} dot(f32[5,2,3]{2,1,0} %a, f32[5,3,4]{2,1,0} %b), lhs_batch_dims={0}, "
    attributes = "lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}"
    assert count(*given(a="f32[5,2,3]{2,1,0}", b="f32[5,3,4]{2,1,0}"), dot + attributes) == 5 * 2 * 4 * 3


def test_products_in_several_computations_and_none_that_nothing_needs() -> None:
    inside = "  ROOT %d = f32[] dot(f32[7]{0} %p, f32[7]{0} %p), lhs_contracting_dims={0}, rhs_contracting_dims={0}"
    called = "%inside (p: f32[7]) -> f32[] {\n  %p = f32[7]{0} parameter(0)\n" + inside + "\n}\n"
    call = "  ROOT %c = f32[] call(f32[7]{0} %a), to_apply=%inside"
    unused = "  %e = f32[2,6]{1,0} dot(f32[2,3,4]{2,1,0} %b, f32[3,4,6]{2,1,0} %c), lhs_contracting_dims={1,2}"
    shapes = given(a="f32[7]{0}", b="f32[2,3,4]{2,1,0}", c="f32[3,4,6]{2,1,0}")
    assert count(*shapes, unused, call, before=called) == 7
    assert count(*shapes, unused.replace("%e", "ROOT %e")) == 2 * 6 * 3 * 4


def test_what_is_no_sum_of_products_counts_none() -> None:
    names = 'metadata={op_type="Conv2D" op_name="model/dot(x)/convolution"}'
    lines = [
        *given(a="f32[2,3]{1,0}", z="f32[]"),
        "  %m = f32[2,3]{1,0} multiply(f32[2,3]{1,0} %a, f32[2,3]{1,0} %a)",
        f"  %t = f32[3,2]{{1,0}} transpose(f32[2,3]{{1,0}} %m), dimensions={{1,0}}, {names}",
        "  ROOT %r = f32[3]{0} reduce(f32[3,2]{1,0} %t, f32[] %z), dimensions={1}, to_apply=%add",
    ]
    assert count(*lines) == 0


@pytest.mark.parametrize(
    ("kind", "multiplications"),
    [("MatMul", 24), ("BatchMatMulV2", 24), ("ResizeBilinear", 0), ("GatherV2", 0), ("MatrixSolve", None), ("", 24)],
)
def test_a_product_counts_by_what_it_comes_from(kind: str, multiplications: int | None) -> None:
    """A compiler writes interpolation as products too; what a solver is made of says nothing of layers."""
    dot = "  ROOT %d = f32[2,4]{1,0} dot(f32[2,3]{1,0} %a, f32[3,4]{1,0} %b), lhs_contracting_dims={1}, "
    metadata = f'metadata={{op_type="{kind}" op_name="x"}}' if kind else "rhs_contracting_dims={0}"
    assert count(*given(a="f32[2,3]{1,0}", b="f32[3,4]{1,0}"), dot + metadata) == multiplications


def test_convolutions_in_one_and_in_three_dimensions() -> None:
    line = "  ROOT %c = bf16[1,6,5]{2,1,0} convolution(bf16[1,8,4]{2,1,0} %a, bf16[3,4,5]{2,1,0} %b), window={size=3}, "
    shapes = given(a="bf16[1,8,4]{2,1,0}", b="bf16[3,4,5]{2,1,0}")
    assert count(*shapes, line + "dim_labels=b0f_0io->b0f") == 6 * 5 * 3 * 4
    shapes = given(a="f32[1,2,4,5,6]{4,3,2,1,0}", b="f32[3,2,2,2,1]{4,3,2,1,0}")
    labels = "window={size=2x2x1}, dim_labels=bf012_oi012->bf012"
    line = f"  ROOT %c = f32[1,3,3,4,6]{{4,3,2,1,0}} convolution(f32[1] %a, f32[1] %b), {labels}"
    assert count(*shapes, line) == 3 * (3 * 4 * 6) * (2 * 2 * 1) * 2


def test_convolutions_in_groups() -> None:
    shapes = given(a="f32[1,8,8,4]{3,2,1,0}", b="f32[3,3,2,6]{3,2,1,0}")
    line = f"  ROOT %c = f32[1,6,6,6]{{3,2,1,0}} convolution(f32[1] %a, f32[1] %b), {LABELS}, feature_group_count=2"
    assert count(*shapes, line) == 6 * 6 * 6 * 3 * 3 * 2


def test_transposed_convolutions_are_counted_from_their_input() -> None:
    shapes = given(a="f32[1,8,8,4]{3,2,1,0}", b="f32[3,3,6,4]{3,2,1,0}")
    window = "window={size=3x3 pad=2_2x2_2 lhs_dilate=2x2 rhs_reversal=1x1}, dim_labels=b01f_01oi->b01f"
    line = f"  ROOT %c = f32[1,17,17,6]{{3,2,1,0}} convolution(f32[1] %a, f32[1] %b), {window}"
    assert count(*shapes, line) == 8 * 8 * 4 * 9 * 6


def test_transposed_convolutions_in_groups() -> None:
    shapes = given(a="f32[1,8,8,4]{3,2,1,0}", b="f32[3,3,6,2]{3,2,1,0}")
    window = "window={size=3x3 lhs_dilate=2x2}, dim_labels=b01f_01oi->b01f, feature_group_count=2"
    line = f"  ROOT %c = f32[1,17,17,6]{{3,2,1,0}} convolution(f32[1] %a, f32[1] %b), {window}"
    assert count(*shapes, line) == 8 * 8 * 4 * 9 * (6 // 2)


DOT = "  %d = f32[2,4]{1,0} dot(f32[2,3]{1,0} %a, f32[3,4]{1,0} %b), lhs_contracting_dims={1}"


@pytest.mark.parametrize(
    ("line", "multiplications"),
    [
        ('  ROOT %k = f32[4]{0} custom-call(f32[2,4]{1,0} %d), custom_call_target="unknown"', None),
        ('  ROOT %k = f32[4]{0} custom-call(f32[2,4]{1,0} %d), custom_call_target="TopK"', 24),
        ("  ROOT %k = c64[4]{0} fft(c64[2,4]{1,0} %d), fft_type=FFT, fft_length={4}", None),
        ("  ROOT %k = f32[4,4]{0} cholesky(f32[2,4]{1,0} %d), lower=true", None),
        ("  ROOT %k = f32[2,4]{1,0} sort(f32[2,4]{1,0} %d), dimensions={0}, to_apply=%less", 24),
    ],
    ids=["another program", "the largest", "a transform", "a solver", "sorting"],
)
def test_other_programs_solvers_and_transforms_cannot_be_read_off(line: str, multiplications: int | None) -> None:
    assert count(*given(a="f32[2,3]{1,0}", b="f32[3,4]{1,0}"), DOT, line) == multiplications


STATE = "(s32[], f32[4,4]{1,0})"


def loop(start: str, step: str = "constant(1)", limit: str = "constant(5)", direction: str = "LT") -> int | None:
    """Count a loop over a product of 64 multiplications, whose counter goes from `start` by `step` up to `limit`."""
    before = f"""
%body (s: {STATE}) -> {STATE} {{
  %s = {STATE} parameter(0)
  %i = s32[] get-tuple-element({STATE} %s), index=0
  %m = f32[4,4]{{1,0}} get-tuple-element({STATE} %s), index=1
  %step = s32[] {step}
  %next = s32[] add(s32[] %i, s32[] %step)
  %d = f32[4,4]{{1,0}} dot(f32[4,4]{{1,0}} %m, f32[4,4]{{1,0}} %m), lhs_contracting_dims={{1}}
  ROOT %t = {STATE} tuple(s32[] %next, f32[4,4]{{1,0}} %d)
}}
%condition (s: {STATE}) -> pred[] {{
  %s = {STATE} parameter(0)
  %i = s32[] get-tuple-element({STATE} %s), index=0
  %limit = s32[] {limit}
  ROOT %c = pred[] compare(s32[] %i, s32[] %limit), direction={direction}
}}
"""
    return count(
        *given(m="f32[4,4]{1,0}", n="s32[]"),
        f"  %start = s32[] {start}",
        f"  %t = {STATE} tuple(s32[] %start, f32[4,4]{{1,0}} %m)",
        f"  ROOT %w = {STATE} while({STATE} %t), condition=%condition, body=%body",
        before=before,
    )


def test_a_loop_counts_as_often_as_it_turns() -> None:
    assert loop("constant(0)") == 5 * 64
    assert loop("constant(0)", step="constant(2)") == 3 * 64
    assert loop("constant(9)", step="constant(-1)", direction="GT") == 4 * 64
    assert loop("constant(5)") == 0


def test_a_loop_whose_turns_depend_on_data_is_not_known() -> None:
    assert loop("copy(s32[] %n)") is None
    assert loop("constant(0)", limit="get-tuple-element(s32[] %s), index=0", direction="EQ") is None  # it never ends


def branches(index: str, first: str = "one") -> int | None:
    before = "".join(
        f"%{name} (p: f32[2,3]) -> f32[2,{n}] {{\n  %p = f32[2,3]{{1,0}} parameter(0)\n"
        f"  %w = f32[3,{n}]{{1,0}} constant({{...}})\n"
        f"  ROOT %d = f32[2,{n}]{{1,0}} dot(f32[2,3] %p, f32[3,{n}] %w), lhs_contracting_dims={{1}}\n}}\n"
        for name, n in (("one", 1), ("four", 4), ("also_four", 4))
    )
    lines = [*given(a="f32[2,3]{1,0}", n="s32[]"), f"  %i = s32[] {index}"]
    conditional = "  ROOT %k = f32[2] conditional(s32[] %i, f32[2,3] %a, f32[2,3] %a), branch_computations="
    return count(*lines, f"{conditional}{{%{first}, %four}}", before=before)


def test_a_branch_counts_where_it_is_known_which_is_taken() -> None:
    assert branches("constant(0)") == 6
    assert branches("constant(1)") == 24
    assert branches("copy(s32[] %n)") is None
    assert branches("copy(s32[] %n)", first="also_four") == 24  # whichever it is


def compiled(model: keras.Model) -> CompiledCount:
    return count_compiled(traced(model, complete_inputs(model)))


def test_constants_are_no_weights() -> None:
    inputs = keras.Input((4, 5))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.ops.matmul(np.ones((4, 4), "float32"), inputs)))
    counted = compiled(model)
    assert (counted.parameters, counted.not_read) == (5 * 3 + 3, {})
    assert counted.multiplications == 4 * 5 * 4 + 4 * 5 * 3


def test_what_xla_cannot_compile_is_said_in_one_line() -> None:
    inputs = keras.Input((4,), dtype="string")
    lengths = keras.layers.Lambda(lambda x: __import__("tensorflow").strings.length(x), output_shape=(4,))(inputs)
    model = keras.Model(inputs, lengths)
    with pytest.raises(ValueError, match=r"^XLA cannot compile it: .+$"):
        compiled(model)


def test_weights_that_are_not_read_and_constants() -> None:
    inputs = keras.Input((3,))
    given = keras.layers.Normalization(mean=[1.0, 2, 3], variance=[1.0, 1, 1])(inputs)
    adapted = keras.layers.Normalization()(given)
    model = keras.Model(inputs, keras.layers.Dense(2)(adapted))
    counted = compiled(model)
    assert counted.parameters == 3 * 2 + 2
    assert sorted(counted.not_read.values()) == [1, 3, 3]
    assert counted.parameters + sum(counted.not_read.values()) == model.count_params()
    assert counted.multiplications == 6
    assert np.isfinite(model(np.ones((1, 3)))).all()
